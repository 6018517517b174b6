// @ts-check
// What Python sends of a run: u32 length of a JSON header | header | arrays, aligned to 8 bytes.

/**
 * A way to group the images: a group's positions are next to each other in `order`.
 * @typedef {Object} Grouping
 * @property {string} title
 * @property {Int32Array} order  positions in the book
 * @property {Int32Array} sizes  of the groups
 * @property {Int32Array} given  class of each group, -1: several
 * @property {Int32Array} suggested  class of each group, -1: several
 */
/**
 * All arrays are by position: the most doubtful image first.
 * @typedef {Object} Book
 * @property {string} run
 * @property {string[]} classes
 * @property {Int32Array} samples
 * @property {Int32Array} given
 * @property {Int32Array} suggested
 * @property {Float32Array} likely  probability that the suggestion is right; NaN where unknown
 * @property {Float32Array} doubt  probability that the given label is wrong; NaN where unknown
 * @property {Map<number, number>} places  sample -> position
 * @property {Grouping[]} groupings
 * @property {{per: number, columns: number, side: number}} sheets
 */

/**
 * @param {ArrayBuffer} buffer
 * @returns {Book}
 */
export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  /** @type {Record<string, any>} */
  const arrays = {};
  for (const [name, [type, offset, count]] of Object.entries(header.arrays)) {
    const Type = type === "int32" ? Int32Array : Float32Array;
    arrays[name] = new Type(buffer, 4 + length + offset, count);
  }
  /** @type {Map<number, number>} */
  const places = new Map();
  arrays.samples.forEach((/** @type {number} */ sample, /** @type {number} */ place) => {
    places.set(sample, place);
  });
  return {
    run: header.run,
    classes: header.classes,
    samples: arrays.samples,
    given: arrays.given,
    suggested: arrays.suggested,
    likely: arrays.likely,
    doubt: arrays.doubt,
    places,
    groupings: header.groupings.map((/** @type {string} */ title, /** @type {number} */ i) => ({
      title,
      order: arrays[`order${i}`],
      sizes: arrays[`sizes${i}`],
      given: arrays[`given${i}`],
      suggested: arrays[`suggested${i}`],
    })),
    sheets: header.sheets,
  };
}

/**
 * The key of each class: its own digit where classes are digits, else 1 to 9 and 0 by position.
 * @param {string[]} classes
 * @param {number[]} offered  the classes that get a key, at most ten
 * @returns {Map<string, number>}
 */
export function keysOf(classes, offered) {
  const digits = classes.every((name) => /^[0-9]$/.test(name));
  return new Map(
    offered.slice(0, 10).map((c, place) => [digits ? classes[c] : String((place + 1) % 10), c]),
  );
}

/**
 * The classes to offer for a selection: all where each has a key, else those most often suggested
 * or given in it.
 * @param {Book} book
 * @param {Iterable<number>} positions
 * @returns {number[]}
 */
export function offered(book, positions) {
  const all = book.classes.map((_, c) => c);
  if (all.length <= 10) return all;
  const votes = new Float64Array(all.length);
  for (const place of positions) {
    votes[book.suggested[place]] += 2;
    votes[book.given[place]] += 1;
  }
  return all
    .filter((c) => votes[c] > 0)
    .sort((a, b) => votes[b] - votes[a] || a - b)
    .slice(0, 9);
}
