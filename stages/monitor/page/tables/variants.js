/** The variants of a run side by side, and which of them is better. */

import { element, setText } from "../dom.js";
import { figuresWith } from "../plots/choose.js";
import { significant, whole, isNumber } from "../plots/format.js";
import { fileName, saveCsv } from "../plots/save.js";
import { createTable } from "./table.js";

export function create(root, bus) {
  const headline = element("h2", { "aria-live": "polite" });
  const why = element("p", { class: "words" });
  const where = element("div");
  const save = element("button", { type: "button", text: "CSV", "aria-label": "Save the table of variants", on: { click: () => csv() } });
  root.append(element("div", { class: "part-head" }, headline, save), why, element("section", { class: "card" }, where));

  let known = "";
  let table = null;

  function csv() {
    const names = table.columns.map((column) => column.title);
    saveCsv(names, table.sorted().map((row) => table.columns.map(({ key }) => row[key])), fileName("variants", bus, ".csv"));
  }

  return {
    show(run) {
      const figures = figuresWith(run, "rows").find(([, one]) => Array.isArray(one.rows))?.[1];
      setText(headline, figures?.headline ?? "There is nothing to compare in this run");
      setText(why, figures?.why ?? "");
      save.disabled = figures === undefined;
      if (figures === undefined) return;
      const names = (figures.columns ?? Object.keys(figures.rows[0] ?? {})).map(String);
      const text = JSON.stringify(names);
      if (text !== known) {
        known = text;
        table = createTable({ caption: "Variants", columns: names.map((name, n) => column(name, n === 0)) });
        where.replaceChildren(table.root);
      }
      table.set(figures.rows);
    },
  };
}

function column(name, isText) {
  const format = (value) => (isNumber(value) ? (Number.isInteger(value) ? whole(value) : significant(value)) : String(value ?? ""));
  return { key: name, title: name.replaceAll("_", " "), isText, format };
}
