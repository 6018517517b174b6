// @ts-check
// Colors of the player as canvases need them, and how each state of a label is drawn.

import { channels, CROSS, DIAMOND, DISC, packed, RING, SQUARE, TRIANGLE } from "./raster.js";
import { STATE_NAMES } from "./labels.js";

/**
 * @typedef {object} Palette
 * @property {string} ink
 * @property {string} quiet
 * @property {string} line
 * @property {string} panel
 * @property {string} accent
 * @property {string} plain  of the run that is compared with
 * @property {string[]} states  by state
 * @property {number[]} points  the same as 0xffBBGGRR
 * @property {number} ground  of the panel, as 0xffBBGGRR
 * @property {number} faint  of points that are not selected
 * @property {string} font
 * @property {number} unit  size of the text in CSS pixels
 */

export const SHAPES = [DISC, CROSS, DIAMOND, SQUARE, TRIANGLE, RING, DISC]; // by state

const NARROW = 760; // CSS pixels below which the panels are in one column

/**
 * Fits the size of the text to that of an element; its colors.
 * @param {HTMLElement} root
 */
export function fitted(root) {
  const { clientWidth: width, clientHeight: height } = root;
  const narrow = width < NARROW;
  root.classList.toggle("narrow", narrow);
  const unit = narrow ? 14 : Math.min(Math.max(0.0052 * width + 0.0095 * height, 12), 22);
  root.style.setProperty("--u", `${unit}px`);
  return palette(root, unit);
}

/**
 * @param {HTMLElement} root
 * @param {number} unit
 * @returns {Palette}
 */
export function palette(root, unit) {
  const style = getComputedStyle(root);
  const color = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
  const states = STATE_NAMES.map((name) => color(name));
  return {
    ink: color("ink"),
    quiet: color("quiet"),
    line: color("line"),
    panel: color("panel"),
    accent: color("accent"),
    plain: color("plain"),
    states,
    points: states.map((text) => packed(channels(text))),
    ground: packed(channels(color("panel"))),
    faint: packed(channels(color("line"))),
    font: style.fontFamily,
    unit,
  };
}

/**
 * The frame of an image, by the state of its label: distinguished by form as well as by color.
 * @param {CanvasRenderingContext2D} pen
 * @param {number} state  place in STATE_NAMES
 * @param {number} x
 * @param {number} y
 * @param {number} size
 * @param {Palette} colors
 */
export function frame(pen, state, x, y, size, colors) {
  const name = STATE_NAMES[state];
  if (name === "right" || name === "kept") return;
  const width = Math.min(Math.max(1.25, size * 0.09), 4);
  pen.fillStyle = pen.strokeStyle = colors.states[state];
  if (name === "corrected") {
    // an underline and a short stem, as of a check mark
    pen.fillRect(x, y + size - 2 * width, size, 2 * width);
    pen.fillRect(x, y + size * 0.45, width, size * 0.55);
    return;
  }
  pen.lineWidth = width;
  if (name === "changed") pen.setLineDash([2 * width, 1.5 * width]);
  pen.strokeRect(x + width / 2, y + width / 2, size - width, size - width);
  pen.setLineDash([]);
  pen.beginPath();
  if (name === "memorized") {
    // two filled corners
    const corner = size * 0.42;
    pen.moveTo(x, y);
    pen.lineTo(x + corner, y);
    pen.lineTo(x, y + corner);
    pen.moveTo(x + size, y + size);
    pen.lineTo(x + size - corner, y + size);
    pen.lineTo(x + size, y + size - corner);
    pen.fill();
  } else if (name === "harmed") {
    pen.moveTo(x, y + size);
    pen.lineTo(x + size, y);
    pen.stroke();
  }
}
