import assert from "node:assert/strict";
import test from "node:test";

import { fromFragment, toFragment } from "../../../engine/reports/player/address.js";
import { Analysis } from "../../../engine/reports/player/labels.js";
import { decode, describe, encode, members } from "../../../engine/reports/player/selection.js";
import { tiny } from "./tiny.mjs";

const analysis = new Analysis(tiny());
const SELECTIONS = [
  [{ kind: "class", class: 1 }, [0, 1, 0, 1]],
  [{ kind: "loss", run: 0, epoch: 1, low: 0.05, high: 0.9 }, [0, 1, 1, 0]],
  [{ kind: "state", run: 0, epoch: 1, state: 3 }, [0, 0, 1, 0]],
  [{ kind: "state", run: 0, epoch: 0, state: 3 }, [0, 0, 0, 0]],
  [{ kind: "cell", run: 0, epoch: 0, by: "corrected", row: 0, column: 1 }, [0, 0, 1, 0]],
  [{ kind: "cell", run: 0, epoch: 0, by: "prediction", row: 0, column: 1 }, [0, 0, 0, 0]],
  // the left half of the map
  [
    {
      kind: "lasso",
      run: 0,
      epoch: 0,
      outline: [
        [-1, -1],
        [0.5, -1],
        [0.5, 2],
        [-1, 2],
      ],
    },
    [1, 0, 1, 0],
  ],
];

test("who belongs to a selection, counted by hand", () => {
  for (const [selection, flags] of SELECTIONS) {
    assert.deepEqual([...members(analysis, selection)], flags, JSON.stringify(selection));
  }
});

test("a selection survives the address", () => {
  for (const [selection, flags] of SELECTIONS) {
    const back = decode(analysis, encode(selection));
    assert.deepEqual([...members(analysis, back)], flags, encode(selection));
    assert.ok(describe(analysis, back).length > 5);
  }
});

test("a long lasso is thinned and keeps its form", () => {
  const outline = Array.from({ length: 500 }, (_, i) => {
    const angle = (2 * Math.PI * i) / 500;
    return [0.1 * Math.cos(angle), 0.1 * Math.sin(angle)];
  });
  const selection = { kind: "lasso", run: 0, epoch: 0, outline };
  const text = encode(selection);
  assert.ok(text.length < 400);
  assert.deepEqual(members(analysis, decode(analysis, text)), members(analysis, selection));
});

test("what is no selection is none", () => {
  for (const text of [
    "",
    "class",
    "class_2",
    "class_-1",
    "class_1e0",
    "loss_0_1_0.9_0.1",
    "loss_0_1_a_b",
    "loss_7_1_0_1",
    "state_0_1_<b>",
    "cell_0_0_prediction_0_9",
    "lasso_0_0_1_2",
    "lasso_0_0_1_2_3_4_5_x",
    "nothing_1",
  ]) {
    assert.equal(decode(analysis, text), null, text);
  }
});

test("the fragment holds epoch, run, sample and selection", () => {
  const picked = { epoch: 1, run: 0, sample: 2, selection: SELECTIONS[0][0] };
  const text = toFragment(analysis, picked);
  assert.equal(text, "epoch=1&sample=12&select=class_1"); // the row of the data set, not the place
  assert.deepEqual(fromFragment(analysis, `#${text}`), {
    epoch: 1,
    sample: 2,
    selection: picked.selection,
  });
  assert.deepEqual(fromFragment(analysis, "#epoch=99&run=5&sample=1&select=x"), {});
  assert.deepEqual(fromFragment(analysis, ""), {});
});
