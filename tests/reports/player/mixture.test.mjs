import assert from "node:assert/strict";
import test from "node:test";

import {
  ashmanD,
  cleanPosterior,
  density,
  modality,
} from "../../../engine/reports/player/mixture.js";

const apart = { means: [0.1, 0.8], stds: [0.05, 0.1], weights: [0.7, 0.3] };

test("the posterior is the share of the densities", () => {
  for (const x of [0.05, 0.2, 0.35, 0.6]) {
    const [a, b] = [density(apart, 0, x), density(apart, 1, x)];
    assert.ok(Math.abs(cleanPosterior(apart, x) - a / (a + b)) < 1e-9, String(x));
  }
});

test("densities integrate to the weights", () => {
  for (const component of [0, 1]) {
    let sum = 0;
    for (let x = -1; x < 2; x += 0.001) sum += 0.001 * density(apart, component, x);
    assert.ok(Math.abs(sum - apart.weights[component]) < 1e-6);
  }
});

test("a component without width gives no curve and no posterior", () => {
  const flat = { means: [0.5, 0.5], stds: [0, 0], weights: [0.5, 0.5] };
  assert.equal(density(flat, 0, 0.5), 0);
  assert.equal(cleanPosterior(flat, 0.5), null);
  assert.equal(modality(flat), "one");
});

test("peaks in words: apart, overlapping, one", () => {
  const weights = [0.5, 0.5];
  assert.equal(modality(apart), "two");
  assert.equal(modality({ means: [0.4, 0.65], stds: [0.1, 0.1], weights }), "overlapping");
  assert.equal(modality({ means: [0.4, 0.55], stds: [0.1, 0.1], weights }), "one");
  // as engine/method/mixture.py: the distance of the means over the root of the mean variance
  assert.ok(Math.abs(ashmanD(apart) - 0.7 / Math.sqrt((0.0025 + 0.01) / 2)) < 1e-12);
});
