/** The variants of a run side by side, and which of them is better. */

import { element, setText } from "../dom.js";
import { figuresWith } from "../plots/choose.js";
import { isNumber, percent, significant, whole } from "../plots/format.js";
import { csvButton } from "./csv_button.js";
import { createTable } from "./table.js";

export function create(root, bus) {
  const headline = element("h2", { "aria-live": "polite" });
  const why = element("p", { class: "words" });
  const where = element("div");
  const save = csvButton("variants", "the table of variants", () => table, bus);
  root.append(element("div", { class: "part-head" }, headline, save), why, element("section", { class: "card" }, where));

  let known = "";
  let table = null;

  return {
    show(run) {
      const figures = figuresWith(run, "rows").find(([, one]) => Array.isArray(one.rows))?.[1];
      setText(headline, figures?.headline ?? "There is nothing to compare in this run");
      setText(why, figures?.why ?? "");
      save.disabled = figures === undefined;
      if (figures === undefined) return;
      const columns = columnsOf(figures);
      const text = JSON.stringify(columns);
      if (text !== known) {
        known = text;
        table = createTable({ caption: "Variants", columns: columns.map(described) });
        where.replaceChildren(table.root);
      }
      table.set(figures.rows);
    },
  };
}

/** What columns there are: {name, words, unit, is_rate}; names alone will do. Those that nothing is known of are left out. */
function columnsOf({ rows, columns }) {
  const told = (columns ?? Object.keys(rows[0] ?? {})).map((one) => (typeof one === "object" ? one : { name: String(one) }));
  const isThere = new Set(told.map((one) => one.name));
  const first = ["variant", "frames"].filter((name) => !isThere.has(name)).map((name) => ({ name }));
  return [...first, ...told].filter(({ name }) => rows.some((row) => row[name] !== null && row[name] !== undefined));
}

function described({ name, words, unit, is_rate: isRate }) {
  const number = (value) => (isRate ? percent(value) : Number.isInteger(value) ? whole(value) : significant(value));
  return {
    key: name,
    title: name.replaceAll("_", " ") + (unit ? ` / ${unit}` : ""),
    hint: words,
    isText: name === "variant",
    format: (value) => (isNumber(value) ? number(value) : String(value ?? "")),
  };
}
