// @ts-check
// Where points are on the screen, and which one is under the pointer.

const MAX_ZOOM = 80; // 1 shows all points

// Data coordinates are those of the layout; screen coordinates are CSS pixels from the top left.
export class View {
  constructor() {
    this.zoom = 1; // 1: all points fit
    this.x = this.y = 0.5; // the data point in the middle of the screen
    this.box = [0, 0, 1, 1]; // left, top, width and height of all layouts
    this.size = [1, 1];
    this.touched = false; // panned or zoomed; until then the view follows the box
  }

  get scale() {
    const [w, h] = this.size;
    const margin = Math.min(28, 0.06 * Math.min(w, h));
    return this.zoom * Math.min((w - 2 * margin) / this.box[2], (h - 2 * margin) / this.box[3]);
  }

  /**
   * The box of a live run grows; a view that was panned or zoomed keeps showing the same part.
   * @param {number[]} box
   */
  setBox(box) {
    const before = this.scale;
    this.box = box;
    if (this.touched) this.zoom *= before / this.scale;
    else this.reset();
  }

  /**
   * @param {number} x
   * @param {number} y
   * @returns {[number, number]}
   */
  toScreen(x, y) {
    const s = this.scale;
    return [(x - this.x) * s + this.size[0] / 2, (y - this.y) * s + this.size[1] / 2];
  }

  /**
   * @param {number} left
   * @param {number} top
   * @returns {[number, number]}
   */
  toData(left, top) {
    const s = this.scale;
    return [(left - this.size[0] / 2) / s + this.x, (top - this.size[1] / 2) / s + this.y];
  }

  /**
   * @param {number} dx
   * @param {number} dy
   */
  pan(dx, dy) {
    this.x -= dx / this.scale;
    this.y -= dy / this.scale;
    this.keepNear();
  }

  /**
   * @param {number} factor
   * @param {number} left
   * @param {number} top
   */
  zoomAt(factor, left, top) {
    const [x, y] = this.toData(left, top);
    this.zoom = Math.min(Math.max(this.zoom * factor, 0.5), MAX_ZOOM);
    const [nx, ny] = this.toData(left, top);
    this.x += x - nx;
    this.y += y - ny;
    this.keepNear();
  }

  // The middle of the screen stays within the box, so that the points cannot be lost.
  keepNear() {
    const [left, top, w, h] = this.box;
    this.x = Math.min(Math.max(this.x, left), left + w);
    this.y = Math.min(Math.max(this.y, top), top + h);
    this.touched = true;
  }

  reset() {
    this.zoom = 1;
    this.x = this.box[0] + this.box[2] / 2;
    this.y = this.box[1] + this.box[3] / 2;
    this.touched = false;
  }

  keep() {
    return { zoom: this.zoom, x: this.x, y: this.y, touched: this.touched, box: this.box };
  }
}

// Points sorted into square cells, so that a pick compares only a few of them.
export class Grid {
  /**
   * @param {Float32Array} x
   * @param {Float32Array} y
   * @param {number[]} box  left, top, width and height
   */
  constructor(x, y, box) {
    const n = x.length;
    this.px = x;
    this.py = y;
    this.left = box[0];
    this.top = box[1];
    this.wide = Math.max(box[2], box[3]);
    this.side = Math.min(Math.max(Math.ceil(Math.sqrt(n / 2)), 1), 256);
    this.start = new Int32Array(this.side * this.side + 1);
    this.items = new Int32Array(n);
    const cell = new Int32Array(n);
    for (let i = 0; i < n; i++) {
      cell[i] = this.row(y[i] - this.top) * this.side + this.row(x[i] - this.left);
      this.start[cell[i] + 1]++;
    }
    for (let c = 0; c < this.side * this.side; c++) this.start[c + 1] += this.start[c];
    const next = this.start.slice();
    for (let i = 0; i < n; i++) this.items[next[cell[i]]++] = i;
  }

  /** @param {number} distance */
  row(distance) {
    return Math.min(Math.max(Math.floor((distance / this.wide) * this.side), 0), this.side - 1);
  }

  /**
   * The nearest point within a radius of (x, y), in data coordinates; -1 if there is none.
   * @param {number} x
   * @param {number} y
   * @param {number} radius
   */
  pick(x, y, radius) {
    let best = -1;
    let least = radius * radius;
    const [across, down] = [x - this.left, y - this.top];
    for (let r = this.row(down - radius); r <= this.row(down + radius); r++) {
      const first = this.start[r * this.side + this.row(across - radius)];
      const end = this.start[r * this.side + this.row(across + radius) + 1];
      for (let k = first; k < end; k++) {
        const i = this.items[k];
        const d = (this.px[i] - x) ** 2 + (this.py[i] - y) ** 2;
        if (d <= least) [best, least] = [i, d];
      }
    }
    return best;
  }
}

/**
 * 1 for each point inside a closed outline [[x, y], ...] (even-odd rule), 0 outside.
 * @param {number[][]} outline
 * @param {Float32Array} x
 * @param {Float32Array} y
 */
export function inside(outline, x, y) {
  const chosen = new Uint8Array(x.length);
  const xs = outline.map((p) => p[0]);
  const ys = outline.map((p) => p[1]);
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const [top, bottom] = [Math.min(...ys), Math.max(...ys)];
  for (let i = 0; i < x.length; i++) {
    const [px, py] = [x[i], y[i]];
    if (px < left || px > right || py < top || py > bottom) continue;
    let odd = 0;
    for (let a = 0, b = xs.length - 1; a < xs.length; b = a++) {
      if (ys[a] > py === ys[b] > py) continue;
      if (px < ((xs[b] - xs[a]) * (py - ys[a])) / (ys[b] - ys[a]) + xs[a]) odd ^= 1;
    }
    chosen[i] = odd;
  }
  return chosen;
}
