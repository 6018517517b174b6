import assert from "node:assert/strict";
import test from "node:test";

import { Edits } from "../../../engine/reports/player/edits.js";
import { RIGHT, WRONG } from "../../../engine/reports/player/labels.js";
import { members } from "../../../engine/reports/player/selection.js";
import { tiny } from "./tiny.mjs";

test("labels begin right, whatever the run was given", () => {
  const edits = new Edits(tiny(), 0);
  assert.deepEqual([...edits.labels], [0, 1, 0, 1]);
  assert.deepEqual(edits.list(), []);
  assert.deepEqual([...edits.analysis().states(0, 0)], [RIGHT, RIGHT, RIGHT, RIGHT]);
});

test("a click gives a label, and the right one back; a selection gives many", () => {
  const edits = new Edits(tiny(), 0);
  assert.equal(edits.toggle(1, 0), 1);
  assert.deepEqual(edits.list(), [[11, 0]]); // by the row in the data set
  assert.deepEqual([...edits.analysis().states(0, 0)], [RIGHT, WRONG, RIGHT, RIGHT]);
  assert.equal(edits.analysis().nWrong(0), 1);
  edits.toggle(1, 0);
  assert.deepEqual(edits.list(), []);
  const flags = members(edits.analysis(), { kind: "class", class: 0 });
  const places = [...flags.keys()].filter((place) => flags[place]);
  assert.equal(edits.set(places, 1), 2);
  assert.deepEqual(edits.list(), [
    [10, 1],
    [12, 1],
  ]);
  assert.equal(edits.set(places, 1), 0); // no step without a change
});

test("steps are undone one by one, or all at once", () => {
  const recording = tiny();
  const edits = new Edits(recording, 0);
  edits.set([0, 1], 1);
  edits.set([0, 2], 1);
  edits.undo();
  assert.deepEqual([...edits.labels], [1, 1, 0, 1]);
  edits.undo();
  edits.undo(); // nothing is left
  assert.deepEqual([...edits.labels], [0, 1, 0, 1]);
  edits.set([3], 0);
  edits.clear();
  assert.deepEqual(edits.list(), []);
  assert.deepEqual([...recording.truth], [0, 1, 0, 1]); // the recording is as it was
});

test("without true labels the given ones count as right", () => {
  const edits = new Edits(tiny({ truth: null, truthKnown: false }), 0);
  assert.deepEqual([...edits.labels], [0, 1, 1, 0]);
  edits.toggle(0, 1);
  assert.deepEqual(edits.list(), [[10, 1]]);
});
