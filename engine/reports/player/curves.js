// @ts-check
// Curves over the epochs: test accuracy and memorization of each run, labeled at the line, or beside
// the title where a chart is low.

import { curve, lines } from "./bands.js";
import { button, cut, element, panel, setText, Surface } from "./dom.js";
import { listenToDrags } from "./scene.js";
import { percent, plainRun, shortName } from "./words.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./scene.js").Events} Events */

const CHARTS = [
  { metric: "test_accuracy", title: "New images right", short: "New images right" },
  { metric: "memorized", title: "Wrong labels memorized", short: "Memorized" },
];
const LOW = 7; // units; a chart that is less high has no room for names at its lines
const AXIS = 0.8; // units that the last chart has more, for the words below it

export class Curves {
  /** @param {Events} on */
  constructor(on) {
    const { root, body, head } = panel("curves", "");
    this.root = root;
    this.head = head;
    this.every = false; // whether each seed is drawn as well
    this.note = element("span", "note");
    this.toggle = button("chip", "all seeds", () => {
      this.every = !this.every;
      if (this.scene) this.draw(this.scene);
    });
    head.replaceChildren(this.toggle, this.note);
    this.surface = new Surface(body, "Test accuracy and memorization over the epochs");
    /** @type {Scene | null} */
    this.scene = null;
    let last = 0;
    const scrub = (/** @type {number} */ x) => {
      if (!this.scene) return;
      const [first, end] = this.scene.analysis.range;
      const { left, right } = this.area;
      last = first + Math.min(Math.max((x - left) / (right - left), 0), 1) * (end - first);
      on.scrub(last, false);
    };
    listenToDrags(this.surface, { start: scrub, move: scrub, end: () => on.scrub(last, true) });
  }

  get area() {
    const unit = this.scene?.colors.unit ?? 13;
    return { left: 3.2 * unit, right: this.surface.width - 0.8 * unit };
  }

  /** @param {Scene} scene */
  draw(scene) {
    this.scene = scene;
    const shown = CHARTS.filter(({ metric }) =>
      scene.analysis.recording.runs.some(({ epochs }) =>
        epochs.some(({ metrics }) => typeof metrics[metric] === "number"),
      ),
    );
    this.root.hidden = !shown.length; // no test images, and the truth is not known
    if (this.root.hidden) return;
    this.fillHead(scene);
    this.surface.fit();
    this.surface.clear();
    const axis = AXIS * scene.colors.unit;
    const height = (this.surface.height - axis) / shown.length;
    shown.forEach((chart, i) => {
      const last = i === shown.length - 1;
      this.chart(scene, chart, i * height, last ? height + axis : height, last);
    });
  }

  /** With several seeds: how many, and whether each of them is drawn.
   * @param {Scene} scene
   */
  fillHead({ analysis: { recording } }) {
    const counts = [...new Set(recording.runs.map(({ seeds }) => 1 + seeds.length))];
    this.head.hidden = Math.max(...counts) < 2;
    if (this.head.hidden) return;
    setText(this.note, `mean and 95 % interval of ${counts.join(" and ")} seeds`);
    this.toggle.setAttribute("aria-pressed", String(this.every));
  }

  /**
   * @param {Scene} scene
   * @param {{metric: string, title: string, short: string}} chart
   * @param {number} top
   * @param {number} height
   * @param {boolean} last
   */
  chart(scene, { metric, title, short }, top, height, last) {
    const { analysis, colors, time } = scene;
    const { pen } = this.surface;
    const { left, right } = this.area;
    const { unit } = colors;
    pen.font = `600 ${unit}px ${colors.font}`;
    const isLow = height < (last ? LOW + AXIS : LOW) * unit;
    const [ceiling, floor] = [
      top + (isLow ? 2 : 2.9) * unit,
      top + height - (last ? 0.9 + AXIS : 0.9) * unit,
    ];
    const { runs } = analysis.recording;
    const drawn = runs.map((run) => ({ points: curve(run, metric), each: lines(run, metric) }));
    const least = Math.min(
      ...drawn.flatMap(({ points, each }) => [
        ...points.map(({ low }) => low),
        ...(this.every ? each.flat().map(([, value]) => value) : []),
      ]),
    );
    const low =
      least > 0.5
        ? Math.floor(10 * least - 0.5) / 10
        : least > 0.25
          ? Math.floor(10 * least) / 10
          : 0;
    const y = (/** @type {number} */ v) => floor - ((floor - ceiling) * (v - low)) / (1 - low);
    const [first, end] = analysis.range;
    const x = (/** @type {number} */ e) =>
      end > first ? left + ((right - left) * (e - first)) / (end - first) : left;
    this.grid(scene, y, low, x, floor, ceiling, last);
    pen.strokeStyle = colors.quiet;
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(x(time), ceiling - 4);
    pen.lineTo(x(time), floor);
    pen.stroke();
    const color = (/** @type {number} */ number) =>
      number === plainRun(runs) ? colors.plain : colors.accent;
    drawn.forEach(({ points, each }, number) => {
      if (each.length < 2) return;
      this.band(points, color(number), x, y);
      if (this.every) this.seeds(each, color(number), x, y);
    });
    const heads = runs
      .map((run, number) => {
        const head = this.line(scene, number, drawn[number].points, x, y);
        const text = cut(pen, shortName(run), 0.3 * this.surface.width);
        return { ...head, text, plain: number === plainRun(runs) };
      })
      .filter(({ value }) => !Number.isNaN(value));
    if (!isLow) this.names(scene, heads, ceiling, floor);
    pen.font = `600 ${unit}px ${colors.font}`;
    pen.textBaseline = "top";
    const start = isLow ? this.beside(title, scene, heads, top + 2) : this.surface.width;
    pen.textAlign = "left";
    pen.fillStyle = colors.ink;
    pen.fillText(pen.measureText(title).width < start ? title : short, 0, top + 2);
  }

  /**
   * @param {Scene} scene
   * @param {(v: number) => number} y
   * @param {number} low
   * @param {(e: number) => number} x
   * @param {number} floor
   * @param {number} ceiling
   * @param {boolean} last
   */
  grid({ analysis, colors, run }, y, low, x, floor, ceiling, last) {
    const { pen } = this.surface;
    const { left, right } = this.area;
    pen.font = `${0.85 * colors.unit}px ${colors.font}`;
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    pen.lineWidth = 1;
    const room = (floor - ceiling) / 2 > colors.unit;
    for (const v of room ? [low, (low + 1) / 2, 1] : [low, 1]) {
      pen.strokeStyle = colors.line;
      pen.beginPath();
      pen.moveTo(left, Math.round(y(v)) + 0.5);
      pen.lineTo(right, Math.round(y(v)) + 0.5);
      pen.stroke();
      pen.fillStyle = colors.quiet;
      pen.fillText(`${Math.round(100 * v)} %`, left - 6, y(v));
    }
    const change = analysis.firstChange(run);
    if (change !== null) {
      pen.strokeStyle = colors.quiet;
      pen.setLineDash([2, 3]);
      pen.beginPath();
      pen.moveTo(x(change), ceiling);
      pen.lineTo(x(change), floor);
      pen.stroke();
      pen.setLineDash([]);
    }
    if (!last) return;
    const [first, end] = analysis.range;
    pen.textBaseline = "top";
    pen.textAlign = "left";
    pen.fillText(`epoch ${first}`, left, floor + 5);
    pen.textAlign = "right";
    pen.fillText(String(end), right, floor + 5);
    if (
      change !== null &&
      x(change) > left + 4 * colors.unit &&
      x(change) < right - 7 * colors.unit
    ) {
      pen.textAlign = "left";
      pen.fillText("labels change", x(change) - 2, floor + 5);
    }
  }

  /**
   * The 95 % interval of the mean.
   * @param {import("./bands.js").Point[]} points
   * @param {string} color
   * @param {(e: number) => number} x
   * @param {(v: number) => number} y
   */
  band(points, color, x, y) {
    const { pen } = this.surface;
    pen.fillStyle = color;
    pen.globalAlpha = 0.2;
    pen.beginPath();
    for (const { epoch, high } of points) pen.lineTo(x(epoch), y(high));
    for (const { epoch, low } of [...points].reverse()) pen.lineTo(x(epoch), y(low));
    pen.fill();
    pen.globalAlpha = 1;
  }

  /**
   * Each seed as a thin line.
   * @param {[number, number][][]} each
   * @param {string} color
   * @param {(e: number) => number} x
   * @param {(v: number) => number} y
   */
  seeds(each, color, x, y) {
    const { pen } = this.surface;
    pen.strokeStyle = color;
    pen.globalAlpha = 0.55;
    pen.lineWidth = 1;
    for (const line of each) {
      pen.beginPath();
      for (const [epoch, value] of line) pen.lineTo(x(epoch), y(value));
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }

  /**
   * One run's curve: strong up to now, faint after it. Returns where it is now.
   * @param {Scene} scene
   * @param {number} number
   * @param {import("./bands.js").Point[]} curve
   * @param {(e: number) => number} x
   * @param {(v: number) => number} y
   */
  line({ analysis, colors, time }, number, curve, x, y) {
    const { pen } = this.surface;
    const { runs } = analysis.recording;
    const plain = number === plainRun(runs);
    const color = plain ? colors.plain : colors.accent;
    const points = curve.map(({ epoch, mean }) => /** @type {[number, number]} */ ([epoch, mean]));
    let now = NaN;
    points.forEach(([epoch, value], i) => {
      if (epoch > time) return;
      const after = points[i + 1];
      const share = after ? Math.min((time - epoch) / (after[0] - epoch), 1) : 0;
      now = after ? value + (after[1] - value) * share : value;
    });
    const past = points.filter(([epoch]) => epoch <= time);
    if (past.length) past.push([Math.min(time, points[points.length - 1][0]), now]);
    pen.lineJoin = "round";
    pen.strokeStyle = color;
    for (const [part, alpha, width] of /** @type {[[number, number][], number, number][]} */ ([
      [points, 0.22, 1.5],
      [past, 1, 2.5],
    ])) {
      pen.setLineDash(plain ? [7, 4] : []);
      pen.globalAlpha = alpha;
      pen.lineWidth = width;
      pen.beginPath();
      for (const [epoch, value] of part) pen.lineTo(x(epoch), y(value));
      pen.stroke();
    }
    pen.setLineDash([]);
    pen.globalAlpha = 1;
    const head = past.at(-1);
    if (head) this.mark(x(head[0]), y(now), color, plain);
    return { x: head ? x(head[0]) : NaN, y: y(now), value: now, color };
  }

  /**
   * Where a run is now.
   * @param {number} x
   * @param {number} y
   * @param {string} color
   * @param {boolean} plain
   */
  mark(x, y, color, plain) {
    const { pen } = this.surface;
    pen.fillStyle = color;
    pen.beginPath();
    if (plain) pen.rect(x - 4, y - 4, 8, 8);
    else pen.arc(x, y, 4.5, 0, 2 * Math.PI);
    pen.fill();
  }

  /**
   * Values at the right end of the title's line, with names if there is room for them; where they
   * begin.
   * @param {string} title
   * @param {Scene} scene
   * @param {{value: number, color: string, text: string, plain: boolean}[]} heads
   * @param {number} top
   */
  beside(title, { colors }, heads, top) {
    const { pen } = this.surface;
    const { unit } = colors;
    pen.textAlign = "right";
    const values = heads.map(({ value }) => percent(value));
    const named = heads.map(({ text }, i) => `${text} ${values[i]}`);
    const wide = (/** @type {string} */ text) => pen.measureText(text).width + 1.6 * unit;
    let right = this.surface.width;
    const room = right - wide(title);
    const texts = named.reduce((sum, text) => sum + wide(text), 0) < room ? named : values;
    for (let i = heads.length - 1; i >= 0; i--) {
      const { color, plain } = heads[i];
      pen.fillStyle = color;
      pen.fillText(texts[i], right, top);
      right -= wide(texts[i]);
      this.mark(right + unit, top + 0.5 * unit, color, plain);
    }
    return right;
  }

  /**
   * Names at the heads of the curves, apart from each other.
   * @param {Scene} scene
   * @param {{x: number, y: number, value: number, color: string, text: string}[]} heads
   * @param {number} ceiling
   * @param {number} floor
   */
  names({ colors }, heads, ceiling, floor) {
    const { pen } = this.surface;
    const { right } = this.area;
    const size = colors.unit;
    pen.font = `600 ${size}px ${colors.font}`;
    pen.textBaseline = "middle";
    const sorted = [...heads].sort((a, b) => a.y - b.y);
    const gap = 1.3 * size;
    // above the upper curve and below the lower one, where both fit
    const lines = sorted.map((head, i) => {
      const above = sorted.length === 1 ? head.y > ceiling + gap : i === 0;
      return head.y + (above ? -0.95 : 0.95) * size;
    });
    if (lines[0] < ceiling - 0.8 * size) lines[0] = sorted[0].y + 0.95 * size;
    for (let i = 1; i < lines.length; i++) lines[i] = Math.max(lines[i], lines[i - 1] + gap);
    const over = (lines.at(-1) ?? 0) - (floor - 0.5 * size);
    if (over > 0) {
      const i = lines.length - 1;
      lines[i] = sorted[i].y - 0.95 * size;
      if (i > 0) lines[i - 1] = Math.min(lines[i - 1], lines[i] - gap);
    }
    sorted.forEach((head, i) => {
      const text = `${head.text} ${percent(head.value)}`;
      const fits = head.x + 8 + pen.measureText(text).width < right;
      pen.textAlign = fits ? "left" : "right";
      pen.lineWidth = 4;
      pen.lineJoin = "round";
      pen.strokeStyle = colors.panel;
      const x = fits ? head.x + 8 : Math.min(head.x + 2, right);
      pen.strokeText(text, x, lines[i]);
      pen.fillStyle = head.color;
      pen.fillText(text, x, lines[i]);
    });
  }
}
