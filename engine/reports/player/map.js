// @ts-check
// The map of features: similar images lie close together, the islands are the classes.

import { cut, element, haloLabel, panel, Surface } from "./dom.js";
import { isWrong, RIGHT, KEPT } from "./labels.js";
import { mixOf } from "./story.js";
import { Raster } from "./raster.js";
import { listenToDrags } from "./scene.js";
import { SHAPES } from "./theme.js";
import { Grid } from "./view.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./scene.js").Events} Events */

const REACH = 12; // CSS pixels around the pointer
const MARGIN = 12; // CSS pixels
const MOST_ISLANDS = 40;

export class FeatureMap {
  /** @param {Events} on */
  constructor(on) {
    this.on = on;
    const { root, body, note } = panel("map", "Map: similar images lie together");
    this.root = root;
    this.note = note;
    note.textContent = "drag to select";
    const points = element("canvas");
    points.setAttribute("aria-hidden", "true");
    body.append(points);
    this.raster = new Raster(points);
    this.above = new Surface(body, "Map of the features");
    /** @type {[number, number][] | null} */
    this.outline = null;
    this.x = new Float32Array(0); // CSS pixels
    this.y = new Float32Array(0);
    this.drawnKey = "";
    /** @type {Grid | null} */
    this.grid = null;
    /** @type {Scene | null} */
    this.scene = null;
    this.listen();
  }

  listen() {
    const { canvas } = this.above;
    listenToDrags(this.above, {
      start: (x, y) => (this.outline = [[x, y]]),
      move: (x, y) => {
        this.outline?.push([x, y]);
        if (this.scene) this.drawAbove(this.scene);
      },
      end: (moved, event) => {
        const outline = this.outline;
        this.outline = null;
        if (!this.scene) return;
        const { run, epoch } = this.scene;
        if (!moved) this.on.pick(this.find(event));
        else if (outline && outline.length > 2) {
          const shares = outline.map(([x, y]) => this.toShares(x, y));
          this.on.select({ kind: "lasso", run, epoch, outline: shares });
        }
        this.drawAbove(this.scene);
      },
      cancel: () => (this.outline = null),
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.outline) this.on.hover(this.find(event), event);
    });
    canvas.addEventListener("pointerleave", () => this.on.hover(-1, null));
  }

  /** The map fills the panel, wider than it is high.
   * @returns {[number, number, number, number]} left, top, width, height
   */
  get area() {
    const { width, height } = this.above;
    return [MARGIN, MARGIN, Math.max(width - 2 * MARGIN, 1), Math.max(height - 2 * MARGIN, 1)];
  }

  /**
   * @param {number} x
   * @param {number} y
   * @returns {[number, number]}
   */
  toShares(x, y) {
    const [left, top, width, height] = this.area;
    return [(x - left) / width, (y - top) / height];
  }

  /** @param {MouseEvent} event */
  find(event) {
    if (!this.x.length) return -1;
    const { width, height } = this.above;
    this.grid ??= new Grid(this.x, this.y, [0, 0, width, height]);
    const [x, y] = this.above.at(event);
    return this.grid.pick(x, y, REACH);
  }

  /** @param {Scene} scene */
  draw(scene) {
    this.scene = scene;
    const resized = this.above.fit();
    const { analysis, run, row, next, part, version } = scene;
    const key = [run, row, next, part, version].join();
    if (key !== this.drawnKey || resized) {
      this.drawnKey = key;
      const from = analysis.positions(run, row);
      if (!from) {
        this.empty(scene);
        return;
      }
      this.place(scene, from, analysis.positions(run, next) ?? from);
      this.drawPoints(scene);
    }
    this.drawAbove(scene);
  }

  /** @param {Scene} scene */
  empty({ colors }) {
    this.x = new Float32Array(0);
    this.above.clear();
    const { pen, width, height } = this.above;
    pen.font = `${colors.unit}px ${colors.font}`;
    pen.fillStyle = colors.quiet;
    pen.textAlign = "center";
    pen.fillText("No map was recorded.", width / 2, height / 2);
  }

  /** From positions of two epochs, and how far it is between them, to CSS pixels.
   * @param {Scene} scene
   * @param {Float32Array} from
   * @param {Float32Array} to
   */
  place({ part }, from, to) {
    const n = from.length / 2;
    if (this.x.length !== n) [this.x, this.y] = [new Float32Array(n), new Float32Array(n)];
    const [left, top, width, height] = this.area;
    for (let i = 0; i < n; i++) {
      this.x[i] = left + width * (from[2 * i] * (1 - part) + to[2 * i] * part);
      this.y[i] = top + height * (from[2 * i + 1] * (1 - part) + to[2 * i + 1] * part);
    }
    this.grid = null;
  }

  /** Quiet points first, so that those of interest lie on top.
   * @param {Scene} scene
   */
  drawPoints({ analysis, run, row, chosen, colors }) {
    const { raster, x, y } = this;
    const { ratio, width, height } = this.above;
    const states = analysis.states(run, row);
    const area = (width * height) / Math.max(x.length, 1);
    const radius = Math.min(Math.max(0.17 * Math.sqrt(area), 1.3), 3.6) * ratio;
    raster.begin(Math.round(width * ratio), Math.round(height * ratio), colors.ground);
    for (let layer = 0; layer < 3; layer++) {
      for (let i = 0; i < x.length; i++) {
        if (Number.isNaN(x[i])) continue;
        const state = states[i];
        const quiet = state === RIGHT || state === KEPT;
        const faint = chosen && !chosen[i];
        if (layer !== (faint ? 0 : quiet ? 1 : 2)) continue;
        raster.mark(
          x[i] * ratio,
          y[i] * ratio,
          SHAPES[state],
          (quiet ? 1 : isWrong(state) ? 1.5 : 1.15) * radius,
          faint ? colors.faint : colors.points[state],
          faint ? 0.7 : quiet ? 0.5 : 0.92,
        );
      }
    }
    raster.end();
  }

  /** @param {Scene} scene */
  drawAbove(scene) {
    const { colors, sample, hovered } = scene;
    const { pen } = this.above;
    this.above.clear();
    this.drawIslands(scene);
    if (sample >= 0) this.drawLinks(scene);
    for (const place of new Set([hovered, sample])) {
      if (place < 0 || Number.isNaN(this.x[place])) continue;
      const own = place === sample;
      pen.beginPath();
      pen.arc(this.x[place], this.y[place], own ? 8 : 7, 0, 2 * Math.PI);
      pen.lineWidth = 5;
      pen.strokeStyle = colors.panel;
      pen.stroke();
      pen.lineWidth = own ? 3 : 2;
      pen.strokeStyle = own ? colors.accent : colors.ink;
      pen.stroke();
    }
    if (this.outline) this.drawOutline(scene);
  }

  /** Names of the classes, pushed apart where they would overlap.
   * @param {Scene} scene
   */
  drawIslands({ analysis, run, row, next, part, colors }) {
    const { classes } = analysis.recording.dataset;
    if (classes.length > MOST_ISLANDS) return;
    const [from, to] = [analysis.islands(run, row), analysis.islands(run, next)];
    const [left, top, width, height] = this.area;
    const { pen } = this.above;
    const size = Math.round(1.2 * colors.unit);
    pen.font = `700 ${size}px ${colors.font}`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    /** @type {{x: number, y: number, w: number}[]} */
    const done = [];
    classes.forEach((name, c) => {
      let x = left + width * (from[2 * c] * (1 - part) + to[2 * c] * part);
      let y = top + height * (from[2 * c + 1] * (1 - part) + to[2 * c + 1] * part);
      if (Number.isNaN(x)) return;
      const text = cut(pen, name, 0.35 * this.above.width);
      const w = pen.measureText(text).width;
      x = Math.min(Math.max(x, w / 2), this.above.width - w / 2);
      for (let step = 0, wish = y; step < 12; step++) {
        y = wish + (step % 2 ? -1 : 1) * Math.ceil(step / 2) * 0.5 * size;
        if (
          !done.some((one) => Math.abs(one.x - x) < (w + one.w) / 2 && Math.abs(one.y - y) < size)
        )
          break;
      }
      done.push({ x, y, w });
      haloLabel(pen, text, x, y, colors.ink, colors.panel);
    });
  }

  /** Lines to the neighbors that a sample is mixed with, as thick as their weights.
   * @param {Scene} scene
   */
  drawLinks({ analysis, run, row, sample, colors }) {
    const { pen } = this.above;
    const [, ...others] = mixOf(analysis.recording, run, row, sample).parts;
    for (const { place, weight } of others) {
      if (Number.isNaN(this.x[place]) || weight < 0.005) continue;
      for (const [extra, color] of /** @type {[number, string][]} */ ([
        [2.5, colors.panel],
        [0, colors.ink],
      ])) {
        pen.beginPath();
        pen.moveTo(this.x[sample], this.y[sample]);
        pen.lineTo(this.x[place], this.y[place]);
        pen.lineWidth = 1 + 4 * weight + extra;
        pen.strokeStyle = color;
        pen.stroke();
      }
      pen.beginPath();
      pen.arc(this.x[place], this.y[place], 5, 0, 2 * Math.PI);
      pen.lineWidth = 1.5;
      pen.stroke();
    }
  }

  /** @param {Scene} scene */
  drawOutline({ colors }) {
    const { pen } = this.above;
    pen.beginPath();
    this.outline?.forEach(([x, y]) => pen.lineTo(x, y));
    pen.closePath();
    pen.lineWidth = 1.5;
    pen.setLineDash([5, 4]);
    pen.strokeStyle = colors.ink;
    pen.stroke();
    pen.setLineDash([]);
    pen.globalAlpha = 0.1;
    pen.fillStyle = colors.accent;
    pen.fill();
    pen.globalAlpha = 1;
  }
}
