// @ts-check
// What is above and below the tiles: views, sizes, progress, and the actions with their keys.

import { button, count, element, setText } from "./dom.js";
import { about } from "./estimate.js";
import { keysOf, offered } from "./book.js";

/** @typedef {import("./book.js").Book} Book */
/**
 * @typedef {Object} Actions
 * @property {(number: number) => void} group  show a grouping
 * @property {() => void} hide  hide or show what is decided
 * @property {(factor: number) => void} zoom
 * @property {() => void} acceptAll
 * @property {(label: number) => void} assign
 * @property {() => void} keep
 * @property {() => void} remove
 * @property {() => void} accept
 * @property {() => void} undo
 * @property {() => void} clear
 * @property {() => void} open
 */

export class Controls {
  /** @param {Actions} on */
  constructor(on) {
    this.on = on;
    this.head = element("div", "head");
    this.views = element("div", "views");
    this.views.setAttribute("role", "group");
    this.views.setAttribute("aria-label", "Group images by");
    this.hide = button("Hide decided", on.hide, { key: "H" });
    this.hide.setAttribute("aria-pressed", "false");
    this.all = button("Accept suggestions…", on.acceptAll, {
      title: "All suggestions that are probable enough, after a preview",
    });
    const sizes = element("div", "sizes");
    sizes.append(
      button("", () => on.zoom(1 / 1.25), { key: "−", title: "Smaller images" }),
      button("", () => on.zoom(1.25), { key: "+", title: "Larger images" }),
    );
    const tools = element("div", "tools");
    tools.append(this.views, this.hide, this.all, sizes);
    this.bar = element("progress");
    this.bar.setAttribute("aria-label", "Share of images with a decision");
    this.numbers = element("span", "numbers");
    this.saved = element("span", "saved");
    this.saved.setAttribute("role", "status");
    const state = element("div", "state");
    state.append(this.bar, this.numbers, this.saved);
    this.head.append(tools, state);

    this.foot = element("div", "foot");
    this.foot.setAttribute("role", "toolbar");
    this.foot.setAttribute("aria-label", "Decide on the selected images");
    this.selection = element("b", "n");
    this.classes = element("div", "classes");
    this.others = element("select", "others");
    this.others.setAttribute("aria-label", "Another class for the selected images");
    this.others.addEventListener("change", () => {
      if (this.others.value) on.assign(Number(this.others.value));
      this.others.value = "";
    });
    const rest = element("div", "rest");
    rest.append(
      button("Keep", on.keep, { key: "K", title: "The given labels are right" }),
      button("Remove", on.remove, { key: "X", title: "Belongs to no class: leave it out" }),
      button("Accept", on.accept, { key: "⏎", title: "Accept the suggested labels" }),
      button("Undo", on.undo, { key: "U", title: "Undo the last decision, without limit" }),
      button("Clear", on.clear, { key: "Esc", title: "Select nothing" }),
      button("Open", on.open, { key: "O", title: "Look at it on its own, with its evidence" }),
    );
    this.foot.append(this.selection, this.classes, this.others, rest);
    this.help = element("details", "help");
    this.help.append(
      element("summary", "", "Keys and gestures"),
      element(
        "p",
        "",
        "Click or Space selects an image, Shift+click or Shift+arrows a range, a drag what it " +
          "touches, A all in this group. On a touch screen, tap to select, or hold and drag for a " +
          "range. The arrow keys move, the key of a class assigns it to all that is selected; " +
          "without a selection, to the image with the frame. K keeps, X removes what belongs to no " +
          "class, Enter accepts suggestions, U undoes, N goes to the next group, O opens one image.",
      ),
    );
    this.offeredKey = "";
  }

  /**
   * @param {Book} book
   * @param {number} view
   */
  start(book, view) {
    this.views.replaceChildren(
      ...book.groupings.map(({ title }, number) => button(title, () => this.on.group(number))),
    );
    this.view(view);
    const none = element("option", "", "Another class");
    none.value = "";
    this.others.replaceChildren(
      none,
      ...book.classes.map((name, c) => {
        const option = element("option", "", name);
        option.value = String(c);
        return option;
      }),
    );
    this.others.hidden = book.classes.length <= 10;
  }

  /** @param {number} number */
  view(number) {
    [...this.views.children].forEach((node, i) => {
      node.setAttribute("aria-pressed", String(i === number));
    });
  }

  /**
   * The keys of the classes for what is selected.
   * @param {Book} book
   * @param {number[]} positions
   * @returns {Map<string, number>}
   */
  offer(book, positions) {
    const keys = keysOf(book.classes, offered(book, positions));
    const name = JSON.stringify([...keys]);
    if (name !== this.offeredKey) {
      this.offeredKey = name;
      const digits = book.classes.every((one) => /^[0-9]$/.test(one));
      this.classes.replaceChildren(
        ...[...keys].map(([key, c]) => {
          const node = button(digits ? "" : book.classes[c], () => this.on.assign(c), { key });
          node.title = `Assign ${book.classes[c]}`;
          if (digits) node.setAttribute("aria-label", `Assign ${book.classes[c]}`);
          return node;
        }),
      );
    }
    return keys;
  }

  /**
   * @param {{n: number, decided: number, found: number, remaining: number, selected: number,
   *   hidden: boolean, readOnly: boolean}} state
   */
  fill({ n, decided, found, remaining, selected, hidden, readOnly }) {
    this.bar.max = n;
    this.bar.value = decided;
    const left = Number.isNaN(remaining)
      ? ""
      : ` · ${about(remaining)} wrong ${remaining >= 0.95 && remaining < 1.05 ? "label remains" : "labels remain"}`;
    setText(
      this.numbers,
      `${decided.toLocaleString("en-US")} of ${n.toLocaleString("en-US")} decided · ` +
        `${count(found, "wrong label")} found${left}`,
    );
    setText(this.selection, selected ? `${selected.toLocaleString("en-US")} selected` : "None selected");
    this.hide.setAttribute("aria-pressed", String(hidden));
    this.foot.hidden = this.all.hidden = readOnly;
  }

  /**
   * Whether decisions have arrived.
   * @param {{waiting: number, late: boolean, problem: string, isKept: boolean}} state
   */
  fillSaved({ waiting, late, problem, isKept }) {
    const inBrowser = isKept ? "kept in this browser until then" : "keep this page open";
    let text = waiting ? "Saving…" : "✓ Saved";
    if (problem) text = `${problem} ${waiting ? `${count(waiting, "decision")} not saved yet, ${inBrowser}.` : ""}`;
    else if (waiting && late) text = `No answer from the server: ${count(waiting, "decision")} not saved yet, ${inBrowser}.`;
    setText(this.saved, text);
    this.saved.classList.toggle("bad", Boolean(problem) || (waiting > 0 && late));
  }
}
