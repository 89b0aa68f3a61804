/**
 * The controls of the pixels' colours: map, scale, and two levels, each as a slider and as a number.
 *
 * The sliders are not linear: a position is asinh(value / unit), where unit is how much the values differ from each other; so the
 * few counts of the background and the tens of thousands of a strong spot are both within reach (linear near nought, logarithmic
 * far from it).
 */

import { element, newId } from "../dom.js";
import { MAPS, SCALES, Colours } from "./colours.js";
import { short } from "./marks.js";

const STEPS = 1000;
const KEPT = "streamajig.colours";

export class Levels {
  /** `changed()` is called when the colours are others; `auto()` gives levels of what is shown now (`levelsOf`), or null. */
  constructor({ changed, auto, map = "inverse", name = "" }) {
    this.changed = changed;
    this.auto = auto;
    this.kept = `${KEPT}.${name}`;
    const before = kept(this.kept);
    this.map = before.map in MAPS ? before.map : map;
    this.scale = before.scale in SCALES ? before.scale : "linear";
    this.masked = true;
    this.unit = 1;
    this.range = [0, 65534];
    this.low = 0;
    this.high = 10;
    this.isSet = false; // whether levels were found or chosen
    this.colours = null;
    this.root = this.#build();
    this.#renew();
  }

  get ground() {
    return MAPS[this.map].isLight ? "light" : "dark";
  }

  /** Levels for what is shown now; where there is nothing, none. */
  setAuto() {
    const found = this.auto();
    if (found === null) return;
    this.unit = found.unit;
    this.range = [Math.min(0, found.lowest), Math.max(found.highest, found.low + 10 * found.unit)];
    this.set(found.low, found.high);
  }

  set(low, high) {
    this.low = low;
    this.high = high > low ? high : low + Math.max(this.unit * 1e-3, Math.abs(low) * 1e-6);
    this.isSet = true;
    this.#show();
    this.#renew();
  }

  showMasked(is) {
    this.masked = is;
    this.#renew();
  }

  nextMap() {
    const names = Object.keys(MAPS);
    this.#choose("map", names[(names.indexOf(this.map) + 1) % names.length]);
  }

  #choose(what, value) {
    this[what] = value;
    this[`${what}Select`].value = value;
    localStorage.setItem(this.kept, JSON.stringify({ map: this.map, scale: this.scale }));
    this.#renew();
  }

  #renew() {
    const { map, scale, low, high, masked } = this;
    this.colours = new Colours({ map, scale, low, high, masked });
    this.#drawBar();
    this.changed();
  }

  #position(value) {
    const [from, to] = this.range.map((end) => Math.asinh(end / this.unit));
    return Math.round((STEPS * (Math.asinh(value / this.unit) - from)) / (to - from));
  }

  #value(position) {
    const [from, to] = this.range.map((end) => Math.asinh(end / this.unit));
    return round(this.unit * Math.sinh(from + (position / STEPS) * (to - from)), this.unit);
  }

  #show() {
    for (const which of ["low", "high"]) {
      const { slider, number } = this[`${which}Inputs`];
      slider.value = this.#position(this[which]);
      slider.setAttribute("aria-valuetext", short(this[which]));
      if (document.activeElement !== number) number.value = String(round(this[which], this.unit));
    }
  }

  #level(which, title) {
    const id = newId(`level-${which}`);
    const slider = element("input", { type: "range", min: 0, max: STEPS, step: 1, id, class: "level", "data-level": which });
    const number = element("input", { type: "number", step: "any", "aria-label": `${title}, as a number`, "data-level": which });
    this[`${which}Inputs`] = { slider, number };
    const take = (value) => (which === "low" ? this.set(value, Math.max(value, this.high)) : this.set(Math.min(this.low, value), value));
    slider.addEventListener("input", () => take(this.#value(Number(slider.value))));
    number.addEventListener("change", () => {
      if (number.value !== "" && Number.isFinite(Number(number.value))) take(Number(number.value));
      number.value = String(round(this[which], this.unit));
    });
    return element("div", { class: "level-row" }, element("label", { for: id, text: title }), slider, number);
  }

  #select(what, title, choices, beside = null) {
    const id = newId(what);
    const options = Object.entries(choices).map(([value, choice]) => element("option", { value, text: choice.title }));
    const select = element("select", { id, "data-choice": what, on: { change: () => this.#choose(what, select.value) } }, ...options);
    select.value = this[what];
    this[`${what}Select`] = select;
    return element("div", { class: "choice-row" }, element("label", { for: id, text: title }), select, beside);
  }

  #build() {
    this.bar = element("canvas", { class: "colour-bar", width: 256, height: 8, "aria-hidden": "true" });
    const auto = element("button", {
      type: "button",
      "data-act": "auto",
      title: "Levels for this picture (a)",
      "aria-label": "Levels for this picture",
      text: "Auto",
      on: { click: () => this.setAuto() },
    });
    return element(
      "fieldset",
      { class: "levels" },
      element("legend", { text: "Pixels" }),
      this.#select("map", "Colours", MAPS),
      this.#select("scale", "Scale", SCALES, auto),
      this.bar,
      this.#level("low", "From"),
      this.#level("high", "To"),
    );
  }

  #drawBar() {
    const context = this.bar.getContext("2d");
    const image = context.createImageData(256, 8);
    const to = new Uint32Array(image.data.buffer);
    for (let i = 0; i < to.length; i += 1) to[i] = this.colours.steps[i % 256];
    context.putImageData(image, 0, 0);
  }
}

/** Round to what matters where values differ by `unit`. */
function round(value, unit) {
  const digit = 10 ** Math.floor(Math.log10(Math.max(unit, Math.abs(value) / 100)) - 0.5);
  return Number((Math.round(value / digit) * digit).toPrecision(6));
}

function kept(name) {
  try {
    return JSON.parse(localStorage.getItem(name)) ?? {};
  } catch {
    return {};
  }
}
