// @ts-check
// The wall of images: those with a wrong given label first, each framed by its label's state.

import { button, cut, element, panel, picture, setText, Surface } from "./dom.js";
import {
  CHANGED,
  HARMED,
  KEPT,
  MEMORIZED,
  CORRECTED,
  RIGHT,
  STATE_MEANINGS,
  STATE_NAMES,
  WRONG,
} from "./labels.js";
import { frame } from "./theme.js";
import { count, plural } from "./words.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./scene.js").Events} Events */

const FROM_WRONG = [WRONG, MEMORIZED, CORRECTED, CHANGED]; // states of given labels that are wrong
const FROM_RIGHT = [RIGHT, HARMED];
const UNKNOWN = [KEPT, CHANGED];
const RIGHT_SCALE = 0.62; // size of images with right labels, which are less of interest
const QUIET = 0.62; // opacity of images with right labels
const SMALLEST = 13; // CSS pixels; more images scroll
const LARGEST = 84;
const CAPTION_FROM = 34; // CSS pixels from which labels are written below the images

export class Wall {
  /** @param {Events} on */
  constructor(on) {
    this.on = on;
    const { root, head, body } = panel("wall", "");
    this.root = root;
    head.replaceChildren();
    this.legend = element("div", "legend");
    this.legend.setAttribute("role", "group");
    this.legend.setAttribute("aria-label", "States of the labels; a click selects these images");
    this.hint = element("span", "note", "click an image");
    this.zoomButtons = element("div", "zoom");
    this.zoomButtons.append(
      button("", "−", () => this.scale(1 / 1.4), "Smaller images"),
      button("", "+", () => this.scale(1.4), "Larger images"),
    );
    head.append(this.legend);
    this.scroller = element("div", "scroller");
    this.scroller.tabIndex = 0;
    this.scroller.setAttribute("role", "application");
    body.append(this.scroller);
    this.spacer = element("div", "spacer");
    const view = element("div", "view");
    this.spacer.append(view);
    this.scroller.append(this.spacer);
    this.view = view;
    this.images = new Surface(view, "");
    this.images.canvas.setAttribute("aria-hidden", "true");
    this.surface = new Surface(view, "The images, framed by the state of their label"); // frames
    this.zoom = 1;
    this.apart = true; // wrong given labels come first, right ones are smaller
    this.cursor = -1; // index in the order, by keyboard
    /** @type {{place: number, x: number, y: number, size: number}[]} */
    this.cells = [];
    this.layoutKey = "";
    /** @type {Uint8Array} */
    this.states = new Uint8Array(0); // as drawn
    /** @type {HTMLButtonElement[]} */
    this.chips = [];
    /** @type {Scene | null} */
    this.scene = null;
    this.listen();
  }

  listen() {
    this.scroller.addEventListener("scroll", () => this.scene && this.draw(this.scene, true), {
      passive: true,
    });
    const { canvas } = this.surface;
    canvas.addEventListener("pointermove", (event) => this.on.hover(this.find(event), event));
    canvas.addEventListener("pointerleave", () => this.on.hover(-1, null));
    canvas.addEventListener("mousedown", (event) => event.preventDefault()); // keeps the focus
    canvas.addEventListener("click", (event) => this.on.pick(this.find(event)));
    this.scroller.addEventListener("keydown", (event) => this.key(event));
    this.scroller.addEventListener("blur", () => {
      this.cursor = -1;
      if (this.scene) this.draw(this.scene, true);
    });
  }

  /** @param {number} factor */
  scale(factor) {
    this.zoom = Math.min(Math.max(this.zoom * factor, 1), 8);
    if (this.scene) this.draw(this.scene, true);
  }

  /** @param {MouseEvent} event */
  find(event) {
    const [x, y] = this.surface.at(event);
    const down = y + this.scroller.scrollTop;
    const cell = this.cells.find(
      (one) => x >= one.x && x < one.x + one.size && down >= one.y && down < one.y + one.size,
    );
    return cell ? cell.place : -1;
  }

  /** Arrow keys move from image to image, Enter tells the story.
   * @param {KeyboardEvent} event
   */
  key(event) {
    const { cells } = this;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: 0, ArrowDown: 0, Home: 0, End: 0 };
    if (!cells.length || !this.scene) return;
    if (event.key === "Enter" && this.cursor >= 0) {
      this.on.pick(cells[this.cursor].place);
    } else if (event.key in steps) {
      if (this.cursor < 0) this.cursor = 0;
      else if (event.key === "Home") this.cursor = 0;
      else if (event.key === "End") this.cursor = cells.length - 1;
      else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
        this.cursor = this.vertical(event.key === "ArrowDown" ? 1 : -1);
      } else {
        this.cursor += steps[/** @type {keyof typeof steps} */ (event.key)];
      }
      this.cursor = Math.min(Math.max(this.cursor, 0), cells.length - 1);
      this.reveal(cells[this.cursor]);
      this.on.hover(cells[this.cursor].place, null);
      this.draw(this.scene, true);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {1 | -1} way */
  vertical(way) {
    const { cells, cursor } = this;
    const here = cells[cursor];
    const rows = cells.filter((cell) => (cell.y - here.y) * way > 0);
    if (!rows.length) return cursor;
    const row = way > 0 ? rows[0].y : rows[rows.length - 1].y;
    const line = rows.filter((cell) => cell.y === row);
    const nearest = line.reduce((a, b) =>
      Math.abs(b.x - here.x) < Math.abs(a.x - here.x) ? b : a,
    );
    return cells.indexOf(nearest);
  }

  /** @param {{y: number, size: number}} cell */
  reveal({ y, size }) {
    const { scrollTop, clientHeight } = this.scroller;
    if (y < scrollTop) this.scroller.scrollTop = y - 24;
    else if (y + size > scrollTop + clientHeight) {
      this.scroller.scrollTop = y + size + 24 - clientHeight;
    }
  }

  /**
   * Places of the cells: fixed while it plays, so that only frames change.
   * @param {Scene} scene
   */
  layout({ analysis, run, chosen, nChosen, colors, version }) {
    const { clientWidth: width, clientHeight: height } = this.scroller;
    const key = [width, height, run, nChosen, version, this.zoom].join();
    if (key === this.layoutKey) return false;
    this.layoutKey = key;
    const { recording } = analysis;
    const { truth, n } = recording;
    const given = recording.given[run];
    const labels = truth ?? given;
    const places = Array.from({ length: n }, (_, place) => place).filter(
      (i) => !chosen || chosen[i],
    );
    places.sort((a, b) => labels[a] - labels[b] || a - b);
    const groups =
      truth && this.apart
        ? [
            { places: places.filter((i) => given[i] !== truth[i]), scale: 1 },
            {
              places: places.filter((i) => given[i] === truth[i]),
              scale: chosen ? 1 : RIGHT_SCALE,
            },
          ]
        : [{ places, scale: 1 }];
    const shown = groups.filter((group) => group.places.length);
    const gap = Math.round(0.8 * colors.unit); // between the groups
    const room = width - 2;
    /** @type {(size: number) => number} */
    const tall = (size) =>
      shown.reduce((sum, group) => {
        const pitch = this.pitch(size * group.scale);
        return (
          sum +
          (sum ? gap : 0) +
          Math.ceil(group.places.length / Math.floor(room / pitch.x)) * pitch.y
        );
      }, 0);
    let size = SMALLEST;
    while (size < LARGEST && tall(size + 0.5) <= height) size += 0.5;
    size = Math.min(size * this.zoom, LARGEST * 1.5, room / 2);
    this.cells = [];
    let top = 0;
    for (const group of shown) {
      const pitch = this.pitch(size * group.scale);
      const columns = Math.max(1, Math.floor(room / pitch.x));
      if (top) top += gap;
      group.places.forEach((place, i) => {
        const [column, line] = [i % columns, Math.floor(i / columns)];
        this.cells.push({ place, x: column * pitch.x, y: top + line * pitch.y, size: pitch.size });
      });
      top += Math.ceil(group.places.length / columns) * pitch.y;
    }
    this.spacer.style.height = `${Math.max(top, height)}px`;
    this.view.style.height = `${height}px`;
    return true;
  }

  /** Size of an image and the distance to the next one.
   * @param {number} cell
   */
  pitch(cell) {
    const gap = cell < 20 ? 1 : cell < 40 ? 3 : 6;
    const size = Math.max(cell - gap, 5);
    return { size, x: size + gap, y: size + gap + (size >= CAPTION_FROM ? 15 : 0) };
  }

  /**
   * @param {Scene} scene
   * @param {boolean} [whole]  not only what has changed
   */
  draw(scene, whole = false) {
    this.scene = scene;
    const { analysis, run, row, colors } = scene;
    const states = analysis.states(run, row);
    const laid = this.layout(scene);
    const resized = [this.images.fit(), this.surface.fit()].some(Boolean);
    this.fillLegend(scene);
    const everything = whole || laid || resized || this.states.length !== states.length;
    const top = this.scroller.scrollTop;
    const bottom = top + this.scroller.clientHeight;
    const { pen } = this.surface;
    if (everything) this.drawImages(scene, top, bottom);
    const captions = this.cells.length > 0 && this.cells[0].size >= CAPTION_FROM;
    for (let i = 0; i < this.cells.length; i++) {
      const { place, x, y, size } = this.cells[i];
      if (!everything && this.states[place] === states[place] && !captions) continue;
      if (y + size + 15 < top || y > bottom) continue;
      if (!everything) pen.clearRect(x, y - top, size, size);
      frame(pen, states[place], x, y - top, size, colors);
      if (size >= CAPTION_FROM) this.caption(scene, place, x, y - top + size, size);
    }
    this.states = states;
    if (everything) this.finish(scene, top);
  }

  /** The images themselves, which stay while their frames change.
   * @param {Scene} scene
   * @param {number} top
   * @param {number} bottom
   */
  drawImages({ analysis, run, sprites, chosen }, top, bottom) {
    const { truth, given } = analysis.recording;
    const { pen } = this.images;
    this.images.clear();
    this.surface.clear();
    for (const { place, x, y, size } of this.cells) {
      if (y + size < top || y > bottom) continue;
      const quiet = this.apart && truth && !chosen && truth[place] === given[run][place];
      pen.globalAlpha = quiet ? QUIET : 1;
      sprites.draw(pen, place, x, y - top, size);
    }
    pen.globalAlpha = 1;
  }

  /**
   * The label below an image; where it has changed, also the given one.
   * @param {Scene} scene
   * @param {number} place
   * @param {number} x
   * @param {number} y
   * @param {number} width
   */
  caption({ analysis, run, row, colors }, place, x, y, width) {
    const { recording } = analysis;
    const { classes } = recording.dataset;
    const given = recording.given[run][place];
    const now = analysis.epoch(run, row).arrays.corrected[place];
    const { pen } = this.surface;
    pen.clearRect(x - 1, y, width + 4, 15);
    pen.font = `${Math.min(12, colors.unit)}px ${colors.font}`;
    pen.fillStyle = colors.ink;
    pen.textAlign = "center";
    pen.textBaseline = "top";
    const text = now === given ? classes[given] : `${classes[given]} → ${classes[now]}`;
    pen.fillText(cut(pen, text, width + 3), x + width / 2, y + 2);
  }

  /** Marks of the sample and the cursor.
   * @param {Scene} scene
   * @param {number} top
   */
  finish({ colors, sample }, top) {
    const { pen } = this.surface;
    this.cells.forEach(({ place, x, y, size }, i) => {
      if (place !== sample && i !== this.cursor) return;
      pen.lineWidth = 3;
      pen.strokeStyle = place === sample ? colors.accent : colors.ink;
      pen.strokeRect(x - 1.5, y - top - 1.5, size + 3, size + 3);
    });
  }

  /** Counts of the states; a click selects them.
   * @param {Scene} scene
   */
  fillLegend(scene) {
    const { analysis, run, row, colors } = scene;
    const occurring = analysis.occurring(run);
    const { truth, n } = analysis.recording;
    const wrong = analysis.nWrong(run);
    const key = [run, occurring, wrong, colors.unit, colors.states].join();
    if (this.legend.dataset.key !== key) {
      this.legend.dataset.key = key;
      this.chips = STATE_NAMES.map((_, state) => this.chip(scene, state));
      const lines = truth
        ? [
            [plural(wrong, "wrong label"), FROM_WRONG],
            [plural(n - wrong, "right label"), FROM_RIGHT],
          ]
        : [[`${count(n)} labels`, UNKNOWN]];
      this.legend.replaceChildren(
        ...lines.map(([text, states]) => {
          const line = element("div", "line");
          const chips = /** @type {number[]} */ (states).filter((state) => occurring[state]);
          line.append(element("h2", "", String(text)), ...chips.map((state) => this.chips[state]));
          return line;
        }),
      );
      this.legend.lastElementChild?.append(this.hint, this.zoomButtons);
    }
    analysis.stateCounts(run, row).forEach((number, state) => {
      const bold = this.chips[state].lastChild;
      if (bold) setText(bold, count(number));
    });
  }

  /**
   * @param {Scene} scene
   * @param {number} state
   */
  chip({ colors }, state) {
    const chip = button("chip", "", () => {
      if (!this.scene) return;
      const { run, epoch } = this.scene;
      this.on.select({ kind: "state", run, epoch, state });
    });
    chip.title = STATE_MEANINGS[state];
    const size = Math.round(colors.unit);
    const mark = picture(size, (pen) => {
      pen.fillStyle = state === RIGHT || state === KEPT ? colors.states[state] : colors.line;
      pen.fillRect(0, 0, size, size);
      frame(pen, state, 0, 0, size, colors);
    });
    chip.append(mark, element("span", "", STATE_NAMES[state]), element("b", ""));
    return chip;
  }
}
