import assert from "node:assert/strict";
import test from "node:test";

import { CHANGE, KEEP, Ledger, REMOVE } from "../../../../app/components/wall/ledger.js";

const [MINE, STARTS] = [4, 8];
const given = (sample) => sample % 3;

/** A browser's storage. */
class Kept extends Map {
  get length() {
    return this.size;
  }

  key(i) {
    return [...this.keys()][i] ?? null;
  }

  getItem(name) {
    return this.get(name) ?? null;
  }

  setItem(name, value) {
    if (this.isFull) throw new Error("full");
    this.set(name, value);
  }

  removeItem(name) {
    this.delete(name);
  }
}

const state = (ledger) =>
  Object.fromEntries([...ledger.stacks].map(([sample, stack]) => [sample, stack.at(-1).label]));

test("decisions act at once, wait in the browser, and go when they are acknowledged", () => {
  const kept = new Kept();
  const ledger = new Ledger("run", given, kept, "tab");
  ledger.decide([3, 4], [0, 2]);
  ledger.decide([5], null);
  assert.deepEqual([ledger.of(3)?.kind, ledger.of(4)?.kind, ledger.of(5)?.kind], [KEEP, CHANGE, REMOVE]);
  assert.equal(ledger.nWaiting, 3);
  assert.deepEqual(
    JSON.parse(kept.get("mixnn.wall run tab")).map(({ number }) => number),
    [1, 2],
  );
  // the server has the first step only
  ledger.receive([3, 0, KEEP | MINE | STARTS, 4, 2, CHANGE | MINE], { tab: 1 });
  assert.equal(ledger.nWaiting, 1);
  assert.equal(ledger.of(5)?.kind, REMOVE);
  ledger.receive([3, 0, 12, 4, 2, 5, 5, 2, 15], { tab: 2 });
  assert.equal(ledger.nWaiting, 0);
  assert.equal(kept.size, 0);
  assert.deepEqual(state(ledger), { 3: 0, 4: 2, 5: 2 });
});

test("undo goes back without limit, over what the server has and what waits", () => {
  const ledger = new Ledger("run", given, new Kept(), "tab");
  // somebody else's decision on 7, then a group of one's own on 7 and 8
  ledger.receive([7, 0, CHANGE | STARTS, 7, 2, 13, 8, 0, 5], {});
  ledger.decide([1, 2], [0, 0]);
  assert.deepEqual(ledger.undo(), [1, 2]);
  assert.deepEqual(state(ledger), { 7: 2, 8: 0 });
  assert.deepEqual(ledger.undo(), [7, 8]);
  assert.deepEqual(state(ledger), { 7: 0 });
  assert.deepEqual(ledger.undo(), []);
  assert.equal(ledger.waiting.get("tab").length, 3); // each undo is a step as well
});

test("what an earlier page could not send is found, shown and sent", () => {
  const kept = new Kept();
  new Ledger("run", given, kept, "before").decide([4], [0]);
  new Ledger("another run", given, kept, "else").decide([9], [0]);
  kept.set("mixnn.wall run torn", '[{"numb');
  const ledger = new Ledger("run", given, kept, "now");
  assert.deepEqual(state(ledger), { 4: 0 });
  assert.deepEqual([...ledger.waiting.keys()], ["before"]);
  assert.ok(!kept.has("mixnn.wall run torn"));
  ledger.receive([4, 0, 13], { before: 1 });
  assert.deepEqual([...kept.keys()], ["mixnn.wall another run else"]);
});

test("a full storage is noticed, and nothing is lost in memory", () => {
  const kept = new Kept();
  const ledger = new Ledger("run", given, kept, "tab");
  kept.isFull = true;
  ledger.decide([4], [0]);
  assert.equal(ledger.isKept, false);
  assert.equal(ledger.nWaiting, 1);
  assert.deepEqual(state(ledger), { 4: 0 });
});
