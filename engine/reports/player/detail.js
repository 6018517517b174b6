// @ts-check
// The story of one image: sentences, the images it was mixed with, and P(clean) over the epochs.

import { button, element, haloText, picture, Surface } from "./dom.js";
import { listenToDrags } from "./scene.js";
import { STATE_MEANINGS, STATE_NAMES } from "./labels.js";
import { canMix, Mixer } from "./mixer.js";
import { mixOf, story } from "./story.js";
import { frame } from "./theme.js";
import { corrects, percent, runName, unbroken } from "./words.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./scene.js").Events} Events */

const MOST_PARTS = 6; // of a mix; the heaviest are shown

export class Detail {
  /** @param {Events} on */
  constructor(on) {
    this.on = on;
    this.root = element("section", "panel detail");
    this.root.hidden = true;
    const head = element("div", "panel-head");
    this.title = element("h2");
    this.title.tabIndex = -1;
    head.append(
      this.title,
      button("close", "×", () => on.pick(-1), "Close the story (Escape)"),
    );
    this.top = element("div", "subject");
    this.facts = element("div", "facts");
    this.mixTitle = element("h3");
    this.mix = element("div", "mix");
    const chart = element("div", "chart");
    this.surface = new Surface(chart, "P(clean) over the epochs");
    this.byHand = button("by-hand", "Mix by hand", () => this.toggle());
    this.mixer = new Mixer();
    this.mixer.root.hidden = true;
    const mixHead = element("div", "panel-head");
    mixHead.append(this.mixTitle, this.byHand);
    this.root.append(head, this.top, this.facts, mixHead, this.mix, this.mixer.root, chart);
    this.storyKey = "";
    this.rowKey = "";
    /** @type {Scene | null} */
    this.scene = null;
    const scrub = (/** @type {number} */ x, /** @type {boolean} */ done) => {
      if (!this.scene) return;
      const [first, last] = this.scene.analysis.range;
      const share = Math.min(Math.max(x / Math.max(this.surface.width, 1), 0), 1);
      on.scrub(first + share * (last - first), done);
    };
    let at = 0;
    listenToDrags(this.surface, {
      start: (x) => scrub((at = x), false),
      move: (x) => scrub((at = x), false),
      end: () => scrub(at, true),
    });
  }

  /** Weights by hand instead of the story, or the story again. */
  toggle(on = this.mixer.root.hidden) {
    if (!this.scene) return;
    this.mixer.root.hidden = !on;
    this.root.classList.toggle("mixing", on);
    this.byHand.textContent = on ? "Back to the story" : "Mix by hand";
    this.fillMix(this.scene);
    if (on) this.openMixer(this.scene);
  }

  /** @param {Scene} scene */
  openMixer(scene) {
    this.mixTitle.textContent = "Move a weight";
    this.mixer.open(scene, (place, size) => this.picture(scene, place, size));
  }

  /** @param {Scene} scene */
  draw(scene) {
    this.scene = scene;
    const { sample, run, row, version, analysis } = scene;
    this.root.hidden = sample < 0;
    if (sample < 0) return;
    const rows = analysis.recording.runs[run].epochs.length;
    const storyKey = [sample, run, rows, version].join();
    if (storyKey !== this.storyKey) {
      this.storyKey = storyKey;
      this.byHand.hidden = !canMix(scene);
      this.tell(scene);
    }
    const rowKey = `${storyKey} ${row}`;
    if (rowKey !== this.rowKey) {
      this.rowKey = rowKey;
      this.fillSubject(scene);
      this.fillMix(scene);
      if (!this.mixer.root.hidden) this.openMixer(scene);
    }
    this.drawChart(scene);
  }

  /** @param {Scene} scene */
  tell({ analysis, run, sample }) {
    const { recording } = analysis;
    const name = recording.ids ? recording.ids[sample] : recording.samples[sample];
    const method = recording.runs.length > 1 ? ` in ${runName(recording.runs[run])}` : "";
    this.title.textContent = `Image ${name}${method}`;
    const facts = story(recording, run, sample);
    this.facts.replaceChildren(
      ...facts.map(({ text, kind }) => element("p", kind, unbroken(text))),
    );
  }

  /**
   * An image on a small canvas, framed by the state of its label.
   * @param {Scene} scene
   * @param {number} place
   * @param {number} size
   */
  picture({ sprites, colors, analysis, run, row }, place, size) {
    return picture(size, (pen) => {
      sprites.draw(pen, place, 0, 0, size);
      frame(pen, analysis.states(run, row)[place], 0, 0, size, colors);
    });
  }

  /** @param {Scene} scene */
  fillSubject(scene) {
    const { analysis, run, row, sample, colors } = scene;
    const { recording } = analysis;
    const { classes } = recording.dataset;
    const { arrays } = analysis.epoch(run, row);
    const state = analysis.states(run, row)[sample];
    const list = element("dl");
    const given = recording.given[run][sample];
    const now = arrays.corrected[sample];
    const lines = [
      ["given label", classes[given]],
      ...(recording.truth ? [["true class", classes[recording.truth[sample]]]] : []),
      ["label now", `${classes[now]} · ${STATE_NAMES[state]}`],
      [
        "network says",
        `${classes[arrays.prediction[sample]]} · ${percent(arrays.confidence[sample] / 255)}`,
      ],
    ];
    for (const [term, text] of lines) list.append(element("dt", "", term), element("dd", "", text));
    list.title = STATE_MEANINGS[state];
    this.top.replaceChildren(this.picture(scene, sample, Math.round(5 * colors.unit)), list);
  }

  /** @param {Scene} scene */
  fillMix(scene) {
    const { analysis, run, row, sample, sprites, colors } = scene;
    const { recording } = analysis;
    const { classes } = recording.dataset;
    const { parts, missing, epoch } = mixOf(recording, run, row, sample);
    const mixed = analysis.epoch(run, row).k > 0;
    this.mixTitle.textContent = mixed
      ? `What it was trained as at epoch ${epoch}`
      : `At epoch ${epoch} it was trained alone, unmixed`;
    this.mix.hidden = !mixed;
    if (!mixed) {
      this.mix.replaceChildren();
      return;
    }
    const [own, ...others] = parts;
    const heaviest = [...others].sort((a, b) => b.weight - a.weight).slice(0, MOST_PARTS - 1);
    const shown = [own, ...others.filter((part) => heaviest.includes(part))];
    const rest =
      missing +
      others.filter((part) => !heaviest.includes(part)).reduce((sum, part) => sum + part.weight, 0);
    const size = Math.round(2.55 * colors.unit);
    const nodes = shown.map((part, i) => {
      const name = i ? `${classes[part.label]}: a neighbor's label` : "itself";
      const node = button("part", "", () => this.on.pick(part.place));
      const share = percent(part.weight).replace(/\.\d/, "");
      node.title = i ? "Tell the story of this neighbor" : "";
      node.setAttribute("aria-label", `${share} ${name}`);
      node.disabled = i === 0;
      const bar = element("i", "bar");
      bar.style.width = `${100 * part.weight}%`;
      const weight = element("b", "", share);
      const label = element("span", "", i ? classes[part.label] : "itself");
      node.append(this.picture(scene, part.place, size), bar, weight, label);
      node.classList.toggle("light", part.weight < 0.02);
      return node;
    });
    const image = sprites.mixed(parts);
    if (image) {
      const canvas = element("canvas", "mixed");
      [canvas.width, canvas.height] = [image.width, image.height];
      canvas.getContext("2d")?.putImageData(image, 0, 0);
      canvas.style.width = canvas.style.height = `${size}px`;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", "The mixed image");
      const sum = element("div", "part sum");
      sum.append(
        canvas,
        element("i", "bar none"),
        element("b", "", "mix"),
        element("span", "", ""),
      );
      nodes.push(/** @type {any} */ (element("div", "equals", "=")), /** @type {any} */ (sum));
    }
    if (rest > 0.005) {
      const note = element("div", "rest", `+ ${percent(rest)} others`);
      nodes.splice(shown.length, 0, /** @type {any} */ (note));
    }
    this.mix.replaceChildren(...nodes);
  }

  /** The value at the time, at the side that is free.
   * @param {Scene} scene
   * @param {number} floor
   */
  nameCurve({ analysis, run, row, sample, colors, time }, floor) {
    const { pen, width } = this.surface;
    const [first, last] = analysis.range;
    const value = analysis.epoch(run, row).arrays.clean[sample] / 255;
    const left = time - first < (last - first) / 2;
    const x = 4 + ((width - 8) * (time - first)) / Math.max(last - first, 1);
    pen.font = `600 ${0.95 * colors.unit}px ${colors.font}`;
    pen.textAlign = left ? "left" : "right";
    pen.textBaseline = "middle";
    const y = value > 0.5 ? floor - 0.75 * colors.unit : 0.9 * colors.unit;
    haloText(
      pen,
      `P(clean) ${value.toFixed(2)}`,
      x + (left ? 7 : -7),
      y,
      colors.accent,
      colors.panel,
    );
  }

  /** P(clean), and below it the label and what the network says, epoch by epoch.
   * @param {Scene} scene
   */
  drawChart(scene) {
    const { analysis, run, sample, time, colors } = scene;
    const changes = corrects(analysis.recording.runs[run]);
    this.surface.fit();
    this.surface.clear();
    const { pen, width, height } = this.surface;
    const { epochs } = analysis.recording.runs[run];
    const { classes } = analysis.recording.dataset;
    const truth = analysis.recording.truth?.[sample] ?? -1;
    const [first, last] = analysis.range;
    const unit = colors.unit;
    const x = (/** @type {number} */ e) =>
      4 + ((width - 8) * (e - first)) / Math.max(last - first, 1);
    const strip = 1.35 * unit;
    const rows = /** @type {["prediction" | "corrected", string][]} */ (
      changes
        ? [
            ["prediction", "network"],
            ["corrected", "label"],
          ]
        : [["prediction", "network"]]
    );
    const floor = height - rows.length * (strip + 3) - 4;
    pen.strokeStyle = colors.line;
    pen.lineWidth = 1;
    for (const v of [0, 1]) {
      pen.beginPath();
      pen.moveTo(0, floor - (floor - 5) * v);
      pen.lineTo(width, floor - (floor - 5) * v);
      pen.stroke();
    }
    pen.beginPath();
    for (const { epoch, arrays } of epochs) {
      pen.lineTo(x(epoch), floor - ((floor - 5) * arrays.clean[sample]) / 255);
    }
    pen.strokeStyle = colors.accent;
    pen.lineWidth = 2.5;
    pen.lineJoin = "round";
    pen.stroke();
    this.nameCurve(scene, floor);
    const step = (width - 8) / Math.max(last - first, 1);
    rows.forEach(([name, title], i) => {
      const top = floor + 5 + i * (strip + 3);
      let begin = 0;
      for (let e = 0; e <= epochs.length; e++) {
        const value = epochs[begin]?.arrays[name][sample];
        if (e < epochs.length && epochs[e].arrays[name][sample] === value) continue;
        if (value === undefined) break;
        const from = Math.max(x(epochs[begin].epoch) - (begin ? step / 2 : 4), 0);
        const to = e < epochs.length ? x(epochs[e].epoch) - step / 2 : width;
        const wrong = truth >= 0 && value !== truth;
        pen.globalAlpha = wrong ? 0.55 : 0.28;
        pen.fillStyle = colors.states[wrong ? 1 : 3];
        pen.fillRect(from + 0.5, top, Math.max(to - from - 1, 1), strip);
        pen.globalAlpha = 1;
        const text = begin === 0 ? `${title}: ${classes[value]}` : classes[value];
        pen.font = `600 ${0.85 * unit}px ${colors.font}`;
        pen.fillStyle = colors.ink;
        pen.textAlign = "left";
        pen.textBaseline = "middle";
        if (pen.measureText(text).width < to - from - 6)
          pen.fillText(text, from + 4, top + strip / 2);
        else if (pen.measureText(classes[value]).width < to - from - 2) {
          pen.fillText(classes[value], from + 2, top + strip / 2);
        }
        begin = e;
      }
    });
    pen.strokeStyle = colors.ink;
    pen.lineWidth = 1.5;
    pen.beginPath();
    pen.moveTo(x(time), 0);
    pen.lineTo(x(time), height);
    pen.stroke();
  }
}
