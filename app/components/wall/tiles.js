// @ts-check
// The tiles in view: rows are created as they scroll into view, and removed when they leave.

import { button, count, element } from "./dom.js";
import { REMOVE } from "./ledger.js";

/** @typedef {import("./book.js").Book} Book */
/** @typedef {import("./layout.js").Layout} Layout */
/** @typedef {import("./layout.js").Row} Row */
/** @typedef {import("./ledger.js").Decision} Decision */
/**
 * What the tiles show, and what they report.
 * @typedef {Object} Scene
 * @property {Book} book
 * @property {Layout} layout
 * @property {(position: number) => Decision | undefined} decisionOf
 * @property {Set<number>} selected  positions
 * @property {number} cursor  a position, -1: none
 * @property {boolean} isFlat  whether each tile says its labels, as no heading does
 * @property {(sheet: number) => string | undefined} sheetUrl
 * @property {(sheets: Set<number>) => void} want  called with the sheets that are missing in view
 * @property {(group: number) => void} selectGroup
 * @property {(group: number) => void} acceptGroup
 * @property {boolean} readOnly
 */

const BEYOND = 400; // CSS pixels above and below the view that are ready

export class Tiles {
  /**
   * @param {HTMLElement} scroller
   * @param {() => Scene | null} scene
   */
  constructor(scroller, scene) {
    this.scroller = scroller;
    this.scene = scene;
    this.spacer = element("div", "spacer");
    scroller.append(this.spacer);
    /** @type {Map<Row, HTMLElement>} */
    this.shown = new Map();
    this.frame = 0;
    scroller.addEventListener("scroll", () => this.later(), { passive: true });
  }

  later() {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  /** Everything again, for instance after a change of the layout. */
  reset() {
    this.shown.forEach((node) => node.remove());
    this.shown.clear();
    const scene = this.scene();
    if (!scene) return;
    this.spacer.style.height = `${scene.layout.height}px`;
    this.scroller.setAttribute("aria-rowcount", String(scene.layout.rows.length));
    this.scroller.setAttribute("aria-colcount", String(scene.layout.measures.columns));
    this.draw();
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const scene = this.scene();
    if (!scene) return;
    const { layout } = scene;
    const { scrollTop, clientHeight } = this.scroller;
    const [from, to] = [scrollTop - BEYOND, scrollTop + clientHeight + BEYOND];
    /** @type {Set<Row>} */
    const wanted = new Set();
    for (let i = layout.rowAt(Math.max(from, 0)); i < layout.rows.length; i++) {
      if (layout.rows[i].top > to) break;
      wanted.add(layout.rows[i]);
    }
    const cursor = layout.cellOf.get(scene.cursor);
    if (cursor !== undefined) wanted.add(layout.rows[layout.rowOf(cursor)]); // it has the focus
    for (const [row, node] of this.shown) {
      if (wanted.has(row)) continue;
      node.remove();
      this.shown.delete(row);
    }
    /** @type {Set<number>} */
    const missing = new Set();
    for (const row of wanted) {
      if (!this.shown.has(row)) {
        const node = row.count ? this.row(scene, row, missing) : this.heading(scene, row);
        node.style.transform = `translateY(${row.top}px)`;
        node.setAttribute("aria-rowindex", String(layout.rows.indexOf(row) + 1));
        this.shown.set(row, node);
        this.spacer.append(node);
      }
    }
    if (missing.size) scene.want(missing);
  }

  /** Selection, cursor, decisions and images of the tiles in view. */
  refresh() {
    const scene = this.scene();
    if (!scene) return;
    this.draw();
    /** @type {Set<number>} */
    const missing = new Set();
    for (const [row, node] of this.shown) {
      if (!row.count) {
        this.fillHeading(scene, row, node);
        continue;
      }
      [...node.children].forEach((tile, i) => {
        this.fill(scene, /** @type {HTMLElement} */ (tile), row.start + i, missing);
      });
    }
    if (missing.size) scene.want(missing);
  }

  /**
   * @param {Scene} scene
   * @param {Row} row
   * @param {Set<number>} missing
   */
  row(scene, row, missing) {
    const node = element("div", "row");
    node.setAttribute("role", "row");
    for (let cell = row.start; cell < row.start + row.count; cell++) {
      const tile = element("div", "tile");
      tile.setAttribute("role", "gridcell");
      tile.setAttribute("aria-colindex", String(cell - row.start + 1));
      tile.append(element("div", "image"), element("div", "says"));
      this.fill(scene, tile, cell, missing);
      node.append(tile);
    }
    return node;
  }

  /**
   * @param {Scene} scene
   * @param {HTMLElement} tile
   * @param {number} cell
   * @param {Set<number>} missing
   */
  fill(scene, tile, cell, missing) {
    const { book, layout, selected, cursor, decisionOf, isFlat } = scene;
    const position = layout.cells[cell];
    const decision = decisionOf(position);
    const isSelected = selected.has(position);
    const isFirst = tile.dataset.position !== String(position);
    if (isFirst) {
      tile.dataset.position = String(position);
      tile.id = `tile-${position}`;
    }
    const image = /** @type {HTMLElement} */ (tile.firstChild);
    const { per, columns, side } = book.sheets;
    if (per && !image.style.backgroundImage) {
      const url = scene.sheetUrl(Math.floor(position / per));
      if (!url) missing.add(Math.floor(position / per));
      else {
        const { tile: size } = layout.measures;
        const place = position % per;
        image.style.backgroundImage = `url("${url}")`;
        image.style.backgroundSize = `${columns * size}px auto`;
        image.style.backgroundPosition =
          `-${(place % columns) * size}px -${Math.floor(place / columns) * size}px`;
        image.style.imageRendering = side < size ? "pixelated" : "auto";
      }
    }
    const state = [decision ? "decided" : "", decision?.kind === REMOVE ? "removed" : ""];
    tile.className = ["tile", ...state, isSelected ? "selected" : "", position === cursor ? "cursor" : ""]
      .filter(Boolean)
      .join(" ");
    tile.setAttribute("aria-selected", String(isSelected));
    const text = caption(book, position, decision, isFlat);
    const says = /** @type {HTMLElement} */ (tile.lastChild);
    if (says.textContent !== text) says.textContent = text;
    const name = describe(book, position, decision);
    if (tile.getAttribute("aria-label") !== name) tile.setAttribute("aria-label", name);
  }

  /**
   * @param {Scene} scene
   * @param {Row} row
   */
  heading(scene, row) {
    const node = element("div", "row heading");
    node.setAttribute("role", "row");
    const cell = element("div", "title");
    cell.setAttribute("role", "gridcell");
    const all = button("Select all", () => this.scene()?.selectGroup(row.group), { key: "A" });
    const accept = button("", () => this.scene()?.acceptGroup(row.group), { className: "accept" });
    cell.append(element("b"), element("span", "n"), all, accept);
    node.append(cell);
    this.fillHeading(scene, row, node);
    return node;
  }

  /**
   * @param {Scene} scene
   * @param {Row} row
   * @param {HTMLElement} node
   */
  fillHeading({ book, layout, decisionOf, readOnly }, row, node) {
    const [title, n, all, accept] = /** @type {HTMLElement[]} */ ([...node.children[0].children]);
    const { given, suggested } = layout.grouping;
    const [start, end] = layout.groups.get(row.group) ?? [0, 0];
    let open = 0;
    for (let cell = start; cell < end; cell++) open += Number(!decisionOf(layout.cells[cell]));
    const [from, to] = [given[row.group], suggested[row.group]];
    title.textContent = groupTitle(book, from, to);
    n.textContent =
      open === end - start ? count(open, "image") : `${open} of ${count(end - start, "image")} open`;
    all.hidden = accept.hidden = readOnly || !open;
    accept.textContent =
      to < 0 ? "Accept suggestions…" : from === to ? "Keep all…" : `Change to ${book.classes[to]}…`;
  }
}

/**
 * What a group has in common.
 * @param {Book} book
 * @param {number} given  -1: several
 * @param {number} suggested  -1: several
 */
export function groupTitle({ classes }, given, suggested) {
  if (given < 0) return "Several labels";
  if (suggested < 0) return `All labeled ${classes[given]}`;
  if (given === suggested) return `Labeled ${classes[given]}, and looks like it`;
  return `Labeled ${classes[given]}, looks like ${classes[suggested]}`;
}

/**
 * The words on a tile.
 * @param {Book} book
 * @param {number} position
 * @param {Decision | undefined} decision
 * @param {boolean} isFlat
 */
function caption({ classes, given, suggested }, position, decision, isFlat) {
  const from = classes[given[position]];
  if (decision) {
    if (decision.kind === REMOVE) return "✕ removed";
    return decision.label === given[position] ? `✓ ${from}` : `→ ${classes[decision.label]}`;
  }
  if (!isFlat) return "";
  const to = classes[suggested[position]];
  return from === to ? from : `${from} → ${to}?`;
}

/**
 * The name of a tile for a screen reader.
 * @param {Book} book
 * @param {number} position
 * @param {Decision | undefined} decision
 */
export function describe({ classes, samples, given, suggested, likely }, position, decision) {
  const [from, to] = [given[position], suggested[position]];
  const sure = likely[position];
  const percent = Number.isNaN(sure) ? "" : `, ${Math.round(100 * sure)} %`;
  const looks = from === to ? "and looks like it" : `looks like ${classes[to]}${percent}`;
  let state = "";
  if (decision?.kind === REMOVE) state = ", removed";
  else if (decision) state = decision.label === from ? ", kept" : `, changed to ${classes[decision.label]}`;
  return `Sample ${samples[position]}, labeled ${classes[from]}, ${looks}${state}`;
}
