/** Which frame is shown: of which kind, the latest or one of the last, going on or held. */

import { element, newId, setText } from "../dom.js";

const CATEGORIES = { any: "Latest frame", indexed: "Latest indexed", hit: "Latest hit, not indexed", blank: "Latest blank" };
const MOST = 49; // of the frames that are kept is the oldest
const NONE = { any: "frame", indexed: "indexed frame", hit: "hit that is not indexed", blank: "blank frame" };

export class Stepping {
  constructor(bus) {
    this.bus = bus;
    this.category = "any";
    this.serial = null; // of the frame that is shown
    this.asked = bus.state.serial ?? null; // of a frame that was asked for and has not come
    this.before = null; // the frame that was held when another was asked for
    this.isHeld = this.asked !== null;
    this.serials = []; // of the frames of this kind that are kept, the latest first, as of the last answer
    this.wanted = 0; // steps (older: positive) that need a newer list than that
    this.root = this.#build();
    bus.on("show-frame", (serial) => this.jump(serial));
    bus.on("connection", (is) => is && this.#again());
    bus.on("new-run", () => {
      this.serial = null;
      if (this.isHeld) this.live();
    });
    this.#keys();
    this.#again();
  }

  live(category = this.category) {
    this.category = category;
    this.isHeld = false;
    this.asked = null;
    this.#look({ category, back: 0, serial: null, paused: false });
  }

  hold() {
    if (this.serial === null) return;
    this.isHeld = true;
    this.#look({ category: this.category, back: 0, serial: this.serial, paused: true });
  }

  /** Show the next older frame of the kind, or the next newer one (-1). */
  step(by) {
    if (this.serial === null) return;
    this.wanted = by;
    const next = this.#beside(by);
    if (next === undefined) this.hold(); // the answer has a newer list
    else this.#show(next);
  }

  #beside(by) {
    const at = this.serials.indexOf(this.serial);
    return at < 0 ? undefined : this.serials[at + by];
  }

  #show(serial) {
    this.wanted = 0;
    this.isHeld = true;
    this.#look({ category: this.category, back: 0, serial, paused: true });
  }

  jump(serial) {
    if (this.asked === null) this.before = this.isHeld ? this.serial : null;
    this.category = "any";
    this.asked = serial;
    this.#show(serial);
  }

  /** This frame is shown now. */
  shown(frame) {
    this.serial = frame.serial;
    this.serials = Array.from(frame.serials ?? []);
    if (this.asked === frame.serial) this.asked = null;
    const back = this.serials.indexOf(frame.serial);
    const of = this.serials.length;
    if (back < 0) setText(this.place, "not of this kind, or no longer kept");
    else setText(this.place, back === 0 ? `the latest of ${of} kept` : `${back} before the latest, of ${of} kept`);
    this.older.disabled = back >= 0 && back === of - 1;
    this.#state();
    if (this.wanted === 0) return;
    const next = this.#beside(this.wanted);
    if (next !== undefined) this.#show(next);
    else this.bus.emit("say", this.wanted < 0 ? "This is the latest frame of its kind." : "Older frames of this kind are not kept.");
    this.wanted = 0;
  }

  /** The frame that was asked for is not kept: `serial` is null where there is none of the kind at all. */
  gone({ serial, category }) {
    if (serial === null) {
      setText(this.place, `no ${NONE[category]} yet; this one is of before`);
      return;
    }
    if (this.wanted < 0) return this.#oldest();
    this.wanted = 0;
    const last = this.asked === serial ? " Frames come with pixels about twice a second; the last fifty of each kind are kept." : "";
    this.bus.emit("say", `Frame ${serial} is not kept.${last}`);
    const back = this.asked === serial ? this.before : this.serial;
    this.asked = null;
    if (back === null) this.live();
    else if (back !== serial) this.#show(back);
    else this.#state();
  }

  /** The frame that was held is so old that all that are kept are newer. */
  #oldest() {
    this.wanted = 0;
    this.#look({ category: this.category, back: MOST, serial: null, paused: true });
  }

  #again() {
    if (this.asked !== null) this.jump(this.asked);
    else if (this.isHeld) this.hold();
    else this.live();
  }

  #look(look) {
    this.bus.state.look = look;
    this.bus.send({ look });
    this.#state();
  }

  #state() {
    this.select.value = this.category;
    this.pause.setAttribute("aria-pressed", String(this.isHeld));
    setText(this.pause, this.isHeld ? "Held: go on" : "Hold");
    if (this.serial === null) setText(this.place, `no ${NONE[this.category]} yet`);
  }

  #build() {
    const id = newId("category");
    const options = Object.entries(CATEGORIES).map(([value, text]) => element("option", { value, text }));
    this.select = element("select", { id, "data-choice": "category", on: { change: () => this.live(this.select.value) } }, ...options);
    const button = (act, text, title, f) => element("button", { type: "button", "data-act": act, title, text, on: { click: f } });
    this.older = button("older", "◀ Older", "One frame back (,)", () => this.step(1));
    this.newer = button("newer", "Newer ▶", "One frame on (.)", () => this.step(-1));
    this.pause = button("hold", "Hold", "Hold this frame, or go on with the latest (space)", () => this.#turn());
    this.place = element("output", { class: "number place", "data-field": "place" });
    return element(
      "div",
      { class: "tools stepping", role: "group", "aria-label": "Which frame" },
      element("label", { for: id, class: "for-readers", text: "Which frame" }),
      this.select,
      this.older,
      this.newer,
      this.pause,
      this.place,
    );
  }

  #turn() {
    if (this.isHeld) this.live();
    else this.hold();
  }

  #keys() {
    const add = (keys, shown, what, act) =>
      this.bus.keys.add({ keys, shown, what, where: "Frames", when: () => this.bus.state.tab === "frames", act });
    add([" "], "Space", "Hold this frame, or go on with the latest", () => this.#turn());
    add([","], ",", "One frame back", () => this.step(1));
    add(["."], ".", "One frame on", () => this.step(-1));
    add(["l"], "l", "The latest frame, of any kind", () => this.live("any"));
    add(["x"], "x", "The latest indexed frame", () => this.live("indexed"));
    add(["y"], "y", "The latest hit that is not indexed", () => this.live("hit"));
    add(["z"], "z", "The latest blank frame", () => this.live("blank"));
  }
}
