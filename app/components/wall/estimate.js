// @ts-check
// Expected numbers: mistakes in a bulk accept, and wrong labels that are still to be found.

import { CHANGE, REMOVE } from "./ledger.js";

/** @typedef {import("./book.js").Book} Book */
/** @typedef {import("./ledger.js").Decision} Decision */

/**
 * Expected mistakes if each image gets its suggested label, or keeps the given one; NaN where a
 * probability is not known.
 * @param {Book} book
 * @param {number[]} positions
 */
export function expectedMistakes({ given, suggested, likely, doubt }, positions) {
  return positions.reduce(
    (sum, i) => sum + (given[i] === suggested[i] ? doubt[i] : 1 - likely[i]),
    0,
  );
}

const LEAST = 1e-4; // probability that a label is wrong
const SPREAD = 0.8; // standard deviation of the shift before anything is decided
const [STEPS, MOST_STEP] = [20, 2]; // of Newton's method
/** @type {WeakMap<Float32Array, Float64Array>} */
const logits = new WeakMap();

/**
 * Wrong labels found, and the expected number among images without a decision.
 *
 * The log-odds of all labels to be wrong are shifted by one number until as many wrong labels are
 * expected among the decided images as were found there: the most likely shift under a normal prior
 * (mean 0), so that few decisions say little.
 * @param {Book} book
 * @param {(sample: number) => Decision | undefined} decisionOf
 * @returns {{decided: number, found: number, remaining: number}} remaining: NaN where not known
 */
export function progress({ samples, doubt }, decisionOf) {
  let odds = logits.get(doubt);
  if (!odds) {
    odds = Float64Array.from(doubt, (p) => {
      const clipped = Math.min(Math.max(p, LEAST), 1 - LEAST);
      return Math.log(clipped / (1 - clipped));
    });
    logits.set(doubt, odds);
  }
  /** @type {number[]} */
  const decided = [];
  /** @type {number[]} */
  const open = [];
  let found = 0;
  for (let i = 0; i < samples.length; i++) {
    const decision = decisionOf(samples[i]);
    (decision ? decided : open).push(odds[i]);
    if (decision && (decision.kind === CHANGE || decision.kind === REMOVE)) found++;
  }
  let shift = 0;
  for (let n = 0; n < STEPS && decided.length; n++) {
    let [excess, slope] = [shift / SPREAD ** 2 - found, 1 / SPREAD ** 2];
    for (const one of decided) {
      const p = sigmoid(one + shift);
      excess += p;
      slope += p * (1 - p);
    }
    const step = Math.min(Math.max(excess / slope, -MOST_STEP), MOST_STEP);
    shift -= step;
    if (Math.abs(step) < 1e-6) break;
  }
  const remaining = open.reduce((sum, one) => sum + sigmoid(one + shift), 0);
  return { decided: decided.length, found, remaining };
}

/** @param {number} x */
function sigmoid(x) {
  return 1 / (1 + Math.exp(-x));
}

/**
 * A number of expected cases in words.
 * @param {number} n
 */
export function about(n) {
  if (Number.isNaN(n)) return "an unknown number";
  if (n < 0.05) return "fewer than 0.1";
  return n < 10 ? `about ${n.toFixed(1)}` : `about ${Math.round(n).toLocaleString("en-US")}`;
}
