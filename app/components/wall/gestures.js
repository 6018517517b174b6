// @ts-check
// Pointer and key events of the wall as calls of `on`: tap, open, band, sweep, range, key.

/** @typedef {{left: number, top: number, right: number, bottom: number}} Box */
/**
 * @typedef {Object} Calls
 * @property {(position: number, how: "one" | "range") => void} tap
 * @property {(position: number) => void} open
 * @property {(box: Box | null) => void} band  the rectangle of a drag, while it is drawn
 * @property {(box: Box) => void} sweep  the rectangle of a finished drag
 * @property {(from: number, to: number) => void} range  a finger held and dragged
 * @property {(event: KeyboardEvent) => boolean} key  whether it was used
 */

const CLICK_DISTANCE = 6; // CSS pixels; a press that moves less is a click
const HOLD = 350; // ms after which a finger selects instead of scrolling
const EDGE = 36; // CSS pixels from the edge, in which a drag scrolls

/**
 * @param {HTMLElement} scroller
 * @param {Calls} on
 * @returns {() => void} ends it
 */
export function listen(scroller, on) {
  /** @type {{x: number, y: number, position: number, touch: boolean} | null} */
  let pressed = null;
  let drags = false; // a rectangle of the mouse
  let holds = false; // a range of a finger
  let hold = 0;
  let swallow = false; // the click that ends a drag

  /** @param {EventTarget | null} target */
  const positionOf = (target) => {
    const tile = target instanceof Element ? target.closest(".tile") : null;
    return tile instanceof HTMLElement ? Number(tile.dataset.position) : -1;
  };
  /** @param {PointerEvent} event */
  const inside = (event) => {
    const box = scroller.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top + scroller.scrollTop, box };
  };
  /** @param {PointerEvent} event */
  const boxTo = (event) => {
    const { x, y } = inside(event);
    const start = /** @type {{x: number, y: number}} */ (pressed);
    return {
      left: Math.min(start.x, x),
      right: Math.max(start.x, x),
      top: Math.min(start.y, y),
      bottom: Math.max(start.y, y),
    };
  };

  /** @param {PointerEvent} event */
  function down(event) {
    const target = /** @type {Element} */ (event.target);
    if (event.button || target.closest("button")) return;
    const { x, y, box } = inside(event);
    if (x > scroller.clientWidth || event.clientY - box.top > scroller.clientHeight) return; // the scroll bar
    const touch = event.pointerType === "touch";
    pressed = { x, y, position: positionOf(target), touch };
    swallow = drags = holds = false;
    if (!touch || pressed.position < 0) return;
    hold = window.setTimeout(() => {
      if (!pressed) return;
      holds = swallow = true;
      on.tap(pressed.position, "one");
      navigator.vibrate?.(10);
    }, HOLD);
  }

  /** @param {PointerEvent} event */
  function move(event) {
    if (!pressed) return;
    const { x, y, box } = inside(event);
    const far = Math.hypot(x - pressed.x, y - pressed.y) > CLICK_DISTANCE;
    if (pressed.touch) {
      if (far && !holds) clearTimeout(hold);
      if (!holds) return;
      const root = /** @type {Document | ShadowRoot} */ (scroller.getRootNode());
      const position = positionOf(root.elementFromPoint(event.clientX, event.clientY));
      if (position >= 0 && pressed.position >= 0) on.range(pressed.position, position);
      return;
    }
    if (!drags && !far) return;
    if (!drags) scroller.setPointerCapture(event.pointerId);
    drags = swallow = true;
    const height = event.clientY - box.top;
    if (height < EDGE) scroller.scrollTop -= EDGE / 2;
    else if (height > scroller.clientHeight - EDGE) scroller.scrollTop += EDGE / 2;
    on.band(boxTo(event));
  }

  /** @param {PointerEvent} event */
  function up(event) {
    clearTimeout(hold);
    if (pressed && drags) {
      on.band(null);
      if (event.type === "pointerup") on.sweep(boxTo(event));
    }
    pressed = null;
    drags = holds = false;
  }

  /** @param {MouseEvent} event */
  function click(event) {
    const position = positionOf(event.target);
    if (!swallow && position >= 0) on.tap(position, event.shiftKey ? "range" : "one");
    swallow = false;
  }

  /** @param {MouseEvent} event */
  function twice(event) {
    const position = positionOf(event.target);
    if (position >= 0) on.open(position);
  }

  /** A finger that selects does not scroll.
   * @param {TouchEvent} event
   */
  function touchMove(event) {
    if (holds) event.preventDefault();
  }

  /** @param {Event} event */
  function menu(event) {
    if (pressed?.touch) event.preventDefault(); // holding a finger opens a menu
  }

  /** Keys work wherever nothing else on the page needs them.
   * @param {KeyboardEvent} event
   */
  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const [target] = event.composedPath();
    if (!(target instanceof Element) || !scroller.isConnected) return;
    const isOurs = scroller.parentElement?.contains(target);
    const isFree = target === document.body || target === document.documentElement;
    if (!isOurs && !isFree) return;
    if (target.matches("input, select, textarea, summary")) return;
    if (target.matches("button") && (event.key === "Enter" || event.key === " ")) return;
    if (!on.key(event)) return;
    event.preventDefault();
    event.stopPropagation(); // the page uses some of these keys as shortcuts
  }

  /** @type {[EventTarget, string, any][]} */
  const listeners = [
    [scroller, "pointerdown", down], [scroller, "pointermove", move], [scroller, "pointerup", up],
    [scroller, "pointercancel", up], [scroller, "click", click], [scroller, "dblclick", twice],
    [scroller, "touchmove", touchMove], [scroller, "contextmenu", menu],
  ]; // prettier-ignore
  for (const [node, name, call] of listeners) node.addEventListener(name, call, { passive: false });
  window.addEventListener("keydown", key, { capture: true });
  return () => {
    clearTimeout(hold);
    for (const [node, name, call] of listeners) node.removeEventListener(name, call);
    window.removeEventListener("keydown", key, { capture: true });
  };
}
