// @ts-check
// The losses of an epoch: a histogram, the two Gaussian components, and P(clean).

import { haloText, panel, setText, Surface } from "./dom.js";
import { KEPT, N_BINS, RIGHT, WRONG } from "./labels.js";
import { cleanPosterior, density } from "./mixture.js";
import { listenToDrags } from "./scene.js";
import { count, verdict } from "./words.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./scene.js").Events} Events */

const STEPS = 160; // of the curves

export class Histogram {
  /** @param {Events} on */
  constructor(on) {
    const { root, body, note } = panel("histogram", "Loss of each label");
    this.root = root;
    this.note = note;
    this.surface = new Surface(body, "Histogram of the losses");
    /** @type {[number, number] | null} */
    this.range = null; // while it is dragged, in losses
    this.chosenKey = "";
    /** @type {{all: Float64Array, wrong: Float64Array} | null} */
    this.chosenBins = null;
    /** @type {Scene | null} */
    this.scene = null;
    listenToDrags(this.surface, {
      start: (x) => (this.range = [this.loss(x), this.loss(x)]),
      move: (x) => {
        if (this.range) this.range[1] = this.loss(x);
        if (this.scene) this.draw(this.scene);
      },
      end: (moved) => {
        const range = this.range;
        this.range = null;
        if (!range || !this.scene) return;
        const { run, epoch } = this.scene;
        const [low, high] = moved ? [...range].sort((a, b) => a - b) : this.bar(range[0]);
        on.select({ kind: "loss", run, epoch, low, high });
      },
      cancel: () => (this.range = null),
    });
  }

  get area() {
    const { width, height } = this.surface;
    const unit = this.scene?.colors.unit ?? 13;
    return {
      left: 3.1 * unit,
      right: width - 1.6 * unit,
      top: 2.2 * unit,
      bottom: height - 1.7 * unit,
    };
  }

  /** @param {number} x */
  loss(x) {
    const { left, right } = this.area;
    return Math.min(Math.max((x - left) / (right - left), 0), 1);
  }

  /** The bar at a loss: its codes, from the first to the last.
   * @param {number} loss
   */
  bar(loss) {
    const bin = Math.min(Math.floor((255 * loss) / 8), N_BINS - 1);
    return [(8 * bin) / 255, Math.min((8 * bin + 7) / 255, 1)];
  }

  /** @param {Scene} scene */
  draw(scene) {
    this.scene = scene;
    this.surface.fit();
    const { analysis, run, row, next, part, colors, chosen, version } = scene;
    setText(this.note, verdict(analysis, run, row));
    const { pen } = this.surface;
    this.surface.clear();
    const { left, right, top, bottom } = this.area;
    if (right <= left || bottom <= top) return;
    const tallest = analysis.tallest(run);
    // square roots: the tall bar of fitted labels leaves the small peak of wrong ones visible
    const y = (/** @type {number} */ n) =>
      bottom - (bottom - top) * Math.sqrt(Math.max(n, 0) / tallest);
    const x = (/** @type {number} */ loss) => left + (right - left) * loss;
    this.drawGrid(scene, y, tallest);
    this.drawLegend(scene);
    const [a, b] = [analysis.bins(run, row), analysis.bins(run, next)];
    const tween = (/** @type {Float64Array} */ p, /** @type {Float64Array} */ q) =>
      p.map((value, i) => value * (1 - part) + q[i] * part);
    this.drawBars(scene, tween(a.all, b.all), tween(a.wrong, b.wrong), y, x, chosen ? 0.25 : 1);
    if (chosen) {
      const key = `${run} ${row} ${version}`;
      if (key !== this.chosenKey) {
        this.chosenKey = key;
        this.chosenBins = analysis.countBins(run, row, chosen);
      }
      if (this.chosenBins)
        this.drawBars(scene, this.chosenBins.all, this.chosenBins.wrong, y, x, 1);
    }
    this.drawCurves(scene, x, y);
    this.drawSample(scene, x);
    if (this.range) {
      pen.fillStyle = colors.accent;
      pen.globalAlpha = 0.18;
      const [from, to] = this.range.map(x);
      pen.fillRect(Math.min(from, to), top, Math.abs(to - from), bottom - top);
      pen.globalAlpha = 1;
    }
  }

  /**
   * @param {Scene} scene
   * @param {(n: number) => number} y
   * @param {number} tallest
   */
  drawGrid({ colors }, y, tallest) {
    const { pen } = this.surface;
    const { left, right, bottom, top } = this.area;
    const size = 0.85 * colors.unit;
    pen.font = `${size}px ${colors.font}`;
    pen.textBaseline = "middle";
    pen.lineWidth = 1;
    let below = Infinity; // where the last number stands; one that would touch it is left out
    for (const n of [0, 10, 100, 1000, 10_000]) {
      if (n > tallest || below - y(n) < size) continue;
      below = y(n);
      pen.strokeStyle = colors.line;
      pen.beginPath();
      pen.moveTo(left, Math.round(y(n)) + 0.5);
      pen.lineTo(right, Math.round(y(n)) + 0.5);
      pen.stroke();
      pen.fillStyle = colors.quiet;
      pen.textAlign = "right";
      pen.fillText(count(n), left - 5, y(n));
    }
    pen.fillStyle = colors.quiet;
    pen.textAlign = "left";
    pen.textBaseline = "top";
    pen.fillText("← the label fits", left, bottom + 5);
    pen.textAlign = "right";
    pen.fillText("it does not fit →", right, bottom + 5);
    pen.fillStyle = colors.accent;
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    for (const share of [0, 1])
      pen.fillText(String(share), right + 5, bottom - (bottom - top) * share);
  }

  /** What bars and curves are, in one line above them.
   * @param {Scene} scene
   */
  drawLegend({ colors, analysis, run, row }) {
    const { pen } = this.surface;
    const { unit } = colors;
    const known = analysis.recording.truthKnown;
    pen.font = `${0.88 * unit}px ${colors.font}`;
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    const y = 0.75 * unit;
    let x = 0;
    const entry = (/** @type {string} */ text, /** @type {(x: number) => void} */ draw) => {
      draw(x);
      pen.fillStyle = colors.ink;
      pen.fillText(text, x + 1.35 * unit, y + 0.5);
      x += 1.35 * unit + pen.measureText(text).width + 0.9 * unit;
    };
    const box = (/** @type {number} */ state) => (/** @type {number} */ left) => {
      pen.fillStyle = colors.states[state];
      pen.fillRect(left, y - 0.45 * unit, unit, 0.9 * unit);
      if (state !== WRONG) return;
      this.hatch(colors, left, left + unit, y + 0.45 * unit, y - 0.45 * unit);
    };
    entry(known ? "right labels" : "labels", box(known ? RIGHT : KEPT));
    if (known) entry("wrong labels", box(WRONG));
    if (!analysis.epoch(run, row).mixture) return;
    entry("two Gaussians", (left) => {
      pen.strokeStyle = colors.ink;
      pen.lineWidth = 2;
      for (const [dash, down] of /** @type {[number[], number][]} */ ([
        [[], -2.5],
        [[4, 3], 2.5],
      ])) {
        pen.setLineDash(dash);
        pen.beginPath();
        pen.moveTo(left, y + down);
        pen.lineTo(left + unit, y + down);
        pen.stroke();
      }
      pen.setLineDash([]);
    });
  }

  /**
   * @param {import("./theme.js").Palette} colors
   * @param {number} left
   * @param {number} right
   * @param {number} bottom
   * @param {number} top
   */
  hatch(colors, left, right, bottom, top) {
    const { pen } = this.surface;
    pen.strokeStyle = colors.panel;
    pen.lineWidth = 1;
    pen.beginPath();
    for (let h = bottom - 3; h > top + 1; h -= 5) {
      pen.moveTo(left, h);
      pen.lineTo(right, h - 2);
    }
    pen.stroke();
  }

  /**
   * Bars of all labels, on them hatched bars of those that are wrong now.
   * @param {Scene} scene
   * @param {Float64Array} all
   * @param {Float64Array} wrong
   * @param {(n: number) => number} y
   * @param {(loss: number) => number} x
   * @param {number} alpha
   */
  drawBars({ colors, analysis }, all, wrong, y, x, alpha) {
    const { pen } = this.surface;
    const { bottom } = this.area;
    const known = analysis.recording.truthKnown;
    pen.globalAlpha = alpha;
    const width = x(8 / 255) - x(0);
    for (let i = 0; i < N_BINS; i++) {
      const left = x((8 * i) / 255);
      const [high, low] = [y(all[i]), y(known ? wrong[i] : 0)];
      pen.fillStyle = colors.states[known ? RIGHT : KEPT];
      pen.fillRect(left + 0.5, high, width - 1, bottom - high);
      if (!known || low >= bottom) continue;
      pen.fillStyle = colors.states[WRONG];
      pen.fillRect(left + 0.5, low, width - 1, bottom - low);
      this.hatch(colors, left + 0.5, left + width - 0.5, bottom, low);
    }
    pen.globalAlpha = 1;
  }

  /**
   * The two components, scaled to the bars, and P(clean) on an axis of its own.
   * @param {Scene} scene
   * @param {(loss: number) => number} x
   * @param {(n: number) => number} y
   */
  drawCurves({ analysis, run, row, colors }, x, y) {
    const { mixture, arrays } = analysis.epoch(run, row);
    if (!mixture) return;
    const { pen } = this.surface;
    const { left, right, bottom, top } = this.area;
    const unit = arrays.scaled_loss.length * (8 / 255);
    const curve = (/** @type {(loss: number) => number} */ height) => {
      pen.beginPath();
      for (let i = 0; i <= STEPS; i++)
        pen.lineTo(x(i / STEPS), Math.max(height(i / STEPS), top - 2));
    };
    pen.save();
    pen.beginPath();
    pen.rect(left, top - 4, right - left, bottom - top + 5);
    pen.clip();
    /** @type {[0 | 1, number[]][]} */
    const components = [
      [0, []],
      [1, [6, 4]],
    ];
    for (const [component, dash] of components) {
      curve((loss) => y(unit * density(mixture, component, loss)));
      pen.lineWidth = 4;
      pen.setLineDash([]);
      pen.strokeStyle = colors.panel;
      pen.stroke();
      pen.setLineDash(dash);
      pen.lineWidth = 2;
      pen.strokeStyle = colors.ink;
      pen.stroke();
    }
    if (cleanPosterior(mixture, 0) !== null) {
      curve((loss) => bottom - (bottom - top) * (cleanPosterior(mixture, loss) ?? 0));
      pen.setLineDash([2, 3]);
      pen.lineWidth = 2.5;
      pen.strokeStyle = colors.accent;
      pen.stroke();
    }
    pen.restore();
    pen.setLineDash([]);
    this.nameCurves(colors, mixture, x);
  }

  /**
   * @param {import("./theme.js").Palette} colors
   * @param {import("./recording.js").Mixture} mixture
   * @param {(loss: number) => number} x
   */
  nameCurves(colors, mixture, x) {
    const { pen } = this.surface;
    const { right, top } = this.area;
    let edge = 0;
    while (edge < 1 && (cleanPosterior(mixture, edge) ?? 0) > 0.5) edge += 0.005;
    pen.font = `600 ${0.9 * colors.unit}px ${colors.font}`;
    pen.textBaseline = "top";
    const at = x(edge) + 6;
    const fits = (/** @type {string} */ text) => at + pen.measureText(text).width < right;
    const long = "P(clean): is the label right?";
    const text = fits(long) ? long : "P(clean)";
    pen.textAlign = fits(text) ? "left" : "right";
    haloText(pen, text, fits(text) ? at : right - 4, top, colors.accent, colors.panel);
  }

  /** Where the picked image is.
   * @param {Scene} scene
   * @param {(loss: number) => number} x
   */
  drawSample({ analysis, run, row, next, part, sample, hovered, colors, sprites }, x) {
    const place = hovered >= 0 ? hovered : sample;
    if (place < 0) return;
    const { pen } = this.surface;
    const { top, bottom } = this.area;
    const [a, b] = [row, next].map((r) => analysis.epoch(run, r).arrays.scaled_loss[place] / 255);
    const left = x(a * (1 - part) + b * part);
    const size = 1.7 * colors.unit;
    const middle = Math.max(left, this.area.left + size / 2);
    pen.strokeStyle = colors.accent;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.moveTo(left, top + size);
    pen.lineTo(left, bottom);
    pen.stroke();
    sprites.draw(pen, place, middle - size / 2, top, size);
    pen.strokeRect(middle - size / 2, top, size, size);
  }
}
