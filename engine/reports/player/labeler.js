// @ts-check
// Labels by hand: images get wrong labels, one by one or many at once, for a run on exactly these.

import { button, element, panel, setText } from "./dom.js";
import { Edits } from "./edits.js";
import { FeatureMap } from "./map.js";
import { Decoder } from "./recording.js";
import { describe, members } from "./selection.js";
import { Sprites } from "./sprites.js";
import { fitted, palette } from "./theme.js";
import { Wall } from "./wall.js";
import { count, percent, plural } from "./words.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./selection.js").Selection} Selection */
/**
 * @typedef {object} Options
 * @property {"auto" | "light" | "dark"} [theme]
 * @property {(edits: [number, number][]) => void} onTrain  rows in the data set and wrong labels
 */

const ZOOM = 2.4; // images that are clicked one by one are larger

export class Labeler {
  /**
   * @param {HTMLElement} host
   * @param {Options} options
   */
  constructor(host, options) {
    this.options = options;
    this.root = element("div", "mixnn-player labeler");
    this.root.dataset.theme = options.theme ?? "auto";
    this.root.setAttribute("role", "region");
    this.root.setAttribute("aria-label", "Labels by hand");
    this.message = element("p", "message", "Reading the recording …");
    this.root.append(this.message);
    host.replaceChildren(this.root);
    this.label = 0; // that a click gives
    this.version = 0;
    this.frame = 0;
    /** @type {Scene | null} */
    this.scene = null;
    /** @type {Selection | null} */
    this.selection = null;
    /** @type {(() => void)[]} */
    this.stops = [];
  }

  /** @param {Uint8Array | ArrayBuffer} bytes */
  async open(bytes) {
    try {
      const recording = await new Decoder().push(bytes);
      const run = recording?.runs.findLastIndex(({ epochs }) => epochs.length) ?? -1;
      if (!recording || run < 0) {
        this.message.textContent = "The first epoch is being trained …";
        return;
      }
      this.edits = new Edits(recording, run);
      this.build(await Sprites.load(recording));
    } catch (error) {
      this.message.textContent = error instanceof Error ? error.message : String(error);
    }
  }

  destroy() {
    this.stops.forEach((stop) => stop());
    cancelAnimationFrame(this.frame);
    this.root.remove();
  }

  /** @param {Sprites} sprites */
  build(sprites) {
    if (!this.edits) return;
    const analysis = this.edits.analysis();
    const [{ epoch }] = analysis.recording.runs[0].epochs;
    const on = {
      pick: (/** @type {number} */ place) => this.click(place),
      hover: (/** @type {number} */ place, /** @type {MouseEvent | null} */ event) =>
        this.hover(place, event),
      select: (/** @type {Selection | null} */ selection) => this.select(selection),
      scrub: () => {},
      show: () => {},
      columns: () => {},
    };
    this.wall = new Wall(on);
    this.wall.zoom = ZOOM;
    this.wall.apart = false; // nothing moves under the pointer
    this.map = new FeatureMap(on);
    this.tip = element("div", "tip");
    this.tip.hidden = true;
    const body = element("div", "body");
    const middle = element("div", "column");
    middle.append(this.makePanel(analysis.recording.dataset.classes), this.map.root);
    body.append(this.wall.root, middle);
    this.root.replaceChildren(body, this.tip);
    this.scene = {
      analysis,
      sprites,
      colors: palette(this.root, 13),
      time: epoch,
      epoch,
      run: 0,
      row: 0,
      next: 0,
      part: 0,
      chosen: null,
      nChosen: 0,
      sample: -1,
      hovered: -1,
      by: "prediction",
      version: 0,
    };
    const sizes = new ResizeObserver(() => this.fit());
    sizes.observe(this.root);
    this.stops.push(() => sizes.disconnect());
    this.fit();
    this.root.classList.add("ready");
  }

  /** @param {string[]} classes */
  makePanel(classes) {
    const { root, head, body } = panel("hand", "Fool MixNN");
    this.total = element("span", "note");
    this.total.setAttribute("aria-live", "polite");
    head.lastChild?.replaceWith(this.total);
    body.classList.add("steps");
    this.brushes = classes.map((name, label) =>
      button("brush", name, () => {
        this.label = label;
        this.changed();
      }),
    );
    const brushes = element("div", "brushes");
    brushes.setAttribute("role", "group");
    brushes.setAttribute("aria-label", "The label that a click gives");
    brushes.append(...this.brushes);
    const whole = element("div", "brushes small");
    whole.setAttribute("role", "group");
    whole.setAttribute("aria-label", "Select all images of a class");
    this.wholes = classes.map((name, number) =>
      button("brush", name, () => this.select({ kind: "class", class: number })),
    );
    whole.append(...this.wholes);
    this.all = button("go all", "", () => this.paint());
    this.none = button("chip", "clear the selection", () => this.select(null));
    const chosen = element("div", "line");
    chosen.append(this.all, this.none);
    this.undo = button("chip", "Undo", () => this.edit((edits) => edits.undo()));
    this.clear = button("chip", "Start over", () => this.edit((edits) => edits.clear()));
    this.go = button("go", "Train on these labels", () => this.train());
    const end = element("div", "line end");
    end.append(this.go, this.undo, this.clear);
    body.append(
      element("p", "", "All labels are right. Make some wrong: choose a label …"),
      brushes,
      element("p", "", "… and click images. Or select many, by a drag on the map or a class:"),
      whole,
      chosen,
      end,
    );
    return root;
  }

  /** @param {number} place */
  click(place) {
    if (place >= 0) this.edit((edits) => edits.toggle(place, this.label));
  }

  /** All selected images get the label. */
  paint() {
    const chosen = this.scene?.chosen;
    if (!chosen) return;
    const places = Array.from(chosen.keys()).filter((place) => chosen[place]);
    this.edit((edits) => edits.set(places, this.label));
    this.select(null);
  }

  /** @param {(edits: Edits) => void} change */
  edit(change) {
    if (!this.edits || !this.scene) return;
    change(this.edits);
    this.scene.analysis = this.edits.analysis();
    this.changed();
  }

  train() {
    const edits = this.edits?.list() ?? [];
    if (edits.length) this.options.onTrain(edits);
  }

  /** @param {Selection | null} selection */
  select(selection) {
    if (!this.scene) return;
    const flags = selection && members(this.scene.analysis, selection);
    const n = flags ? flags.reduce((sum, flag) => sum + flag, 0) : 0;
    this.selection = n ? selection : null;
    this.scene.chosen = n ? flags : null;
    this.scene.nChosen = n;
    this.changed();
  }

  /**
   * @param {number} place
   * @param {MouseEvent | null} event
   */
  hover(place, event) {
    if (!this.scene || !this.edits || !this.tip) return;
    this.tip.hidden = place < 0 || !event;
    if (place < 0) return;
    const { classes } = this.scene.analysis.recording.dataset;
    const [label, shows] = [this.edits.labels[place], this.edits.truth[place]];
    const wrong = label === shows ? "right" : "wrong";
    setText(this.tip, `shows ${classes[shows]}, labeled ${classes[label]}: ${wrong}`);
    if (!event) return;
    const box = this.root.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    this.tip.style.left = `${Math.min(x + 14, box.width - this.tip.offsetWidth - 4)}px`;
    this.tip.style.top = `${Math.min(y + 18, box.height - this.tip.offsetHeight - 4)}px`;
  }

  /** Size and colors, as of the player. */
  fit() {
    if (!this.scene) return;
    this.scene.colors = fitted(this.root);
    this.changed();
  }

  /** All is drawn again in the next frame. */
  changed() {
    if (!this.scene) return;
    this.scene.version = ++this.version;
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    const { scene, edits } = this;
    if (!scene || !edits || !this.all || !this.go || !this.root.isConnected) return;
    const { recording } = scene.analysis;
    const { classes } = recording.dataset;
    const n = edits.list().length;
    const share = n ? ` (${percent(n / recording.n)})` : "";
    if (this.total) setText(this.total, `${plural(n, "wrong label")}${share}`);
    this.brushes?.forEach((node, label) =>
      node.setAttribute("aria-pressed", String(label === this.label)),
    );
    this.wholes?.forEach((node, number) => {
      const pressed = this.selection?.kind === "class" && this.selection.class === number;
      node.setAttribute("aria-pressed", String(pressed));
    });
    this.all.hidden = !this.selection;
    if (this.none) this.none.hidden = !this.selection;
    if (this.selection) {
      const what = describe(scene.analysis, this.selection);
      const name = classes[this.label];
      setText(this.all, `Label all ${count(scene.nChosen)} of ${what}: ${name}`);
    }
    this.go.disabled = n === 0;
    if (this.undo) this.undo.disabled = edits.steps.length === 0;
    if (this.clear) this.clear.disabled = n === 0;
    this.root.dataset.wrong = String(n);
    this.wall?.draw(scene);
    this.map?.draw(scene);
  }
}

/**
 * Show the images of a recording, to give them labels by hand.
 * @param {HTMLElement} host
 * @param {Uint8Array | ArrayBuffer} bytes
 * @param {Options} options
 * @returns {Labeler}
 */
export function label(host, bytes, options) {
  const labeler = new Labeler(host, options);
  labeler.open(bytes);
  return labeler;
}
