// @ts-check
// Decisions: those that the server has, and on top of them steps that it has not acknowledged yet.
// Steps are numbered and stay in the browser's storage until then; the server applies each once.

/**
 * One act of the reviewer: a label for each of some samples, their removal, or the undoing of the
 * newest decision on each.
 * @typedef {{number: number, kind: "label" | "remove" | "undo", samples: number[],
 *   labels?: number[]}} Step
 */
/** @typedef {{kind: number, label: number, mine: boolean}} Decision */
/**
 * @typedef {Object} Kept  as localStorage
 * @property {number} length
 * @property {(i: number) => string | null} key
 * @property {(name: string) => string | null} getItem
 * @property {(name: string, value: string) => void} setItem
 * @property {(name: string) => void} removeItem
 */

// kinds of decisions, as app.server.decisions.KINDS; 2: skipped
export const KEEP = 0;
export const CHANGE = 1;
export const REMOVE = 3;
const [MINE, STARTS] = [4, 8]; // bits of a decision of the server beside its kind

export class Ledger {
  /**
   * @param {string} run
   * @param {(sample: number) => number} givenOf  the given label of a sample
   * @param {Kept} kept
   * @param {string} source  the name of this browser's page, unlike any other's
   */
  constructor(run, givenOf, kept, source) {
    this.prefix = `mixnn.wall ${run} `;
    this.givenOf = givenOf;
    this.kept = kept;
    this.source = source;
    this.isKept = true; // whether the storage took the steps that wait
    this.number = 0;
    /** @type {Map<string, Step[]>} not acknowledged: those of earlier pages, too */
    this.waiting = new Map();
    /** @type {number[]} */
    this.log = [];
    /** @type {Map<number, Decision[]>} sample -> its decisions, oldest first */
    this.stacks = new Map();
    /** @type {number[][]} samples of this visitor's acts, oldest first */
    this.acts = [];
    for (let i = 0; i < kept.length; i++) {
      const name = kept.key(i);
      if (name?.startsWith(this.prefix)) this.recall(name);
    }
    this.replay();
  }

  /** @param {string} name */
  recall(name) {
    try {
      const steps = JSON.parse(this.kept.getItem(name) ?? "");
      if (Array.isArray(steps)) this.waiting.set(name.slice(this.prefix.length), steps);
    } catch {
      this.kept.removeItem(name); // cut off by a full disk
    }
  }

  /** The newest decision on a sample.
   * @param {number} sample
   * @returns {Decision | undefined}
   */
  of(sample) {
    return this.stacks.get(sample)?.at(-1);
  }

  /** How many decisions wait for the server. */
  get nWaiting() {
    let n = 0;
    for (const steps of this.waiting.values()) for (const { samples } of steps) n += samples.length;
    return n;
  }

  /**
   * @param {number[]} samples
   * @param {number[] | null} labels  null: they belong to no class
   */
  decide(samples, labels) {
    if (!samples.length) return;
    this.add(
      labels ? { number: 0, kind: "label", samples, labels } : { number: 0, kind: "remove", samples },
    );
  }

  /** Undo this visitor's last act; returns its samples.
   * @returns {number[]}
   */
  undo() {
    const samples = this.acts.at(-1);
    if (!samples) return [];
    this.add({ number: 0, kind: "undo", samples });
    return samples;
  }

  /** @param {Step} step */
  add(step) {
    const own = this.waiting.get(this.source) ?? [];
    const numbered = { ...step, number: ++this.number };
    this.waiting.set(this.source, [...own, numbered]);
    this.apply(numbered);
    this.store(this.source);
  }

  /**
   * The state of the server: all decisions, and the last step applied of each source.
   * @param {number[]} log  sample, label and flags of each
   * @param {Record<string, number>} applied
   */
  receive(log, applied) {
    this.log = log;
    for (const [source, number] of Object.entries(applied)) {
      const steps = this.waiting.get(source);
      if (!steps) continue;
      const left = steps.filter((step) => step.number > number);
      if (left.length) this.waiting.set(source, left);
      else this.waiting.delete(source);
      this.store(source);
    }
    this.replay();
  }

  replay() {
    this.stacks.clear();
    this.acts = [];
    const { log } = this;
    for (let i = 0; i + 2 < log.length; i += 3) {
      const [sample, label, flags] = [log[i], log[i + 1], log[i + 2]];
      const mine = Boolean(flags & MINE);
      this.push(sample, { kind: flags & 3, label, mine });
      if (mine && (flags & STARTS || !this.acts.length)) this.acts.push([sample]);
      else if (mine) this.acts[this.acts.length - 1].push(sample);
    }
    for (const [source, steps] of this.waiting) {
      if (source !== this.source) steps.forEach((step) => this.apply(step));
    }
    this.waiting.get(this.source)?.forEach((step) => this.apply(step));
  }

  /** @param {Step} step */
  apply({ kind, samples, labels }) {
    if (kind === "undo") {
      for (const sample of samples) this.takeBack(sample);
      const undone = new Set(samples);
      const at = this.acts.findLastIndex((act) => act.some((sample) => undone.has(sample)));
      if (at >= 0) this.acts.splice(at, 1);
      return;
    }
    samples.forEach((sample, i) => {
      const given = this.givenOf(sample);
      const label = kind === "label" && labels ? labels[i] : given;
      const named = label === given ? KEEP : CHANGE;
      this.push(sample, { kind: kind === "remove" ? REMOVE : named, label, mine: true });
    });
    this.acts.push(samples);
  }

  /**
   * @param {number} sample
   * @param {Decision} decision
   */
  push(sample, decision) {
    const stack = this.stacks.get(sample);
    if (stack) stack.push(decision);
    else this.stacks.set(sample, [decision]);
  }

  /** @param {number} sample */
  takeBack(sample) {
    const stack = this.stacks.get(sample);
    const at = stack?.findLastIndex((decision) => decision.mine) ?? -1;
    if (!stack || at < 0) return;
    stack.splice(at, 1);
    if (!stack.length) this.stacks.delete(sample);
  }

  /** @param {string} source */
  store(source) {
    const steps = this.waiting.get(source);
    try {
      if (steps) this.kept.setItem(this.prefix + source, JSON.stringify(steps));
      else this.kept.removeItem(this.prefix + source);
      this.isKept = true;
    } catch {
      this.isKept = false; // no room, or storage is forbidden: they wait in memory
    }
  }
}
