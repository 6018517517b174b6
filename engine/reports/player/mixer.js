// @ts-check
// Mixed by hand: weights set by the visitor, and what the networks after the last epoch say of the
// mixed image. Needs no server: the recording has the networks (network.js).

import { element } from "./dom.js";
import { Network } from "./network.js";
import { mixOf } from "./story.js";
import { percent, runName, unbroken } from "./words.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./story.js").Part} Part */

const MOST_PARTS = 6; // that can be weighed
const SECOND = 0.02; // probability from which a second class is named

/**
 * Whether a recording has a network and the pixels for it.
 * @param {Scene} scene
 */
export const canMix = ({ analysis, sprites }) =>
  Boolean(sprites.sheet) && analysis.recording.runs.some(({ weights }) => weights);

/**
 * What can be mixed: the sample and its heaviest neighbors, as at the epoch of the row, or as soon
 * after it as a run mixed images.
 * @param {import("./recording.js").Recording} recording
 * @param {number} run
 * @param {number} row
 * @param {number} sample
 * @returns {Part[]}
 */
export function offered(recording, run, row, sample) {
  const { epoch } = recording.runs[run].epochs[row];
  const order = [run, ...recording.runs.keys()];
  for (const other of order) {
    const { epochs } = recording.runs[other];
    const from = epochs.findIndex((one) => one.epoch >= epoch && one.k > 0);
    if (from < 0) continue;
    const [own, ...others] = mixOf(recording, other, from, sample).parts;
    const heaviest = [...others].sort((a, b) => b.weight - a.weight).slice(0, MOST_PARTS - 1);
    const parts = [own, ...others.filter((part) => heaviest.includes(part))];
    if (parts.length > 1) return parts;
  }
  return mixOf(recording, run, row, sample).parts.slice(0, 1);
}

export class Mixer {
  constructor() {
    this.root = element("div", "mixer");
    this.rows = element("div", "weights");
    this.result = element("div", "result");
    this.image = element("canvas", "mixed");
    this.image.setAttribute("role", "img");
    this.image.setAttribute("aria-label", "The mixed image");
    this.answers = element("div", "answers");
    this.answers.setAttribute("role", "status");
    this.result.append(element("span", "equals", "="), this.image, this.answers);
    this.root.append(this.rows, this.result);
    /** @type {Part[]} */
    this.parts = [];
    /** @type {Map<import("./recording.js").Weights, Network>} */
    this.networks = new Map();
  }

  /**
   * Offer the images around a sample.
   * @param {Scene} scene
   * @param {(place: number, size: number) => HTMLCanvasElement} picture
   */
  open(scene, picture) {
    const { recording } = scene.analysis;
    this.parts = offered(recording, scene.run, scene.row, scene.sample).map((part) => ({ ...part }));
    const { classes } = recording.dataset;
    const size = Math.round(1.75 * scene.colors.unit);
    const shown = this.parts.map((part, i) => {
      const row = element("label", "weight");
      const name = i ? classes[part.label] : "itself";
      const slider = element("input");
      Object.assign(slider, { type: "range", min: "0", max: "100", step: "1" });
      slider.value = String(Math.round(100 * part.weight));
      const long = i ? `neighbor ${i}, labeled ${classes[part.label]}` : "the image itself";
      slider.setAttribute("aria-label", `Weight of ${long}`);
      const share = element("b");
      slider.addEventListener("input", () => {
        part.weight = Number(slider.value) / 100;
        this.mix(scene);
      });
      row.append(picture(part.place, size), element("span", "", name), slider, share);
      return row;
    });
    this.rows.replaceChildren(...shown);
    this.image.style.width = this.image.style.height = `${Math.round(4 * scene.colors.unit)}px`;
    this.mix(scene);
  }

  /** @param {Scene} scene */
  mix(scene) {
    const total = this.parts.reduce((sum, { weight }) => sum + weight, 0);
    const parts = this.parts.map((part) => ({
      place: part.place,
      weight: total ? part.weight / total : 1 / this.parts.length,
    }));
    [...this.rows.children].forEach((row, i) => {
      const [slider, share] = [row.querySelector("input"), row.querySelector("b")];
      const text = percent(Math.round(100 * parts[i].weight) / 100);
      if (share) share.textContent = text;
      slider?.setAttribute("aria-valuetext", text);
      slider?.style.setProperty("--share", `${slider.value}%`);
    });
    const image = scene.sprites.mixed(parts);
    const sums = scene.sprites.sum(parts);
    if (!image || !sums) return;
    [this.image.width, this.image.height] = [image.width, image.height];
    this.image.getContext("2d")?.putImageData(image, 0, 0);
    const { runs, dataset, truth } = scene.analysis.recording;
    const answers = runs.flatMap((run) => {
      if (!run.weights) return [];
      const probabilities = this.network(run.weights).probabilities(
        (channel, pixel) => sums[4 * pixel + channel],
      );
      return [answer(runName(run), probabilities, dataset.classes, truth?.[scene.sample] ?? -1)];
    });
    const { epoch } = runs.find((run) => run.weights)?.weights ?? { epoch: 0 };
    this.answers.replaceChildren(element("small", "", `after epoch ${epoch}`), ...answers);
  }

  /** @param {import("./recording.js").Weights} weights */
  network(weights) {
    const known = this.networks.get(weights) ?? new Network(weights);
    this.networks.set(weights, known);
    return known;
  }
}

/**
 * What a network says, as one line.
 * @param {string} name
 * @param {number[]} probabilities
 * @param {string[]} classes
 * @param {number} truth  -1: not known
 */
function answer(name, probabilities, classes, truth) {
  const [first, second] = probabilities.map((_, c) => c).sort((a, b) => probabilities[b] - probabilities[a]);
  const line = element("p");
  const sure = (/** @type {number} */ c) => unbroken(`${classes[c]}, ${percent(probabilities[c])}`);
  const said = element("b", "", sure(first));
  if (truth >= 0) said.className = first === truth ? "true" : "false";
  line.append(`${name} says `, said);
  if (probabilities[second] >= SECOND) {
    line.append(`; ${sure(second)}`);
  }
  return line;
}
