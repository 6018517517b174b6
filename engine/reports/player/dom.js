// @ts-check
// Elements and canvases. All texts are inserted as text: names of classes are chosen by others.

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} kind
 * @param {string} [className]
 * @param {string} [text]
 * @returns {HTMLElementTagNameMap[K]}
 */
export function element(kind, className = "", text = "") {
  const node = document.createElement(kind);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

/**
 * @param {string} className
 * @param {string} text
 * @param {() => void} click
 * @param {string} [title]
 */
export function button(className, text, click, title = "") {
  const node = element("button", className, text);
  node.type = "button";
  if (title) {
    node.title = title;
    node.setAttribute("aria-label", title);
  }
  node.addEventListener("click", click);
  return node;
}

/**
 * A panel with a heading, a note beside it, and a body.
 * @param {string} name  of its CSS class
 * @param {string} title
 */
export function panel(name, title) {
  const root = element("section", `panel ${name}`);
  const head = element("div", "panel-head");
  const note = element("span", "note");
  head.append(element("h2", "", title), note);
  const body = element("div", "content");
  root.append(head, body);
  return { root, head, note, body };
}

/**
 * A small square canvas of its own, in CSS pixels.
 * @param {number} size
 * @param {(pen: CanvasRenderingContext2D) => void} draw
 */
export function picture(size, draw) {
  const canvas = element("canvas");
  const ratio = window.devicePixelRatio || 1;
  canvas.width = canvas.height = size * ratio;
  canvas.style.width = canvas.style.height = `${size}px`;
  canvas.setAttribute("aria-hidden", "true");
  const pen = canvas.getContext("2d");
  if (pen) {
    pen.scale(ratio, ratio);
    draw(pen);
  }
  return canvas;
}

/** Changes a text only where it differs, which saves a new layout.
 * @param {Node} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A canvas that fills its parent, in CSS pixels. */
export class Surface {
  /**
   * @param {HTMLElement} parent
   * @param {string} label
   * @param {string} [className]
   */
  constructor(parent, label, className = "") {
    this.parent = parent;
    this.canvas = element("canvas", className);
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", label);
    parent.append(this.canvas);
    this.pen = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    this.ratio = 1;
    this.width = 0;
    this.height = 0;
  }

  /** Fit the parent; true where the size has changed, which also clears the canvas. */
  fit() {
    const { clientWidth: width, clientHeight: height } = this.parent;
    const ratio = window.devicePixelRatio || 1;
    if (width === this.width && height === this.height && ratio === this.ratio) return false;
    [this.width, this.height, this.ratio] = [width, height, ratio];
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    return true;
  }

  clear() {
    this.pen.clearRect(0, 0, this.width, this.height);
  }

  /**
   * Where an event is, in CSS pixels from the top left of the canvas.
   * @param {MouseEvent} event
   * @returns {[number, number]}
   */
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }
}

/**
 * A text on a canvas with a halo, legible on anything.
 * @param {CanvasRenderingContext2D} pen
 * @param {string} text
 * @param {number} x
 * @param {number} y
 * @param {string} color
 * @param {string} halo
 */
export function haloText(pen, text, x, y, color, halo) {
  pen.lineJoin = "round";
  pen.lineWidth = 4;
  pen.strokeStyle = halo;
  pen.strokeText(text, x, y);
  pen.fillStyle = color;
  pen.fillText(text, x, y);
}

/** @type {Map<string, HTMLCanvasElement>} */
const labels = new Map();

/**
 * The same as `haloText`, in the middle of (x, y), of texts that are drawn in every frame: outlines
 * are slow, so that each text is drawn once and copied from then on.
 * @param {CanvasRenderingContext2D} pen
 * @param {string} text
 * @param {number} x
 * @param {number} y
 * @param {string} color
 * @param {string} halo
 */
export function haloLabel(pen, text, x, y, color, halo) {
  const ratio = pen.getTransform().a;
  const key = JSON.stringify([text, pen.font, color, halo, ratio]);
  let label = labels.get(key);
  if (!label) {
    const { width, fontBoundingBoxAscent, fontBoundingBoxDescent } = pen.measureText(text);
    label = document.createElement("canvas");
    label.width = Math.ceil((width + 8) * ratio);
    label.height = Math.ceil((fontBoundingBoxAscent + fontBoundingBoxDescent + 8) * ratio);
    const inner = label.getContext("2d");
    if (!inner) return;
    inner.scale(ratio, ratio);
    inner.font = pen.font;
    inner.textAlign = "center";
    inner.textBaseline = "middle";
    haloText(inner, text, label.width / ratio / 2, label.height / ratio / 2, color, halo);
    if (labels.size > 200) labels.clear();
    labels.set(key, label);
  }
  const [w, h] = [label.width / ratio, label.height / ratio];
  pen.drawImage(label, x - w / 2, y - h / 2, w, h);
}

/**
 * A text cut to a width, with an ellipsis.
 * @param {CanvasRenderingContext2D} pen
 * @param {string} text
 * @param {number} width
 */
export function cut(pen, text, width) {
  if (pen.measureText(text).width <= width) return text;
  let kept = [...text];
  while (kept.length > 1 && pen.measureText(`${kept.join("")}…`).width > width)
    kept = kept.slice(0, -1);
  return `${kept.join("")}…`;
}
