// @ts-check
// What became of each wrong label, where there are few: found or not, and why.

import { button, element, panel, picture, setText } from "./dom.js";
import { CHANGED, CORRECTED, MEMORIZED, stateOf } from "./labels.js";
import { story } from "./story.js";
import { frame } from "./theme.js";
import { corrects, count, plural, runName, unbroken } from "./words.js";

/** @typedef {import("./recording.js").Recording} Recording */
/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./scene.js").Events} Events */

export const FEW = 40; // wrong labels that are listed one by one
const BESIDE = ["given", "other", "moved"]; // kinds of facts that are no reason

/** How many given labels are wrong, as far as is known.
 * @param {Recording} recording
 * @param {number} run
 */
export function wrongPlaces({ given, truth }, run) {
  const places = Array.from(given[run].keys());
  return truth ? places.filter((place) => given[run][place] !== truth[place]) : [];
}

/**
 * The outcome of each wrong label after the last recorded epoch.
 * @param {Recording} recording
 * @param {number} run
 * @returns {{place: number, state: number, outcome: string, reason: string}[]}
 */
export function verdicts(recording, run) {
  const { epochs } = recording.runs[run];
  const last = epochs[epochs.length - 1];
  const truth = recording.truth;
  if (!last || !truth) return [];
  const { classes } = recording.dataset;
  return wrongPlaces(recording, run).map((place) => {
    const given = recording.given[run][place];
    const { corrected, prediction } = last.arrays;
    const state = stateOf(given, truth[place], corrected[place], prediction[place]);
    const facts = story(recording, run, place);
    const moved = facts.find(({ kind }) => kind === "moved")?.numbers.epoch;
    /** @type {Record<number, string>} */
    const outcomes = {
      [CORRECTED]: `corrected at epoch ${moved}`,
      [CHANGED]: `changed to ${classes[corrected[place]]}, which is wrong as well`,
      [MEMORIZED]: corrects(recording.runs[run]) ? "not corrected, memorized" : "memorized",
    };
    const other = corrects(recording.runs[run]) ? "not corrected" : "not memorized";
    return {
      place,
      state,
      outcome: outcomes[state] ?? other,
      reason: facts
        .filter(({ kind }) => !BESIDE.includes(kind))
        .map(({ text }) => text)
        .join(" "),
    };
  });
}

/**
 * @param {Recording} recording
 * @param {number} run
 * @param {{state: number}[]} found
 */
export function summary(recording, run, found) {
  const name = runName(recording.runs[run]);
  const n = (/** @type {number} */ wanted) => found.filter(({ state }) => state === wanted).length;
  const all = plural(found.length, "wrong label");
  return corrects(recording.runs[run])
    ? `${name} has corrected ${count(n(CORRECTED))} of ${all}`
    : `${name} has memorized ${count(n(MEMORIZED))} of ${all}`;
}

export class Verdicts {
  /** @param {Events} on */
  constructor(on) {
    const { root, body, head } = panel("verdicts", "");
    this.on = on;
    this.root = root;
    this.title = element("h2");
    head.replaceChildren(this.title);
    this.list = element("ul", "scroller");
    this.list.setAttribute("aria-label", "The wrong labels, one by one");
    body.append(this.list);
    this.key = "";
  }

  /** @param {Scene} scene */
  draw(scene) {
    const { analysis, run, colors, sprites, version } = scene;
    const { recording } = analysis;
    const key = [run, recording.runs[run].epochs.length, version].join();
    if (key === this.key) return;
    this.key = key;
    const found = verdicts(recording, run);
    const { classes } = recording.dataset;
    setText(this.title, summary(recording, run, found));
    const size = Math.round(2.6 * colors.unit);
    this.list.replaceChildren(
      ...found.map(({ place, state, outcome, reason }) => {
        const item = element("li");
        const canvas = picture(size, (pen) => {
          sprites.draw(pen, place, 0, 0, size);
          frame(pen, state, 0, 0, size, colors);
        });
        const given = classes[recording.given[run][place]];
        const shows = classes[recording.truth?.[place] ?? 0];
        const text = element("span");
        text.append(
          element("b", "", `${shows}, labeled ${given}: ${outcome}.`),
          element("small", "", ` ${unbroken(reason)}`),
        );
        const node = button("verdict", "", () => this.on.pick(place));
        node.append(canvas, text);
        item.append(node);
        return item;
      }),
    );
  }
}
