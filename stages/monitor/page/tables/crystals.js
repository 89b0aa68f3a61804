/** The last crystals, as a table that can be sorted; choosing one shows its frame. */

import { element, setText } from "../dom.js";
import { fixed, time, whole } from "../plots/format.js";
import { csvButton } from "./csv_button.js";
import { createTable } from "./table.js";

const length = (value) => fixed(value, 2);
const COLUMNS = [
  { key: "serial", title: "Frame", format: String },
  { key: "time", title: "Time", format: time },
  { key: "lattice", title: "Lattice", isText: true },
  { key: "a", title: "a / Å", format: length },
  { key: "b", title: "b / Å", format: length },
  { key: "c", title: "c / Å", format: length },
  { key: "alpha", title: "α / °", format: length },
  { key: "beta", title: "β / °", format: length },
  { key: "gamma", title: "γ / °", format: length },
  { key: "resolution", title: "d / Å", format: length, hint: "How far it diffracts" },
  { key: "reflections", title: "Reflections", format: whole },
  { key: "peaks", title: "Peaks", format: whole },
  { key: "shift_x_mm", title: "Δx / mm", format: (value) => fixed(value, 3), hint: "Shift of the detector as this crystal has it" },
  { key: "shift_y_mm", title: "Δy / mm", format: (value) => fixed(value, 3), hint: "Shift of the detector as this crystal has it" },
  { key: "method", title: "Method", isText: true },
  { key: "event", title: "Event", isText: true },
];

export function create(root, bus) {
  const count = element("p", { class: "quiet words" });
  const wanted = element("input", { type: "search", "aria-label": "Only crystals with this text in lattice, method or event", placeholder: "lattice, method, event", on: { input: () => draw() } });
  const save = csvButton("crystals", "the table of crystals", () => table, bus);
  const table = createTable({
    caption: "Recent crystals. Choose one to see its frame",
    columns: COLUMNS,
    order: { key: "time", isDown: true },
    empty: "no crystal yet",
    onRow: (row) => bus.emit("show-frame", row.serial),
    rowLabel: (row) => `Show frame ${row.serial}`,
  });
  root.classList.add("fills-page");
  root.append(element("div", { class: "part-head" }, element("h2", { text: "Recent crystals" }), wanted, save, count), table.root);

  let rows = [];
  let known = null; // the last message's columns, by their first and last frame

  function draw() {
    const text = wanted.value.trim().toLowerCase();
    const chosen = rows.filter((row) => [row.lattice, row.method, row.event].some((one) => String(one).toLowerCase().includes(text)));
    table.set(text ? chosen : rows);
  }

  return {
    show(run) {
      const crystals = run.crystals ?? {};
      const num = crystals.serial?.length ?? 0;
      const total = run.counts?.crystals ?? num;
      setText(count, num < total ? `the last ${whole(num)} of ${whole(total)}; click one, or press Enter, to see its frame` : "click one, or press Enter, to see its frame");
      const identity = `${run.run} ${num} ${total} ${crystals.serial?.[num - 1]}`;
      if (identity === known) return;
      known = identity;
      rows = Array.from({ length: num }, (_, n) => Object.fromEntries(COLUMNS.map(({ key }) => [key, crystals[key]?.[n] ?? null])));
      draw();
    },
  };
}
