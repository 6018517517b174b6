// @ts-check
// The two Gaussian components of the losses: their curves, P(clean), and whether they are apart.

/** @typedef {import("./recording.js").Mixture} Mixture */

// As engine/method/mixture.py: components closer than this many pooled standard deviations are
// unimodal (Ashman's D, Ashman et al. 1994).
export const MIN_ASHMAN_D = 2;
// Height of the valley between two peaks, as a share of the lower one, from which on they overlap.
const SHALLOW = 0.5;

/**
 * @param {Mixture} mixture
 * @param {0 | 1} component
 * @param {number} x  scaled loss
 */
export function density(mixture, component, x) {
  const std = mixture.stds[component];
  if (!(std > 0)) return 0;
  const z = (x - mixture.means[component]) / std;
  return (mixture.weights[component] * Math.exp((-z * z) / 2)) / (std * Math.sqrt(2 * Math.PI));
}

/**
 * P(clean) of a scaled loss; null where a component has no width.
 * @param {Mixture} mixture
 * @param {number} x
 */
export function cleanPosterior(mixture, x) {
  const { means, stds, weights } = mixture;
  if (!(stds[0] > 0 && stds[1] > 0)) return null;
  // far from both components their densities vanish, their ratio does not
  const [a, b] = [0, 1].map(
    (i) => Math.log(weights[i] + 1e-300) - Math.log(stds[i]) - ((x - means[i]) / stds[i]) ** 2 / 2,
  );
  return 1 / (1 + Math.exp(Math.min(Math.max(b - a, -700), 700)));
}

/** @param {Mixture} mixture */
export function ashmanD({ means, stds }) {
  const pooled = Math.sqrt((stds[0] ** 2 + stds[1] ** 2) / 2);
  return pooled > 0 ? (means[1] - means[0]) / pooled : 0;
}

/**
 * "two": clearly bimodal. "overlapping": the components are apart, but the valley between them is
 * shallow. "one": unimodal.
 * @param {Mixture} mixture
 * @returns {"two" | "overlapping" | "one"}
 */
export function modality(mixture) {
  if (ashmanD(mixture) < MIN_ASHMAN_D) return "one";
  const [low, high] = mixture.means;
  const sum = (/** @type {number} */ x) => density(mixture, 0, x) + density(mixture, 1, x);
  let valley = Infinity;
  for (let i = 0; i <= 100; i++) valley = Math.min(valley, sum(low + ((high - low) * i) / 100));
  return valley < SHALLOW * Math.min(sum(low), sum(high)) ? "two" : "overlapping";
}
