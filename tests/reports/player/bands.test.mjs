import assert from "node:assert/strict";
import test from "node:test";

import { curve, interval, lines } from "../../../engine/reports/player/bands.js";
import { tiny } from "./tiny.mjs";

const seed = (number, epochs, test_accuracy) => ({
  name: `run-${number}`,
  seed: number,
  epochs,
  metrics: { test_accuracy, memorized: epochs.map(() => null) },
});
const rounded = (point) =>
  Object.fromEntries(Object.entries(point).map(([name, v]) => [name, Number(v.toFixed(4))]));

test("a run alone is its own curve", () => {
  const [run] = tiny().runs;
  assert.deepEqual(curve(run, "test_accuracy"), [
    { epoch: 0, mean: 0.5, low: 0.5, high: 0.5 },
    { epoch: 1, mean: 0.75, low: 0.75, high: 0.75 },
  ]);
  assert.deepEqual(curve(run, "nothing"), []);
});

test("seeds are averaged by epoch, as many as have a value there", () => {
  const run = { ...tiny().runs[0], quantiles: [12.7062, 4.3027] };
  run.seeds = [seed(1, [0, 1, 2], [0.6, 0.75, 0.8]), seed(2, [0, 1], [0.7, null])];
  assert.deepEqual(
    lines(run, "test_accuracy").map((line) => line.length),
    [2, 3, 1],
  );
  const [first, second, third] = curve(run, "test_accuracy").map(rounded);
  // 0.5, 0.6, 0.7: 4.3027 * 0.1 / sqrt(3)
  assert.deepEqual(first, { epoch: 0, mean: 0.6, low: 0.3516, high: 0.8484 });
  assert.deepEqual(second, { epoch: 1, mean: 0.75, low: 0.75, high: 0.75 });
  assert.deepEqual(third, { epoch: 2, mean: 0.8, low: 0.8, high: 0.8 });
  assert.equal(curve(run, "memorized")[0].mean, 0.5); // null is no value
});

test("an interval stays within 0 and 1", () => {
  const { low, high } = interval([0.9, 1], [12.7062]);
  assert.ok(Math.abs(low - (0.95 - 12.7062 * 0.05)) < 1e-9);
  assert.equal(high, 1);
});
