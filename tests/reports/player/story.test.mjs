import assert from "node:assert/strict";
import test from "node:test";

import { Analysis } from "../../../engine/reports/player/labels.js";
import { mixOf, story } from "../../../engine/reports/player/story.js";
import * as words from "../../../engine/reports/player/words.js";
import { tiny } from "./tiny.mjs";

const storyOf = (recording, place) =>
  story(recording, 0, place)
    .map(({ text }) => text)
    .join(" ");

test("what a sample was trained as: itself, its neighbors, and those that are not recorded", () => {
  assert.deepEqual(mixOf(tiny(), 0, 0, 2), {
    epoch: 0,
    parts: [{ place: 2, weight: 1, label: 1 }],
    missing: 0,
  });
  const { parts, missing } = mixOf(tiny(), 0, 1, 2);
  assert.deepEqual(
    parts.map(({ place, label }) => [place, label]),
    [
      [2, 1],
      [0, 0],
      [3, 0],
    ],
  );
  assert.deepEqual(
    parts.map(({ weight }) => weight),
    [0, 1, 0],
  );
  assert.equal(missing, 0);
  const hidden = mixOf(tiny(), 0, 1, 3);
  assert.deepEqual(
    hidden.parts.map(({ place }) => place),
    [3, 2],
  );
  assert.ok(Math.abs(hidden.missing - 0.3) < 0.01);
});

test("the story of a corrected label", () => {
  assert.equal(
    storyOf(tiny(), 2),
    "Its given label is dog, but it shows cat: the label is wrong. " +
      "Until epoch 0 P(clean) was 0.10: the label looked wrong. " +
      "In the mix of epoch 1 one neighbor, labeled cat, had all the weight. " +
      "The network said cat from the start, at epoch 1 with 90.2 %. " +
      "So the label moved from dog to cat at epoch 1. Now the label is right: corrected.",
  );
});

test("the story of a harmed label says that it was a mistake, and whose label spoke", () => {
  const recording = tiny({ truth: Uint8Array.from([1, 1, 1, 1]) });
  const text = storyOf(recording, 2);
  assert.match(text, /^Its given label, dog, is right\./);
  assert.match(text, /one neighbor, labeled cat \(wrongly\), had all the weight/);
  assert.match(text, /That was a mistake: the given label was right\. It is harmed\.$/);
});

test("the story of a label that was kept, and of one that was memorized", () => {
  assert.match(
    storyOf(tiny(), 0),
    /never moved: the network said cat in 2 of 2 epochs, and P\(clean\) was at least 0\.5 in 2/,
  );
  assert.match(storyOf(tiny(), 3), /In the end the network repeats the wrong label/);
  const undecided = tiny();
  undecided.runs[0].epochs.forEach(({ arrays }) => (arrays.prediction[3] = 1));
  assert.match(
    storyOf(undecided, 3),
    /In the end the network says dog with 80 %, but cat still has 70.2 % of the soft label\.$/,
  );
});

test("the story in a run that corrects nothing, and what the other run did", () => {
  const recording = tiny();
  const plain = {
    ...recording.runs[0],
    method: "ce",
    title: "cross-entropy",
    settings: { correction: "none" },
  };
  plain.epochs = plain.epochs.map((epoch) => ({
    ...epoch,
    arrays: { ...epoch.arrays, corrected: recording.given[0], prediction: recording.given[0] },
  }));
  recording.runs.push(plain);
  recording.given.push(recording.given[0]);
  assert.match(
    storyOf(recording, 2),
    /Plain training memorized the wrong label: it says dog from epoch 0 on\.$/,
  );
  const other = story(recording, 1, 2)
    .map(({ text }) => text)
    .join(" ");
  assert.match(other, /From epoch 0 on it repeats the wrong label dog: memorized\./);
  assert.match(other, /MixNN corrected this label at epoch 1\.$/);
});

test("a label that plain training has not learned", () => {
  const recording = tiny();
  Object.assign(recording.runs[0], { method: "ce", settings: { correction: "none" } });
  assert.match(storyOf(recording, 2), /It has not memorized the wrong label dog\./);
  const right = tiny({ truth: Uint8Array.from([1, 1, 1, 1]) });
  Object.assign(right.runs[0], { method: "ce", settings: { correction: "none" } });
  assert.match(storyOf(right, 2), /The network never said dog to the end\./);
});

test("without true labels nothing is called right or wrong", () => {
  const text = storyOf(tiny({ truth: null, truthKnown: false }), 2);
  assert.match(text, /^Its given label is dog\./);
  assert.doesNotMatch(text, /corrected|harmed|mistake/);
});

test("the score, the moment and the end state their numbers", () => {
  const analysis = new Analysis(tiny());
  assert.equal(
    words.scoreSentence(analysis, 1),
    "MixNN has corrected 1 of 2 wrong labels and gets 75 % of new images right.",
  );
  assert.equal(
    words.moment(analysis, 0, 0),
    "The network learns the labels as they were given; no label has changed yet. " +
      "The losses form two clear peaks (bimodal): P(clean), the chance that a label is right, " +
      "is below 0.5 for 2 of 2 wrong labels.",
  );
  assert.match(
    words.moment(analysis, 0, 1),
    /^Labels change for the first time: 1 corrected, 0 harmed\./,
  );
  assert.match(
    words.moment(analysis, 0, 1),
    /is below 0\.5 for 1 of 1 wrong label and 1 right one\./,
  );
  assert.equal(
    words.closing(analysis),
    "After 2 epochs: MixNN has corrected 1 of 2 wrong labels and gets 75 % of new images right.",
  );
  assert.equal(words.percent(0.9784), "97.8 %");
  assert.equal(words.percent(1), "100 %");
});
