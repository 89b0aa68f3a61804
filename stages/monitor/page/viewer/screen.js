/**
 * A picture of the detector with its controls: pixels in the panels' places, marks over them, zoom and pan, what is under the
 * pointer. The frames' tab and the powder's tab have one each, and say what is drawn over the pixels.
 */

import { element, newId, setText } from "../dom.js";
import { listenToPointers } from "./gestures.js";
import { Levels } from "./levels.js";
import { Marks } from "./marks.js";
import { levelsOf } from "./pixels.js";
import { Readout } from "./readout.js";
import { View } from "./view.js";

const STEP = 60; // pixels of the page that an arrow key moves the picture
const ZOOM = 1.25;
const SPEAK_AFTER_MS = 350;
const KEPT = "streamajig.marks";

export class Screen {
  /**
   * `toggles`: {name: {title, what, key, on}} of marks that can be switched; `draw(marks, on)` draws them; `near(x, y, reach_m)` says which
   * reflection is near a place (a text, or ""); `moved()` is called when another part of the detector is seen, `recoloured()` when the
   * pixels' colours are others.
   */
  constructor(bus, { name, map, toggles, draw, near = () => "", moved = () => {}, recoloured = () => {} }) {
    this.bus = bus;
    this.name = name;
    this.drawMarks = draw;
    this.moved = moved;
    this.recoloured = recoloured;
    this.view = new View();
    this.detector = null;
    this.pixels = []; // for each panel, null where there are none
    this.tiles = []; // [panel, Pixels], finer ones over the others
    this.pointer = null; // where it is, pixels of the screen
    this.cross = null; // where the keyboard's cross is, metres
    this.drawing = false;
    this.on = {};
    this.#build(toggles, map);
    this.readout = new Readout(this.readoutRoot, near);
    this.#listen();
    bus.on("theme", () => this.#colour());
    this.#colour();
  }

  /** Show pixels (one `Pixels` or null per panel of the detector). The part that is seen stays, if somebody has chosen it. */
  show(detector, pixels) {
    this.detector = detector;
    for (const old of this.pixels) if (!pixels.includes(old)) old?.letGo();
    this.pixels = pixels;
    this.tiles = [];
    this.view.look(detector.bounds, detector.pixel);
    if (!this.levels.isSet) this.levels.setAuto();
    this.redraw();
    this.#read();
  }

  /** Draw anew, at the browser's next occasion. */
  redraw() {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      this.draw();
    });
  }

  draw() {
    const began = performance.now();
    const { context, view, detector, canvas } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = this.gap;
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (detector === null) return;
    const times = this.#poolFor();
    for (let panel = 0; panel < detector.size; panel += 1) {
      const pixels = this.pixels[panel];
      if (pixels && view.sees(detector, panel)) pixels.pooled(times).draw(context, view, detector, panel, this.levels.colours);
    }
    for (const [panel, tile] of this.tiles) tile.draw(context, view, detector, panel, this.levels.colours);
    const marks = new Marks(context, view, detector, this.dpr, this.levels.ground);
    this.drawMarks(marks, this.on);
    if (this.cross !== null && document.activeElement === canvas) marks.cross(...this.cross);
    canvas.drawMs = performance.now() - began;
  }

  #poolFor() {
    const bin = this.pixels.find(Boolean)?.bin ?? 1;
    const size = this.view.magnification * bin;
    return size < 0.25 ? 4 : size < 0.5 ? 2 : 1;
  }

  /** The value at a point of a panel: a number, null where masked, undefined where there is none; and the pixels it is the largest of. */
  value(panel, fs, ss) {
    for (const [at, tile] of this.tiles) {
      const found = at === panel ? tile.value(fs, ss) : undefined;
      if (found !== undefined) return { value: found, bin: tile.bin };
    }
    const pixels = this.pixels[panel];
    return { value: pixels ? pixels.value(fs, ss) : undefined, bin: pixels?.bin ?? 1 };
  }

  /** The value as `Marks.values` asks for it: only that of one pixel. */
  single = (panel, fs, ss) => {
    const { value, bin } = this.value(panel, fs, ss);
    return bin === 1 ? value : undefined;
  };

  toggle(name, is = !this.on[name]) {
    this.on[name] = is;
    this.boxes[name].checked = is;
    localStorage.setItem(`${KEPT}.${this.name}`, JSON.stringify(this.on));
    if (name === "masked") this.levels.showMasked(is);
    this.redraw();
  }

  zoom(times, sx, sy) {
    this.view.zoom(times, sx, sy);
    this.#seen();
  }

  fit() {
    this.view.fit();
    this.#seen();
  }

  move(dx, dy) {
    this.view.move(dx * STEP * this.dpr, dy * STEP * this.dpr);
    this.#seen();
  }

  /** Move the keyboard's cross by so many pixels of the detector, or of the screen where those are smaller. */
  moveCross(dx, dy) {
    if (this.detector === null) return;
    const step = Math.max(this.detector.pixel, this.dpr / this.view.scale);
    const [x, y] = this.cross ?? [this.view.x, this.view.y];
    this.cross = [x + dx * step, y - dy * step];
    this.pointer = null;
    this.view.showPlace(...this.cross);
    if (document.activeElement !== this.canvas) this.canvas.focus();
    this.#seen();
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => setText(this.spoken, this.readout.sentence()), SPEAK_AFTER_MS);
  }

  #seen() {
    this.redraw();
    this.#read();
    this.moved();
  }

  #read() {
    const at = this.pointer !== null ? this.view.toPlane(...this.pointer) : this.cross;
    this.readout.show(this, at);
  }

  #colour() {
    this.gap = getComputedStyle(document.documentElement).getPropertyValue("--frame-gap").trim() || "#808080";
    this.redraw();
  }

  #build(toggles, map) {
    const helpId = newId("picture-help");
    this.canvas = element("canvas", {
      class: "picture",
      tabindex: 0,
      role: "application",
      "aria-roledescription": "detector picture",
      "aria-label": this.name,
      "aria-describedby": helpId,
    });
    this.canvas.picture = this; // for the tests, and for whoever tries things in the browser's console
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.overlay = element("p", { class: "over-picture", hidden: true });
    this.spoken = element("output", { class: "for-readers", "aria-live": "polite" });
    const tool = (act, title, text, f) =>
      element("button", { type: "button", "data-act": act, title, "aria-label": title, text, on: { click: f } });
    this.zoomTools = element(
      "div",
      { class: "zoom-tools", role: "group", "aria-label": "Zoom" },
      tool("zoom-in", "Enlarge (+)", "+", () => this.zoom(ZOOM * ZOOM)),
      tool("zoom-out", "Reduce (-)", "−", () => this.zoom(1 / ZOOM / ZOOM)),
      tool("fit", "Whole detector (r)", "Fit", () => this.fit()),
    );
    this.stage = element(
      "div",
      { class: "picture-room" },
      this.canvas,
      this.overlay,
      this.zoomTools,
      element("p", {
        class: "for-readers",
        id: helpId,
        text: "Arrows move the picture, plus and minus zoom, r shows all, Shift with arrows moves a cross and reads what is there.",
      }),
      this.spoken,
    );
    this.levels = new Levels({
      name: this.name,
      map,
      changed: () => {
        if (this.levels === undefined) return; // it is being made
        this.redraw();
        this.recoloured(this.levels.ground);
      },
      auto: () => levelsOf(this.pixels.filter(Boolean)),
    });
    this.readoutRoot = element("section", { class: "readout", "aria-label": "Under the pointer" });
    this.togglesRoot = element("fieldset", { class: "toggles" }, element("legend", { text: "Drawn over it" }), ...this.#boxes(toggles));
  }

  #boxes(toggles) {
    let before = {};
    try {
      before = JSON.parse(localStorage.getItem(`${KEPT}.${this.name}`)) ?? {};
    } catch {
      // what was kept is of another version: as at the first time
    }
    this.boxes = {};
    return Object.entries(toggles).map(([name, { title, what, key, on }]) => {
      const box = element("input", { type: "checkbox", "data-toggle": name, checked: before[name] ?? on });
      box.addEventListener("change", () => this.toggle(name, box.checked));
      this.boxes[name] = box;
      this.on[name] = box.checked;
      if (name === "masked") queueMicrotask(() => this.levels.showMasked(this.on.masked));
      return element("label", { class: "check", title: what }, box, element("span", { text: title }), element("kbd", { text: key }));
    });
  }

  #listen() {
    const { canvas } = this;
    new ResizeObserver(() => this.#resize()).observe(this.stage);
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const lines = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY / 100 : event.deltaY / 3;
        this.zoom(ZOOM ** -Math.max(-4, Math.min(4, lines)), ...this.#place(event));
      },
      { passive: false },
    );
    listenToPointers(canvas, {
      place: (event) => this.#place(event),
      point: (at) => {
        this.pointer = at;
        this.#readSoon();
      },
      drag: (dx, dy) => {
        this.view.move(dx, dy);
        this.redraw();
        this.moved();
      },
      zoom: (times, x, y) => this.zoom(times, x, y),
      fit: () => this.fit(),
    });
    canvas.addEventListener("focus", () => this.redraw());
    canvas.addEventListener("blur", () => this.redraw());
  }

  #readSoon() {
    if (this.reading) return;
    this.reading = true;
    requestAnimationFrame(() => {
      this.reading = false;
      this.#read();
    });
  }

  #place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * this.dpr, (event.clientY - box.top) * this.dpr];
  }

  #resize() {
    this.dpr = window.devicePixelRatio || 1;
    const width = Math.max(1, Math.round(this.stage.clientWidth * this.dpr));
    const height = Math.max(1, Math.round(this.stage.clientHeight * this.dpr));
    if (this.canvas.width === width && this.canvas.height === height) return;
    this.canvas.width = width;
    this.canvas.height = height;
    this.view.resize(width, height);
    this.draw(); // at once: a canvas of another size is empty
    this.moved();
  }

  dpr = window.devicePixelRatio || 1;
}

/** Keys that act on the picture that is seen; `screens` is {tab: Screen}. They are listed once, for all pictures. */
export function pictureKeys(bus, screens) {
  const where = "Pictures of the detector";
  const now = () => screens[bus.state.tab];
  const when = () => now() !== undefined;
  const add = (keys, shown, what, act, free = false) => bus.keys.add({ keys, shown, what, where, when, free, act });
  const arrows = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"];
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  add(["+", "="], "+", "Enlarge", () => now().zoom(ZOOM));
  add(["-", "_"], "-", "Reduce", () => now().zoom(1 / ZOOM));
  add(["r"], "r", "Show the whole detector (or a double click, or two taps)", () => now().fit());
  add(
    arrows,
    "← → ↑ ↓",
    "Move the picture; with Shift: move a cross, pixel by pixel, that reads what is there",
    (event) => {
      const [dx, dy] = way[event.key];
      if (event.shiftKey) now().moveCross(dx, dy);
      else now().move(-dx, -dy);
    },
    true,
  );
  add(["a"], "a", "Levels for this picture", () => now().levels.setAuto());
  add(["c"], "c", "Next colours", () => now().levels.nextMap());
  add(["s"], "s", "Save the picture as it is seen", () => now().save?.());
}

/** Keys of a screen's toggles. */
export function toggleKeys(bus, tab, where, screen, toggles) {
  for (const [name, { what, key }] of Object.entries(toggles)) {
    bus.keys.add({ keys: [key], what, where, when: () => bus.state.tab === tab, act: () => screen.toggle(name) });
  }
}
