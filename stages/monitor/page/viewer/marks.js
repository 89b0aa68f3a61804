/**
 * What is drawn over the pixels: panel edges and names, resolution rings, the beam's centre, peaks (squares), predicted reflections
 * (circles, a colour and a dash pattern for each crystal), their indices, the values of single pixels, the keyboard's cross.
 *
 * Each line has a halo of the opposite lightness, so that it is seen on dark and light pixels; sizes are in pixels of the page, `dpr`
 * pixels of the screen each.
 */

import { clearRingsOf } from "./rings.js";

/** Of crystals, in turn; after Okabe and Ito, one list for light and one for dark pixels. */
export const CRYSTALS = {
  light: ["#0060a8", "#00684c", "#99317a", "#7a5c00"],
  dark: ["#6cc0f5", "#3fd9ad", "#f0a3d0", "#f0e442"],
};
export const DASHES = [[], [5, 3], [2, 2], [7, 2, 2, 2]];
const PEAK = { light: "#c44e00", dark: "#ff9a4d" };
const INK = { light: "#33536b", dark: "#a9cbe4" };
const HALO = { light: "rgb(255 255 255 / 75%)", dark: "rgb(0 0 0 / 65%)" };
const PLATE = { light: "rgb(255 255 255 / 88%)", dark: "rgb(12 18 24 / 85%)" };
const VALUES_FROM = 30; // a pixel of the detector is at least so large when its value is written into it, pixels of the page
const MOST_INDICES = 160; // of a crystal in sight: more would hide each other
const NAMES_FROM = 34;
const LARGEST_STAMP = 40; // pixels of the page; larger signs are few
const MOST_STAMPS = 40;

const stamps = new Map(); // what is drawn at many places, by all that it depends on: the same in frame after frame

/** Draws marks into one context; `ground` is "light" or "dark", as the pixels' colours are. */
export class Marks {
  constructor(context, view, detector, dpr, ground) {
    this.context = context;
    this.view = view;
    this.detector = detector;
    this.dpr = dpr;
    this.ground = ground;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.lineJoin = "round";
  }

  /** Stroke what `trace(context)` describes: the halo first, then the line. */
  #stroke(trace, colour, width, dash = [], halo = 2) {
    const { context, dpr } = this;
    context.beginPath();
    trace(context);
    context.setLineDash([]);
    context.lineWidth = (width + halo) * dpr;
    context.strokeStyle = HALO[this.ground];
    context.stroke();
    context.setLineDash(dash.map((length) => length * dpr));
    context.lineWidth = width * dpr;
    context.strokeStyle = colour;
    context.stroke();
    context.setLineDash([]);
  }

  #text(text, x, y, colour, size = 11, align = "center") {
    const { context, dpr } = this;
    context.font = this.#font(size);
    context.textAlign = align;
    context.textBaseline = "middle";
    context.lineWidth = 3 * dpr;
    context.strokeStyle = HALO[this.ground];
    context.strokeText(text, x, y);
    context.fillStyle = colour;
    context.fillText(text, x, y);
  }

  #font(size) {
    return `${size * this.dpr}px system-ui, "DejaVu Sans", sans-serif`;
  }

  #isSeen(x, y, margin = 20) {
    const m = margin * this.dpr;
    return x > -m && y > -m && x < this.view.width + m && y < this.view.height + m;
  }

  edges() {
    const { context, detector, view, dpr } = this;
    context.strokeStyle = INK[this.ground];
    context.lineWidth = dpr;
    for (const dashed of [false, true]) {
      context.beginPath();
      for (let panel = 0; panel < detector.size; panel += 1) {
        if (Boolean(detector.noIndex[panel]) !== dashed || !view.sees(detector, panel)) continue;
        detector.outline(panel).forEach(([x, y], i) => {
          const at = view.toScreen(x, y);
          if (i === 0) context.moveTo(...at);
          else context.lineTo(...at);
        });
        context.closePath();
      }
      context.setLineDash(dashed ? [4 * dpr, 4 * dpr] : []);
      context.stroke();
    }
    context.setLineDash([]);
  }

  /** Names, in the middle of what is seen of each panel that is large enough for it. */
  names() {
    const { detector, view, dpr } = this;
    for (let panel = 0; panel < detector.size; panel += 1) {
      const seen = view.seen(detector, panel);
      if (seen === null) continue;
      const width = (seen.fs1 - seen.fs0) * view.magnification;
      const height = (seen.ss1 - seen.ss0) * view.magnification;
      if (Math.max(width, height) < NAMES_FROM * dpr || Math.min(width, height) < 12 * dpr) continue;
      const middle = detector.place(panel, (seen.fs0 + seen.fs1) / 2, (seen.ss0 + seen.ss1) / 2);
      this.#text(detector.names[panel], ...view.toScreen(...middle), INK[this.ground], 12);
    }
  }

  rings() {
    const { view, detector, dpr } = this;
    const [x, y] = view.toScreen(0, 0);
    for (const { d, radius } of clearRingsOf(detector, view, dpr)) {
      const r = radius * view.scale;
      this.#stroke((context) => context.arc(x, y, r, 0, 2 * Math.PI), INK[this.ground], 1, [6, 4], 1);
    }
  }

  /** What the rings are, on a plate, so that it can be read over anything; after everything else. */
  ringLabels() {
    const { context, view, detector, dpr } = this;
    const [x, y] = view.toScreen(0, 0);
    for (const { d, radius } of clearRingsOf(detector, view, dpr)) {
      const at = this.#placeOnRing(x, y, radius * view.scale);
      if (at === null) continue;
      const text = `${Number(d.toFixed(2))} Å`;
      context.font = this.#font(12);
      const half = context.measureText(text).width / 2 + 3 * dpr;
      context.fillStyle = PLATE[this.ground];
      context.fillRect(at[0] - half, at[1] - 8 * dpr, 2 * half, 16 * dpr);
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.fillStyle = INK[this.ground];
      context.fillText(text, ...at);
    }
  }

  /** Where on a ring there is room for its label: the first of some directions that is in sight. */
  #placeOnRing(x, y, r) {
    const room = 24 * this.dpr;
    for (let turn = 0; turn < 72; turn += 1) {
      const angle = -Math.PI / 4 + (turn % 2 ? 1 : -1) * Math.ceil(turn / 2) * (Math.PI / 36);
      const at = [x + r * Math.cos(angle), y + r * Math.sin(angle)];
      if (at[0] > room && at[1] > room && at[0] < this.view.width - room && at[1] < this.view.height - room) return at;
    }
    return null;
  }

  beamCentre() {
    const [x, y] = this.view.toScreen(0, 0);
    if (!this.#isSeen(x, y)) return;
    const long = 9 * this.dpr;
    const short = 3 * this.dpr;
    this.#stroke(
      (context) => {
        for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
          context.moveTo(x + dx * short, y + dy * short);
          context.lineTo(x + dx * long, y + dy * long);
        }
      },
      PEAK[this.ground],
      2,
    );
  }

  /** Squares around found peaks. */
  peaks(peaks) {
    const half = Math.max(5 * this.dpr, 3 * this.view.magnification);
    const square = (context, x, y) => context.rect(x - half, y - half, 2 * half, 2 * half);
    this.#stamp(peaks, half, square, PEAK[this.ground], 1.4);
  }

  /** Circles around where a crystal's reflections are expected. */
  predictions(reflections, number) {
    const r = Math.max(3.5 * this.dpr, 2.2 * this.view.magnification);
    const circle = (context, x, y) => {
      context.moveTo(x + r, y);
      context.arc(x, y, r, 0, 2 * Math.PI);
    };
    const colour = CRYSTALS[this.ground][number % CRYSTALS.light.length];
    this.#stamp(reflections, r, circle, colour, 1.2, DASHES[number % DASHES.length]);
  }

  /** The same sign at many places: drawn once and copied while it is small, which takes a tenth of the time of many strokes. */
  #stamp({ panel, fs, ss }, reach, trace, colour, width, dash = []) {
    const { context, view, detector, dpr } = this;
    const places = [];
    for (let i = 0; i < panel.length; i += 1) {
      const [x, y] = view.toScreen(...detector.place(panel[i], fs[i], ss[i]));
      if (this.#isSeen(x, y, 20 + reach / dpr)) places.push([x, y]);
    }
    const half = Math.ceil(reach + 3 * dpr);
    if (half > LARGEST_STAMP * dpr) {
      this.#stroke((on) => places.forEach(([x, y]) => trace(on, x, y)), colour, width, dash);
      return;
    }
    const stamp = this.#stampOf([reach, trace.name, colour, width, dash, dpr, this.ground].join(" "), half, (marks) =>
      marks.#stroke((on) => trace(on, half, half), colour, width, dash),
    );
    for (const [x, y] of places) context.drawImage(stamp, Math.round(x) - half, Math.round(y) - half);
  }

  /** A sign on a canvas of its own, `half` its size; drawn by `draw(marks)` if it was not yet. */
  #stampOf(name, half, draw) {
    if (!stamps.has(name)) {
      if (stamps.size >= MOST_STAMPS) stamps.clear();
      const stamp = new OffscreenCanvas(2 * half, 2 * half);
      draw(new Marks(stamp.getContext("2d"), this.view, this.detector, this.dpr, this.ground));
      stamps.set(name, stamp);
    }
    return stamps.get(name);
  }

  /** Indices below the signs, if not too many are in sight. */
  indices({ panel, fs, ss, hkl }, number) {
    const { dpr, view } = this;
    const seen = [];
    for (let i = 0; i < panel.length; i += 1) {
      const [x, y] = view.toScreen(...this.detector.place(panel[i], fs[i], ss[i]));
      if (this.#isSeen(x, y)) seen.push([i, x, y]);
    }
    if (seen.length > MOST_INDICES) return;
    const below = Math.max(5 * dpr, 3 * view.magnification) + 9 * dpr;
    const colour = CRYSTALS[this.ground][number % CRYSTALS.light.length];
    for (const [i, x, y] of seen) this.#text(`${hkl[3 * i]} ${hkl[3 * i + 1]} ${hkl[3 * i + 2]}`, x, y + below, colour, 11);
  }

  /** Values in the pixels, if these are large enough on the screen; `value(panel, fs, ss)` is null where masked. */
  values(value) {
    const { view, detector, dpr } = this;
    if (view.magnification / dpr < VALUES_FROM) return;
    const size = Math.min(14, view.magnification / dpr / 4);
    for (let panel = 0; panel < detector.size; panel += 1) {
      const seen = view.seen(detector, panel);
      if (seen === null) continue;
      for (let ss = seen.ss0; ss < seen.ss1; ss += 1) {
        for (let fs = seen.fs0; fs < seen.fs1; fs += 1) {
          const found = value(panel, fs + 0.5, ss + 0.5);
          if (found === undefined || found === null) continue;
          const at = view.toScreen(...detector.place(panel, fs + 0.5, ss + 0.5));
          this.#text(short(found), ...at, this.ground === "light" ? "#17212b" : "#f2f6fa", size);
        }
      }
    }
  }

  cross(x, y) {
    const [sx, sy] = this.view.toScreen(x, y);
    const arm = 14 * this.dpr;
    this.#stroke(
      (context) => {
        context.moveTo(sx - arm, sy);
        context.lineTo(sx + arm, sy);
        context.moveTo(sx, sy - arm);
        context.lineTo(sx, sy + arm);
      },
      INK[this.ground],
      1.2,
    );
  }
}

/** A value in few letters. */
export function short(value) {
  if (Number.isInteger(value)) return String(value);
  return Math.abs(value) >= 1000 || (value !== 0 && Math.abs(value) < 0.01) ? value.toExponential(1) : String(Number(value.toPrecision(3)));
}
