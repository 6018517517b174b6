// @ts-check
// A recording of a run, or of two to compare: bytes in, arrays out. Its layout is described in
// engine/reports/README.md. A recording may grow: push what was appended to it.

const MAGIC = "MIXNNREC";
const VERSION = 2;
const TYPES = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array };
export const NO_PLACE = 65535; // no position on the map; a neighbor that is not recorded

/**
 * @typedef {Uint8Array | Uint16Array | Uint32Array} Codes
 *
 * @typedef {object} Mixture  The two Gaussian components of the scaled losses, the clean one first.
 * @property {number[]} means
 * @property {number[]} stds
 * @property {number[]} weights
 * @property {string | null} [warning]
 *
 * @typedef {object} Epoch  One epoch of one run. n places, K neighbors.
 * @property {number} run
 * @property {number} epoch
 * @property {string} phase
 * @property {number} n_neighbors  K that the epoch used
 * @property {Record<string, any>} settings
 * @property {Record<string, number | null>} metrics
 * @property {Mixture | null} mixture
 * @property {Record<string, number>} outcomes  counts over all samples of the data set
 * @property {[number, number, number]} [box]
 * @property {Record<string, Codes>} arrays  values by place; shares are coded as 255 times the share
 * @property {number} k  neighbors recorded; 0 where the epoch mixed nothing
 *
 * @typedef {object} Run
 * @property {string} name
 * @property {string} title
 * @property {string} method
 * @property {Record<string, any>} settings
 * @property {number} epochs_planned
 * @property {number} first_epoch
 * @property {string} map
 * @property {Epoch[]} epochs
 * @property {Seed[]} seeds  the same with other seeds, of which only curves are recorded
 * @property {number[]} quantiles  of Student's t at 97.5 %, by degrees of freedom from 1 on
 * @property {string} state  "" while it trains, else as in status.json
 * @property {Weights} [weights]  of its network after the last epoch
 *
 * @typedef {object} Weights  See network.js.
 * @property {number} epoch
 * @property {[number, number, number]} shape  channels, height and width of an image
 * @property {number[]} scale  by channel: pixels in 0..255 times scale plus offset are the input
 * @property {number[]} offset
 * @property {boolean[]} pooled  by convolution
 * @property {Record<string, Codes>} arrays  float16
 *
 * @typedef {object} Seed
 * @property {string} name
 * @property {number} seed
 * @property {number[]} epochs
 * @property {Record<string, (number | null)[]>} metrics  by epoch
 *
 * @typedef {object} Images
 * @property {string} type
 * @property {number} width
 * @property {number} height
 * @property {number} columns
 * @property {boolean} smooth
 *
 * @typedef {object} Recording
 * @property {{name: string, n: number, n_test: number, classes: string[]}} dataset
 * @property {number} n  recorded samples
 * @property {boolean} truthKnown
 * @property {string[] | null} ids
 * @property {Images | null} images
 * @property {Uint8Array | null} sheet  the image file of the sprite sheet
 * @property {[number, number]} lossRange
 * @property {Codes} samples
 * @property {Codes[]} given  by run
 * @property {Codes | null} truth
 * @property {Run[]} runs
 */

/** Reads a recording block by block; `recording` is null until its header and labels are there. */
export class Decoder {
  constructor() {
    /** @type {Recording | null} */
    this.recording = null;
    /** @type {any} */
    this.head = null;
    this.rest = new Uint8Array(0); // bytes that do not make a whole block yet
    this.begun = false;
    /** @type {Promise<any>} */
    this.last = Promise.resolve();
  }

  /**
   * Add bytes to those before; resolves to the recording once they are read. Rejects with an Error
   * that says in one sentence what is wrong with them.
   * @param {Uint8Array | ArrayBuffer} bytes
   * @returns {Promise<Recording | null>}
   */
  push(bytes) {
    const added = bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes);
    this.last = this.last.then(() => this.read(added));
    return this.last;
  }

  /**
   * @param {Uint8Array} added
   * @returns {Promise<Recording | null>}
   */
  async read(added) {
    let bytes = added;
    if (this.rest.length) {
      bytes = new Uint8Array(this.rest.length + added.length);
      bytes.set(this.rest);
      bytes.set(added, this.rest.length);
    }
    let at = 0;
    if (!this.begun) {
      if (bytes.length < 16) {
        this.rest = new Uint8Array(bytes);
        return null;
      }
      checkPrologue(bytes);
      this.begun = true;
      at = 16;
    }
    const blocks = [];
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    while (at + 8 <= bytes.length) {
      const length = view.getUint32(at + 4, true);
      if (at + 8 + length > bytes.length) break;
      const kind = String.fromCharCode(...bytes.subarray(at, at + 4));
      blocks.push({ kind, payload: bytes.subarray(at + 8, at + 8 + length) });
      at += 8 + length + ((8 - (length % 8)) % 8);
    }
    this.rest = new Uint8Array(bytes.subarray(at));
    const contents = await Promise.all(
      blocks.map(({ kind, payload }) =>
        kind === "IMGS" ? new Uint8Array(payload) : inflate(payload),
      ),
    );
    blocks.forEach(({ kind }, i) => this.block(kind, contents[i]));
    return this.recording;
  }

  /**
   * @param {string} kind
   * @param {Uint8Array} content
   */
  block(kind, content) {
    if (kind === "HEAD") this.head = parse(content);
    else if (kind === "DATA") this.recording = begin(this.head, content);
    else if (!this.recording) return;
    else if (kind === "IMGS") this.recording.sheet = content;
    else if (kind === "EPOC") addEpoch(this.recording, content);
    else if (kind === "SEED") {
      const { run, seeds, quantiles } = parse(content);
      Object.assign(this.recording.runs[run] ?? {}, { seeds, quantiles });
    } else if (kind === "NETW") {
      const { record, arrays } = unpack(content, []);
      Object.assign(this.recording.runs[record.run] ?? {}, { weights: { ...record, arrays } });
    } else if (kind === "DONE") {
      const { run, state } = parse(content);
      if (this.recording.runs[run]) this.recording.runs[run].state = String(state);
    }
  }
}

/** @param {Uint8Array} bytes */
function checkPrologue(bytes) {
  if (String.fromCharCode(...bytes.subarray(0, 8)) !== MAGIC) {
    throw new Error("This is no recording of a run: its first bytes are not MIXNNREC.");
  }
  const version = new DataView(bytes.buffer, bytes.byteOffset).getUint32(8, true);
  if (version !== VERSION) {
    throw new Error(`The recording has version ${version}; this player reads version ${VERSION}.`);
  }
}

/**
 * A text by others without what would break its line or turn the direction of what follows.
 * @param {string} text
 */
export const visible = (text) =>
  String(text)
    .replace(/[\n\r\t\v\f\u0085\u2028\u2029]/g, " ")
    .replace(/[\p{Cc}\p{Cs}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, "\ufffd");

/**
 * @param {any} head
 * @param {Uint8Array} content
 * @returns {Recording}
 */
function begin(head, content) {
  if (!head) throw new Error("The recording is damaged: its header is missing.");
  const { arrays } = unpack(content, []);
  const n = head.n_samples;
  const { name, classes } = head.dataset;
  return {
    dataset: { ...head.dataset, name: visible(name), classes: classes.map(visible) },
    n,
    truthKnown: Boolean(head.truth_known && arrays.true),
    ids: head.ids?.map(visible) ?? null,
    images: head.images,
    sheet: null,
    lossRange: head.loss_range,
    samples: arrays.samples,
    given: head.runs.map((/** @type {any} */ _, /** @type {number} */ r) =>
      arrays.given.subarray(r * n, (r + 1) * n),
    ),
    truth: head.truth_known ? (arrays.true ?? null) : null,
    runs: head.runs.map((/** @type {any} */ run) => ({
      ...run,
      name: visible(run.name),
      title: visible(run.title),
      epochs: [],
      seeds: [],
      quantiles: [],
      state: "",
    })),
  };
}

/**
 * @param {Recording} recording
 * @param {Uint8Array} content
 */
function addEpoch(recording, content) {
  const before = recording.runs.map((run) => run.epochs.at(-1)?.arrays ?? {});
  const { record, arrays } = unpack(content, before);
  const run = recording.runs[record.run];
  if (!run) return;
  const k = arrays.neighbors ? arrays.neighbors.length / recording.n : 0;
  run.epochs.push({ ...record, arrays, k });
}

/**
 * @param {Uint8Array} bytes
 * @param {Record<string, Codes>[]} before  by run, the arrays of the epoch before
 * @returns {{record: any, arrays: Record<string, Codes>}}
 */
function unpack(bytes, before) {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const record = parse(bytes.subarray(4, 4 + length));
  /** @type {Record<string, Codes>} */
  const arrays = {};
  for (const [name, entry] of Object.entries(record.arrays)) {
    const { type, shape, offset, xor } = /** @type {any} */ (entry);
    const Kind = TYPES[/** @type {keyof typeof TYPES} */ (type)];
    if (!Kind) continue; // of a later version
    const size = shape.reduce((/** @type {number} */ a, /** @type {number} */ b) => a * b, 1);
    const values = fromPlanes(bytes.subarray(4 + length + offset), new Kind(size));
    const last = xor && before[record.run][name];
    if (xor && !last) throw new Error(`The recording is damaged: ${name} has no epoch before.`);
    if (last) for (let i = 0; i < size; i++) values[i] ^= last[i];
    arrays[name] = values;
  }
  delete record.arrays;
  return { record, arrays };
}

/**
 * Numbers whose bytes lie apart: the lowest ones of all, then the next.
 * @param {Uint8Array} bytes
 * @param {Codes} values  all 0
 */
function fromPlanes(bytes, values) {
  const size = values.length;
  if (values instanceof Uint8Array) values.set(bytes.subarray(0, size));
  else {
    for (let byte = 0; byte < values.BYTES_PER_ELEMENT; byte++) {
      const [start, shift] = [byte * size, 8 * byte];
      for (let i = 0; i < size; i++) values[i] |= bytes[start + i] << shift;
    }
  }
  return values;
}

/** @param {Uint8Array} bytes */
const parse = (bytes) => JSON.parse(new TextDecoder().decode(bytes));

/**
 * @param {Uint8Array} bytes  a zlib stream
 * @returns {Promise<Uint8Array>}
 */
async function inflate(bytes) {
  const stream = new DecompressionStream("deflate");
  const writer = stream.writable.getWriter(); // the stream of a Blob takes four times as long
  const written = [writer.write(/** @type {Uint8Array<ArrayBuffer>} */ (bytes)), writer.close()];
  try {
    const [content] = await Promise.all([new Response(stream.readable).arrayBuffer(), ...written]);
    return new Uint8Array(content);
  } catch {
    throw new Error("The recording is damaged: a block cannot be decompressed.");
  }
}

/**
 * The loss that a code stands for.
 * @param {[number, number]} range
 * @param {number} code
 */
export const lossOf = ([low, high], code) => low * (high / low) ** (code / 255);
