// @ts-check
// What happened to one image, in sentences computed from the recorded numbers.

import { stateOf, HARMED, CORRECTED, CHANGED, MEMORIZED, WRONG, RIGHT } from "./labels.js";
import { NO_PLACE } from "./recording.js";
import { corrects, percent, plural, runName } from "./words.js";

/** @typedef {import("./recording.js").Recording} Recording */

const ALMOST_ALL = 0.9; // of the weight: one neighbor decides alone
const SUSPECT = 0.5; // P(clean) below it: the label counts as wrong
const SETTLED = 3; // epochs in a row that count as having learned a label

/**
 * @typedef {object} Part  One image of a mix.
 * @property {number} place
 * @property {number} weight
 * @property {number} label  the label it had before the epoch
 *
 * @typedef {object} Mix
 * @property {number} epoch
 * @property {Part[]} parts  the sample itself first, then its recorded neighbors, the nearest first
 * @property {number} missing  weight of neighbors that are not recorded
 *
 * @typedef {object} Fact  One statement with the numbers that it is based on.
 * @property {string} text
 * @property {string} kind
 * @property {Record<string, number>} numbers
 */

/**
 * What a sample was trained on in the epoch of a row: itself alone where the epoch mixed nothing.
 * @param {Recording} recording
 * @param {number} run
 * @param {number} row
 * @param {number} place
 * @returns {Mix}
 */
export function mixOf(recording, run, row, place) {
  const { epoch, arrays, k } = recording.runs[run].epochs[row];
  const label = (/** @type {number} */ other) => labelBefore(recording, run, row, other);
  const parts = [{ place, weight: 1, label: label(place) }];
  if (!k) return { epoch, parts, missing: 0 };
  const { neighbors, weights } = arrays;
  const codes = weights.subarray(place * (k + 1), (place + 1) * (k + 1));
  let sum = 0;
  for (const code of codes) sum += code;
  // a few codes that are missing to 255 come from rounding
  const whole = codes.length > 1 && 255 - sum <= codes.length ? sum : 255;
  parts[0].weight = codes[0] / whole;
  let missing = Math.max(0, 1 - sum / whole);
  for (let rank = 0; rank < k; rank++) {
    const other = neighbors[place * k + rank];
    const weight = codes[rank + 1] / whole;
    if (other === NO_PLACE) missing += weight;
    else parts.push({ place: other, weight, label: label(other) });
  }
  return { epoch, parts, missing };
}

/**
 * A sample's label before the epoch of a row.
 * @param {Recording} recording
 * @param {number} run
 * @param {number} row
 * @param {number} place
 */
export function labelBefore(recording, run, row, place) {
  const before =
    row > 0 ? recording.runs[run].epochs[row - 1].arrays.corrected : recording.given[run];
  return before[place];
}

/**
 * The story of a sample up to the last recorded epoch.
 * @param {Recording} recording
 * @param {number} run
 * @param {number} place
 * @returns {Fact[]}
 */
export function story(recording, run, place) {
  const { epochs } = recording.runs[run];
  const given = recording.given[run][place];
  const truth = recording.truth ? recording.truth[place] : -1;
  const facts = [opening(recording, given, truth)];
  if (!epochs.length) return facts;
  const flips = epochs.flatMap((_, row) => {
    const [from, to] = [
      labelBefore(recording, run, row, place),
      epochs[row].arrays.corrected[place],
    ];
    return from === to ? [] : [{ row, from, to }];
  });
  if (!corrects(recording.runs[run])) {
    facts.push(...plainFacts(recording, run, place));
  } else if (flips.length) {
    facts.push(...flipFacts(recording, run, place, flips[0]));
    if (flips.length > 1) facts.push(laterFlips(recording, run, flips));
  } else {
    facts.push(...keptFacts(recording, run, place));
  }
  facts.push(...endFacts(recording, run, place));
  recording.runs.forEach((_, other) => {
    if (other !== run) facts.push(...otherRun(recording, other, place));
  });
  return facts;
}

/**
 * @param {string} kind
 * @param {string} text
 * @param {Record<string, number>} numbers
 * @returns {Fact}
 */
const fact = (kind, text, numbers) => ({ kind, text, numbers });

/**
 * @param {Recording} recording
 * @param {number} given
 * @param {number} truth
 */
function opening({ dataset: { classes } }, given, truth) {
  if (truth < 0) return fact("given", `Its given label is ${classes[given]}.`, { given });
  const text =
    given === truth
      ? `Its given label, ${classes[given]}, is right.`
      : `Its given label is ${classes[given]}, but it shows ${classes[truth]}: the label is wrong.`;
  return fact("given", text, { given, truth });
}

/**
 * Why a label moved: P(clean) before, who spoke in the mix, what the network said.
 * @param {Recording} recording
 * @param {number} run
 * @param {number} place
 * @param {{row: number, from: number, to: number}} flip
 * @returns {Fact[]}
 */
function flipFacts(recording, run, place, { row, from, to }) {
  const { epochs } = recording.runs[run];
  const { classes } = recording.dataset;
  const epoch = epochs[row].epoch;
  const facts = [];
  if (row > 0) facts.push(cleanFact(recording, run, place, row));
  if (epochs[row].k) facts.push(voteFact(recording, run, place, row, to));
  let since = row;
  while (since > 0 && epochs[since - 1].arrays.prediction[place] === to) since--;
  if (epochs[row].arrays.prediction[place] === to) {
    const [start, sure] = [epochs[since].epoch, epochs[row].arrays.confidence[place] / 255];
    const when = since === 0 ? "from the start" : `since epoch ${start}`;
    const text = `The network said ${classes[to]} ${when}, at epoch ${epoch} with ${percent(sure)}.`;
    facts.push(fact("said", text, { to, since: start, epoch, sure }));
  }
  const moved = `So the label moved from ${classes[from]} to ${classes[to]} at epoch ${epoch}.`;
  facts.push(fact("moved", moved, { from, to, epoch }));
  return facts;
}

/**
 * P(clean) in the epochs before a row.
 * @param {Recording} recording
 * @param {number} run
 * @param {number} place
 * @param {number} row
 */
function cleanFact(recording, run, place, row) {
  const { epochs } = recording.runs[run];
  const codes = epochs.slice(0, row).map(({ arrays }) => arrays.clean[place]);
  const [low, high] = [Math.min(...codes) / 255, Math.max(...codes) / 255];
  const [until, last] = [epochs[row - 1].epoch, codes[row - 1] / 255];
  const numbers = { low, high, last, until };
  const [a, b, c] = [low, high, last].map((value) => value.toFixed(2));
  if (a === b) {
    const looked = high < SUSPECT ? "wrong" : "right";
    const text = `Until epoch ${until} P(clean) was ${a}: the label looked ${looked}.`;
    return fact("clean", text, numbers);
  }
  if (high < SUSPECT) {
    const text = `Until epoch ${until} P(clean) was at most ${b}: the label looked wrong.`;
    return fact("clean", text, numbers);
  }
  const looked = last < SUSPECT ? "wrong" : "right";
  const text = `Until epoch ${until} P(clean) was between ${a} and ${b}, at last ${c}: the label looked ${looked}.`;
  return fact("clean", text, numbers);
}

/**
 * Which neighbors had the weight in the mix of an epoch.
 * @param {Recording} recording
 * @param {number} run
 * @param {number} place
 * @param {number} row
 * @param {number} to  the label that the votes are counted for
 */
function voteFact(recording, run, place, row, to) {
  const { classes } = recording.dataset;
  const mix = mixOf(recording, run, row, place);
  const [own, ...others] = mix.parts;
  const heaviest = others.reduce((a, b) => (b.weight > a.weight ? b : a), { ...own, weight: 0 });
  const support = others.filter((part) => part.label === to);
  const weight = support.reduce((sum, part) => sum + part.weight, 0);
  const numbers = { epoch: mix.epoch, own: own.weight, heaviest: heaviest.weight, weight, to };
  const begin = `In the mix of epoch ${mix.epoch}`;
  if (heaviest.weight >= ALMOST_ALL) {
    const all =
      heaviest.weight > 0.995 ? "all the weight" : `${percent(heaviest.weight)} of the weight`;
    const wrong = wrongly(recording, heaviest);
    const text = `${begin} one neighbor, labeled ${classes[heaviest.label]}${wrong}, had ${all}.`;
    return fact("alone", text, { ...numbers, label: heaviest.label });
  }
  const self = own.weight < 0.005 ? "nothing" : percent(own.weight);
  if (!support.length) {
    const text = `${begin} it weighed ${self} itself, and no neighbor was labeled ${classes[to]}.`;
    return fact("none", text, numbers);
  }
  const kin = `${plural(support.length, "neighbor")} labeled ${classes[to]}`;
  const text = `${begin} it weighed ${self} itself, and ${kin} weighed ${percent(weight)}.`;
  return fact("votes", text, { ...numbers, n: support.length });
}

/**
 * " (wrongly)" where a part's label is not its true one.
 * @param {Recording} recording
 * @param {Part} part
 */
function wrongly({ truth }, part) {
  return truth && truth[part.place] !== part.label ? " (wrongly)" : "";
}

/**
 * @param {Recording} recording
 * @param {number} run
 * @param {{row: number, from: number, to: number}[]} flips
 */
function laterFlips(recording, run, flips) {
  const { classes } = recording.dataset;
  const last = flips[flips.length - 1];
  const { epoch } = recording.runs[run].epochs[last.row];
  const times = plural(flips.length - 1, "more time");
  const text = `It moved ${times}, at last to ${classes[last.to]} at epoch ${epoch}.`;
  return fact("again", text, { n: flips.length - 1, to: last.to, epoch });
}

/**
 * Why a label was not moved.
 * @param {Recording} recording
 * @param {number} run
 * @param {number} place
 * @returns {Fact[]}
 */
function keptFacts(recording, run, place) {
  const { epochs, settings } = recording.runs[run];
  const { classes } = recording.dataset;
  const label = recording.given[run][place];
  const agree = epochs.filter(({ arrays }) => arrays.prediction[place] === label).length;
  const clean = epochs.filter(({ arrays }) => arrays.clean[place] / 255 >= SUSPECT).length;
  const text =
    `The label never moved: the network said ${classes[label]} in ${agree} of ` +
    `${plural(epochs.length, "epoch")}, and P(clean) was at least 0.5 in ${clean}.`;
  const facts = [fact("kept", text, { agree, n: epochs.length, clean, label })];
  const start = Number(settings.correction_start);
  if (epochs[epochs.length - 1].epoch < start) {
    facts.push(fact("later", `Labels may change from epoch ${start} on.`, { start }));
  }
  return facts;
}

/**
 * How it stands after the last recorded epoch.
 * @param {Recording} recording
 * @param {number} run
 * @param {number} place
 * @returns {Fact[]}
 */
function endFacts(recording, run, place) {
  const { epochs } = recording.runs[run];
  const { arrays, epoch } = epochs[epochs.length - 1];
  const given = recording.given[run][place];
  const truth = recording.truth ? recording.truth[place] : -1;
  const [now, prediction] = [arrays.corrected[place], arrays.prediction[place]];
  const state = stateOf(given, truth, now, prediction);
  const ends = {
    [CORRECTED]: "Now the label is right: corrected.",
    [HARMED]: "That was a mistake: the given label was right. It is harmed.",
    [CHANGED]: truth < 0 ? "" : "The new label is wrong as well.",
    [WRONG]: corrects(recording.runs[run]) ? undecided(recording, run, place) : "",
    [MEMORIZED]: corrects(recording.runs[run])
      ? "In the end the network repeats the wrong label, so nothing corrects it."
      : "",
    [RIGHT]: "",
  };
  const text = ends[/** @type {keyof typeof ends} */ (state)] ?? "";
  return text ? [fact("end", text, { epoch, now, prediction })] : [];
}

/**
 * Why a wrong label stands although the network predicts another class.
 * @param {Recording} recording
 * @param {number} run
 * @param {number} place
 */
function undecided(recording, run, place) {
  const { classes } = recording.dataset;
  const { arrays } = recording.runs[run].epochs[recording.runs[run].epochs.length - 1];
  const sure = percent(arrays.confidence[place] / 255);
  const weight = percent(arrays.soft_weight[place] / 255);
  return (
    `In the end the network says ${classes[arrays.prediction[place]]} with ${sure}, but ` +
    `${classes[arrays.corrected[place]]} still has ${weight} of the soft label.`
  );
}

/**
 * What plain training did with a label: when it memorized it.
 * @param {Recording} recording
 * @param {number} run
 * @param {number} place
 * @returns {Fact[]}
 */
function plainFacts(recording, run, place) {
  const { epochs } = recording.runs[run];
  const { classes } = recording.dataset;
  const label = recording.given[run][place];
  const truth = recording.truth ? recording.truth[place] : -1;
  const says = epochs.map(({ arrays }) => arrays.prediction[place]);
  const since = learned(says, label);
  const name = classes[label];
  if (truth < 0 || truth === label) {
    if (since < 0) return [fact("never", `The network never said ${name} to the end.`, { label })];
    const epoch = epochs[since].epoch;
    return [fact("learned", `The network says ${name} from epoch ${epoch} on.`, { label, epoch })];
  }
  const right = says.filter((said) => said === truth).length;
  const facts = [];
  if (right) {
    const text =
      `The network said ${classes[truth]}, which is right, in ` +
      `${right} of ${plural(says.length, "epoch")}.`;
    facts.push(fact("right", text, { truth, right, n: says.length }));
  }
  if (since < 0) {
    facts.push(fact("not", `It has not memorized the wrong label ${name}.`, { label }));
  } else {
    const epoch = epochs[since].epoch;
    const text = `From epoch ${epoch} on it repeats the wrong label ${name}: memorized.`;
    facts.push(fact("memorized", text, { label, epoch }));
  }
  return facts;
}

/**
 * The index from which on a label was said to the end, in at least SETTLED epochs; -1: it was not.
 * @param {number[]} says
 * @param {number} label
 */
function learned(says, label) {
  let since = says.length;
  while (since > 0 && says[since - 1] === label) since--;
  return says.length - since >= Math.min(SETTLED, says.length) ? since : -1;
}

/**
 * One sentence about the same image in the run that it is compared with.
 * @param {Recording} recording
 * @param {number} run
 * @param {number} place
 * @returns {Fact[]}
 */
function otherRun(recording, run, place) {
  const { epochs } = recording.runs[run];
  const truth = recording.truth ? recording.truth[place] : -1;
  const given = recording.given[run][place];
  if (!epochs.length || truth < 0 || given === truth) return [];
  const { classes } = recording.dataset;
  const name = runName(recording.runs[run]);
  const last = epochs[epochs.length - 1];
  const now = last.arrays.corrected[place];
  if (now === truth) {
    const row = epochs.findIndex(({ arrays }) => arrays.corrected[place] === truth);
    const { epoch } = epochs[row];
    return [fact("other", `${name} corrected this label at epoch ${epoch}.`, { epoch, run })];
  }
  const since = learned(
    epochs.map(({ arrays }) => arrays.prediction[place]),
    given,
  );
  if (since < 0) return [];
  const { epoch } = epochs[since];
  const text = `${name} memorized the wrong label: it says ${classes[given]} from epoch ${epoch} on.`;
  return [fact("other", text, { epoch, run, given })];
}
