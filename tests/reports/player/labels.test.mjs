import assert from "node:assert/strict";
import test from "node:test";

import * as labels from "../../../engine/reports/player/labels.js";
import { tiny } from "./tiny.mjs";

test("the state of a label, each case", () => {
  const cases = [
    // given, true, now, prediction
    [[0, 0, 0, 0], "right"],
    [[0, 0, 0, 1], "right"],
    [[0, 1, 0, 1], "wrong"],
    [[0, 1, 0, 2], "wrong"],
    [[0, 1, 0, 0], "memorized"],
    [[0, 1, 1, 0], "corrected"],
    [[0, 0, 1, 0], "harmed"],
    [[0, 1, 2, 0], "changed"],
    [[0, -1, 0, 1], "kept"],
    [[0, -1, 1, 1], "changed"],
  ];
  for (const [values, name] of cases) {
    assert.equal(labels.STATE_NAMES[labels.stateOf(...values)], name, String(values));
  }
});

test("counts, first change and opening epoch follow from the labels", () => {
  const analysis = new labels.Analysis(tiny());
  assert.deepEqual([...analysis.states(0, 0)], [0, 0, 1, 2]); // right right wrong memorized
  assert.deepEqual([...analysis.states(0, 1)], [0, 0, 3, 2]);
  assert.equal(analysis.firstChange(0), 1);
  assert.equal(analysis.opening(0), 0);
  assert.deepEqual(analysis.range, [0, 1]);
  assert.deepEqual(analysis.score(0, 1), {
    accuracy: 0.75,
    wrong: 2,
    memorized: 1,
    corrected: 1,
    harmed: 0,
    changed: 1,
  });
});

test("without changes it opens where the network is most accurate", () => {
  const recording = tiny();
  recording.runs[0].epochs[1].arrays.corrected = recording.runs[0].epochs[0].arrays.corrected;
  const analysis = new labels.Analysis(recording);
  assert.equal(analysis.firstChange(0), null);
  assert.equal(analysis.opening(0), 1);
});

test("histogram and confusion matrix count every sample once", () => {
  const analysis = new labels.Analysis(tiny());
  const { all, wrong, most } = analysis.bins(0, 0);
  assert.deepEqual([all[0], all[3], all[25], all[31]], [1, 1, 1, 1]); // codes 0, 26, 204, 255
  assert.deepEqual([wrong[0], wrong[3], wrong[25], wrong[31], most], [0, 0, 1, 1, 1]);
  assert.deepEqual([...analysis.confusion(0, 0, "prediction")], [2, 0, 1, 1]);
  assert.deepEqual([...analysis.confusion(0, 0, "corrected")], [1, 1, 1, 1]);
});

test("positions are shares of the map, from the left and from the top", () => {
  const recording = tiny();
  recording.runs[0].epochs[0].arrays.map.set([65535, 65535], 2);
  const [x0, y0, x1, , x2, y2, x3, y3] = new labels.Analysis(recording).positions(0, 0);
  assert.deepEqual([x0, y0, x2, y2, x3, y3], [0, 1, 0, 0, 1, 0]);
  assert.ok(Number.isNaN(x1));
});

test("a run that ended earlier keeps its last epoch, one that has not begun has none", () => {
  const recording = tiny();
  recording.runs.push({ ...recording.runs[0], epochs: recording.runs[0].epochs.slice(0, 1) });
  recording.given.push(recording.given[0]);
  const analysis = new labels.Analysis(recording);
  assert.equal(analysis.row(1, 1), 0);
  recording.runs[1].epochs = [];
  assert.equal(analysis.row(1, 1), -1);
});
