/**
 * Parts of a frame with all their pixels, asked for when pixels are seen so large that pooled ones would show as blocks.
 *
 * A new frame is shown only when its parts are there (or after a while), so that the picture does not change between coarse and fine.
 */

import { Pixels } from "./pixels.js";

const FROM = 2; // a pooled value is at least so large, pixels of the screen
const MARGIN = 16; // pixels of the detector around what is seen
const MOST = 24; // panels
const MOST_AT_ONCE = 6; // of what is asked for
const MOST_PIXELS = 4e6;
const REST_MS = 120; // after the last movement

export class Tiles {
  static LONGEST_WAIT_MS = 700;

  /** `complete(serial)` is called when all parts that were asked for of a frame have come. */
  constructor(bus, screen, { complete }) {
    this.bus = bus;
    this.screen = screen;
    this.complete = complete;
    this.serial = null;
    this.asked = new Map(); // panel: the part that was asked for
    this.queue = []; // parts that are asked for when others have come
    this.here = new Map(); // panel: [part, Pixels]
  }

  /** The parts of this frame that are here, as [panel, Pixels]. */
  of(serial) {
    return serial === this.serial ? [...this.here].map(([panel, [, pixels]]) => [panel, pixels]) : [];
  }

  /** Ask for the parts once the picture rests. */
  wantSoon(frame) {
    clearTimeout(this.resting);
    if (frame !== null) this.resting = setTimeout(() => this.want(frame, this.screen.detector), REST_MS);
  }

  /** Ask for what is seen of a frame and is not here; whether anything will come. */
  want(frame, detector) {
    if (frame.serial !== this.serial) {
      this.serial = frame.serial;
      this.asked.clear();
      this.queue = [];
      this.here.clear();
    }
    const { view } = this.screen;
    if (frame.bin === 1 || !frame.is_whole || view.magnification * frame.bin < FROM) return false;
    const parts = this.#seen(detector);
    if (parts.length > MOST || parts.reduce((sum, [, p]) => sum + (p.fs1 - p.fs0) * (p.ss1 - p.ss0), 0) > MOST_PIXELS) return false;
    this.queue = [];
    for (const [panel, part] of parts) {
      const known = this.asked.get(panel) ?? this.here.get(panel)?.[0];
      if (known && covers(known, part)) continue;
      this.queue.push([panel, part]);
    }
    this.#ask();
    return this.asked.size > 0;
  }

  #ask() {
    while (this.queue.length > 0 && this.asked.size < MOST_AT_ONCE) {
      const [panel, part] = this.queue.shift();
      if (!this.bus.send({ tile: { serial: this.serial, panel, ...part } })) return;
      this.asked.set(panel, part);
    }
  }

  #seen(detector) {
    const parts = [];
    for (let panel = 0; panel < detector.size; panel += 1) {
      if (this.screen.view.seen(detector, panel) === null) continue;
      parts.push([panel, this.screen.view.seen(detector, panel, MARGIN)]);
    }
    return parts;
  }

  /** A part has come. */
  take({ serial, panel, fs0, ss0, data, offset = 0 }) {
    if (serial !== this.serial || !this.asked.has(panel)) return;
    const [height, width] = data.shape;
    this.here.set(panel, [{ fs0, ss0, fs1: fs0 + width, ss1: ss0 + height }, new Pixels(data, { offset, fs0, ss0 })]);
    this.#next(panel);
  }

  /** Pixels are not kept any more: pooled ones stay. */
  gone({ serial }) {
    if (serial !== this.serial || this.asked.size === 0) return;
    this.queue = [];
    for (const panel of [...this.asked.keys()]) this.#next(panel);
  }

  #next(panel) {
    this.asked.delete(panel);
    this.#ask();
    if (this.asked.size === 0) this.complete(this.serial);
  }
}

function covers(one, other) {
  // the margin may be missing: what is seen is there all the same
  return one.fs0 <= other.fs0 + MARGIN / 2 && one.ss0 <= other.ss0 + MARGIN / 2 && one.fs1 >= other.fs1 - MARGIN / 2 && one.ss1 >= other.ss1 - MARGIN / 2;
}
