// @ts-check
// What all panels show at one moment, and what they report back.

/**
 * @typedef {object} Scene
 * @property {import("./labels.js").Analysis} analysis
 * @property {import("./sprites.js").Sprites} sprites
 * @property {import("./theme.js").Palette} colors
 * @property {number} time  in epochs, a fraction between two of them while it plays
 * @property {number} epoch  the last whole one
 * @property {number} run  that the pictures show
 * @property {number} row  of that run at the epoch
 * @property {number} next  the row after it
 * @property {number} part  how far time is from row to next, [0, 1)
 * @property {Uint8Array | null} chosen  (n,) 1 for selected samples; null: none is selected
 * @property {number} nChosen
 * @property {number} sample  place of the image whose story is shown, -1: none
 * @property {number} hovered  place of the image under the pointer, -1: none
 * @property {"prediction" | "corrected"} by  columns of the confusion matrix
 * @property {number} version  changes with theme, size, selection or sample: all is drawn again
 *
 * @typedef {object} Events
 * @property {(place: number) => void} pick  -1: none
 * @property {(place: number, event: MouseEvent | null) => void} hover
 * @property {(selection: import("./selection.js").Selection | null) => void} select
 * @property {(time: number, done: boolean) => void} scrub
 * @property {(run: number) => void} show
 * @property {(by: "prediction" | "corrected") => void} columns
 */

export const PRESS = 5; // CSS pixels; a press that moves less is a click

/**
 * Pointer drags on a canvas, in CSS pixels from its top left.
 * @param {import("./dom.js").Surface} surface
 * @param {{start?: (x: number, y: number) => void, move: (x: number, y: number) => void,
 *   end: (moved: boolean, event: PointerEvent) => void, cancel?: () => void}} on
 */
export function listenToDrags(surface, on) {
  /** @type {[number, number] | null} */
  let from = null;
  let moved = false;
  const { canvas } = surface;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    from = surface.at(event);
    moved = false;
    on.start?.(...from);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!from) return;
    const [x, y] = surface.at(event);
    moved ||= Math.hypot(x - from[0], y - from[1]) > PRESS;
    if (moved) on.move(x, y);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (!from) return;
    from = null;
    on.end(moved, event);
  });
  canvas.addEventListener("pointercancel", () => {
    from = null;
    on.cancel?.();
  });
}
