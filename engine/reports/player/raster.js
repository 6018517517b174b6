// @ts-check
// Points to pixels: each mark is a small stamp of coverages that is blended into the image.

export const DISC = 0;
export const CROSS = 1;
export const SQUARE = 2;
export const TRIANGLE = 3;
export const DIAMOND = 4;
export const RING = 5;
const OPAQUE = 128; // coverage in 7 bits: two color channels are blended in one multiplication

/**
 * @param {number} shape
 * @param {number} x
 * @param {number} y
 * @param {number} radius
 */
function isInside(shape, x, y, radius) {
  if (shape === DISC) return x * x + y * y <= radius * radius;
  if (shape === SQUARE) return Math.max(Math.abs(x), Math.abs(y)) <= 0.88 * radius;
  if (shape === TRIANGLE) return y <= 0.75 * radius && Math.abs(x) <= 0.58 * (y + radius);
  if (shape === DIAMOND) return Math.abs(x) + Math.abs(y) <= 1.15 * radius;
  if (shape === RING)
    return x * x + y * y <= radius * radius && x * x + y * y >= 0.3 * radius * radius;
  const [along, across] = [Math.abs(x + y) / Math.SQRT2, Math.abs(x - y) / Math.SQRT2];
  return Math.max(along, across) <= radius && Math.min(along, across) <= 0.36 * radius;
}

/** @typedef {{reach: number, dx: Int32Array, dy: Int32Array, cover: Int32Array}} Stamp */

/**
 * Pixels of a mark: offsets dx, dy and coverage 0..OPAQUE; radius in device pixels.
 * @param {number} shape
 * @param {number} radius
 * @returns {Stamp}
 */
function stamp(shape, radius) {
  const reach = Math.ceil(radius);
  /** @type {[number[], number[], number[]]} */
  const [dx, dy, cover] = [[], [], []];
  for (let y = -reach; y <= reach; y++) {
    for (let x = -reach; x <= reach; x++) {
      let hits = 0;
      for (let part = 0; part < 16; part++) {
        const [u, v] = [((part % 4) - 1.5) / 4, ((part >> 2) - 1.5) / 4];
        hits += Number(isInside(shape, x + u, y + v, radius));
      }
      if (!hits) continue;
      dx.push(x);
      dy.push(y);
      cover.push((hits * OPAQUE) >> 4);
    }
  }
  return { reach, dx: Int32Array.from(dx), dy: Int32Array.from(dy), cover: Int32Array.from(cover) };
}

export class Raster {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (
      canvas.getContext("2d", { alpha: false })
    );
    /** @type {Map<number, Stamp>} */
    this.stamps = new Map();
    this.image = new ImageData(1, 1);
    this.pixels = new Uint32Array(this.image.data.buffer);
  }

  /**
   * @param {number} width
   * @param {number} height
   * @param {number} background  0xffBBGGRR
   */
  begin(width, height, background) {
    if (this.image.width !== width || this.image.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
      this.image = this.context.createImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
    }
    this.pixels.fill(background);
  }

  /**
   * Draws one mark at (x, y) in device pixels; color is 0xffBBGGRR, alpha 0 to 1.
   * @param {number} x
   * @param {number} y
   * @param {number} shape
   * @param {number} radius
   * @param {number} color
   * @param {number} alpha
   */
  mark(x, y, shape, radius, color, alpha) {
    const { width, height } = this.image;
    const key = shape * 4096 + Math.round(radius * 8);
    let mark = this.stamps.get(key);
    if (!mark) this.stamps.set(key, (mark = stamp(shape, Math.round(radius * 8) / 8)));
    const { reach, dx, dy, cover } = mark;
    const [cx, cy] = [Math.round(x), Math.round(y)];
    if (cx < -reach || cy < -reach || cx >= width + reach || cy >= height + reach) return;
    const whole = cx >= reach && cy >= reach && cx < width - reach && cy < height - reach;
    const [odd, even] = [color & 0xff00ff, color & 0x00ff00];
    const strength = Math.round(alpha * 128);
    const pixels = this.pixels;
    for (let p = 0; p < cover.length; p++) {
      const [left, top] = [cx + dx[p], cy + dy[p]];
      if (!whole && (left < 0 || top < 0 || left >= width || top >= height)) continue;
      const pixel = top * width + left;
      const a = (cover[p] * strength) >> 7;
      const rest = OPAQUE - a;
      const old = pixels[pixel];
      pixels[pixel] =
        0xff000000 |
        ((((old & 0xff00ff) * rest + odd * a) >>> 7) & 0xff00ff) |
        ((((old & 0x00ff00) * rest + even * a) >>> 7) & 0x00ff00);
    }
  }

  end() {
    this.context.putImageData(this.image, 0, 0);
  }
}

/**
 * "#rgb", "#rrggbb" or "rgb(r, g, b)" -> [r, g, b]
 * @param {string} text
 * @returns {number[]}
 */
export function channels(text) {
  const color = text.trim();
  if (color.startsWith("#")) {
    const hex = color.length < 6 ? color.replace(/[^#]/g, "$&$&") : color;
    return [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
  }
  return (color.match(/[\d.]+/g) || [128, 128, 128]).slice(0, 3).map(Number);
}

/** @param {number[]} color */
export const packed = ([r, g, b]) => (0xff000000 | (b << 16) | (g << 8) | r) >>> 0;

/** @param {number[]} color */
export const css = ([r, g, b]) => `rgb(${r}, ${g}, ${b})`;
