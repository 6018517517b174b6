// @ts-check
// Curves of a run and of the same run with other seeds: their mean and its 95 % interval.

/** @typedef {import("./recording.js").Run} Run */
/**
 * @typedef {object} Point
 * @property {number} epoch
 * @property {number} mean
 * @property {number} low  of the 95 % interval of the mean (Student's t), in [0, 1]
 * @property {number} high
 */

/**
 * The values of a metric by epoch, of the run itself and of each other seed; missing ones left out.
 * @param {Run} run
 * @param {string} metric
 * @returns {[number, number][][]}
 */
export function lines(run, metric) {
  const own = run.epochs.map(({ epoch, metrics }) => [epoch, metrics[metric]]);
  const others = run.seeds.map(({ epochs, metrics }) =>
    epochs.map((epoch, i) => [epoch, metrics[metric]?.[i]]),
  );
  return /** @type {[number, number][][]} */ (
    [own, ...others].map((line) => line.filter(([, value]) => typeof value === "number"))
  );
}

/**
 * The curve of a metric: the mean over the seeds, of a run alone its own values.
 * @param {Run} run
 * @param {string} metric  a share in [0, 1]
 * @returns {Point[]}
 */
export function curve(run, metric) {
  /** @type {Map<number, number[]>} */
  const byEpoch = new Map();
  for (const line of lines(run, metric)) {
    for (const [epoch, value] of line) byEpoch.set(epoch, [...(byEpoch.get(epoch) ?? []), value]);
  }
  return [...byEpoch.entries()]
    .sort(([a], [b]) => a - b)
    .map(([epoch, values]) => ({ epoch, ...interval(values, run.quantiles) }));
}

/**
 * @param {number[]} values
 * @param {number[]} quantiles  of Student's t at 97.5 %, by degrees of freedom from 1 on
 * @returns {{mean: number, low: number, high: number}}
 */
export function interval(values, quantiles) {
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  if (n < 2) return { mean, low: mean, high: mean };
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const half = quantiles[n - 2] * Math.sqrt(squares / (n - 1) / n);
  return { mean, low: Math.max(mean - half, 0), high: Math.min(mean + half, 1) };
}
