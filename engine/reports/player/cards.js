// @ts-check
// The score: what is wrong with the data, and how each run has fared so far.

import { button, element, picture, setText } from "./dom.js";
import { frame } from "./theme.js";
import { count, corrects, percent, plainRun, plural, runName } from "./words.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./scene.js").Events} Events */

const N_EXAMPLES = 4;

export class Cards {
  /**
   * @param {import("./recording.js").Recording} recording
   * @param {Events} on
   */
  constructor(recording, on) {
    this.root = element("div", "cards");
    this.on = on;
    this.data = element("section", "card data");
    this.words = element("div", "words");
    this.words.append(element("h2", "", "The data"), element("div", "big"), element("p"));
    this.examples = element("div", "examples");
    this.data.append(this.words, this.examples);
    this.root.append(this.data);
    this.exampleKey = -1;
    this.root.dataset.plain = String(plainRun(recording.runs));
    this.runs = recording.runs.map((run, number) => {
      const card = button(`card run run${number}`, "", () => on.show(number));
      const head = element("h2", "", runName(run));
      head.prepend(element("i", "line"));
      const details = [
        ...(runName(run) === run.title ? [] : [run.title]),
        ...(run.seeds.length ? [`seed ${run.settings.seed}`] : []),
      ];
      if (details.length) head.append(element("small", "", ` (${details.join(", ")})`));
      const big = element("div", "big");
      const line = element("p");
      const bar = element("div", "meter");
      const [good, bad] = [element("i", "good"), element("i", "bad")];
      bar.append(good, bad);
      const side = element("div", "deeds");
      side.append(line, bar);
      const flag = element("span", "flag", "shown below");
      card.append(head, flag, big, side);
      this.root.append(card);
      return { card, big, line, good, bad };
    });
  }

  /** @param {Scene} scene */
  draw(scene) {
    const { analysis, epoch, run: shown } = scene;
    const { recording } = analysis;
    this.runs.forEach(({ card, big, line, good, bad }, number) => {
      const run = recording.runs[number];
      const row = analysis.row(number, epoch);
      card.setAttribute("aria-pressed", String(number === shown));
      card.disabled = row < 0;
      if (row < 0) {
        setText(big, "…");
        return;
      }
      const score = analysis.score(number, row);
      fill(
        big,
        score.accuracy === null ? "" : percent(score.accuracy),
        score.accuracy === null ? "" : "of new images right",
      );
      const changes = corrects(run);
      if (score.wrong === null) {
        setText(
          line,
          changes ? `${plural(score.changed, "label")} changed` : "learns the labels as given",
        );
        good.style.width = bad.style.width = "0";
      } else if (changes) {
        const harmed = score.harmed ? `, harmed ${count(score.harmed)}` : "";
        const [n, m] = [score.corrected ?? 0, score.harmed ?? 0];
        setText(line, `corrected ${count(n)} of ${plural(score.wrong, "wrong label")}${harmed}`);
        const whole = Math.max(score.wrong, n + m, 1);
        good.style.width = `${(100 * n) / whole}%`;
        bad.style.width = `${(100 * m) / whole}%`;
        bad.className = "bad harmed";
      } else {
        setText(
          line,
          `memorized ${count(score.memorized ?? 0)} of ${count(score.wrong)} wrong labels`,
        );
        good.style.width = "0";
        bad.style.width = `${(100 * (score.memorized ?? 0)) / (score.wrong || 1)}%`;
        bad.className = "bad memorized";
      }
    });
    this.drawData(scene);
  }

  /** Some wrong labels, so that one sees what is meant.
   * @param {Scene} scene
   */
  drawData(scene) {
    const { analysis, run, version, sprites, colors } = scene;
    if (version === this.exampleKey) return;
    this.exampleKey = version;
    const { recording } = analysis;
    const { truth, dataset } = recording;
    const row = analysis.row(run, scene.epoch);
    const { wrong } = analysis.score(run, row);
    const [, big, text] = this.words.children;
    if (!truth || wrong === null) {
      fill(/** @type {HTMLElement} */ (big), count(dataset.n), "labeled images");
      setText(text, "It is not known which labels are wrong.");
      return;
    }
    fill(/** @type {HTMLElement} */ (big), percent(wrong / dataset.n), "of the labels are wrong");
    const what = dataset.name.includes(":") ? "images" : dataset.name; // else npz:mine.npz
    const examples = wrong ? ", for example labeled:" : "";
    setText(text, `${count(wrong)} of ${count(dataset.n)} ${what}${examples}`);
    const given = recording.given[run];
    const bad = Array.from(given, (_, i) => i).filter((i) => given[i] !== truth[i]);
    const size = Math.round(2.9 * colors.unit);
    const shown = Array.from(
      { length: Math.min(N_EXAMPLES, bad.length) },
      (_, i) => bad[Math.floor(((i + 0.5) * bad.length) / N_EXAMPLES)],
    );
    this.examples.replaceChildren(
      ...shown.map((place) => {
        const canvas = picture(size, (pen) => {
          sprites.draw(pen, place, 0, 0, size);
          frame(pen, 1, 0, 0, size, colors);
        });
        const said = dataset.classes[given[place]];
        const title = `It shows ${dataset.classes[truth[place]]}, its label says ${said}: tell its story`;
        const node = button("example", "", () => this.on.pick(place), title);
        node.append(canvas, element("span", "", `“${said}”`));
        return node;
      }),
    );
  }
}

/**
 * A large number and what it counts.
 * @param {HTMLElement} node
 * @param {string} number
 * @param {string} unit
 */
function fill(node, number, unit) {
  if (!node.firstChild) node.append(element("b"), element("span"));
  const [first, second] = node.children;
  setText(first, number);
  setText(second, unit);
}
