/** What is under the pointer, or under the keyboard's cross: panel, fs, ss, value, resolution, the nearest reflection. */

import { element, setText } from "../dom.js";
import { short } from "./marks.js";

const FIELDS = { panel: "Panel", value: "Value", fs: "fs", ss: "ss", resolution: "Resolution", near: "hkl" };
const NOTHING = "–";
const REACH = 9; // pixels of the page in which a reflection counts as near

export class Readout {
  constructor(root, near) {
    this.near = near;
    this.cells = {};
    const rows = Object.entries(FIELDS).map(([name, title]) => {
      this.cells[name] = element("dd", { class: "number", "data-field": name, text: NOTHING });
      return element("div", { class: `of-${name}` }, element("dt", { text: title }), this.cells[name]);
    });
    root.append(element("h3", { text: "Under the pointer" }), element("dl", { class: "pairs" }, ...rows));
  }

  /** Show what is at a place (metres), null for none. */
  show(screen, at) {
    const found = at === null || screen.detector === null ? {} : this.#at(screen, ...at);
    for (const name of Object.keys(FIELDS)) setText(this.cells[name], found[name] ?? NOTHING);
  }

  #at(screen, x, y) {
    const { detector, view, dpr } = screen;
    const d = detector.resolution(x, y);
    const found = { resolution: Number.isFinite(d) && d < 1e4 ? `${d.toPrecision(4)} Å` : NOTHING };
    const on = detector.under(x, y);
    if (on === null) return { ...found, panel: "between panels" };
    const { value, bin } = screen.value(on.panel, on.fs, on.ss);
    const of = bin > 1 ? ` (highest of ${bin} × ${bin})` : "";
    found.value = value === undefined ? "no pixels" : value === null ? "masked" : short(value) + of;
    found.near = this.near(x, y, Math.max((REACH * dpr) / view.scale, 1.5 * detector.pixel)) || NOTHING;
    return { ...found, panel: detector.names[on.panel], fs: on.fs.toFixed(1), ss: on.ss.toFixed(1) };
  }

  /** The same as a sentence, to be read out. */
  sentence() {
    return Object.entries(FIELDS)
      .map(([name, title]) => [title, this.cells[name].textContent])
      .filter(([, text]) => text !== NOTHING)
      .map(([title, text]) => `${title} ${text}`)
      .join(", ");
  }
}
