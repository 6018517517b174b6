// @ts-check
// The images of a recording, cut from its sprite sheet, and sums of them.

/** @typedef {import("./recording.js").Recording} Recording */

export class Sprites {
  /**
   * @param {Recording} recording
   * @param {ImageBitmap | null} sheet
   */
  constructor(recording, sheet) {
    this.sheet = sheet;
    const { width, height, columns } = recording.images ?? { width: 1, height: 1, columns: 1 };
    this.width = width;
    this.height = height;
    this.columns = columns;
    /** @type {Uint8ClampedArray | null} */
    this.pixels = null;
  }

  /**
   * @param {Recording} recording
   * @returns {Promise<Sprites>}
   */
  static async load(recording) {
    const { sheet, images } = recording;
    if (!sheet || !images) return new Sprites(recording, null);
    const file = new Blob([/** @type {Uint8Array<ArrayBuffer>} */ (sheet)], { type: images.type });
    const bitmap = await createImageBitmap(file).catch(() => null);
    return new Sprites(recording, bitmap);
  }

  /**
   * @param {number} place
   * @returns {[number, number]}
   */
  corner(place) {
    return [(place % this.columns) * this.width, Math.floor(place / this.columns) * this.height];
  }

  /**
   * Draw an image as large as a square allows, in its middle.
   * @param {CanvasRenderingContext2D} pen
   * @param {number} place
   * @param {number} x
   * @param {number} y
   * @param {number} size
   */
  draw(pen, place, x, y, size) {
    if (!this.sheet) {
      pen.fillStyle = "rgba(128, 128, 128, 0.35)";
      pen.fillRect(x, y, size, size);
      return;
    }
    const scale = size / Math.max(this.width, this.height);
    const [w, h] = [this.width * scale, this.height * scale];
    const [left, top] = this.corner(place);
    pen.imageSmoothingEnabled = true;
    pen.imageSmoothingQuality = "medium";
    pen.drawImage(
      this.sheet,
      left,
      top,
      this.width,
      this.height,
      x + (size - w) / 2,
      y + (size - h) / 2,
      w,
      h,
    );
  }

  /**
   * The weighted sum of images, as they are mixed in training.
   * @param {{place: number, weight: number}[]} parts
   * @returns {ImageData | null}
   */
  mixed(parts) {
    const sums = this.sum(parts);
    if (!sums) return null;
    const image = new ImageData(this.width, this.height);
    for (let i = 0; i < sums.length; i++) image.data[i] = i % 4 === 3 ? 255 : Math.round(sums[i]);
    return image;
  }

  /**
   * The same as numbers in 0..255, RGBA by pixel.
   * @param {{place: number, weight: number}[]} parts
   * @returns {Float32Array | null}
   */
  sum(parts) {
    if (!this.sheet) return null;
    if (!this.pixels) {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [this.sheet.width, this.sheet.height];
      const pen = canvas.getContext("2d", { willReadFrequently: true });
      if (!pen) return null;
      pen.drawImage(this.sheet, 0, 0);
      this.pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
    }
    const { pixels, width, height } = this;
    const stride = this.sheet.width;
    const sums = new Float32Array(4 * width * height);
    for (const { place, weight } of parts) {
      const [left, top] = this.corner(place);
      for (let y = 0; y < height; y++) {
        const from = 4 * ((top + y) * stride + left);
        for (let i = 0; i < 4 * width; i++) sums[4 * y * width + i] += weight * pixels[from + i];
      }
    }
    return sums;
  }
}
