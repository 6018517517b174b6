// Points to pixels: each mark is a small stamp of coverages that is blended into the image.

const DISC = 0;
const CROSS = 1;
const OPAQUE = 128; // coverage in 7 bits: two color channels are blended in one multiplication

function isInside(shape, x, y, radius) {
  if (shape === DISC) return x * x + y * y <= radius * radius;
  const [along, across] = [Math.abs(x + y) / Math.SQRT2, Math.abs(x - y) / Math.SQRT2];
  return Math.max(along, across) <= radius && Math.min(along, across) <= 0.36 * radius;
}

// Pixels of a mark: offsets dx, dy and coverage 0..OPAQUE; radius in device pixels.
function stamp(shape, radius) {
  const reach = Math.ceil(radius);
  const [dx, dy, cover] = [[], [], []];
  for (let y = -reach; y <= reach; y++) {
    for (let x = -reach; x <= reach; x++) {
      let hits = 0;
      for (let part = 0; part < 16; part++) {
        const [u, v] = [((part % 4) - 1.5) / 4, ((part >> 2) - 1.5) / 4];
        hits += isInside(shape, x + u, y + v, radius);
      }
      if (!hits) continue;
      dx.push(x);
      dy.push(y);
      cover.push((hits * OPAQUE) >> 4);
    }
  }
  return { reach, dx: Int32Array.from(dx), dy: Int32Array.from(dy), cover: Int32Array.from(cover) };
}

class Raster {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.stamps = new Map();
  }

  begin(width, height, background) {
    if (this.canvas.width !== width || this.canvas.height !== height || !this.image) {
      this.canvas.width = width;
      this.canvas.height = height;
      this.image = this.context.createImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
    }
    this.pixels.fill(background);
  }

  // Draws one mark at (x, y) in device pixels; color is 0xffBBGGRR, alpha 0 to 1.
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

// "#rgb", "#rrggbb" or "rgb(r, g, b)" -> [r, g, b]
function channels(text) {
  const color = text.trim();
  if (color.startsWith("#")) {
    const hex = color.length < 6 ? color.replace(/[^#]/g, "$&$&") : color;
    return [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
  }
  return (color.match(/[\d.]+/g) || [128, 128, 128]).slice(0, 3).map(Number);
}

const mixed = (a, b, share) => a.map((v, i) => Math.round(v * (1 - share) + b[i] * share));
const packed = ([r, g, b]) => (0xff000000 | (b << 16) | (g << 8) | r) >>> 0;
const css = ([r, g, b]) => `rgb(${r}, ${g}, ${b})`;
const light = ([r, g, b]) => (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;

// Colors with enough contrast to the page: classes too close to the background are mixed with the
// text color; a color scale omits the end that is as dark or as light as the page.
function legible(colors, areClasses, background, ink) {
  if (areClasses) {
    const near = (c) => Math.abs(light(c) - light(background)) < 0.13;
    return colors.map((c) => (near(c) ? mixed(c, ink, 0.5) : c));
  }
  const last = colors.length - 1;
  const [from, to] = light(background) < 0.5 ? [0.22, 1] : [0, 0.95];
  return colors.map((_, i) => colors[Math.round((from + ((to - from) * i) / last) * last)]);
}
