// @ts-check
// A selection of images: how it was made, who belongs to it, and its text in the address.

import { inside } from "./view.js";
import { STATE_NAMES } from "./labels.js";

/** @typedef {import("./labels.js").Analysis} Analysis */
/**
 * @typedef {{kind: "loss", run: number, epoch: number, low: number, high: number}
 *   | {kind: "lasso", run: number, epoch: number, outline: [number, number][]}
 *   | {kind: "class", class: number}
 *   | {kind: "cell", run: number, epoch: number, by: "prediction" | "corrected",
 *      row: number, column: number}
 *   | {kind: "state", run: number, epoch: number, state: number}} Selection
 */

const MOST_CORNERS = 32; // of a lasso in the address

/**
 * 1 for each recorded sample that belongs to a selection, (n,); 0 for the others.
 * @param {Analysis} analysis
 * @param {Selection} selection
 * @returns {Uint8Array}
 */
export function members(analysis, selection) {
  const { n, truth, given } = analysis.recording;
  const flags = new Uint8Array(n);
  if (selection.kind === "class") {
    const labels = truth ?? given[0];
    for (let i = 0; i < n; i++) flags[i] = Number(labels[i] === selection.class);
    return flags;
  }
  const { run } = selection;
  const row = analysis.row(run, selection.epoch);
  if (row < 0) return flags;
  const { arrays } = analysis.epoch(run, row);
  if (selection.kind === "loss") {
    const { low, high } = selection;
    const codes = arrays.scaled_loss;
    for (let i = 0; i < n; i++) flags[i] = Number(codes[i] / 255 >= low && codes[i] / 255 <= high);
  } else if (selection.kind === "cell") {
    const labels = truth ?? given[run];
    const columns = arrays[selection.by];
    for (let i = 0; i < n; i++) {
      flags[i] = Number(labels[i] === selection.row && columns[i] === selection.column);
    }
  } else if (selection.kind === "state") {
    const states = analysis.states(run, row);
    for (let i = 0; i < n; i++) flags[i] = Number(states[i] === selection.state);
  } else {
    const places = analysis.positions(run, row);
    if (!places) return flags;
    const [x, y] = [new Float32Array(n), new Float32Array(n)];
    for (let i = 0; i < n; i++) {
      [x[i], y[i]] = [places[2 * i], places[2 * i + 1]];
    }
    return inside(selection.outline, x, y);
  }
  return flags;
}

/**
 * @param {Analysis} analysis
 * @param {Selection} selection
 */
export function describe(analysis, selection) {
  const { classes } = analysis.recording.dataset;
  switch (selection.kind) {
    case "class":
      return `class ${classes[selection.class]}`;
    case "loss":
      return `loss ${selection.low.toFixed(2)} to ${selection.high.toFixed(2)} at epoch ${selection.epoch}`;
    case "lasso":
      return `a part of the map at epoch ${selection.epoch}`;
    case "state":
      return `${STATE_NAMES[selection.state]} at epoch ${selection.epoch}`;
    default: {
      const by = selection.by === "prediction" ? "network says" : "label is";
      const { row, column, epoch } = selection;
      return `true ${classes[row]}, ${by} ${classes[column]} at epoch ${epoch}`;
    }
  }
}

/** @param {Selection} selection */
export function encode(selection) {
  const at = "run" in selection ? [selection.run, selection.epoch] : [];
  switch (selection.kind) {
    case "class":
      return ["class", selection.class].join("_");
    case "loss":
      return ["loss", ...at, selection.low.toFixed(3), selection.high.toFixed(3)].join("_");
    case "state":
      return ["state", ...at, STATE_NAMES[selection.state]].join("_");
    case "cell":
      return ["cell", ...at, selection.by, selection.row, selection.column].join("_");
    default: {
      const { outline } = selection;
      const step = Math.max(1, outline.length / MOST_CORNERS);
      const kept = Array.from({ length: Math.min(outline.length, MOST_CORNERS) }, (_, i) =>
        outline[Math.floor(i * step)].map((value) => Math.round(1000 * value)),
      );
      return ["lasso", ...at, ...kept.flat()].join("_");
    }
  }
}

/**
 * The selection of a text by `encode`; null where it is none.
 * @param {Analysis} analysis
 * @param {string} text
 * @returns {Selection | null}
 */
export function decode(analysis, text) {
  const { runs, dataset } = analysis.recording;
  const [kind, ...words] = text.split("_");
  const whole = (/** @type {string} */ word, /** @type {number} */ below) =>
    /^\d{1,6}$/.test(word ?? "") && Number(word) < below ? Number(word) : -1;
  if (kind === "class") {
    const number = whole(words[0], dataset.classes.length);
    return number < 0 ? null : { kind, class: number };
  }
  const [run, epoch] = [whole(words[0], runs.length), whole(words[1], 1e6)];
  const rest = words.slice(2);
  if (run < 0 || epoch < 0) return null;
  if (kind === "loss") {
    const [low, high] = rest.map(Number);
    return low <= high && low >= 0 && high <= 1 ? { kind, run, epoch, low, high } : null;
  }
  if (kind === "state") {
    const state = STATE_NAMES.indexOf(rest[0]);
    return state < 0 ? null : { kind, run, epoch, state };
  }
  if (kind === "cell") {
    const by = rest[0] === "corrected" ? "corrected" : "prediction";
    const [row, column] = rest.slice(1).map((word) => whole(word, dataset.classes.length));
    return row >= 0 && column >= 0 ? { kind, run, epoch, by, row, column } : null;
  }
  if (kind === "lasso") {
    const values = rest.map((word) => Number(word) / 1000);
    if (values.length < 6 || values.length % 2 || !values.every(Number.isFinite)) return null;
    /** @type {[number, number][]} */
    const outline = [];
    for (let i = 0; i < values.length; i += 2) outline.push([values[i], values[i + 1]]);
    return { kind, run, epoch, outline };
  }
  return null;
}
