// @ts-check
// Where everything is on the wall: groups of rows of tiles, each group below a heading.

/** @typedef {import("./book.js").Grouping} Grouping */
/**
 * @typedef {Object} Row
 * @property {number} group  its number in the grouping
 * @property {number} start  its first cell; of a heading the first of its group
 * @property {number} count  of tiles; 0: a heading
 * @property {number} top  CSS pixels
 */
/** @typedef {{columns: number, tile: number, gap: number, head: number}} Measures */

export class Layout {
  /**
   * @param {Grouping} grouping
   * @param {(position: number) => boolean} isShown
   * @param {Measures} measures  in CSS pixels; head: height of a heading, 0: none
   */
  constructor(grouping, isShown, measures) {
    this.grouping = grouping;
    this.measures = measures;
    /** @type {number[]} positions in the book, as they are shown one after the other */
    this.cells = [];
    /** @type {Row[]} */
    this.rows = [];
    /** @type {Map<number, number>} position -> cell */
    this.cellOf = new Map();
    /** @type {Map<number, [number, number]>} group -> its first cell and the one after its last */
    this.groups = new Map();
    const { columns, tile, gap, head } = measures;
    let [top, from] = [0, 0];
    grouping.sizes.forEach((size, group) => {
      const start = this.cells.length;
      for (let i = from; i < from + size; i++) {
        const position = grouping.order[i];
        if (!isShown(position)) continue;
        this.cellOf.set(position, this.cells.length);
        this.cells.push(position);
      }
      from += size;
      const end = this.cells.length;
      if (end === start) return;
      this.groups.set(group, [start, end]);
      if (head) this.rows.push({ group, start, count: 0, top });
      top += head;
      for (let cell = start; cell < end; cell += columns) {
        this.rows.push({ group, start: cell, count: Math.min(columns, end - cell), top });
        top += tile + gap;
      }
      top += head ? gap : 0;
    });
    this.height = top;
  }

  /** The first row that ends below a height, or the last one.
   * @param {number} y
   */
  rowAt(y) {
    return this.lastRow(({ top }) => top <= y);
  }

  /** Index of the row of a cell: the last one that starts at it or before it.
   * @param {number} cell
   */
  rowOf(cell) {
    return this.lastRow(({ start }) => start <= cell);
  }

  /** Index of the last row that fits, or 0: rows that fit come first.
   * @param {(row: Row) => boolean} fits
   */
  lastRow(fits) {
    let [low, high] = [0, this.rows.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (fits(this.rows[middle])) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The group of a cell.
   * @param {number} cell
   */
  groupOf(cell) {
    return this.rows[this.rowOf(cell)]?.group ?? -1;
  }

  /**
   * The cell that an arrow key leads to.
   * @param {number} cell
   * @param {string} key
   */
  move(cell, key) {
    const last = this.cells.length - 1;
    if (key === "ArrowLeft") return Math.max(cell - 1, 0);
    if (key === "ArrowRight") return Math.min(cell + 1, last);
    if (key === "Home") return 0;
    if (key === "End") return last;
    const way = key === "ArrowDown" ? 1 : -1;
    const here = this.rowOf(cell);
    let row = here + way;
    while (this.rows[row] && !this.rows[row].count) row += way;
    const target = this.rows[row];
    if (!target) return cell;
    return target.start + Math.min(cell - this.rows[here].start, target.count - 1);
  }

  /**
   * The cells that a rectangle touches, in CSS pixels of the wall.
   * @param {number} left
   * @param {number} top
   * @param {number} right
   * @param {number} bottom
   * @returns {number[]}
   */
  inside(left, top, right, bottom) {
    const { tile, gap } = this.measures;
    /** @type {number[]} */
    const found = [];
    for (let i = this.rowAt(Math.max(top, 0)); i < this.rows.length; i++) {
      const row = this.rows[i];
      if (row.top > bottom) break;
      if (!row.count || row.top + tile < top) continue;
      for (let column = 0; column < row.count; column++) {
        const x = column * (tile + gap);
        if (x <= right && x + tile >= left) found.push(row.start + column);
      }
    }
    return found;
  }
}
