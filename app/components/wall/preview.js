// @ts-check
// Before a bulk accept: how many labels change, how many mistakes are expected in it, and the least
// certain images.

import { button, count, element, setText } from "./dom.js";
import { about, expectedMistakes } from "./estimate.js";
import { describe } from "./tiles.js";

/** @typedef {import("./book.js").Book} Book */

const MOST_SHOWN = 24; // of the least certain images
const STEP = 0.01;

export class Preview {
  /**
   * @param {HTMLElement} root
   * @param {(position: number, size: number) => HTMLElement} image
   * @param {(positions: number[]) => void} accept
   */
  constructor(root, image, accept) {
    this.image = image;
    this.accept = accept;
    this.dialog = element("dialog", "preview");
    this.dialog.setAttribute("aria-labelledby", "preview-title");
    this.title = element("h2");
    this.title.id = "preview-title";
    this.mistakes = element("p", "mistakes");
    this.mistakes.setAttribute("aria-live", "polite");
    this.limit = element("label", "limit");
    this.limitText = element("span");
    this.slider = element("input");
    Object.assign(this.slider, { type: "range", min: "0", max: "1", step: String(STEP) });
    this.slider.setAttribute("aria-label", "Least probability of the suggestion");
    this.slider.addEventListener("input", () => this.fill());
    this.limit.append(this.limitText, this.slider);
    this.hint = element("p", "hint", "The least certain of them:");
    this.images = element("div", "images");
    this.yes = button("Accept", () => this.finish(true), { key: "⏎", className: "primary" });
    const no = button("Cancel", () => this.finish(false), { key: "Esc" });
    const buttons = element("div", "buttons");
    buttons.append(this.yes, no);
    this.dialog.append(this.title, this.mistakes, this.limit, this.hint, this.images, buttons);
    this.dialog.addEventListener("keydown", (event) => {
      event.stopPropagation(); // no shortcut of the wall or the page
      if (event.key === "Enter" && event.target !== no) {
        event.preventDefault();
        this.finish(true);
      }
    });
    root.append(this.dialog);
    /** @type {number[]} */
    this.candidates = [];
    /** @type {Book | null} */
    this.book = null;
  }

  get isOpen() {
    return this.dialog.open;
  }

  /**
   * @param {Book} book
   * @param {number[]} positions  images that may get their suggestion
   * @param {number} least  probability of the suggestion, at first
   */
  open(book, positions, least) {
    this.book = book;
    const sure = (/** @type {number} */ i) => probability(book, i);
    this.candidates = [...positions].sort((a, b) => sure(a) - sure(b) || b - a);
    const known = positions.some((i) => !Number.isNaN(sure(i)));
    this.limit.hidden = !known || positions.length < 2;
    this.slider.value = known ? String(least) : "0";
    this.fill();
    this.dialog.showModal();
    this.yes.focus();
  }

  /** Those of the candidates that are certain enough, the least certain first. */
  chosen() {
    const least = Number(this.slider.value);
    const { book } = this;
    if (!book || least <= 0) return this.candidates;
    return this.candidates.filter((i) => probability(book, i) >= least);
  }

  fill() {
    const { book } = this;
    if (!book) return;
    const chosen = this.chosen();
    const n = chosen.length;
    const keeps = chosen.filter((i) => book.given[i] === book.suggested[i]).length;
    setText(this.title, title(book, chosen, keeps));
    const expected = expectedMistakes(book, chosen);
    const share = n ? ` (${((100 * expected) / n).toFixed(expected < n / 10 ? 1 : 0)} %)` : "";
    setText(
      this.mistakes,
      Number.isNaN(expected)
        ? "How many mistakes are in it is not known: look at each image first."
        : `Expected mistakes in it: ${about(expected)} of ${n.toLocaleString("en-US")}${share}.`,
    );
    const percent = Math.round(100 * Number(this.slider.value));
    setText(
      this.limitText,
      percent
        ? `Only where it is at least ${percent} % probable`
        : "However probable; move to leave out the less probable",
    );
    setText(/** @type {Node} */ (this.yes.lastChild), keeps === n ? `Keep ${n}` : `Accept ${n}`);
    this.yes.disabled = !n;
    this.hint.hidden = !n;
    this.images.replaceChildren(
      ...chosen.slice(0, MOST_SHOWN).map((position) => {
        const node = this.image(position, 56);
        node.setAttribute("role", "img");
        node.setAttribute("aria-label", describe(book, position, undefined));
        node.title = describe(book, position, undefined);
        return node;
      }),
    );
  }

  /** @param {boolean} accepted */
  finish(accepted) {
    const chosen = this.chosen();
    if (accepted && !chosen.length) return;
    this.dialog.close();
    if (accepted) this.accept(chosen);
  }
}

/**
 * Probability that accepting is right; NaN where not known.
 * @param {Book} book
 * @param {number} i
 */
function probability({ given, suggested, likely, doubt }, i) {
  return given[i] === suggested[i] ? 1 - doubt[i] : likely[i];
}

/**
 * @param {Book} book
 * @param {number[]} chosen
 * @param {number} keeps
 */
function title({ classes, given, suggested }, chosen, keeps) {
  const n = chosen.length;
  if (!n) return "No suggestion is that probable";
  const [from, to] = [given[chosen[0]], suggested[chosen[0]]];
  const alike = chosen.every((i) => given[i] === from && suggested[i] === to);
  if (keeps === n) {
    return alike ? `Keep ${count(n, "label")} ${classes[from]}?` : `Keep ${count(n, "label")}?`;
  }
  if (alike) return `Change ${count(n, "label")} from ${classes[from]} to ${classes[to]}?`;
  return `Accept the suggestions for ${count(n, "image")}?`;
}
