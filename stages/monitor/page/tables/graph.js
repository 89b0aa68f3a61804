/** The run's graph with the time that each node takes: the slowest one is seen at once. */

import { element } from "../dom.js";
import { colour } from "../plots/colours.js";
import { createFigure } from "../plots/figure.js";
import { isNumber, percent, significant, span, whole } from "../plots/format.js";
import { layOut } from "./layout.js";
import { createTable } from "./table.js";

const BOX = { width: 224, height: 40, across: 14, down: 16, margin: 6 };
const inMs = (value) => (isNumber(value) ? significant(value) : "–");

export function create(root, bus) {
  const canvas = element("canvas", { class: "graph", role: "img" });
  const figure = createFigure({
    name: "graph",
    title: "Graph and times",
    hint: "The bar in each box is its part of the time of all; the slowest has a frame.",
    bus,
    hasNumbers: false,
    canvas: () => canvas,
    columns: () => COLUMNS.map(({ key, title, format }) => ({ title, format, values: nodes.map((node) => node[key]) })),
  });
  figure.body.classList.add("graph-scroll");
  figure.body.append(canvas);
  const table = createTable({ caption: "Nodes of the graph", columns: COLUMNS, order: { key: "total_s", isDown: true } });
  root.append(element("div", { class: "graph-and-table" }, figure.root, element("section", { class: "card" }, table.root)));

  let nodes = [];

  function draw() {
    const { width, height, places } = layOut(nodes, BOX);
    const ratio = devicePixelRatio;
    if (canvas.width !== width * ratio || canvas.height !== height * ratio) {
      canvas.width = width * ratio;
      canvas.height = height * ratio;
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    for (const node of nodes) for (const before of node.befores) edge(pen, places.get(before), places.get(node.name));
    for (const node of nodes) box(pen, places.get(node.name), node);
  }

  bus.on("theme", draw);
  return {
    show(run) {
      nodes = withShares(run.nodes ?? []);
      const slowest = nodes.find((node) => node.mark === "strong");
      canvas.setAttribute("aria-label", slowest ? `Graph of ${nodes.length} nodes; the slowest is ${slowest.name}` : "Graph of the run");
      draw();
      table.set(nodes);
      figure.numbers();
    },
  };
}

const COLUMNS = [
  { key: "name", title: "Node", isText: true },
  { key: "stage", title: "Stage", isText: true },
  { key: "frames", title: "Frames", format: whole },
  { key: "rejected", title: "Rejected", format: whole },
  { key: "mean_ms", title: "Mean / ms", format: inMs },
  { key: "median_ms", title: "Median / ms", format: inMs },
  { key: "p99_ms", title: "99 % / ms", format: inMs, hint: "99 of 100 frames take no longer" },
  { key: "total_s", title: "Total", format: span },
  { key: "share", title: "Share", format: (value) => percent(value) },
];

/** The nodes with their part of the time of all, and what they come after as a list; the slowest is marked. */
function withShares(nodes) {
  const all = nodes.reduce((sum, node) => sum + (node.total_s ?? 0), 0);
  const most = Math.max(...nodes.map((node) => node.total_s ?? 0));
  return nodes.map((node) => ({
    ...node,
    befores: Array.isArray(node.after) ? node.after : node.after ? [node.after] : [],
    share: isNumber(node.total_s) && all > 0 ? node.total_s / all : null,
    mark: most > 0 && node.total_s === most ? "strong" : "",
  }));
}

function edge(pen, from, to) {
  if (!from || !to) return;
  const [x1, y1] = [from.x + BOX.width / 2, from.y + BOX.height];
  const [x2, y2] = [to.x + BOX.width / 2, to.y];
  pen.strokeStyle = colour("--control");
  pen.lineWidth = 1.5;
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.bezierCurveTo(x1, y1 + BOX.down / 2, x2, y2 - BOX.down / 2, x2, y2 - 5);
  pen.stroke();
  pen.fillStyle = colour("--control");
  pen.beginPath();
  pen.moveTo(x2, y2);
  pen.lineTo(x2 - 4, y2 - 6);
  pen.lineTo(x2 + 4, y2 - 6);
  pen.fill();
}

function box(pen, { x, y }, node) {
  const isSlowest = node.mark === "strong";
  const { width, height } = BOX;
  pen.fillStyle = colour("--paper");
  pen.fillRect(x, y, width, height);
  if (isNumber(node.share)) {
    pen.globalAlpha = isSlowest ? 0.45 : 0.3;
    pen.fillStyle = colour(isSlowest ? "--series-2" : "--series-1");
    pen.fillRect(x, y, width * node.share, height);
    pen.globalAlpha = 1;
  }
  pen.strokeStyle = colour(isSlowest ? "--series-2" : "--control");
  pen.lineWidth = isSlowest ? 3 : 1;
  pen.strokeRect(x, y, width, height);
  pen.textBaseline = "middle";
  text(pen, node.name, x + 7, y + 13, width - 80, "600 13px", "--ink", "left");
  text(pen, isNumber(node.mean_ms) ? `${significant(node.mean_ms, 2)} ms` : "", x + width - 7, y + 13, 70, "13px", "--ink", "right");
  text(pen, node.stage, x + 7, y + 29, width - (isSlowest ? 100 : 50), "11.5px", "--quiet", "left");
  const share = isNumber(node.share) ? percent(node.share, 1, 0) : "";
  text(pen, isSlowest ? `slowest ${share}` : share, x + width - 7, y + 29, 100, "11.5px", isSlowest ? "--ink" : "--quiet", "right");
}

/** A text, cut where it does not fit. */
function text(pen, words, x, y, most, font, ink, align) {
  pen.font = `${font} system-ui, "DejaVu Sans", sans-serif`;
  pen.fillStyle = colour(ink);
  pen.textAlign = align;
  let shown = String(words ?? "");
  if (pen.measureText(shown).width > most) {
    while (shown && pen.measureText(`${shown}…`).width > most) shown = shown.slice(0, -1);
    shown += "…";
  }
  pen.fillText(shown, x, y);
}
