/** Saving what is seen: a picture with its marks and a caption, and tables as CSV. */

/** Save a screen as PNG, with lines of text below. */
export function savePicture(screen, name, lines) {
  screen.draw();
  const { canvas, dpr } = screen;
  const size = 13 * dpr;
  const room = 8 * dpr;
  const copy = document.createElement("canvas");
  const context = copy.getContext("2d");
  const font = `${size}px system-ui, "DejaVu Sans", sans-serif`;
  context.font = font;
  const wrapped = lines.flatMap((line) => wrap(context, line, canvas.width - 2 * room));
  copy.width = canvas.width;
  copy.height = canvas.height + 2 * room + wrapped.length * size * 1.35;
  const style = getComputedStyle(document.documentElement);
  context.fillStyle = style.getPropertyValue("--raised");
  context.fillRect(0, 0, copy.width, copy.height);
  context.drawImage(canvas, 0, 0);
  context.font = font;
  context.textBaseline = "top";
  context.fillStyle = style.getPropertyValue("--ink");
  wrapped.forEach((line, i) => context.fillText(line, room, canvas.height + room + i * size * 1.35));
  copy.toBlob((blob) => download(blob, `${name}.png`), "image/png");
}

function wrap(context, line, width) {
  const lines = [""];
  for (const word of line.split(" ")) {
    const longer = lines.at(-1) === "" ? word : `${lines.at(-1)} ${word}`;
    if (context.measureText(longer).width <= width || lines.at(-1) === "") lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

/** Save rows (arrays of numbers and texts) under a head as CSV. */
export function saveTable(name, head, rows) {
  const text = [head, ...rows].map((row) => row.map(quoted).join(",")).join("\r\n");
  download(new Blob([`${text}\r\n`], { type: "text/csv" }), `${name}.csv`);
}

/** A field of CSV; a text that a spreadsheet would take for a formula gets an apostrophe. */
function quoted(value) {
  if (typeof value === "number") return Number.isFinite(value) ? String(Number(value.toPrecision(7))) : "";
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function download(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = address;
  link.download = name.replace(/[^\w.+-]+/g, "_");
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}
