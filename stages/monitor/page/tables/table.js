/**
 * A table of numbers that change while one looks at them: sorted by any column, filled in place.
 *
 * Cells are set as text, and only where they have changed. Where rows can be chosen the table waits while the pointer or the
 * keyboard is in it, so that nothing moves away from under them, and says that there is something newer.
 */

import { element, setText } from "../dom.js";
import { isNumber } from "../plots/format.js";

/**
 * Make a table. `columns`: {key, title, format(value, row)?, hint?, isText?}; `order`: {key, isDown} to begin with; `most`: so many
 * rows are shown; `onRow(row)`: rows can be chosen, by pointer and keyboard; `rowLabel(row)`: what choosing one does, in words.
 * Gives {root, set(rows), sorted(), columns}.
 */
export function createTable({ caption, columns, order = null, most = 500, empty = "nothing yet", onRow = null, rowLabel = null }) {
  const heads = columns.map((column) => head(column, () => sortBy(column)));
  const body = element("tbody");
  const note = element("p", { class: "quiet table-note", hidden: true });
  const table = element(
    "table",
    { class: onRow ? "numbers choosable" : "numbers" },
    element("caption", { class: "for-readers", text: caption }),
    element("thead", {}, element("tr", {}, ...heads)),
    body,
  );
  const root = element("div", { class: "table-scroll", tabindex: onRow ? null : "0", role: "group", "aria-label": caption }, table);
  const outer = element("div", { class: "table-outer" }, root, note);

  let rows = [];
  let shown = [];
  let waiting = null;
  let isIn = false;

  function sortBy(column) {
    const isSame = order?.key === column.key;
    order = { key: column.key, isDown: isSame ? !order.isDown : !column.isText };
    draw();
  }

  function sorted() {
    if (order === null) return rows;
    const sign = order.isDown ? -1 : 1;
    return [...rows].sort((one, other) => sign * compare(one[order.key], other[order.key]));
  }

  function draw() {
    columns.forEach((column, n) => {
      const is = order?.key === column.key;
      heads[n].setAttribute("aria-sort", is ? (order.isDown ? "descending" : "ascending") : "none");
    });
    shown = sorted().slice(0, most);
    while (body.children.length > shown.length) body.lastElementChild.remove();
    while (body.children.length < shown.length) body.append(line(columns, onRow !== null));
    shown.forEach((row, n) => fill(body.children[n], columns, row, rowLabel));
    const more = rows.length > most ? `${most} of ${rows.length} rows; all are in the CSV` : "";
    say(rows.length === 0 ? empty : more);
  }

  function say(text) {
    note.hidden = text === "";
    setText(note, text);
  }

  if (onRow !== null) {
    const enter = () => (isIn = true);
    const leave = () => {
      isIn = root.matches(":hover") || root.contains(document.activeElement);
      if (isIn || waiting === null) return;
      rows = waiting;
      waiting = null;
      draw();
    };
    root.addEventListener("pointerenter", enter);
    root.addEventListener("focusin", enter);
    root.addEventListener("pointerleave", () => setTimeout(leave, 0));
    root.addEventListener("focusout", () => setTimeout(leave, 0));
    body.addEventListener("click", (event) => {
      const at = [...body.children].indexOf(event.target.closest("tr"));
      if (at >= 0) onRow(shown[at]);
    });
    body.addEventListener("keydown", (event) => move(event, body));
    root.dataset.keys = "";
  }

  draw();
  return {
    root: outer,
    columns,
    sorted,
    set(newer) {
      if (isIn && rows.length > 0) {
        waiting = newer;
        say("newer ones wait until you leave the table");
        return;
      }
      rows = newer;
      draw();
    },
  };
}

function head(column, act) {
  const button = element("button", { type: "button", class: "sort", text: column.title, title: column.hint, on: { click: act } });
  return element("th", { scope: "col", class: column.isText ? "text" : null, "aria-sort": "none" }, button);
}

function line(columns, canBeChosen) {
  const cells = columns.map((column) => element("td", { class: column.isText ? "text" : null }));
  if (canBeChosen) cells[0].append(element("button", { type: "button", class: "link" }));
  return element("tr", {}, ...cells);
}

function fill(tr, columns, row, rowLabel) {
  columns.forEach((column, n) => {
    const value = row[column.key];
    const text = column.format ? column.format(value, row) : value === null || value === undefined ? "" : String(value);
    const where = tr.children[n].firstElementChild ?? tr.children[n];
    setText(where, text);
    if (n === 0 && rowLabel && where.title !== rowLabel(row)) where.title = rowLabel(row);
  });
  tr.className = row.mark ?? "";
}

/** Up and down, Home and End go from row to row. */
function move(event, body) {
  const rows = [...body.children];
  const at = rows.indexOf(event.target.closest("tr"));
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
  if (to === undefined || rows[to] === undefined) return;
  event.preventDefault();
  event.stopPropagation();
  rows[to].querySelector("button").focus();
}

/** Numbers by size, what is unknown last, texts by their letters. */
function compare(one, other) {
  if (isNumber(one) && isNumber(other)) return one - other;
  if (isNumber(one) !== isNumber(other)) return isNumber(one) ? 1 : -1;
  return String(one ?? "").localeCompare(String(other ?? ""), "en", { numeric: true });
}
