/**
 * The frame around a plot: title, buttons, key, and the same as numbers.
 *
 * Whatever is drawn in it, it can be seen as a table, and saved as PNG (what is seen) and CSV (all the numbers).
 */

import { element, newId, setText } from "../dom.js";
import { createTable } from "../tables/table.js";
import { colour, sample } from "./colours.js";
import { fileName, saveCsv, savePng } from "./save.js";

/**
 * Make the frame. `name`: for files; `columns()` -> [{title, format?, values}], the numbers as columns of one length; `canvas()`: what
 * is to be saved as a picture; `onReset()`: shown as a button that acts while `zoomed(true)`; `order`: of the numbers to begin with
 * (see tables/table.js); without `hasNumbers` they stand elsewhere already. Gives {root, body, tools, ...}.
 */
export function createFigure({ name, title, hint = "", bus, columns, canvas, onReset = null, order = null, hasNumbers = true }) {
  const id = newId("figure");
  const button = (text, label, act) => element("button", { type: "button", text, title: label, "aria-label": label, on: { click: act } });
  const numbers = button("Numbers", `Show ${title} as numbers`, () => toggle());
  const reset = onReset && button("Reset zoom", `Show all of ${title} again`, onReset);
  const png = button("PNG", `Save ${title} as a picture`, () => picture());
  const table = button("CSV", `Save the numbers of ${title}`, () => spreadsheet());
  const body = element("div", { class: "plot-body" });
  const key = element("div", { class: "plot-key", role: "group", "aria-label": `What is drawn in ${title}` });
  const beside = element("div", { class: "plot-numbers", hidden: true });
  const heading = element("h3", { id, text: title });
  const own = element("div", { class: "tools" });
  const root = element(
    "figure",
    { class: "plot", "data-plot": name, "aria-labelledby": id },
    element("figcaption", {}, heading, own, element("div", { class: "tools plot-tools" }, reset, numbers, png, table)),
    element("div", { class: "plot-columns" }, element("div", { class: "plot-left" }, body, key), beside),
    hint && element("p", { class: "quiet plot-hint", text: hint }),
  );
  numbers.setAttribute("aria-pressed", "false");
  numbers.hidden = !hasNumbers;
  if (reset) reset.disabled = true;

  let shown = null;
  let keys = [];

  function toggle() {
    beside.hidden = !beside.hidden;
    numbers.setAttribute("aria-pressed", String(!beside.hidden));
    if (!beside.hidden) fill();
  }

  function fill() {
    if (beside.hidden) return;
    const found = columns();
    const titles = found.map((column) => column.title).join("\n");
    if (shown?.titles !== titles) {
      const described = found.map(({ title, format }, n) => ({ key: n, title, format, isText: n === 0 }));
      shown = { titles, table: createTable({ caption: title, columns: described, most: 200, order }) };
      beside.replaceChildren(shown.table.root);
    }
    const num = found[0]?.values.length ?? 0;
    shown.table.set(Array.from({ length: num }, (_, row) => found.map((column) => column.values[row])));
  }

  function picture() {
    const run = bus.state.latest.run;
    const of = run?.program ? ` · ${run.program}` : "";
    savePng(
      canvas(),
      { title: title + of, keys: keys.map(([stroke, text]) => [colour(stroke), text()]), ink: colour("--ink"), paper: colour("--raised") },
      fileName(name, bus, ".png"),
    );
  }

  function spreadsheet() {
    const found = columns();
    const num = found[0]?.values.length ?? 0;
    const rows = Array.from({ length: num }, (_, row) => found.map((column) => column.values[row]));
    saveCsv(found.map((column) => column.title), rows, fileName(name, bus, ".csv"));
  }

  return {
    root,
    body,
    tools: own,
    title: (text) => setText(heading, text),
    numbers: fill,
    zoomed: (is) => reset && (reset.disabled = !is),

    /**
     * Set what stands in the key: [{look, label, value?: output's text, isOn?, act?}]. With `act` it is a button. Gives what sets the
     * values: a function of a list of texts.
     */
    setKey(entries) {
      const outputs = entries.map(() => element("output", { class: "number" }));
      keys = entries.filter((entry) => entry.isOn !== false).map((entry) => [entry.look.stroke, () => entry.label]);
      key.replaceChildren(
        ...entries.map((entry, n) => {
          const parts = [sample(entry.look), element("span", { text: entry.label }), outputs[n]];
          if (!entry.act) return element("span", { class: "key-entry" }, ...parts);
          const pressed = String(entry.isOn !== false);
          return element("button", { type: "button", class: "key-entry", "aria-pressed": pressed, on: { click: entry.act } }, ...parts);
        }),
      );
      return (texts) => outputs.forEach((output, n) => setText(output, texts[n] ?? ""));
    },
  };
}
