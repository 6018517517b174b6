import assert from "node:assert/strict";
import test from "node:test";

import { CORRECTED, MEMORIZED, WRONG } from "../../../engine/reports/player/labels.js";
import { summary, verdicts, wrongPlaces } from "../../../engine/reports/player/verdicts.js";
import { tiny } from "./tiny.mjs";

test("each wrong label has its outcome and the reason", () => {
  const recording = tiny();
  assert.deepEqual(wrongPlaces(recording, 0), [2, 3]);
  const [found, missed] = verdicts(recording, 0);
  assert.deepEqual([found.place, found.state], [2, CORRECTED]);
  assert.equal(found.outcome, "corrected at epoch 1");
  assert.equal(
    found.reason,
    "Until epoch 0 P(clean) was 0.10: the label looked wrong. " +
      "In the mix of epoch 1 one neighbor, labeled cat, had all the weight. " +
      "The network said cat from the start, at epoch 1 with 90.2 %. " +
      "Now the label is right: corrected.",
  );
  assert.deepEqual([missed.place, missed.state], [3, MEMORIZED]);
  assert.equal(missed.outcome, "not corrected, memorized");
  assert.match(missed.reason, /In the end the network repeats the wrong label/);
  assert.equal(summary(recording, 0, [found, missed]), "MixNN has corrected 1 of 2 wrong labels");
});

test("a run that corrects nothing memorizes, or does not", () => {
  const recording = tiny();
  Object.assign(recording.runs[0], { method: "ce", settings: { correction: "none" } });
  recording.runs[0].epochs[1].arrays.corrected = recording.given[0];
  const found = verdicts(recording, 0);
  assert.deepEqual(
    found.map(({ state, outcome }) => [state, outcome]),
    [
      [WRONG, "not memorized"],
      [MEMORIZED, "memorized"],
    ],
  );
  assert.equal(summary(recording, 0, found), "Plain training has memorized 1 of 2 wrong labels");
});

test("before the first epoch, or without true labels, there is no verdict", () => {
  const recording = tiny();
  recording.runs[0].epochs = [];
  assert.deepEqual(verdicts(recording, 0), []);
  assert.deepEqual(verdicts(tiny({ truth: null, truthKnown: false }), 0), []);
});
