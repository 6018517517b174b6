// @ts-check
// The score, the moment and the end of a recording, in sentences that state its numbers.

import { modality } from "./mixture.js";

/** @typedef {import("./labels.js").Analysis} Analysis */

/** @param {number} n */
export const count = (n) => n.toLocaleString("en-US");

/**
 * A text in which no number is parted from its %.
 * @param {string} text
 */
export const unbroken = (text) => text.replace(/ %/g, "\u00a0%");

/** @param {number} share */
export function percent(share) {
  const value = 100 * share;
  return `${Math.abs(value - Math.round(value)) < 0.05 ? Math.round(value) : value.toFixed(1)} %`;
}

/**
 * @param {number} n
 * @param {string} one
 * @param {string} [many]
 */
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

/**
 * A run's name for people who do not know the method.
 * @param {{method: string, title: string}} run
 */
export const runName = (run) => (run.method === "ce" ? "Plain training" : run.title);

/** @param {{method: string, title: string}} run */
export const shortName = (run) => (run.method === "ce" ? "Plain" : run.title);

/**
 * The run that the other one is compared with, -1 for a run alone.
 * @param {{method: string}[]} runs
 */
export const plainRun = (runs) => (runs.length < 2 ? -1 : runs[1].method === "ce" ? 1 : 0);

/**
 * Whether the run may change labels.
 * @param {import("./recording.js").Run} run
 */
export const corrects = (run) =>
  Boolean(run.settings.correction) && run.settings.correction !== "none";

/**
 * What an epoch's losses say, for people who see the histogram. Empty without a mixture.
 * @param {Analysis} analysis
 * @param {number} run
 * @param {number} row
 */
export function verdict(analysis, run, row) {
  const { mixture } = analysis.epoch(run, row);
  if (!mixture) return "";
  return {
    two: "two clear peaks (bimodal)",
    overlapping: "two peaks that overlap",
    one: "one peak (unimodal)",
  }[modality(mixture)];
}

/**
 * The labels that P(clean) below 0.5 finds among those that are wrong now, in one sentence.
 * @param {Analysis} analysis
 * @param {number} run
 * @param {number} row
 */
export function lossSentence(analysis, run, row) {
  const { mixture, arrays } = analysis.epoch(run, row);
  if (!mixture) return "";
  const shape = verdict(analysis, run, row);
  const { truth } = analysis.recording;
  if (!truth) return `The losses form ${shape}.`;
  let [wrong, found, flagged] = [0, 0, 0];
  for (let i = 0; i < truth.length; i++) {
    const low = arrays.clean[i] < 127.5;
    const is = arrays.corrected[i] !== truth[i];
    wrong += Number(is);
    flagged += Number(low);
    found += Number(low && is);
  }
  if (!wrong) return `The losses form ${shape}; no label is wrong now.`;
  const extra = flagged - found;
  const also = extra ? ` and ${plural(extra, "right one")}` : "";
  return (
    `The losses form ${shape}: P(clean), the chance that a label is right, is below 0.5 for ` +
    `${count(found)} of ${plural(wrong, "wrong label")}${also}.`
  );
}

/**
 * What a run has done so far, as the end of a sentence after its name.
 * @param {Analysis} analysis
 * @param {number} run
 * @param {number} row
 */
export function deeds(analysis, run, row) {
  const score = analysis.score(run, row);
  const parts = [];
  const changes = corrects(analysis.recording.runs[run]);
  if (score.wrong === null) {
    if (changes) parts.push(`has changed ${plural(score.changed, "label")}`);
  } else {
    const wrong = plural(score.wrong, "wrong label");
    if (changes) {
      parts.push(`has corrected ${count(score.corrected ?? 0)} of ${wrong}`);
      if (score.harmed) parts.push(`has harmed ${plural(score.harmed, "right one")}`);
    } else if (score.memorized !== null && score.wrong) {
      parts.push(`has memorized ${count(score.memorized)} of ${wrong}`);
    }
  }
  if (score.accuracy !== null) parts.push(`gets ${percent(score.accuracy)} of new images right`);
  return listed(parts);
}

/**
 * The score of all runs in one sentence each.
 * @param {Analysis} analysis
 * @param {number} epoch
 */
export function scoreSentence(analysis, epoch) {
  const sentences = analysis.recording.runs.flatMap((run, number) => {
    const row = analysis.row(number, epoch);
    const said = row < 0 ? "" : deeds(analysis, number, row);
    return said ? [`${runName(run)} ${said}`] : [];
  });
  return sentences.length ? `${sentences.join("; ")}.` : "";
}

/**
 * What happens at an epoch in the run that is shown.
 * @param {Analysis} analysis
 * @param {number} run
 * @param {number} epoch
 */
export function moment(analysis, run, epoch) {
  const row = analysis.row(run, epoch);
  if (row < 0) return "";
  const now = analysis.epoch(run, row);
  const { wrong, memorized, corrected, harmed, changed } = analysis.score(run, row);
  const change = analysis.firstChange(run);
  const losses = lossSentence(analysis, run, row);
  if (changed) {
    if (now.epoch === change) {
      const effect =
        wrong === null
          ? `${plural(changed, "label")} changed`
          : `${count(corrected ?? 0)} corrected, ${count(harmed ?? 0)} harmed`;
      return `Labels change for the first time: ${effect}. ${losses}`;
    }
    const effect =
      wrong === null
        ? `${plural(changed, "label")} changed so far.`
        : `${count(corrected ?? 0)} of ${plural(wrong, "wrong label")} corrected, ` +
          `${plural(harmed ?? 0, "right one")} harmed.`;
    return `${effect} ${losses}`;
  }
  const begin = now.n_neighbors
    ? `Each image is trained mixed with its ${plural(now.n_neighbors, "nearest neighbor")}`
    : "The network learns the labels as they were given";
  if (wrong && memorized !== null && !corrects(analysis.recording.runs[run])) {
    const repeats = `repeats ${count(memorized)} of ${plural(wrong, "wrong one")} so far`;
    return `${begin}${now.n_neighbors ? "; the network " : " and "}${repeats}. ${losses}`;
  }
  return `${begin}; no label has changed yet. ${losses}`;
}

/**
 * One sentence at the end of a recording that has ended.
 * @param {Analysis} analysis
 */
export function closing(analysis) {
  const { runs } = analysis.recording;
  const [first, last] = analysis.range;
  const said = runs.map((run, number) => {
    const row = analysis.row(number, last);
    return row < 0 ? "" : `${runName(run)} ${deeds(analysis, number, row)}`;
  });
  return `After ${plural(last - first + 1, "epoch")}: ${said.filter(Boolean).join(", while ")}.`;
}

/**
 * "a", "a and b", "a, b and c".
 * @param {string[]} parts
 */
export function listed(parts) {
  if (parts.length < 2) return parts.join("");
  return `${parts.slice(0, -1).join(", ")} and ${parts[parts.length - 1]}`;
}
