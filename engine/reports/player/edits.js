// @ts-check
// Labels that a visitor gives by hand: right ones at first, changed one by one or many at once.

import { Analysis } from "./labels.js";

/** @typedef {import("./recording.js").Recording} Recording */

export class Edits {
  /**
   * @param {Recording} recording  with an epoch of the run
   * @param {number} run  whose map is shown
   */
  constructor(recording, run) {
    this.truth = (recording.truth ?? recording.given[run]).slice();
    this.labels = this.truth.slice();
    this.samples = recording.samples;
    /** @type {[number, number][][]} */
    this.steps = []; // places and their labels before each step
    this.recording = recording;
    this.run = run;
  }

  /**
   * Give images a label.
   * @param {number[]} places
   * @param {number} label
   * @returns {number} how many labels have changed
   */
  set(places, label) {
    const changed = places.filter((place) => this.labels[place] !== label);
    if (!changed.length) return 0;
    this.steps.push(changed.map((place) => [place, this.labels[place]]));
    for (const place of changed) this.labels[place] = label;
    return changed.length;
  }

  /**
   * Give an image a label; where it has that label already, the right one.
   * @param {number} place
   * @param {number} label
   */
  toggle(place, label) {
    return this.set([place], this.labels[place] === label ? this.truth[place] : label);
  }

  undo() {
    for (const [place, label] of this.steps.pop() ?? []) this.labels[place] = label;
  }

  clear() {
    this.steps = [];
    this.labels.set(this.truth);
  }

  /** Rows in the data set and labels of the images whose label is wrong.
   * @returns {[number, number][]}
   */
  list() {
    /** @type {[number, number][]} */
    const found = [];
    this.labels.forEach((label, place) => {
      if (label !== this.truth[place]) found.push([this.samples[place], label]);
    });
    return found;
  }

  /** These labels as a run of one epoch that has learned none of the wrong ones. */
  analysis() {
    const run = this.recording.runs[this.run];
    const last = run.epochs[run.epochs.length - 1];
    const { labels, truth } = this;
    const epoch = {
      ...last,
      run: 0,
      k: 0,
      arrays: { ...last.arrays, corrected: labels.slice(), prediction: truth },
    };
    return new Analysis({
      ...this.recording,
      given: [labels.slice()],
      truth,
      truthKnown: true,
      runs: [{ ...run, epochs: [epoch] }],
    });
  }
}
