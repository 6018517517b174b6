// @ts-check
// The confusion matrix of the network's predictions, or of the labels; a cell selects its images.

import { button, cut, element, panel, setText, Surface } from "./dom.js";
import { count } from "./words.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./scene.js").Events} Events */

const CHOICES = /** @type {["prediction" | "corrected", string][]} */ ([
  ["prediction", "prediction"],
  ["corrected", "label"],
]);

export class Confusion {
  /** @param {Events} on */
  constructor(on) {
    this.on = on;
    const { root, body, head, note } = panel("confusion", "True class against");
    this.note = note;
    this.title = head.firstElementChild;
    this.root = root;
    const choice = element("div", "choice");
    choice.setAttribute("role", "group");
    choice.setAttribute("aria-label", "Columns of the matrix");
    this.buttons = CHOICES.map(([by, text]) => {
      const node = button("", text, () => on.columns(by));
      choice.append(node);
      return node;
    });
    head.insertBefore(choice, note);
    this.surface = new Surface(body, "Confusion matrix");
    this.surface.canvas.tabIndex = 0;
    this.surface.canvas.setAttribute("role", "application");
    this.drawnKey = "";
    this.cell = [-1, -1]; // row and column under the pointer or by keyboard
    /** @type {Scene | null} */
    this.scene = null;
    this.listen();
  }

  listen() {
    const { canvas } = this.surface;
    const redraw = () => {
      this.drawnKey = "";
      if (this.scene) this.draw(this.scene);
    };
    canvas.addEventListener("mousedown", (event) => event.preventDefault());
    canvas.addEventListener("pointermove", (event) => {
      this.cell = this.find(event);
      redraw();
    });
    for (const name of ["pointerleave", "blur"]) {
      canvas.addEventListener(name, () => {
        this.cell = [-1, -1];
        redraw();
      });
    }
    canvas.addEventListener("click", (event) => this.choose(this.find(event)));
    canvas.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
      const last = (this.scene?.analysis.recording.dataset.classes.length ?? 1) - 1;
      if (event.key in moves) {
        const move = moves[/** @type {keyof typeof moves} */ (event.key)];
        this.cell = this.cell.map((value, i) =>
          value < 0 ? 0 : Math.min(Math.max(value + move[i], 0), last),
        );
        redraw();
      } else if (event.key === "Enter") {
        this.choose(this.cell);
      } else {
        return;
      }
      event.preventDefault();
      event.stopPropagation();
    });
  }

  /** A cell, or a whole class by its name at the left.
   * @param {number[]} cell
   */
  choose([row, column]) {
    if (!this.scene || row < 0) return;
    const { run, epoch, by } = this.scene;
    if (column < 0) this.on.select({ kind: "class", class: row });
    else this.on.select({ kind: "cell", run, epoch, by, row, column });
  }

  get area() {
    const unit = this.scene?.colors.unit ?? 13;
    const classes = this.scene?.analysis.recording.dataset.classes ?? [""];
    const { pen, width, height } = this.surface;
    pen.font = `${0.92 * unit}px ${this.scene?.colors.font ?? "sans-serif"}`;
    const longest = Math.max(...classes.slice(0, 60).map((name) => pen.measureText(name).width));
    const left = Math.min(longest + 10, 0.3 * width);
    const top = 1.5 * unit;
    const right = width - 2;
    const bottom = height - 2;
    return { left, top, w: (right - left) / classes.length, h: (bottom - top) / classes.length };
  }

  /**
   * @param {MouseEvent} event
   * @returns {[number, number]}
   */
  find(event) {
    const [x, y] = this.surface.at(event);
    const { left, top, w, h } = this.area;
    const last = this.scene?.analysis.recording.dataset.classes.length ?? 0;
    const [row, column] = [Math.floor((y - top) / h), Math.floor((x - left) / w)];
    return row < 0 || row >= last || column >= last ? [-1, -1] : [row, Math.max(column, -1)];
  }

  /** @param {Scene} scene */
  draw(scene) {
    this.scene = scene;
    const resized = this.surface.fit();
    const { analysis, run, row, by, version, colors } = scene;
    const key = [run, row, by, version].join();
    if (key === this.drawnKey && !resized) return;
    this.drawnKey = key;
    const { truthKnown } = analysis.recording;
    if (this.title) setText(this.title, `${truthKnown ? "True class" : "Given label"} against`);
    this.buttons.forEach((node, i) =>
      node.setAttribute("aria-pressed", String(CHOICES[i][0] === by)),
    );
    const { classes } = analysis.recording.dataset;
    const counts = analysis.confusion(run, row, by);
    const { pen } = this.surface;
    this.surface.clear();
    const { left, top, w, h } = this.area;
    const most = Math.max(1, ...classes.map((_, c) => counts[c * (classes.length + 1)]));
    const size = Math.min(0.92 * colors.unit, 0.75 * h, (w - 1) / 1.75);
    pen.textBaseline = "middle";
    for (let a = 0; a < classes.length; a++) {
      for (let b = 0; b < classes.length; b++) {
        const n = counts[a * classes.length + b];
        const [x, y] = [left + b * w, top + a * h];
        pen.globalAlpha = n ? Math.min(0.16 + (a === b ? 0.6 : 1.6) * Math.sqrt(n / most), 1) : 1;
        pen.fillStyle = !n ? colors.line : colors.states[a === b ? 0 : 1];
        const thin = n ? 0 : 0.35;
        if (!n) pen.globalAlpha = thin;
        pen.fillRect(x + 0.5, y + 0.5, Math.max(w - 1, 0.5), Math.max(h - 1, 0.5));
        pen.globalAlpha = 1;
        if (!n || h < 11 || w < 16) continue;
        pen.font = `${size}px ${colors.font}`;
        pen.textAlign = "center";
        pen.fillStyle = colors.ink;
        pen.fillText(String(n), x + w / 2, y + h / 2 + 0.5);
      }
    }
    this.names(scene, size);
  }

  /**
   * @param {Scene} scene
   * @param {number} size
   */
  names({ analysis, colors, run, row, by }, size) {
    const { classes } = analysis.recording.dataset;
    const { pen } = this.surface;
    const { left, top, w, h } = this.area;
    const { truthKnown } = analysis.recording;
    pen.font = `${Math.max(size, 9)}px ${colors.font}`;
    if (h >= 9) {
      pen.fillStyle = colors.quiet;
      pen.textAlign = "right";
      classes.forEach((name, c) =>
        pen.fillText(cut(pen, name, left - 8), left - 6, top + (c + 0.5) * h),
      );
    }
    pen.textAlign = "center";
    // names that do not fit are those of the rows, in the same order
    if (classes.every((name) => pen.measureText(name).width < w - 2)) {
      classes.forEach((name, c) => pen.fillText(name, left + (c + 0.5) * w, 0.8 * colors.unit));
    }
    const [a, b] = this.cell;
    if (a < 0) {
      setText(this.note, "");
      return;
    }
    pen.strokeStyle = colors.ink;
    pen.lineWidth = 2;
    if (b < 0) pen.strokeRect(left, top + a * h, w * classes.length, h);
    else pen.strokeRect(left + b * w, top + a * h, w, h);
    const n = analysis.confusion(run, row, by)[a * classes.length + Math.max(b, 0)];
    const says = by === "prediction" ? "the network says" : "the label is";
    const kind = truthKnown ? "true" : "given";
    const text =
      b < 0
        ? `class ${classes[a]}`
        : `${count(n)} images: ${kind} class ${classes[a]}, ${says} ${classes[b]}`;
    setText(this.note, b < 0 ? classes[a] : `${classes[a]} → ${classes[b]}`);
    this.surface.canvas.setAttribute("aria-label", `Confusion matrix. ${text}`);
  }
}
