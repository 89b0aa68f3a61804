/** Saving what is seen: tables as CSV, plots as PNG. Nothing is sent anywhere; the browser writes a file. */

/** A cell of a CSV file. Text that a spreadsheet would take for a formula gets an apostrophe before it. */
function cell(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "";
  if (typeof value === "number") return String(value);
  let text = String(value);
  if (/^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The text of a CSV file: `names` in the first line, then `rows` (each a list). */
export function csv(names, rows) {
  return [names, ...rows].map((row) => Array.from(row, cell).join(",")).join("\r\n") + "\r\n";
}

/** A name for a file: of what, of which run, when. */
export function fileName(what, bus, ending) {
  const at = new Date((bus.state.latest.run?.time_unix_s ?? Date.now() / 1000) * 1000);
  const when = at.toISOString().slice(0, 19).replace("T", "-").replaceAll(":", "");
  const run = String(bus.state.run ?? "").replaceAll(/[^0-9a-zA-Z]/g, "").slice(0, 8);
  return ["streamajig", run, what, when].filter((part) => part).join("-") + ending;
}

/** Let the browser write a file. */
export function save(content, type, name) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/** Let the browser write a table. */
export function saveCsv(names, rows, name) {
  save(csv(names, rows), "text/csv;charset=utf-8", name);
}

/** Save a picture of a canvas with a title above and lines of text (`keys`: [colour, text]) below. */
export function savePng(canvas, { title, keys, ink, paper }, name) {
  const ratio = canvas.width / Math.max(1, canvas.clientWidth);
  const margin = 10 * ratio;
  const line = 18 * ratio;
  const made = document.createElement("canvas");
  const pen = made.getContext("2d");
  const font = `${13 * ratio}px system-ui, "DejaVu Sans", sans-serif`;
  pen.font = font;
  const rows = inRows(pen, keys, canvas.width, 22 * ratio);
  made.width = canvas.width + 2 * margin;
  made.height = canvas.height + 2 * margin + line * (1 + rows.length);
  pen.fillStyle = paper;
  pen.fillRect(0, 0, made.width, made.height);
  pen.textBaseline = "top";
  pen.font = `600 ${font}`;
  pen.fillStyle = ink;
  pen.fillText(title, margin, margin);
  pen.font = font;
  pen.drawImage(canvas, margin, margin + line);
  rows.forEach((row, n) => {
    const y = margin + line + canvas.height + n * line;
    for (const [x, colour, text] of row) {
      pen.fillStyle = colour;
      pen.fillRect(margin + x, y + 3 * ratio, 14 * ratio, 8 * ratio);
      pen.fillStyle = ink;
      pen.fillText(text, margin + x + 18 * ratio, y);
    }
  });
  made.toBlob((blob) => save(blob, "image/png", name), "image/png");
}

function inRows(pen, keys, width, extra) {
  const rows = [];
  let x = width;
  for (const [colour, text] of keys) {
    const needs = pen.measureText(text).width + 2 * extra;
    if (x + needs > width) {
      rows.push([]);
      x = 0;
    }
    rows.at(-1).push([x, colour, text]);
    x += needs;
  }
  return rows;
}
