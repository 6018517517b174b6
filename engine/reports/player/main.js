// @ts-check
// The player of a recording: `mount` shows it in an element. It needs no server and no network.

import { fromFragment, toFragment } from "./address.js";
import { Cards } from "./cards.js";
import { Confusion } from "./confusion.js";
import { Curves } from "./curves.js";
import { Detail } from "./detail.js";
import { element, setText } from "./dom.js";
import { Histogram } from "./histogram.js";
import { Analysis, STATE_NAMES } from "./labels.js";
import { label } from "./labeler.js";
import { FeatureMap } from "./map.js";
import { Decoder } from "./recording.js";
import { describe, members } from "./selection.js";
import { fitPaper } from "./print.js";
import { Sprites } from "./sprites.js";
import { Tabs } from "./tabs.js";
import { fitted, palette } from "./theme.js";
import { Transport } from "./transport.js";
import { FEW, Verdicts } from "./verdicts.js";
import { Wall } from "./wall.js";
import { closing, count, moment, scoreSentence } from "./words.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./selection.js").Selection} Selection */
/**
 * @typedef {object} Place
 * @property {number | null} [epoch]  null: the last one, of a recording that grows
 * @property {number | null} [sample]  row in the data set; null: none
 *
 * @typedef {object} Options
 * @property {"auto" | "light" | "dark"} [theme]  auto: as the system
 * @property {boolean} [address]  keep the state in the address fragment; true unless given
 * @property {boolean} [autoplay]  play at once, unless the visitor prefers reduced motion
 * @property {boolean} [live]  open at the last epoch, and follow those that are appended
 * @property {boolean} [keys]  listen to the keys of the whole page; true unless given
 * @property {Place} [start]  where it opens
 * @property {(place: Place) => void} [onMove]  it stands still somewhere else than before
 * @property {(place: number, sample: number) => void} [onPick]  an image was picked: its place and
 *   its row in the data set; -1: none
 */

const WHOLE_MS = 14_000; // of a recording at normal speed
const [FASTEST_MS, SLOWEST_MS] = [110, 520]; // of an epoch
const SPOKEN_MS = 2500; // between two announcements while it plays

/** What `mount` returns. */
export class Player {
  /**
   * @param {HTMLElement} host
   * @param {Options} options
   */
  constructor(host, options) {
    this.options = options;
    this.decoder = new Decoder();
    this.root = element("div", "mixnn-player");
    this.root.dataset.theme = options.theme ?? "auto";
    this.root.setAttribute("role", "region");
    this.root.setAttribute("aria-label", "Player of a run");
    host.replaceChildren(this.root);
    this.message = element("p", "message", "Reading the recording …");
    this.root.append(this.message);
    /** @type {Scene | null} */
    this.scene = null;
    /** @type {Selection | null} */
    this.selection = null;
    this.playing = false;
    this.speed = 1;
    this.version = 0;
    this.last = 0; // epoch when the recording last grew
    this.frameRequested = 0;
    this.lastFrame = 0;
    /** @type {number | undefined} */
    this.exact = undefined; // time while it plays without motion
    this.spoken = 0;
    this.written = "";
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    /** @type {(() => void)[]} */
    this.stops = [];
    /** @type {Promise<void>} */
    this.ready = Promise.resolve();
  }

  /**
   * Add bytes to the recording: the first ones, or those that a growing recording appended.
   * Resolves when they are shown; a recording that cannot be read is answered by a message.
   * @param {Uint8Array | ArrayBuffer} bytes
   * @returns {Promise<void>}
   */
  append(bytes) {
    this.ready = this.ready.then(async () => {
      try {
        const recording = await this.decoder.push(bytes);
        if (!recording) return;
        if (!this.scene) await this.build(recording);
        else this.grow();
      } catch (error) {
        this.message.textContent = error instanceof Error ? error.message : String(error);
        if (!this.message.isConnected) this.root.append(this.message);
      }
    });
    return this.ready;
  }

  /** Remove the player and all that it listens to. */
  destroy() {
    this.stops.forEach((stop) => stop());
    cancelAnimationFrame(this.frameRequested);
    this.root.remove();
  }

  /** @param {import("./recording.js").Recording} recording */
  async build(recording) {
    const analysis = new Analysis(recording);
    if (analysis.range[1] < analysis.range[0]) {
      this.message.textContent = "The first epoch is being trained …";
      return;
    }
    const sprites = await Sprites.load(recording);
    const run = analysis.telling();
    const time = this.options.live ? analysis.range[1] : analysis.opening(run);
    this.last = analysis.range[1];
    this.makePanels(recording, analysis);
    this.scene = {
      analysis,
      sprites,
      colors: palette(this.root, 13),
      time,
      epoch: time,
      run,
      row: 0,
      next: 0,
      part: 0,
      chosen: null,
      nChosen: 0,
      sample: -1,
      hovered: -1,
      by: "prediction",
      version: 0,
    };
    this.listen();
    this.fit();
    if (this.options.address !== false) this.readAddress();
    this.go(this.options.start ?? {});
    this.seek(this.scene.time);
    this.root.classList.add("ready");
    this.drawNow();
    if (this.options.autoplay && !this.calm.matches) this.toggle(true);
  }

  /**
   * @param {import("./recording.js").Recording} recording
   * @param {Analysis} analysis
   */
  makePanels(recording, analysis) {
    const on = {
      pick: (/** @type {number} */ place) => this.pick(place),
      hover: (/** @type {number} */ place, /** @type {MouseEvent | null} */ event) =>
        this.hover(place, event),
      select: (/** @type {Selection | null} */ selection) => this.select(selection),
      scrub: (/** @type {number} */ time, /** @type {boolean} */ done) => this.scrub(time, done),
      show: (/** @type {number} */ run) => this.show(run),
      columns: (/** @type {"prediction" | "corrected"} */ by) => {
        if (this.scene) this.scene.by = by;
        this.changed();
      },
    };
    this.cards = new Cards(recording, on);
    this.wall = new Wall(on);
    this.map = new FeatureMap(on);
    this.histogram = new Histogram(on);
    this.curves = new Curves(on);
    this.confusion = new Confusion(on);
    const few = recording.runs.some((_, run) => {
      const n = analysis.nWrong(run);
      return n > 0 && n <= FEW;
    });
    this.verdicts = few ? new Verdicts(on) : null;
    this.detail = new Detail(on);
    this.transport = new Transport({
      toggle: () => this.toggle(),
      step: (by) => this.step(by),
      scrub: on.scrub,
      speed: (factor) => (this.speed = factor),
      clear: () => this.select(null),
    });
    this.tip = element("div", "tip");
    this.tip.hidden = true;
    this.live = element("div", "live");
    this.live.setAttribute("aria-live", "polite");
    const body = element("div", "body");
    const middle = element("div", "column middle");
    middle.append(this.map.root, this.histogram.root);
    const side = element("div", "column side");
    const lower = this.verdicts ?? this.confusion;
    side.append(this.curves.root, lower.root, this.detail.root);
    const tabs = new Tabs(
      [
        ["Map", this.map],
        ["Losses", this.histogram],
        [this.verdicts ? "Wrong labels" : "Classes", lower],
      ],
      () => this.changed(),
    );
    body.append(this.wall.root, middle, side, tabs.root);
    this.root.replaceChildren(this.cards.root, body, this.transport.root, this.tip, this.live);
  }

  listen() {
    const sizes = new ResizeObserver(() => this.fit());
    sizes.observe(this.root);
    this.stops.push(() => sizes.disconnect());
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const themed = () => this.fit();
    dark.addEventListener("change", themed);
    this.stops.push(() => dark.removeEventListener("change", themed));
    this.stops.push(fitPaper(this.root));
    const target = this.options.keys === false ? this.root : document;
    const key = (/** @type {Event} */ event) => this.key(/** @type {KeyboardEvent} */ (event));
    target.addEventListener("keydown", key);
    this.stops.push(() => target.removeEventListener("keydown", key));
    if (this.options.address !== false) {
      const moved = () => {
        if (location.hash.slice(1) !== this.written) this.readAddress();
      };
      addEventListener("hashchange", moved);
      this.stops.push(() => removeEventListener("hashchange", moved));
    }
  }

  /** Size and colors: the text grows with the player. */
  fit() {
    if (!this.scene) return;
    this.scene.colors = fitted(this.root);
    this.changed();
  }

  /** More epochs have arrived; from the last one it goes on to them. */
  grow() {
    if (!this.scene) return;
    const before = this.last;
    this.last = this.scene.analysis.range[1];
    const more = this.last > before; // not where the second run reaches the same epoch
    const followed = this.options.live && more && this.scene.time >= before;
    this.seek(this.scene.time);
    this.changed();
    if (followed) this.toggle(true);
  }

  // ------------------------------------------------------------------ what the visitor does

  /** @param {boolean} [playing] */
  toggle(playing = !this.playing) {
    if (!this.scene || playing === this.playing) return;
    const [first, last] = this.scene.analysis.range;
    this.playing = playing;
    this.lastFrame = 0;
    if (playing && this.scene.time >= last) this.seek(first);
    if (!playing) this.seek(Math.round(this.scene.time));
    if (!playing) this.settled();
    this.request();
  }

  /** @param {number} by */
  step(by) {
    if (!this.scene) return;
    this.playing = false;
    this.seek(by > 0 ? Math.floor(this.scene.time) + by : Math.ceil(this.scene.time) + by);
    this.settled();
  }

  /**
   * @param {number} time
   * @param {boolean} done
   */
  scrub(time, done) {
    this.playing = false;
    this.seek(done || this.calm.matches ? Math.round(time) : time);
    if (done) this.settled();
    this.request();
  }

  /** @param {number} place */
  pick(place) {
    if (!this.scene) return;
    this.scene.sample = place;
    this.changed();
    this.settled();
    if (place >= 0 && this.root.classList.contains("narrow")) {
      this.drawNow(); // so that the story is there to scroll to
      if (this.tip) this.tip.hidden = true;
      this.detail?.root.scrollIntoView({
        block: "start",
        behavior: this.calm.matches ? "auto" : "smooth",
      });
    }
    this.options.onPick?.(place, place < 0 ? -1 : this.scene.analysis.recording.samples[place]);
  }

  /** @param {Selection | null} selection */
  select(selection) {
    if (!this.scene) return;
    const { analysis } = this.scene;
    const flags = selection && members(analysis, selection);
    const n = flags ? flags.reduce((sum, flag) => sum + flag, 0) : 0;
    this.selection = n ? selection : null;
    this.scene.chosen = n ? flags : null;
    this.scene.nChosen = n;
    this.changed();
    this.settled();
    if (selection)
      this.say(
        n ? `${count(n)} images selected: ${describe(analysis, selection)}` : "No image selected",
      );
  }

  /** @param {number} run */
  show(run) {
    if (!this.scene) return;
    this.scene.run = run;
    this.seek(this.scene.time);
    this.changed();
    this.settled();
  }

  /**
   * @param {number} place
   * @param {MouseEvent | null} event  null: by keyboard
   */
  hover(place, event) {
    if (!this.scene || !this.tip) return;
    if (this.scene.hovered !== place) {
      this.scene.hovered = place;
      this.request();
    }
    this.tip.hidden = place < 0 || !event;
    if (place < 0) return;
    const text = this.inWords(place);
    if (!event) {
      this.say(text);
      return;
    }
    setText(this.tip, text);
    const box = this.root.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const [w, h] = [this.tip.offsetWidth, this.tip.offsetHeight];
    this.tip.style.left = `${Math.min(x + 14, box.width - w - 4)}px`;
    this.tip.style.top = `${y + 18 + h < box.height ? y + 18 : y - h - 8}px`;
  }

  /**
   * @param {number} place
   */
  inWords(place) {
    if (!this.scene) return "";
    const { analysis, run, row } = this.scene;
    const { recording } = analysis;
    const { classes } = recording.dataset;
    const { arrays } = analysis.epoch(run, row);
    const given = classes[recording.given[run][place]];
    const shows = recording.truth ? `shows ${classes[recording.truth[place]]}, ` : "";
    const now = arrays.corrected[place];
    const label = now === recording.given[run][place] ? "" : `, label now ${classes[now]}`;
    const state = STATE_NAMES[analysis.states(run, row)[place]];
    const clean = (arrays.clean[place] / 255).toFixed(2);
    return `${shows}given label ${given}${label}: ${state}. P(clean) ${clean}`;
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (!this.scene || event.ctrlKey || event.metaKey || event.altKey) return;
    if (this.root.getBoundingClientRect().bottom <= 0) return; // scrolled away: keys are the page's
    const target = event.composedPath()[0];
    const node = target instanceof HTMLElement ? target : null;
    const typing =
      node && /^(INPUT|TEXTAREA|SELECT)$/.test(node.tagName) && node !== this.transport?.slider;
    if (typing || node?.isContentEditable) return;
    const [first, last] = this.scene.analysis.range;
    const presses =
      node?.tagName === "BUTTON" || node?.tagName === "SUMMARY" || node?.tagName === "A";
    switch (event.key) {
      case " ":
        if (presses && node !== this.transport?.play) return;
        this.toggle();
        break;
      case "ArrowLeft":
        this.step(-1);
        break;
      case "ArrowRight":
        this.step(1);
        break;
      case "Home":
      case "End":
        if (node !== this.transport?.slider) return;
        this.scrub(event.key === "Home" ? first : last, true);
        break;
      case "Escape":
        if (this.scene.sample >= 0) this.pick(-1);
        else if (this.selection) this.select(null);
        else return;
        break;
      default:
        return;
    }
    event.preventDefault();
  }

  // ------------------------------------------------------------------ time

  /** Move to a time; the epoch, its rows and the way between them follow.
   * @param {number} time
   */
  seek(time) {
    if (!this.scene) return;
    const { scene } = this;
    const [first, last] = scene.analysis.range;
    scene.time = Math.min(Math.max(time, first), last);
    scene.epoch = Math.floor(scene.time + 1e-6);
    scene.part = Math.max(scene.time - scene.epoch, 0);
    scene.row = scene.analysis.row(scene.run, scene.epoch);
    if (scene.row < 0) {
      scene.run = scene.analysis.recording.runs.findIndex((run) => run.epochs.length);
      scene.row = scene.analysis.row(scene.run, scene.epoch);
    }
    scene.next = scene.analysis.row(scene.run, scene.epoch + 1);
    this.request();
  }

  /** Milliseconds that an epoch takes. */
  get pace() {
    const [first, last] = this.scene?.analysis.range ?? [0, 1];
    const even = WHOLE_MS / Math.max(last - first, 1);
    return Math.min(Math.max(even, FASTEST_MS), SLOWEST_MS) / this.speed;
  }

  /** Everything is drawn again in the next frame. */
  changed() {
    if (!this.scene) return;
    this.scene.version = ++this.version;
    this.request();
  }

  request() {
    if (!this.frameRequested) {
      this.frameRequested = requestAnimationFrame((now) => this.onFrame(now));
    }
  }

  /** @param {number} now */
  onFrame(now) {
    this.frameRequested = 0;
    if (!this.scene || !this.root.isConnected) return;
    if (this.playing) {
      const passed = this.lastFrame ? Math.min(now - this.lastFrame, 250) : 0;
      this.lastFrame = now;
      this.advance(passed / this.pace);
    }
    this.drawNow();
    if (this.playing) this.request();
  }

  /** @param {number} epochs */
  advance(epochs) {
    if (!this.scene) return;
    const [, last] = this.scene.analysis.range;
    this.exact =
      (this.exact !== undefined && Math.abs(this.exact - this.scene.time) < 1
        ? this.exact
        : this.scene.time) + epochs;
    if (this.exact >= last) {
      this.playing = false;
      this.exact = undefined;
      this.seek(last);
      this.settled();
      return;
    }
    // without motion, pictures change once an epoch
    this.seek(this.calm.matches ? Math.floor(this.exact) : this.exact);
  }

  // ------------------------------------------------------------------ what is shown

  drawNow() {
    const { scene } = this;
    if (!scene || !this.transport) return;
    const { analysis, run, epoch } = scene;
    const chosen = this.selection
      ? `${count(scene.nChosen)} selected: ${describe(analysis, this.selection)}`
      : "";
    this.cards?.draw(scene);
    this.transport.draw(scene, this.playing, this.caption(), chosen);
    this.root.classList.toggle("telling", scene.sample >= 0);
    this.detail?.draw(scene);
    this.wall?.draw(scene);
    const narrow = this.root.classList.contains("narrow");
    const inStory = scene.sample >= 0 && !narrow; // the story takes the place of what is beside it
    const seen = [this.map, this.histogram, ...(inStory ? [] : [this.verdicts ?? this.confusion])];
    for (const panel of seen) {
      if (!narrow || !panel?.root.classList.contains("behind")) panel?.draw(scene);
    }
    if (!inStory) this.curves?.draw(scene);
    if (this.playing && performance.now() - this.spoken > SPOKEN_MS) {
      this.say(`Epoch ${epoch}. ${scoreSentence(analysis, epoch)}`);
    }
    this.root.dataset.epoch = String(epoch);
    this.root.dataset.run = String(run);
  }

  caption() {
    if (!this.scene) return "";
    const { analysis, run, epoch } = this.scene;
    const [, last] = analysis.range;
    const ended = analysis.recording.runs.every(({ state }) => state !== "");
    return epoch === last && ended ? closing(analysis) : moment(analysis, run, epoch);
  }

  /** Stands still: the screen reader says it, the address holds it. */
  settled() {
    if (!this.scene) return;
    const { analysis, epoch, sample } = this.scene;
    if (sample < 0) this.say(`Epoch ${epoch}. ${scoreSentence(analysis, epoch)} ${this.caption()}`);
    else this.say(this.inWords(sample));
    if (this.options.address !== false) this.writeAddress();
    this.options.onMove?.(this.place());
  }

  /** Where it stands.
   * @returns {Place}
   */
  place() {
    if (!this.scene) return {};
    const { analysis, epoch, sample } = this.scene;
    const newest = this.options.live && epoch === this.last;
    return {
      epoch: newest ? null : epoch,
      sample: sample < 0 ? null : analysis.recording.samples[sample],
    };
  }

  /** Move to an epoch and to the story of a sample; what is missing stays.
   * @param {Place} place
   */
  go({ epoch, sample }) {
    if (!this.scene) return;
    const { samples } = this.scene.analysis.recording;
    if (sample !== undefined) this.scene.sample = sample === null ? -1 : samples.indexOf(sample);
    if (typeof epoch === "number") {
      this.playing = false;
      this.seek(epoch);
    }
    this.changed();
  }

  /** @param {string} text */
  say(text) {
    this.spoken = performance.now();
    if (this.live) setText(this.live, text);
  }

  writeAddress() {
    if (!this.scene) return;
    const { analysis, epoch, run, sample } = this.scene;
    this.written = toFragment(analysis, { epoch, run, sample, selection: this.selection });
    try {
      history.replaceState(history.state, "", `#${this.written}`);
    } catch {
      // a frame of no origin has no address of its own
    }
  }

  readAddress() {
    if (!this.scene) return;
    const picked = fromFragment(this.scene.analysis, location.hash);
    this.written = location.hash.slice(1);
    if (picked.run !== undefined) this.scene.run = picked.run;
    this.scene.sample = picked.sample ?? -1;
    if (picked.epoch !== undefined) this.seek(picked.epoch);
    const flags = picked.selection ? members(this.scene.analysis, picked.selection) : null;
    const n = flags ? flags.reduce((sum, flag) => sum + flag, 0) : 0;
    this.selection = n ? (picked.selection ?? null) : null;
    this.scene.chosen = n ? flags : null;
    this.scene.nChosen = n;
    this.changed();
  }
}

export { label };

/**
 * Show a recording in an element, which the player fills.
 * @param {HTMLElement} host
 * @param {Uint8Array | ArrayBuffer} bytes
 * @param {Options} [options]
 * @returns {Player} `ready` resolves once it is shown
 */
export function mount(host, bytes, options = {}) {
  const player = new Player(host, options);
  player.append(bytes);
  return player;
}
