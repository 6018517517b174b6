import assert from "node:assert/strict";
import test from "node:test";

import { keysOf, offered, unpack } from "../../../../app/components/wall/book.js";
import { about, expectedMistakes, progress } from "../../../../app/components/wall/estimate.js";
import { Layout } from "../../../../app/components/wall/layout.js";
import { CHANGE, KEEP } from "../../../../app/components/wall/ledger.js";

const grouping = {
  title: "Pairs",
  order: Int32Array.of(5, 3, 1, 0, 2, 4, 6),
  sizes: Int32Array.of(4, 2, 1),
  given: Int32Array.of(0, 1, 2),
  suggested: Int32Array.of(1, 0, 2),
};
const measures = { columns: 3, tile: 10, gap: 2, head: 5 };

test("rows of groups below their headings, and the arrow keys between them", () => {
  const layout = new Layout(grouping, () => true, measures);
  assert.deepEqual(
    layout.rows.map(({ top, start, count }) => [top, start, count]),
    [[0, 0, 0], [5, 0, 3], [17, 3, 1], [31, 4, 0], [36, 4, 2], [50, 6, 0], [55, 6, 1]],
  );
  assert.deepEqual(layout.cells, [5, 3, 1, 0, 2, 4, 6]);
  assert.deepEqual([0, 2, 3, 4, 6].map((cell) => layout.groupOf(cell)), [0, 0, 0, 1, 2]);
  const keys = ["ArrowDown", "ArrowDown", "ArrowRight", "ArrowUp", "ArrowDown", "End", "ArrowDown", "Home"];
  let cell = 2;
  const way = keys.map((key) => (cell = layout.move(cell, key)));
  assert.deepEqual(way, [3, 4, 5, 3, 4, 6, 6, 0]);
  assert.deepEqual([0, 4, 5, 20, 49, 1e9].map((y) => layout.rowAt(y)), [0, 0, 1, 2, 4, 6]);
});

test("what is hidden has no place, and an empty group no heading", () => {
  const layout = new Layout(grouping, (position) => position !== 6 && position !== 3, measures);
  assert.deepEqual(layout.cells, [5, 1, 0, 2, 4]);
  assert.equal(layout.rows.filter(({ count }) => !count).length, 2);
  assert.equal(layout.cellOf.get(6), undefined);
});

test("a rectangle selects every tile that it touches", () => {
  const layout = new Layout(grouping, () => true, measures);
  assert.deepEqual(layout.inside(11, 0, 13, 40), [1, 5]);
  assert.deepEqual(layout.inside(0, 14, 9, 18), [0, 3]);
  assert.deepEqual(layout.inside(10.5, 5, 11.5, 15), []); // between two
});

const book = {
  classes: ["cat", "dog", "elk"],
  samples: Int32Array.of(10, 11, 12, 13),
  given: Int32Array.of(0, 0, 1, 2),
  suggested: Int32Array.of(1, 1, 1, 2),
  likely: Float32Array.of(0.75, 0.5, 0.875, 0.5),
  doubt: Float32Array.of(0.875, 0.5, 0.125, 0.25),
};

test("expected mistakes of accepting and of keeping, by hand", () => {
  assert.equal(expectedMistakes(book, [0, 1]), 0.25 + 0.5);
  assert.equal(expectedMistakes(book, [2, 3]), 0.125 + 0.25);
  assert.ok(Number.isNaN(expectedMistakes({ ...book, likely: Float32Array.of(NaN, 0, 0, 0) }, [0])));
  assert.deepEqual([0.01, 2.34, 1234.4, NaN].map(about), ["fewer than 0.1", "about 2.3", "about 1,234", "an unknown number"]);
});

test("remaining wrong labels follow what was found", () => {
  const none = progress(book, () => undefined);
  assert.deepEqual([none.decided, none.found, none.remaining.toFixed(6)], [0, 0, "1.750000"]);
  const kept = progress(book, (sample) => (sample === 10 ? { kind: KEEP } : undefined));
  const changed = progress(book, (sample) => (sample === 10 ? { kind: CHANGE } : undefined));
  assert.deepEqual([kept.found, changed.found], [0, 1]);
  assert.ok(kept.remaining < 0.875 && changed.remaining > 0.875);
  // the shift is where expected and found wrong labels agree, up to the prior
  const logit = (p) => Math.log(p / (1 - p));
  const sum = (shift, all) => all.reduce((total, p) => total + 1 / (1 + Math.exp(-logit(p) - shift)), 0);
  for (const [found, { remaining }] of [[0, kept], [1, changed]]) {
    let [low, high] = [-5, 5];
    for (let i = 0; i < 60; i++) {
      const middle = (low + high) / 2;
      if (sum(middle, [0.875]) - found + middle / 0.64 < 0) low = middle;
      else high = middle;
    }
    assert.ok(Math.abs(remaining - sum(low, [0.5, 0.125, 0.25])) < 1e-6);
  }
});

test("every class has a key, digits their own; of many those that a selection needs", () => {
  assert.deepEqual([...keysOf(["cat", "dog"], [0, 1])], [["1", 0], ["2", 1]]);
  assert.deepEqual([...keysOf(["3", "7"], [0, 1])], [["3", 0], ["7", 1]]);
  const many = { ...book, classes: Array.from({ length: 12 }, (_, c) => `class ${c}`) };
  assert.deepEqual(offered(book, [0]), [0, 1, 2]);
  assert.deepEqual(offered(many, [0, 3]), [2, 1, 0]);
});

test("a file of Python is read", () => {
  const header = { run: "r", classes: ["a"], groupings: [], sheets: {}, arrays: {} };
  let at = 0;
  for (const [name, type] of [["samples", "int32"], ["given", "int32"], ["suggested", "int32"], ["likely", "float32"], ["doubt", "float32"]]) {
    header.arrays[name] = [type, at, 1];
    at += 8;
  }
  let text = JSON.stringify(header);
  text = text.padEnd(text.length + ((8 - ((4 + text.length) % 8)) % 8));
  const bytes = new Uint8Array(4 + text.length + at);
  new DataView(bytes.buffer).setUint32(0, text.length, true);
  bytes.set(new TextEncoder().encode(text), 4);
  new DataView(bytes.buffer).setInt32(4 + text.length, 42, true);
  const read = unpack(bytes.buffer);
  assert.deepEqual([read.run, read.samples[0], read.places.get(42)], ["r", 42, 0]);
});
