/**
 * Reads the monitor's messages, as stages/monitor/blob.py writes them: a length, JSON, and arrays as they are in memory.
 *
 * An array becomes a typed array (a view of the message, nothing is copied) with a property `shape`.
 */

const ARRAY = "__array__";

const TYPED = {
  "|u1": Uint8Array,
  "|i1": Int8Array,
  "<u2": Uint16Array,
  "<i2": Int16Array,
  "<u4": Uint32Array,
  "<i4": Int32Array,
  "<f4": Float32Array,
  "<f8": Float64Array,
};

/** What was received is no message of a monitor. */
export class Malformed extends Error {}

/** The object that a message (ArrayBuffer) holds; throws `Malformed` for anything else. */
export function decode(buffer) {
  if (buffer.byteLength < 4) throw new Malformed("it is too short");
  const size = new DataView(buffer).getUint32(0, true);
  if (4 + size > buffer.byteLength) throw new Malformed("it is cut off");
  let found;
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(new Uint8Array(buffer, 4, size));
    found = withArrays(JSON.parse(text), buffer);
  } catch (error) {
    throw new Malformed(`it cannot be read: ${error.message}`);
  }
  if (!isMap(found)) throw new Malformed("it is no map");
  return found;
}

function isMap(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}

/** The value, its descriptions of arrays replaced (in place) by the arrays. */
function withArrays(value, buffer) {
  if (typeof value !== "object" || value === null) return value;
  const keys = Object.keys(value);
  if (keys.length === 1 && keys[0] === ARRAY && !Array.isArray(value)) return array(value[ARRAY], buffer);
  for (const key of keys) {
    const inner = value[key];
    if (typeof inner === "object" && inner !== null) value[key] = withArrays(inner, buffer);
  }
  return value;
}

function array(described, buffer) {
  if (!Array.isArray(described) || described.length !== 3) throw new Malformed("an array is not described by three");
  const [dtype, shape, offset] = described;
  if (!Object.hasOwn(TYPED, dtype)) throw new Malformed(`an array of ${dtype}`);
  const isCount = (n) => Number.isSafeInteger(n) && n >= 0;
  if (!Array.isArray(shape) || !shape.every(isCount) || !isCount(offset)) {
    throw new Malformed("an array's shape or place is no number");
  }
  const Typed = TYPED[dtype];
  const size = shape.reduce((product, n) => product * n, 1);
  if (offset + size * Typed.BYTES_PER_ELEMENT > buffer.byteLength) throw new Malformed("an array lies outside the message");
  const view = new Typed(buffer, offset, size);
  view.shape = shape;
  return view;
}
