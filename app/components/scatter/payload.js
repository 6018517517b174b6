// What Python sends: u32 length of a JSON header | header | arrays, each aligned to 8 bytes.

const ARRAY_TYPES = {
  uint8: Uint8Array, uint16: Uint16Array, int16: Int16Array, int32: Int32Array, float32: Float32Array,
};

function unpack(bytes) {
  const buffer = bytes.slice().buffer; // the copy is aligned
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const arrays = {};
  for (const [name, [type, offset, count]] of Object.entries(header.arrays)) {
    arrays[name] = new ARRAY_TYPES[type](buffer, 4 + length + offset, count);
  }
  return { header, ...arrays };
}

// Flags (n,), 0 or 1 -> base64 of one bit each, lowest first: numpy.packbits(bitorder="little").
function bitmask(flags) {
  const bytes = new Uint8Array((flags.length + 7) >> 3);
  flags.forEach((on, i) => { if (on) bytes[i >> 3] |= 1 << (i & 7); });
  let text = "";
  for (let start = 0; start < bytes.length; start += 8192) {
    text += String.fromCharCode(...bytes.subarray(start, start + 8192));
  }
  return btoa(text);
}
