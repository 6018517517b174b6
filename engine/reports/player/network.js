// @ts-check
// The network of a run after its last epoch: pixels in, probabilities out. Its batch normalizations
// are folded into the convolutions (engine/reports/network.py).

/** @typedef {import("./recording.js").Weights} Weights */

/** The number of a float16 code.
 * @param {number} code
 */
export function half(code) {
  const [exponent, fraction] = [(code >> 10) & 31, code & 1023];
  const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
  return code & 0x8000 ? -size : size;
}

export class Network {
  /** @param {Weights} weights */
  constructor(weights) {
    this.weights = weights;
    /** @type {Record<string, Float32Array>} */
    this.values = {};
    for (const [name, codes] of Object.entries(weights.arrays)) {
      this.values[name] = Float32Array.from(codes, half);
    }
  }

  /**
   * Class probabilities of one image.
   * @param {(channel: number, pixel: number) => number} pixel  in 0..255, row by row
   * @returns {number[]}
   */
  probabilities(pixel) {
    const { shape, scale, offset, pooled } = this.weights;
    let [channels, height, width] = shape;
    let maps = new Float32Array(channels * height * width);
    for (let i = 0; i < maps.length; i++) {
      const channel = Math.floor(i / (height * width));
      maps[i] = pixel(channel, i % (height * width)) * scale[channel] + offset[channel];
    }
    pooled.forEach((pool, layer) => {
      maps = convolve(
        maps,
        height,
        width,
        this.values[`weight${layer}`],
        this.values[`bias${layer}`],
      );
      channels = this.values[`bias${layer}`].length;
      if (pool) {
        maps = halve(maps, channels, height, width);
        [height, width] = [height >> 1, width >> 1];
      }
      for (let i = 0; i < maps.length; i++) maps[i] = Math.max(maps[i], 0);
    });
    const size = height * width;
    const features = Array.from({ length: channels }, (_, channel) => {
      let sum = 0;
      for (let i = 0; i < size; i++) sum += maps[channel * size + i];
      return sum / size;
    });
    const { head, head_bias: bias } = this.values;
    const logits = Array.from(bias, (start, c) =>
      features.reduce((sum, value, i) => sum + value * head[c * channels + i], start),
    );
    const most = Math.max(...logits);
    const powers = logits.map((logit) => Math.exp(logit - most));
    const total = powers.reduce((sum, power) => sum + power, 0);
    return powers.map((power) => power / total);
  }
}

/**
 * 3 x 3 convolution with padding 1.
 * @param {Float32Array<ArrayBuffer>} maps  (inputs, height, width)
 * @param {number} height
 * @param {number} width
 * @param {Float32Array} weight  (outputs, inputs, 3, 3)
 * @param {Float32Array} bias  (outputs,)
 */
function convolve(maps, height, width, weight, bias) {
  const size = height * width;
  const inputs = maps.length / size;
  const out = new Float32Array(bias.length * size);
  for (let output = 0; output < bias.length; output++) {
    out.fill(bias[output], output * size, (output + 1) * size);
    for (let input = 0; input < inputs; input++) {
      for (let tap = 0; tap < 9; tap++) {
        const factor = weight[(output * inputs + input) * 9 + tap];
        const [dy, dx] = [Math.floor(tap / 3) - 1, (tap % 3) - 1];
        const [top, bottom] = [Math.max(0, -dy), Math.min(height, height - dy)];
        const [left, right] = [Math.max(0, -dx), Math.min(width, width - dx)];
        for (let y = top; y < bottom; y++) {
          const to = output * size + y * width;
          const from = input * size + (y + dy) * width + dx;
          for (let x = left; x < right; x++) out[to + x] += factor * maps[from + x];
        }
      }
    }
  }
  return out;
}

/**
 * The largest of every 2 x 2 pixels.
 * @param {Float32Array<ArrayBuffer>} maps
 * @param {number} channels
 * @param {number} height
 * @param {number} width
 */
function halve(maps, channels, height, width) {
  const [h, w] = [height >> 1, width >> 1];
  const out = new Float32Array(channels * h * w);
  for (let i = 0; i < out.length; i++) {
    const channel = Math.floor(i / (h * w));
    const [y, x] = [Math.floor((i % (h * w)) / w), i % w];
    const at = channel * height * width + 2 * y * width + 2 * x;
    out[i] = Math.max(maps[at], maps[at + 1], maps[at + width], maps[at + width + 1]);
  }
  return out;
}
