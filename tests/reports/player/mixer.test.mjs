import assert from "node:assert/strict";
import { test } from "node:test";

import { offered } from "../../../engine/reports/player/mixer.js";
import { half, Network } from "../../../engine/reports/player/network.js";
import { tiny } from "./tiny.mjs";

test("float16 codes are their numbers", () => {
  const numbers = { 0x3c00: 1, 0xc000: -2, 0x3555: 0.333251953125, 0x0001: 2 ** -24, 0x0000: 0 };
  for (const [code, number] of Object.entries(numbers)) assert.equal(half(Number(code)), number);
});

test("a convolution, a maximum and a mean by hand", () => {
  const one = 0x3c00;
  const middle = [0, 0, 0, 0, one, 0, 0, 0, 0]; // the pixel itself
  const above = [0, one, 0, 0, 0, 0, 0, 0, 0]; // that above it, 0 outside
  const network = new Network({
    epoch: 0,
    shape: [1, 2, 2],
    scale: [1],
    offset: [-1],
    pooled: [true],
    arrays: {
      weight0: Uint16Array.from([...middle, ...above]),
      bias0: Uint16Array.from([0, 0]),
      head: Uint16Array.from([one, 0, 0, one]),
      head_bias: Uint16Array.from([0, 0]),
    },
  });
  const pixels = [2, 0, 1, 6]; // less 1: 1, -1; 0, 5. Above: 0, 0; 1, -1
  const [first, second] = network.probabilities((_, i) => pixels[i]);
  assert.ok(Math.abs(Math.log(first / second) - (5 - 1)) < 1e-6);
});

test("what can be mixed: the neighbors of the epoch, or of the first one after it that mixed", () => {
  const recording = tiny();
  const places = (row) => offered(recording, 0, row, 1).map(({ place }) => place);
  assert.deepEqual(places(1), [1, 0, 2]);
  assert.deepEqual(places(0), [1, 0, 2]); // epoch 0 mixed nothing
});
