import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { Decoder, visible } from "../../../engine/reports/player/recording.js";

const shipped = readFileSync(new URL("../../../assets/digits.recording", import.meta.url));

test("a recording that arrives in pieces is the same", async () => {
  const whole = await new Decoder().push(shipped);
  const decoder = new Decoder();
  let last = null;
  for (const [from, to] of [
    [0, 5],
    [5, 17],
    [17, 90_001],
    [90_001, 90_002],
    [90_002, undefined],
  ]) {
    last = await decoder.push(shipped.subarray(from, to));
  }
  assert.deepEqual(
    last.runs.map((run) => run.epochs.length),
    [30, 30],
  );
  assert.deepEqual(last, whole);
});

test("an incomplete block at the end waits for its rest", async () => {
  const half = await new Decoder().push(shipped.subarray(0, shipped.length / 2));
  assert.ok(half.runs[0].epochs.length > 0);
  assert.equal(half.runs[1].state, "");
});

test("what is no recording is refused in words", async () => {
  await assert.rejects(
    new Decoder().push(new TextEncoder().encode("<!doctype html><p>no")),
    /no recording/,
  );
  const later = Uint8Array.from(shipped.subarray(0, 200));
  later[8] = 9;
  await assert.rejects(new Decoder().push(later), /version 9; this player reads version 2/);
  const damaged = Uint8Array.from(shipped);
  damaged.fill(7, 40, 80);
  await assert.rejects(new Decoder().push(damaged), /damaged/);
});

test("names by others stay on their line and in their direction", () => {
  assert.equal(visible("a\u202eb\nc\u0000<b>"), "a\ufffdb c\ufffd<b>");
});
