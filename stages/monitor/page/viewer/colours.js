/**
 * From values to colours: four maps, three scales between two levels.
 *
 * "Blue to yellow" runs evenly from dark to light in the colour space OKLab (B. Ottosson, https://bottosson.github.io/posts/oklab/),
 * so that it reads the same in grey and for people who see fewer colours.
 */

const STEPS = 256;
const U2_MASKED = 65535;
const MOST_TABLES = 4;

/** Name, whether its ground is light (overlays take darker colours then), the colour of masked pixels, and the map of 0..1. */
export const MAPS = {
  inverse: { title: "Inverse monochrome", isLight: true, masked: [112, 78, 46], map: (t) => grey(1 - t) },
  monochrome: { title: "Monochrome", isLight: false, masked: [96, 66, 38], map: grey },
  "blue-yellow": { title: "Blue to yellow", isLight: false, masked: [118, 118, 118], map: blueToYellow },
  heat: { title: "Heat", isLight: false, masked: [44, 84, 110], map: heat },
};

export const SCALES = {
  linear: { title: "linear", of: (t) => t },
  root: { title: "square root", of: Math.sqrt },
  logarithm: { title: "logarithm", of: (t) => Math.log1p(99 * t) / Math.log(100) },
};

function grey(t) {
  const v = 255 * t;
  return [v, v, v];
}

function heat(t) {
  return [255 * Math.min(1, 2.5 * t), 255 * Math.min(1, Math.max(0, 2.5 * t - 1)), 255 * Math.max(0, 5 * t - 4)];
}

function blueToYellow(t) {
  const lightness = 0.2 + 0.75 * t;
  const hue = ((285 - 180 * t) * Math.PI) / 180;
  const chroma = 0.115 + 0.03 * t;
  return fromOklab(lightness, chroma * Math.cos(hue), chroma * Math.sin(hue));
}

function fromOklab(lightness, a, b) {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ].map(gamma);
}

function gamma(linear) {
  const v = Math.min(1, Math.max(0, linear));
  return 255 * (v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055);
}

function packed([r, g, b]) {
  return ((255 << 24) | (Math.round(b) << 16) | (Math.round(g) << 8) | Math.round(r)) >>> 0; // as ImageData has it in memory
}

/** What colour each value has: made for a map, a scale and two levels; `masked` false leaves masked pixels empty. */
export class Colours {
  constructor({ map = "inverse", scale = "linear", low = 0, high = 1, masked = true } = {}) {
    const { map: of, masked: colour } = MAPS[map];
    this.low = low;
    this.high = high;
    this.masked = masked ? packed(colour) : 0;
    this.steps = Uint32Array.from({ length: STEPS }, (_, i) => packed(of(SCALES[scale].of(i / (STEPS - 1)))));
    this.tables = new Map(); // for each offset of whole numbers: the colours of all 65536
  }

  /** Fill `to` (Uint32Array, a pixel each) with the colours of values, as they come from the monitor. */
  paint(data, offset, to) {
    if (data instanceof Uint16Array) {
      const table = this.#table(offset);
      for (let i = 0; i < data.length; i += 1) to[i] = table[data[i]];
      return;
    }
    const { low, steps, masked } = this;
    const k = (STEPS - 1) / (this.high - low);
    for (let i = 0; i < data.length; i += 1) {
      const v = data[i];
      if (v !== v) to[i] = masked;
      else {
        const step = (v - low) * k;
        to[i] = steps[step < 0 ? 0 : step > STEPS - 1 ? STEPS - 1 : step | 0];
      }
    }
  }

  #table(offset) {
    if (!this.tables.has(offset)) {
      if (this.tables.size >= MOST_TABLES) this.tables.clear(); // a table has 256 kB, and each frame may have an offset of its own
      const table = new Uint32Array(U2_MASKED + 1);
      const k = (STEPS - 1) / (this.high - this.low);
      for (let raw = 0; raw < U2_MASKED; raw += 1) {
        table[raw] = this.steps[Math.min(STEPS - 1, Math.max(0, (raw + offset - this.low) * k)) | 0];
      }
      table[U2_MASKED] = this.masked;
      this.tables.set(offset, table);
    }
    return this.tables.get(offset);
  }
}
