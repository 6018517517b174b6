// @ts-check
// Play, step, scrub; and the sentence of the moment.

import { button, element, setText } from "./dom.js";
import { unbroken } from "./words.js";

/** @typedef {import("./scene.js").Scene} Scene */

const SPEEDS = [0.5, 1, 2, 4];

export class Transport {
  /**
   * @param {{toggle: () => void, step: (by: number) => void,
   *   scrub: (time: number, done: boolean) => void, speed: (factor: number) => void,
   *   clear: () => void}} on
   */
  constructor(on) {
    this.root = element("div", "transport");
    this.caption = element("p", "caption");
    const row = element("div", "controls");
    this.play = button("play", "", on.toggle, "Play (Space)");
    this.play.append(element("i"));
    const back = button("step", "", () => on.step(-1), "One epoch back (Left)");
    const forward = button("step forward", "", () => on.step(1), "One epoch forward (Right)");
    back.append(element("i"));
    forward.append(element("i"));
    this.slider = element("input");
    this.slider.type = "range";
    this.slider.step = "any";
    this.slider.setAttribute("aria-label", "Epoch");
    this.slider.addEventListener("input", () => on.scrub(Number(this.slider.value), false));
    this.slider.addEventListener("change", () => on.scrub(Number(this.slider.value), true));
    this.track = element("div", "track");
    this.mark = element("span", "mark", "labels change");
    this.mark.setAttribute("aria-hidden", "true");
    this.track.append(this.slider, this.mark);
    this.epoch = element("output", "epoch");
    let speed = 1;
    const pace = button("pace", "1×", () => {
      speed = (speed + 1) % SPEEDS.length;
      pace.textContent = `${SPEEDS[speed]}×`;
      on.speed(SPEEDS[speed]);
    });
    pace.title = "Speed";
    this.chosen = element("div", "chosen");
    this.chosenText = element("span");
    this.chosen.append(this.chosenText, button("", "×", on.clear, "Clear the selection (Escape)"));
    row.append(this.play, back, forward, this.track, this.epoch, pace);
    this.root.append(this.caption, this.chosen, row);
  }

  /**
   * @param {Scene} scene
   * @param {boolean} playing
   * @param {string} caption
   * @param {string} chosen  describes the selection; empty without one
   */
  draw({ analysis, time, epoch, run }, playing, caption, chosen) {
    const [first, last] = analysis.range;
    const { slider } = this;
    slider.min = String(first);
    slider.max = String(Math.max(last, first));
    slider.value = String(time);
    const share = last > first ? (time - first) / (last - first) : 0;
    slider.style.setProperty("--share", `${100 * share}%`);
    slider.setAttribute("aria-valuetext", `Epoch ${epoch} of ${last}`);
    setText(this.epoch, `epoch ${epoch} of ${last}`);
    this.play.classList.toggle("playing", playing);
    this.play.setAttribute("aria-label", playing ? "Pause (Space)" : "Play (Space)");
    this.play.title = playing ? "Pause (Space)" : "Play (Space)";
    setText(this.caption, unbroken(caption));
    this.chosen.hidden = !chosen;
    setText(this.chosenText, chosen);
    const change = analysis.firstChange(run);
    this.mark.hidden = change === null || last <= first;
    if (change !== null && last > first) {
      this.mark.style.setProperty("--at", String((change - first) / (last - first)));
    }
  }
}
