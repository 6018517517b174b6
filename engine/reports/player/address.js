// @ts-check
// What is picked, as the fragment of the address: #epoch=5&run=mixnn&sample=506&select=class_3

import { decode, encode } from "./selection.js";

/** @typedef {import("./labels.js").Analysis} Analysis */
/** @typedef {{epoch: number, run: number, sample: number, selection: import("./selection.js").Selection | null}} Picked */

/**
 * @param {Analysis} analysis
 * @param {Picked} picked  sample: a place, -1 for none
 */
export function toFragment(analysis, { epoch, run, sample, selection }) {
  const { recording } = analysis;
  const parts = [`epoch=${epoch}`];
  if (recording.runs.length > 1) parts.push(`run=${run}`);
  if (sample >= 0) parts.push(`sample=${recording.samples[sample]}`);
  if (selection) parts.push(`select=${encode(selection)}`);
  return parts.join("&");
}

/**
 * What a fragment says; what it does not say, or what does not exist, is missing.
 * @param {Analysis} analysis
 * @param {string} fragment
 * @returns {Partial<Picked>}
 */
export function fromFragment(analysis, fragment) {
  const { recording, range } = analysis;
  const words = new URLSearchParams(fragment.replace(/^#/, ""));
  const number = (/** @type {string} */ name) => {
    const text = words.get(name) ?? "";
    return /^\d{1,9}$/.test(text) ? Number(text) : -1;
  };
  /** @type {Partial<Picked>} */
  const picked = {};
  const epoch = number("epoch");
  if (epoch >= range[0] && epoch <= range[1]) picked.epoch = epoch;
  const run = number("run");
  if (run >= 0 && run < recording.runs.length) picked.run = run;
  if (words.has("sample")) {
    const place = recording.samples.indexOf(number("sample"));
    if (place >= 0) picked.sample = place;
  }
  const selection = decode(analysis, words.get("select") ?? "");
  if (selection) picked.selection = selection;
  return picked;
}
