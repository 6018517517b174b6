// @ts-check
// One of several panels where they are in one column, as on a phone. Else all are shown.

import { button, element } from "./dom.js";

export class Tabs {
  /**
   * @param {[title: string, panel: {root: HTMLElement}][]} panels
   * @param {() => void} changed
   */
  constructor(panels, changed) {
    this.panels = panels;
    this.changed = changed;
    this.root = element("div", "tabs choice");
    this.root.setAttribute("role", "group");
    this.root.setAttribute("aria-label", "Panel shown");
    this.buttons = panels.map(([title], i) => button("", title, () => this.choose(i)));
    this.root.append(...this.buttons);
    this.choose(0);
  }

  /** @param {number} chosen */
  choose(chosen) {
    this.chosen = chosen;
    this.panels.forEach(([, { root }], i) => {
      root.classList.toggle("behind", i !== chosen); // hidden on a phone only
      this.buttons[i].setAttribute("aria-pressed", String(i === chosen));
    });
    this.changed();
  }
}
