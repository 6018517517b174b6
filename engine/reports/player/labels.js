// @ts-check
// What became of each label in each epoch, and what else follows from the arrays of a recording.

import { NO_PLACE } from "./recording.js";

/** @typedef {import("./recording.js").Recording} Recording */
/** @typedef {import("./recording.js").Run} Run */
/** @typedef {import("./recording.js").Epoch} Epoch */

// The order of the states is that of the legend.
export const RIGHT = 0; // the given label was right and still is
export const WRONG = 1; // the given label is wrong and has not changed
export const MEMORIZED = 2; // the same, and the network predicts it
export const CORRECTED = 3; // the given label was wrong, the label is right now
export const HARMED = 4; // the given label was right, the label is wrong now
export const CHANGED = 5; // another label than the given one, still wrong or the truth is not known
export const KEPT = 6; // the given label; the truth is not known
export const STATE_NAMES = [
  "right",
  "wrong",
  "memorized",
  "corrected",
  "harmed",
  "changed",
  "kept",
];
export const STATE_MEANINGS = [
  "The given label is right and was kept.",
  "The given label is wrong and has not changed.",
  "The given label is wrong, and the network repeats it: it has memorized the error.",
  "The given label was wrong; the label is right now.",
  "The given label was right; the label is wrong now.",
  "The label is another one now, but not a right one as far as is known.",
  "The label is still the given one; the true label is not known.",
];

/**
 * @param {number} given
 * @param {number} truth  -1 where it is not known
 * @param {number} now  the label after correction
 * @param {number} prediction
 */
export function stateOf(given, truth, now, prediction) {
  if (truth < 0) return now === given ? KEPT : CHANGED;
  if (given === truth) return now === truth ? RIGHT : HARMED;
  if (now === truth) return CORRECTED;
  if (now !== given) return CHANGED;
  return prediction === given ? MEMORIZED : WRONG;
}

export const N_BINS = 32; // of the histogram: 8 codes of the scaled loss each

/** Derived arrays by run and row, computed once. A row is a place in the list of a run's epochs. */
export class Analysis {
  /** @param {Recording} recording */
  constructor(recording) {
    this.recording = recording;
    /** @type {Map<string, any>} */
    this.cache = new Map();
  }

  /** The first and the last epoch of all runs; [0, -1] before the first one is recorded. */
  get range() {
    const runs = this.recording.runs.filter((run) => run.epochs.length);
    if (!runs.length) return [0, -1];
    return [
      Math.min(...runs.map((run) => run.epochs[0].epoch)),
      Math.max(...runs.map((run) => run.epochs[run.epochs.length - 1].epoch)),
    ];
  }

  /**
   * The row of an epoch; the nearest one where the run has no such epoch, -1 if it has none at all.
   * @param {number} run
   * @param {number} epoch
   */
  row(run, epoch) {
    const { epochs } = this.recording.runs[run];
    if (!epochs.length) return -1;
    return Math.min(Math.max(epoch - epochs[0].epoch, 0), epochs.length - 1);
  }

  /**
   * @param {number} run
   * @param {number} row
   * @returns {Epoch}
   */
  epoch(run, row) {
    return this.recording.runs[run].epochs[row];
  }

  /**
   * @template T
   * @param {string} key
   * @param {() => T} compute
   * @returns {T}
   */
  once(key, compute) {
    let value = this.cache.get(key);
    if (value === undefined) this.cache.set(key, (value = compute()));
    return value;
  }

  /**
   * The state of each label, (n,).
   * @param {number} run
   * @param {number} row
   * @returns {Uint8Array}
   */
  states(run, row) {
    return this.once(`states ${run} ${row}`, () => {
      const { given, truth, n } = this.recording;
      const { corrected, prediction } = this.epoch(run, row).arrays;
      const states = new Uint8Array(n);
      for (let i = 0; i < n; i++) {
        states[i] = stateOf(given[run][i], truth ? truth[i] : -1, corrected[i], prediction[i]);
      }
      return states;
    });
  }

  /**
   * How many recorded labels have each state.
   * @param {number} run
   * @param {number} row
   * @returns {number[]}
   */
  stateCounts(run, row) {
    return this.once(`counts ${run} ${row}`, () => {
      const counts = STATE_NAMES.map(() => 0);
      for (const state of this.states(run, row)) counts[state]++;
      return counts;
    });
  }

  /**
   * How many recorded given labels are wrong, 0 where it is not known.
   * @param {number} run
   * @returns {number}
   */
  nWrong(run) {
    return this.once(`wrong ${run}`, () => {
      const { given, truth, n } = this.recording;
      let wrong = 0;
      if (truth) for (let i = 0; i < n; i++) wrong += Number(given[run][i] !== truth[i]);
      return wrong;
    });
  }

  /**
   * The states that occur in any epoch of a run.
   * @param {number} run
   */
  occurring(run) {
    const rows = this.recording.runs[run].epochs.length;
    return this.once(`occurring ${run} ${rows}`, () => {
      const found = STATE_NAMES.map(() => false);
      for (let row = 0; row < rows; row++) {
        this.stateCounts(run, row).forEach((count, state) => (found[state] ||= count > 0));
      }
      return found;
    });
  }

  /**
   * Counts of the scaled losses: all of them and those of labels that are wrong now, (N_BINS,) each.
   * @param {number} run
   * @param {number} row
   * @returns {{all: Float64Array, wrong: Float64Array, most: number}}
   */
  bins(run, row) {
    return this.once(`bins ${run} ${row}`, () => this.countBins(run, row, null));
  }

  /**
   * The same for the samples whose flag in `members` is 1; null for all.
   * @param {number} run
   * @param {number} row
   * @param {Uint8Array | null} members
   */
  countBins(run, row, members) {
    const states = this.states(run, row);
    const codes = this.epoch(run, row).arrays.scaled_loss;
    const all = new Float64Array(N_BINS);
    const wrong = new Float64Array(N_BINS);
    for (let i = 0; i < codes.length; i++) {
      if (members && !members[i]) continue;
      all[codes[i] >> 3]++;
      if (isWrong(states[i])) wrong[codes[i] >> 3]++;
    }
    return { all, wrong, most: Math.max(...all) };
  }

  /**
   * The tallest bar of the epochs of a run.
   * @param {number} run
   */
  tallest(run) {
    const rows = this.recording.runs[run].epochs.length;
    return this.once(`tallest ${run} ${rows}`, () => {
      let most = 1;
      for (let row = 0; row < rows; row++) most = Math.max(most, this.bins(run, row).most);
      return most;
    });
  }

  /**
   * Positions on the map, (n, 2): shares in [0, 1] of the rectangle around all of them, from the
   * left and from the top; nan for samples without one. Null where nothing was recorded.
   * @param {number} run
   * @param {number} row
   * @returns {Float32Array | null}
   */
  positions(run, row) {
    return this.once(`positions ${run} ${row}`, () => {
      const { arrays, box } = this.epoch(run, row);
      if (!box || !arrays.map) return null;
      const low = [Infinity, Infinity];
      const high = [-Infinity, -Infinity];
      arrays.map.forEach((/** @type {number} */ code, /** @type {number} */ i) => {
        if (code === NO_PLACE) return;
        low[i % 2] = Math.min(low[i % 2], code);
        high[i % 2] = Math.max(high[i % 2], code);
      });
      const [width, height] = [high[0] - low[0] || 1, high[1] - low[1] || 1];
      return Float32Array.from(arrays.map, (code, i) => {
        if (code === NO_PLACE) return NaN;
        return i % 2 ? (high[1] - code) / height : (code - low[0]) / width;
      });
    });
  }

  /**
   * Where the islands of the classes are: medians of the positions, (C, 2); nan for empty ones.
   * @param {number} run
   * @param {number} row
   * @returns {Float32Array}
   */
  islands(run, row) {
    return this.once(`islands ${run} ${row}`, () => {
      const { dataset, truth, given } = this.recording;
      const labels = truth ?? given[run];
      const places = this.positions(run, row) ?? new Float32Array(0);
      const centers = new Float32Array(2 * dataset.classes.length).fill(NaN);
      /** @type {number[][][]} */
      const members = dataset.classes.map(() => [[], []]);
      for (let i = 0; 2 * i < places.length; i++) {
        if (Number.isNaN(places[2 * i])) continue;
        members[labels[i]][0].push(places[2 * i]);
        members[labels[i]][1].push(places[2 * i + 1]);
      }
      members.forEach((axes, c) =>
        axes.forEach((values, axis) => {
          if (values.length) centers[2 * c + axis] = median(values);
        }),
      );
      return centers;
    });
  }

  /**
   * Counts (C * C): the true (else the given) class in rows, in columns what the network predicts
   * or the label after correction.
   * @param {number} run
   * @param {number} row
   * @param {"prediction" | "corrected"} by
   * @returns {Uint32Array}
   */
  confusion(run, row, by) {
    return this.once(`confusion ${run} ${row} ${by}`, () => {
      const { dataset, truth, given, n } = this.recording;
      const classes = dataset.classes.length;
      const labels = truth ?? given[run];
      const columns = this.epoch(run, row).arrays[by];
      const counts = new Uint32Array(classes * classes);
      for (let i = 0; i < n; i++) counts[labels[i] * classes + columns[i]]++;
      return counts;
    });
  }

  /**
   * The first epoch after which a label is not the given one; null if there is none.
   * @param {number} run
   * @returns {number | null}
   */
  firstChange(run) {
    const { epochs } = this.recording.runs[run];
    const given = this.recording.given[run];
    for (let row = 0; row < epochs.length; row++) {
      const found = this.once(`change ${run} ${row}`, () =>
        epochs[row].arrays.corrected.some((label, i) => label !== given[i]),
      );
      if (found) return epochs[row].epoch;
    }
    return null;
  }

  /** The run that the pictures show first: one that corrects labels, else the last one. */
  telling() {
    const runs = this.recording.runs.map((_, run) => run);
    return runs.findLast((run) => this.firstChange(run) !== null) ?? runs.length - 1;
  }

  /**
   * The epoch at which a recording opens: the one before labels first change; where none does, the
   * one with the most accurate network.
   * @param {number} run
   */
  opening(run) {
    const [first, last] = this.range;
    const change = this.firstChange(run);
    if (change !== null) return Math.max(change - 1, first);
    const { epochs } = this.recording.runs[run];
    const best = epochs.reduce(
      (a, b) => ((b.metrics.test_accuracy ?? -1) > (a?.metrics.test_accuracy ?? -1) ? b : a),
      epochs[0],
    );
    return best ? best.epoch : last;
  }

  /**
   * Numbers of an epoch over all samples of the data set; null where they are not known.
   * @param {number} run
   * @param {number} row
   */
  score(run, row) {
    const { metrics, outcomes } = this.epoch(run, row);
    const known = this.recording.truthKnown;
    const wrong = known ? outcomes.corrected + outcomes.missed + outcomes.changed : null;
    const memorized = metrics.memorized ?? null;
    return {
      accuracy: metrics.test_accuracy ?? null,
      wrong, // given labels that are wrong
      memorized: wrong === null || memorized === null ? null : Math.round(memorized * wrong),
      corrected: known ? outcomes.corrected : null,
      harmed: known ? outcomes.harmed : null,
      changed: known
        ? outcomes.corrected + outcomes.harmed + outcomes.changed
        : (outcomes.changed ?? 0),
    };
  }
}

/** @param {number} state */
export const isWrong = (state) =>
  state === WRONG || state === MEMORIZED || state === HARMED || state === CHANGED;

/** @param {number[]} values */
function median(values) {
  values.sort((a, b) => a - b);
  return values[values.length >> 1];
}
