/** The facts of a frame as numbers: event, serial, time, peaks, crystals with their cells, the header. */

import { element, setText } from "../dom.js";
import { time } from "../plots/format.js";
import { CRYSTALS, DASHES } from "./marks.js";

const KINDS = { indexed: "indexed", hit: "hit, not indexed", blank: "blank" };

export class Facts {
  constructor() {
    this.values = {};
    this.keys = [];
    const rows = Object.entries({ event: "Event", category: "Kind", serial: "Serial", time: "At", peaks: "Peaks", crystals: "Crystals" }).map(
      ([name, title]) => {
        this.values[name] = element("dd", { class: "number", "data-field": name, text: "–" });
        return element("div", { class: `of-${name}` }, element("dt", { text: title }), this.values[name]);
      },
    );
    this.crystals = element("ol", { class: "crystals" });
    this.header = element("dl", { class: "header" });
    this.root = element(
      "section",
      { class: "facts", "aria-label": "This frame" },
      element("h3", { text: "This frame" }),
      element("dl", { class: "pairs" }, ...rows),
      this.crystals,
      element("details", {}, element("summary", { text: "Header" }), this.header),
    );
  }

  /** Show a frame's; `ground` says whether crystals are drawn in the colours for light or for dark pixels. */
  show(frame, ground) {
    setText(this.values.event, frame.event);
    setText(this.values.serial, String(frame.serial));
    setText(this.values.time, time(frame.time_unix_s));
    setText(this.values.category, KINDS[frame.category] ?? frame.category);
    setText(this.values.peaks, String(frame.peaks.panel.length));
    setText(this.values.crystals, String(frame.crystals.length));
    if (this.keys.length !== frame.crystals.length) {
      this.keys = frame.crystals.map(() => element("canvas", { class: "key", width: 30, height: 14, "aria-hidden": "true" }));
      this.onGround(ground);
    }
    this.crystals.replaceChildren(...frame.crystals.map((crystal, number) => item(crystal, this.keys[number])));
    const entries = Object.entries(frame.header ?? {});
    this.header.replaceChildren(
      ...entries.map(([name, value]) => element("div", {}, element("dt", { text: name }), element("dd", { text: String(value) }))),
    );
  }

  /** Show with which line each crystal's reflections are drawn, on light or on dark pixels. */
  onGround(ground) {
    this.keys.forEach((key, number) => {
      const context = key.getContext("2d");
      context.setLineDash([]);
      context.fillStyle = ground === "light" ? "#ffffff" : "#10161c";
      context.fillRect(0, 0, key.width, key.height);
      context.strokeStyle = CRYSTALS[ground][number % CRYSTALS[ground].length];
      context.lineWidth = 2;
      context.setLineDash(DASHES[number % DASHES.length]);
      context.beginPath();
      context.moveTo(3, 7);
      context.lineTo(27, 7);
      context.stroke();
    });
  }

  /** A crystal's cell as text: lattice, a b c in Angstrom, angles in degrees. */
  static cell({ a, b, c, alpha, beta, gamma, lattice }) {
    const lengths = [a, b, c].map((length) => length.toFixed(2)).join(" ");
    const angles = [alpha, beta, gamma].map((angle) => angle.toFixed(2)).join(" ");
    return `${lattice} ${lengths} Å, ${angles}°`;
  }
}

function item(crystal, key) {
  const limit = Number.isFinite(crystal.resolution_angstrom) ? `, to ${crystal.resolution_angstrom.toFixed(2)} Å` : "";
  return element(
    "li",
    { class: "number" },
    key,
    element("span", { text: Facts.cell(crystal) }),
    element("span", { class: "quiet", text: `${crystal.method}, ${crystal.reflections.panel.length} reflections${limit}` }),
  );
}
