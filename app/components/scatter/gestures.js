// Pointer, wheel and key events of the map as calls of `on`: pan, zoom, hover, pick, lasso.

const PICK_RADIUS = 14; // CSS pixels
const CLICK_DISTANCE = 6; // CSS pixels; a press that moves less is a click
const OUTSIDE_PAUSE = 400; // ms; a scroll that began outside the map keeps scrolling the page

function listenToGestures(target, isLasso, on) {
  const fingers = new Map();
  let path = null; // outline of the lasso being drawn
  let moved = 0;
  let adding = false;
  let wheeledOutside = 0;

  const position = (event) => {
    const box = target.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return { middle: [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2], far: Math.hypot(a[0] - b[0], a[1] - b[1]) };
  };

  function down(event) {
    if (event.button) return;
    target.setPointerCapture(event.pointerId);
    target.focus({ preventScroll: true, focusVisible: false });
    fingers.set(event.pointerId, position(event));
    on.leave();
    if (fingers.size > 1) {
      path = null; // a second finger makes it a pinch
      on.outline(null);
      return;
    }
    moved = 0;
    adding = event.shiftKey && isLasso();
    path = isLasso() || event.shiftKey ? [position(event)] : null;
  }

  function move(event) {
    const now = position(event);
    const before = fingers.get(event.pointerId);
    if (!before) {
      if (event.pointerType === "mouse") on.hover(...now);
      return;
    }
    const was = fingers.size === 2 ? spread() : null;
    fingers.set(event.pointerId, now);
    moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
    if (was) {
      const is = spread();
      on.pan(is.middle[0] - was.middle[0], is.middle[1] - was.middle[1]);
      if (was.far > 0) on.zoom(is.far / was.far, ...is.middle);
    } else if (path) {
      path.push(now);
      on.outline(path);
    } else if (fingers.size === 1 && moved > CLICK_DISTANCE) {
      on.pan(now[0] - before[0], now[1] - before[1]);
    }
  }

  function up(event) {
    if (!fingers.delete(event.pointerId)) return;
    if (fingers.size) {
      moved = Infinity; // the rest of a pinch is no click
      return;
    }
    const outline = path;
    path = null;
    on.outline(null);
    if (event.type === "pointercancel") return;
    if (moved <= CLICK_DISTANCE) on.pick(...position(event), event.pointerType !== "mouse");
    else if (outline && outline.length > 3) on.lasso(outline, adding);
  }

  function wheel(event) {
    const now = performance.now();
    if (!event.ctrlKey && now - wheeledOutside < OUTSIDE_PAUSE) {
      wheeledOutside = now;
      return;
    }
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 30 : 1;
    const step = Math.min(Math.max(event.deltaY * lines, -120), 120);
    on.zoom(Math.exp(-step * (event.ctrlKey ? 0.01 : 0.002)), ...position(event));
  }

  function wheelAnywhere(event) {
    if (!event.composedPath().includes(target)) wheeledOutside = performance.now();
  }

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (on.key(event.key)) {
      event.preventDefault();
      event.stopPropagation(); // the page uses some of these keys as shortcuts
    }
  }

  const listeners = [
    [target, "pointerdown", down], [target, "pointermove", move], [target, "pointerup", up],
    [target, "pointercancel", up], [target, "pointerleave", () => fingers.size || on.leave()],
    [target, "keydown", key], [target, "dblclick", () => on.key("0")],
    [target, "wheel", wheel], [document, "wheel", wheelAnywhere],
  ];
  for (const [node, name, call] of listeners) node.addEventListener(name, call, { passive: false });
  return () => listeners.forEach(([node, name, call]) => node.removeEventListener(name, call));
}
