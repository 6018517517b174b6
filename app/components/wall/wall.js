// @ts-check
// The wall: one State per mounted element. The browser acts at once; decisions follow to the server.

import { unpack } from "./book.js";
import { Controls } from "./controls.js";
import { count, element, setText } from "./dom.js";
import { progress } from "./estimate.js";
import { Layout } from "./layout.js";
import { Ledger } from "./ledger.js";
import { listen } from "./gestures.js";
import { Preview } from "./preview.js";
import { groupTitle, Tiles } from "./tiles.js";

/** @typedef {import("./book.js").Book} Book */
/**
 * @typedef {Object} Data
 * @property {string} book  URL
 * @property {Record<string, string>} sheets  number -> URL
 * @property {number[]} log
 * @property {{message: string, applied: Record<string, number>, problem: string,
 *   refusals: string[]}} answer
 * @property {string} readOnly
 */
/** @typedef {(event: string, value: any) => void} Send */

const GAP = 6; // CSS pixels between tiles
const HEAD = 40; // CSS pixels of a heading
const [SMALLEST, LARGEST] = [40, 160]; // CSS pixels of a tile
const LATE = 4000; // ms without an answer, after which a message is sent again
const MOST_LATE = 15000;
const PREFETCHED = 40; // sprite sheets requested without being in view
const AT_ONCE = 4; // of a message
const REQUEST_AGAIN = 10000; // ms after which a sprite sheet is requested again
const LIKELY = 0.8; // least probability at first, where all suggestions are accepted
/** @type {WeakMap<Element, State>} */
const states = new WeakMap();
/** @type {Map<string, {view: number, tile: number, hidden: boolean, top: number, cursor: number}>} */
const looks = new Map(); // by run, kept while the wall is not shown

class State {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.source = randomName();
    /** @type {Book | null} */
    this.book = null;
    /** @type {Ledger | null} */
    this.ledger = null;
    /** @type {Layout | null} */
    this.layout = null;
    this.loading = "";
    /** @type {Data | null} */
    this.data = null;
    /** @type {Send} */
    this.send = () => {};
    this.look = { view: 0, tile: matchMedia("(max-width: 640px)").matches ? 72 : 88, hidden: false, top: 0, cursor: -1 };
    /** @type {Set<number>} */
    this.selected = new Set();
    this.anchor = -1;
    /** @type {Map<string, number>} */
    this.keys = new Map();
    /** @type {Set<number>} */
    this.wanted = new Set();
    /** @type {Map<number, number>} sprite sheet -> when it was requested */
    this.requested = new Map();
    this.sent = { message: "", at: 0, wait: LATE };
    this.counts = { decided: 0, found: 0, remaining: NaN };
    this.silentSince = 0; // when the first message without an answer was sent
    this.refusals = "";

    this.controls = new Controls({
      group: (number) => this.show(number),
      hide: () => this.hide(),
      zoom: (factor) => this.zoom(factor),
      acceptAll: () => this.acceptAll(),
      assign: (label) => this.assign(label),
      keep: () => this.keep(),
      remove: () => this.decide(this.chosen(), null),
      accept: () => this.accept(),
      undo: () => this.undo(),
      clear: () => this.select([]),
      open: () => this.open(),
    });
    this.scroller = element("div", "scroller");
    this.scroller.tabIndex = 0;
    this.scroller.setAttribute("role", "grid");
    this.scroller.setAttribute("aria-multiselectable", "true");
    this.scroller.setAttribute("aria-label", "Images, the most doubtful labels first");
    this.band = element("div", "band");
    this.band.hidden = true;
    this.empty = element("p", "empty");
    this.spoken = element("div", "spoken");
    this.spoken.setAttribute("aria-live", "polite");
    this.tiles = new Tiles(this.scroller, () => this.scene());
    this.tiles.spacer.append(this.band);
    root.append(this.controls.head, this.scroller, this.empty, this.controls.foot, this.controls.help, this.spoken);
    this.preview = new Preview(
      root,
      (position, size) => this.picture(position, size),
      (positions) => this.acceptAt(positions),
    );
    this.stops = [
      listen(this.scroller, {
        tap: (position, how) => this.tap(position, how),
        open: (position) => this.open(position),
        band: (box) => this.showBand(box),
        sweep: (box) => this.sweep(box),
        range: (from, to) => this.range(from, to),
        key: (event) => this.key(event),
      }),
    ];
    const sizes = new ResizeObserver(() => this.arrange());
    sizes.observe(this.scroller);
    const timer = setInterval(() => this.flush(), 500);
    const online = () => this.flush(true);
    window.addEventListener("online", online);
    this.stops.push(() => sizes.disconnect(), () => clearInterval(timer));
    this.stops.push(() => window.removeEventListener("online", online));
  }

  /**
   * New data, or a new theme.
   * @param {Data} data
   * @param {Send} send
   */
  async update(data, send) {
    this.send = send;
    if (data === this.data) return;
    const before = this.data;
    this.data = data;
    if (!before || before.book !== data.book) await this.load(data.book);
    if (!this.book || !this.ledger || this.data !== data) return;
    const { answer } = data;
    if (answer.message && answer.message === this.sent.message) {
      this.sent = { message: "", at: answer.problem ? Date.now() : 0, wait: LATE };
      this.silentSince = 0;
    }
    if (answer.refusals.length) this.refusals = `Not accepted: ${answer.refusals.join("; ")}.`;
    this.ledger.receive(data.log, answer.applied);
    for (const number of Object.keys(data.sheets)) this.wanted.delete(Number(number));
    this.refresh();
    this.flush();
  }

  /** @param {string} url */
  async load(url) {
    this.loading = url;
    this.book = null;
    const buffer = await fetch(url).then((answer) => (answer.ok ? answer.arrayBuffer() : null), () => null);
    if (this.loading !== url) return;
    if (!buffer) {
      this.empty.hidden = false;
      setText(this.empty, "The wall could not be loaded: reload the page.");
      return;
    }
    const book = unpack(buffer);
    this.book = book;
    this.ledger = new Ledger(
      book.run,
      (sample) => book.given[book.places.get(sample) ?? -1] ?? -1,
      localStore(),
      this.source,
    );
    Object.assign(this.look, looks.get(book.run));
    looks.set(book.run, this.look);
    this.selected.clear();
    this.controls.start(book, this.look.view);
    if (this.data) this.ledger.receive(this.data.log, {});
    this.count();
    this.arrange(true);
    this.scroller.scrollTop = this.look.top;
  }

  // --- what is shown

  /** @returns {import("./tiles.js").Scene | null} */
  scene() {
    const { book, layout, data } = this;
    if (!book || !layout || !data) return null;
    return {
      book,
      layout,
      decisionOf: (position) => this.decisionOf(position),
      selected: this.selected,
      cursor: this.look.cursor,
      isFlat: layout.grouping.suggested[0] < 0,
      sheetUrl: (number) => data.sheets[number],
      want: (numbers) => {
        numbers.forEach((number) => this.wanted.add(number));
        this.flush();
      },
      selectGroup: (group) => this.selectGroup(group),
      acceptGroup: (group) => this.acceptGroup(group),
      readOnly: Boolean(data.readOnly),
    };
  }

  /** @param {number} position */
  decisionOf(position) {
    return this.book ? this.ledger?.of(this.book.samples[position]) : undefined;
  }

  /** @param {number} position */
  isOpen(position) {
    return !this.decisionOf(position);
  }

  /** New places for all tiles, if anything changed that decides on them.
   * @param {boolean} [always]
   */
  arrange(always = false) {
    const { book, look } = this;
    const width = this.scroller.clientWidth;
    if (!book || !width) return;
    const columns = Math.max(1, Math.floor((width + GAP) / (look.tile + GAP)));
    const grouping = book.groupings[look.view] ?? book.groupings[0];
    const measures = { columns, tile: look.tile, gap: GAP, head: grouping.sizes.length > 1 ? HEAD : 0 };
    const before = this.layout;
    const same =
      before && before.grouping === grouping && JSON.stringify(before.measures) === JSON.stringify(measures);
    if (same && !always) return;
    this.layout = new Layout(grouping, (i) => !look.hidden || this.isOpen(i), measures);
    this.scroller.style.setProperty("--tile", `${look.tile}px`);
    this.empty.hidden = this.layout.cells.length > 0;
    if (!this.layout.cells.length) setText(this.empty, "Every image here has a decision. Well done.");
    if (!this.layout.cellOf.has(look.cursor)) look.cursor = this.layout.cells[0] ?? -1;
    this.tiles.reset();
    this.fill();
  }

  count() {
    const { book, ledger } = this;
    if (book && ledger) this.counts = progress(book, (sample) => ledger.of(sample));
  }

  /** After decisions have changed. */
  refresh() {
    this.count();
    if (this.look.hidden) this.arrange(true);
    this.tiles.refresh();
    this.fill();
  }

  fill() {
    const { book, data, look } = this;
    if (!book || !data) return;
    this.keys = this.controls.offer(book, this.chosen());
    this.controls.fill({
      n: book.samples.length,
      ...this.counts,
      selected: this.selected.size,
      hidden: look.hidden,
      readOnly: Boolean(data.readOnly),
    });
    this.scroller.setAttribute("aria-activedescendant", look.cursor >= 0 ? `tile-${look.cursor}` : "");
    this.fillSaved();
  }

  fillSaved() {
    const { ledger, data, silentSince } = this;
    if (!ledger || !data) return;
    const problem = data.readOnly || data.answer.problem || this.refusals;
    const late = silentSince > 0 && Date.now() - silentSince > LATE;
    this.controls.fillSaved({ waiting: ledger.nWaiting, late, problem, isKept: ledger.isKept });
  }

  /** @param {number} number */
  show(number) {
    this.look.view = number;
    this.controls.view(number);
    this.scroller.scrollTop = 0;
    this.look.cursor = -1;
    this.arrange(true);
  }

  hide() {
    this.look.hidden = !this.look.hidden;
    this.arrange(true);
    this.reveal();
  }

  /** @param {number} factor */
  zoom(factor) {
    this.look.tile = Math.round(Math.min(Math.max(this.look.tile * factor, SMALLEST), LARGEST));
    this.arrange();
    this.reveal();
  }

  /**
   * A picture of its own, for the preview.
   * @param {number} position
   * @param {number} size
   */
  picture(position, size) {
    const node = element("div", "picture");
    const { book, data } = this;
    if (!book || !data) return node;
    const { per, columns, side } = book.sheets;
    const [number, place] = [Math.floor(position / per), position % per];
    const url = data.sheets[number];
    if (!per) return node;
    if (url) {
      node.style.backgroundImage = `url("${url}")`;
      node.style.backgroundSize = `${columns * size}px auto`;
      node.style.backgroundPosition = `-${(place % columns) * size}px -${Math.floor(place / columns) * size}px`;
      if (side < size) node.style.imageRendering = "pixelated";
    } else {
      this.wanted.add(number);
    }
    return node;
  }

  // --- selection

  /** The selected images, or else the one under the cursor. */
  chosen() {
    if (this.selected.size) return [...this.selected];
    return this.look.cursor >= 0 && this.layout?.cellOf.has(this.look.cursor) ? [this.look.cursor] : [];
  }

  /** @param {number[]} positions */
  select(positions) {
    this.selected = new Set(positions);
    this.tiles.refresh();
    this.fill();
  }

  /**
   * @param {number} position
   * @param {"one" | "range"} how
   */
  tap(position, how) {
    if (how === "range" && this.anchor >= 0) {
      this.range(this.anchor, position);
      return;
    }
    if (!this.selected.delete(position)) this.selected.add(position);
    this.anchor = position;
    this.look.cursor = position;
    this.tiles.refresh();
    this.fill();
  }

  /**
   * Add everything between two images.
   * @param {number} from
   * @param {number} to
   */
  range(from, to) {
    const { layout } = this;
    if (!layout) return;
    const [a, b] = [layout.cellOf.get(from) ?? 0, layout.cellOf.get(to) ?? 0];
    for (let cell = Math.min(a, b); cell <= Math.max(a, b); cell++) this.selected.add(layout.cells[cell]);
    this.anchor = from;
    this.look.cursor = to;
    this.tiles.refresh();
    this.fill();
  }

  /** @param {{left: number, top: number, right: number, bottom: number} | null} box */
  showBand(box) {
    this.band.hidden = !box;
    if (!box) return;
    Object.assign(this.band.style, {
      transform: `translate(${box.left}px, ${box.top}px)`,
      width: `${box.right - box.left}px`,
      height: `${box.bottom - box.top}px`,
    });
  }

  /** @param {{left: number, top: number, right: number, bottom: number}} box */
  sweep({ left, top, right, bottom }) {
    const { layout } = this;
    if (!layout) return;
    const cells = layout.inside(left, top, right, bottom);
    for (const cell of cells) this.selected.add(layout.cells[cell]);
    if (cells.length) this.anchor = this.look.cursor = layout.cells[cells[cells.length - 1]];
    this.tiles.refresh();
    this.fill();
  }

  /** All images of a group without a decision; all of it if there is none.
   * @param {number} group
   */
  selectGroup(group) {
    const { layout } = this;
    const [start, end] = layout?.groups.get(group) ?? [0, 0];
    if (!layout || start === end) return;
    const all = layout.cells.slice(start, end);
    const open = all.filter((i) => this.isOpen(i));
    this.look.cursor = all[0];
    this.anchor = all[0];
    this.select(open.length ? open : all);
    this.say(`${count(this.selected.size, "image")} selected: ${this.titleOf(group)}`);
  }

  /** @param {number} group */
  titleOf(group) {
    const { book, layout } = this;
    if (!book || !layout) return "";
    return groupTitle(book, layout.grouping.given[group], layout.grouping.suggested[group]);
  }

  // --- decisions

  /** @param {number} label */
  assign(label) {
    const positions = this.chosen();
    this.decide(positions, positions.map(() => label));
  }

  keep() {
    const positions = this.chosen();
    this.decide(positions, positions.map((i) => this.book?.given[i] ?? 0));
  }

  /** Accept what is suggested for the selection; more than one image after a preview. */
  accept() {
    const positions = this.chosen();
    if (!this.book || this.data?.readOnly) return;
    if (positions.length > 1) this.preview.open(this.book, positions, 0);
    else this.acceptAt(positions);
  }

  /** @param {number} group */
  acceptGroup(group) {
    this.selectGroup(group);
    this.accept();
  }

  acceptAll() {
    const { book } = this;
    if (!book || this.data?.readOnly) return;
    const all = [...book.samples.keys()].filter(
      (i) => book.given[i] !== book.suggested[i] && this.isOpen(i),
    );
    this.preview.open(book, all, LIKELY);
  }

  /** @param {number[]} positions */
  acceptAt(positions) {
    this.decide(positions, positions.map((i) => this.book?.suggested[i] ?? 0));
    this.scroller.focus({ preventScroll: true });
  }

  /**
   * @param {number[]} positions
   * @param {number[] | null} labels  null: they belong to no class
   */
  decide(positions, labels) {
    const { book, ledger, layout, look } = this;
    if (!book || !ledger || !layout || !positions.length || this.data?.readOnly) return;
    const last = Math.max(...positions.map((i) => layout.cellOf.get(i) ?? -1));
    ledger.decide(positions.map((i) => book.samples[i]), labels);
    this.selected.clear();
    const next = layout.cells.findIndex((i, cell) => cell > last && this.isOpen(i));
    const target = next >= 0 ? next : layout.cells.findIndex((i) => this.isOpen(i));
    look.cursor = layout.cells[Math.max(target, 0)] ?? -1;
    this.anchor = look.cursor;
    this.refresh();
    this.reveal();
    this.flush();
    const labelName = labels && new Set(labels).size === 1 ? `: ${book.classes[labels[0]]}` : "";
    this.say(`${count(positions.length, "image")} ${labels ? `decided${labelName}` : "removed"}`);
  }

  undo() {
    const { book, ledger } = this;
    if (!book || !ledger || this.data?.readOnly) return;
    const samples = ledger.undo();
    if (!samples.length) {
      this.say("Nothing to undo");
      return;
    }
    const positions = samples.map((sample) => book.places.get(sample) ?? -1).filter((i) => i >= 0);
    this.refresh();
    this.look.cursor = positions[0] ?? -1;
    this.select(positions);
    this.reveal();
    this.flush();
    this.say(`Undone: ${count(samples.length, "decision")}`);
  }

  /** @param {number} [position] */
  open(position = this.chosen()[0]) {
    if (this.book && position >= 0) this.send("open", { sample: this.book.samples[position] });
  }

  /** @param {string} text */
  say(text) {
    this.spoken.textContent = text;
  }

  // --- keys

  /** Whether the wall used a key.
   * @param {KeyboardEvent} event
   * @returns {boolean}
   */
  key(event) {
    const { layout, look } = this;
    if (!layout || this.preview.isOpen) return false;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (/^(Arrow|Home$|End$)/.test(key)) this.move(key, event.shiftKey);
    else if (key === "PageDown" || key === "PageUp") {
      this.scroller.scrollBy({ top: (key === "PageDown" ? 0.9 : -0.9) * this.scroller.clientHeight });
    } else if (key === " ") {
      if (look.cursor >= 0) this.tap(look.cursor, "one");
    } else if (key === "Escape") {
      if (!this.selected.size) return false;
      this.select([]);
    } else if (this.keys.has(key)) this.assign(this.keys.get(key) ?? 0);
    else if (key === "k") this.keep();
    else if (key === "x") this.decide(this.chosen(), null);
    else if (key === "Enter") this.accept();
    else if (key === "u") this.undo();
    else if (key === "a") this.selectGroup(layout.groupOf(layout.cellOf.get(look.cursor) ?? 0));
    else if (key === "n") this.nextGroup();
    else if (key === "h") this.hide();
    else if (key === "o") this.open();
    else if (key === "+" || key === "=") this.zoom(1.25);
    else if (key === "-") this.zoom(1 / 1.25);
    else return false;
    return true;
  }

  /**
   * @param {string} key
   * @param {boolean} extends_
   */
  move(key, extends_) {
    const { layout, look } = this;
    if (!layout?.cells.length) return;
    const from = layout.cellOf.get(look.cursor) ?? 0;
    const to = layout.move(from, key);
    if (extends_) this.range(this.anchor >= 0 ? this.anchor : layout.cells[from], layout.cells[to]);
    else this.anchor = layout.cells[to];
    look.cursor = layout.cells[to];
    this.reveal();
    this.tiles.refresh();
    this.fill();
  }

  /** To the first open image of the next group. */
  nextGroup() {
    const { layout, look } = this;
    if (!layout) return;
    const here = layout.groupOf(layout.cellOf.get(look.cursor) ?? 0);
    const [, end] = layout.groups.get(here) ?? [0, 0];
    const next = layout.cells.findIndex((i, cell) => cell >= end && this.isOpen(i));
    if (next < 0) return;
    look.cursor = this.anchor = layout.cells[next];
    this.select([]);
    this.reveal();
    this.say(this.titleOf(layout.groupOf(next)));
  }

  /** Scroll to the cursor, and to the heading above where it is the first of its group. */
  reveal() {
    const { layout, scroller, look } = this;
    const cell = layout?.cellOf.get(look.cursor);
    if (!layout || cell === undefined) return;
    const index = layout.rowOf(cell);
    const row = layout.rows[index];
    const isFirst = index > 0 && layout.rows[index - 1].count === 0;
    const top = isFirst ? layout.rows[index - 1].top : row.top;
    const bottom = row.top + layout.measures.tile;
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    else if (bottom > scroller.scrollTop + scroller.clientHeight) {
      scroller.scrollTop = isFirst ? top : bottom + GAP - scroller.clientHeight;
    }
    scroller.scrollIntoView({ block: "nearest" });
    this.controls.foot.scrollIntoView({ block: "nearest" });
    this.tiles.draw();
  }

  // --- messages to the server

  /** Send what waits, unless an answer is still expected.
   * @param {boolean} [again]  whether to give that answer up
   */
  flush(again = false) {
    const { ledger, data, sent } = this;
    if (!ledger || !data) return;
    this.look.top = this.scroller.scrollTop;
    const now = Date.now();
    if (!again && now - sent.at < sent.wait && (sent.message || data.answer.problem)) return;
    const wanted = this.missing();
    const waits = ledger.nWaiting > 0 && !data.readOnly;
    if (waits || wanted.length) {
      const wait = sent.message ? Math.min(sent.wait * 1.5, MOST_LATE) : LATE;
      this.sent = { message: randomName(), at: now, wait };
      this.silentSince ||= now;
      wanted.forEach((number) => this.requested.set(number, now));
      const queues = waits ? Object.fromEntries(ledger.waiting) : {};
      this.send("exchange", { message: this.sent.message, queues, wanted });
    }
    this.fillSaved();
  }

  /** Sprite sheets to request: those in view, or else some of the next ones. */
  missing() {
    const { book, data } = this;
    if (!book || !data || !book.sheets.per) return [];
    const n = Math.min(Math.ceil(book.samples.length / book.sheets.per), PREFETCHED);
    const now = Date.now();
    const isMissing = (/** @type {number} */ i) =>
      !data.sheets[i] && now - (this.requested.get(i) ?? 0) > REQUEST_AGAIN;
    const inView = [...this.wanted].filter(isMissing).slice(-AT_ONCE); // the newest
    const next = inView.length ? inView : Array.from({ length: n }, (_, i) => i).filter(isMissing);
    return next.slice(0, AT_ONCE);
  }

  close() {
    this.look.top = this.scroller.scrollTop;
    cancelAnimationFrame(this.tiles.frame);
    this.stops.forEach((stop) => stop());
    this.root.replaceChildren();
  }
}

function randomName() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((b) => b.toString(16).padStart(2, "0")).join("");
}

/** The browser's storage; an empty one in memory where it is forbidden.
 * @returns {import("./ledger.js").Kept}
 */
function localStore() {
  try {
    return window.localStorage;
  } catch {
    const refuse = () => {
      throw new Error("no storage");
    };
    return { length: 0, key: () => null, getItem: () => null, setItem: refuse, removeItem: () => {} };
  }
}

/**
 * @param {{data: Data | null, parentElement: ParentNode, setTriggerValue: Send}} mounted
 */
export function wall({ data, parentElement, setTriggerValue }) {
  const root = /** @type {HTMLElement | null} */ (parentElement.querySelector(".wall"));
  if (!root || !data) return undefined;
  const state = states.get(root) ?? new State(root);
  states.set(root, state);
  void state.update(data, setTriggerValue);
  return () => {
    state.close();
    states.delete(root);
  };
}
