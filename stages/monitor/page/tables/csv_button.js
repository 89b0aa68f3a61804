/** The button that saves a table: its rows as they are sorted, numbers with all their digits. */

import { element } from "../dom.js";
import { fileName, saveCsv } from "../plots/save.js";

/** Make it. `table()` is what tables/table.js has made, or null while there is none; `name`: for the file; `what`: in words. */
export function csvButton(name, what, table, bus) {
  const act = () => {
    const shown = table();
    if (shown === null) return;
    const rows = shown.sorted().map((row) => shown.columns.map(({ key }) => row[key]));
    saveCsv(shown.columns.map((column) => column.title), rows, fileName(name, bus, ".csv"));
  };
  return element("button", { type: "button", text: "CSV", title: `Save ${what}`, "aria-label": `Save ${what}`, on: { click: act } });
}
