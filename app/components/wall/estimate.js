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

/**
 * Wrong labels found, and the expected number among images without a decision: the sum of their
 * probabilities to be wrong, times found over expected ones among those decided so far.
 * @param {Book} book
 * @param {(sample: number) => Decision | undefined} decisionOf
 * @returns {{decided: number, found: number, remaining: number}} remaining: NaN where not known
 */
export function progress({ samples, doubt }, decisionOf) {
  let [decided, found, expected, open] = [0, 0, 0, 0];
  samples.forEach((sample, i) => {
    const decision = decisionOf(sample);
    if (!decision) {
      open += doubt[i];
      return;
    }
    decided++;
    expected += doubt[i];
    if (decision.kind === CHANGE || decision.kind === REMOVE) found++;
  });
  // as if PRIOR wrong labels had been expected and found before: few decisions say little
  return { decided, found, remaining: (open * (found + PRIOR)) / (expected + PRIOR) };
}

const PRIOR = 10;

/**
 * A number of expected cases in words.
 * @param {number} n
 */
export function about(n) {
  if (Number.isNaN(n)) return "an unknown number";
  if (n < 0.05) return "fewer than 0.1";
  return n < 10 ? `about ${n.toFixed(1)}` : `about ${Math.round(n).toLocaleString("en-US")}`;
}
