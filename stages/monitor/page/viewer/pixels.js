/**
 * Pixels of a panel, pooled or as they are, and their picture.
 *
 * Values are uint16 with an offset (65535: masked) or float32 (NaN: masked). Where the screen has fewer pixels than the picture, the
 * largest of each 2 x 2 or 4 x 4 is drawn, so that a spot of one pixel is still seen.
 */

import { imageFor, letGo, takeCanvas } from "./canvases.js";

const U2_MASKED = 65535;

export class Pixels {
  /** `data` is a typed array with `shape` [height, width]; `bin` pixels of the panel along each side are one of its values. */
  constructor(data, { bin = 1, offset = 0, fs0 = 0, ss0 = 0 } = {}) {
    [this.height, this.width] = data.shape;
    this.data = data;
    this.bin = bin;
    this.offset = offset;
    this.fs0 = fs0;
    this.ss0 = ss0;
    this.pools = new Map([[1, this]]);
    this.picture = null;
    this.painted = null;
  }

  /** The value at a point of the panel: a number, null where masked, undefined where there is none. */
  value(fs, ss) {
    const i = Math.floor((fs - this.fs0) / this.bin);
    const j = Math.floor((ss - this.ss0) / this.bin);
    if (i < 0 || j < 0 || i >= this.width || j >= this.height) return undefined;
    const raw = this.data[j * this.width + i];
    return this.#isMasked(raw) ? null : raw + this.offset;
  }

  #isMasked(raw) {
    return this.data instanceof Uint16Array ? raw === U2_MASKED : Number.isNaN(raw);
  }

  /** Every `step`th value that is not masked, and is finite: a sender's pixels may not be. */
  sample(step) {
    const { data } = this;
    const found = [];
    for (let i = 0; i < data.length; i += step) if (!this.#isMasked(data[i]) && Number.isFinite(data[i])) found.push(data[i] + this.offset);
    return found;
  }

  /** What no value is above, now or in the next frame. */
  highestPossible() {
    if (this.data instanceof Uint16Array) return U2_MASKED - 1 + this.offset;
    return 2 * this.data.reduce((highest, one) => (one > highest && one < Infinity ? one : highest), 0);
  }

  /** The largest of each `times` x `times`; masked where all are. */
  pooled(times) {
    if (!this.pools.has(times)) this.pools.set(times, this.#pool(times));
    return this.pools.get(times);
  }

  #pool(times) {
    const width = Math.ceil(this.width / times);
    const height = Math.ceil(this.height / times);
    const whole = this.data instanceof Uint16Array;
    const data = whole ? new Uint16Array(width * height).fill(U2_MASKED) : new Float32Array(width * height).fill(NaN);
    for (let j = 0; j < this.height; j += 1) {
      const row = Math.floor(j / times) * width;
      const from = j * this.width;
      for (let i = 0; i < this.width; i += 1) {
        const v = this.data[from + i];
        const at = row + ((i / times) | 0);
        const old = data[at];
        if (whole) {
          if (v !== U2_MASKED && (old === U2_MASKED || v > old)) data[at] = v;
        } else if (v > old || (old !== old && v === v)) data[at] = v;
      }
    }
    data.shape = [height, width];
    return new Pixels(data, { bin: this.bin * times, offset: this.offset, fs0: this.fs0, ss0: this.ss0 });
  }

  /** A canvas with these pixels in these colours; it is painted anew only if the colours are others. */
  paint(colours) {
    if (this.painted === colours) return this.picture;
    this.picture ??= takeCanvas(this.width, this.height);
    const context = this.picture.getContext("2d");
    const image = imageFor(context, this.width, this.height);
    colours.paint(this.data, this.offset, new Uint32Array(image.data.buffer));
    context.putImageData(image, 0, 0);
    this.painted = colours;
    return this.picture;
  }

  /** Nobody looks at these pixels any more: others may use their canvases. */
  letGo() {
    for (const one of this.pools.values()) {
      if (one.picture !== null) letGo(one.picture);
      one.picture = one.painted = null;
    }
  }

  /** Draw into a context; what of the last row and column lies beyond the panel is left out. */
  draw(context, view, detector, panel, colours) {
    view.onPanel(context, detector, panel, this.bin, this.fs0, this.ss0);
    const width = Math.min(this.width, (detector.width[panel] - this.fs0) / this.bin);
    const height = Math.min(this.height, (detector.height[panel] - this.ss0) / this.bin);
    context.imageSmoothingEnabled = view.magnification * this.bin < 1;
    context.drawImage(this.paint(colours), 0, 0, width, height, 0, 0, width, height);
  }
}

/** The levels between which most of the values lie, so that spots stand out: {low, high, unit (how much they differ), lowest, highest}. */
export function levelsOf(pixels) {
  const total = pixels.reduce((sum, one) => sum + one.data.length, 0);
  const step = Math.max(1, Math.floor(total / 40000)) | 1; // odd, so that no column is met again and again
  const values = Float64Array.from(pixels.flatMap((one) => one.sample(step))).sort();
  if (values.length === 0) return null;
  const at = (share) => values[Math.min(values.length - 1, Math.floor(share * values.length))];
  const low = at(0.02);
  const spread = Math.max((at(0.75) - at(0.25)) / 2, Math.abs(at(0.5)) * 1e-3);
  const unit = spread || (values.at(-1) - low) / 1000 || 1; // most are the same, or all
  const high = Math.max(at(0.997), low + 4 * unit);
  return { low, high, unit, lowest: values[0], highest: Math.max(...pixels.map((one) => one.highestPossible())) };
}
