/** Where the detector is: what crystals say of its shift, against time and across the beam; and what the diagnosis has found. */

import { element, setText } from "../dom.js";
import { figuresWith } from "./choose.js";
import { colour } from "./colours.js";
import { fixed, isNumber, whole } from "./format.js";
import { createPlot } from "./plot.js";
import { createTiles } from "./tiles.js";
import { createTimes } from "./times.js";

const inMm = (value) => (isNumber(value) ? `${value.toFixed(3)} mm` : "–");
const POINT = { stroke: "--series-1", dash: [] };
const MEAN = { stroke: "--series-2", dash: [] };

export function create(root, bus) {
  const tiles = createTiles("Shift of the detector");
  const times = createTimes(() => draw(), false);
  const against = createPlot({
    name: "shift",
    title: "Shift against time",
    bus,
    height: 260,
    x: { label: "time", isTime: true },
    y: { label: "x, y / mm" },
    y2: { label: "z / mm" },
    series: [
      { label: "x", format: inMm },
      { label: "y", format: inMm },
      { label: "z (right)", format: inMm, on: "y2" },
    ],
  });
  const scatter = createScatter(bus);
  const findings = element("ul", { class: "findings" });
  root.append(
    tiles.root,
    element("div", { class: "part-head" }, times.root),
    element("div", { class: "plots uneven" }, against.root, scatter.root),
    element("section", { class: "card" }, element("h3", { text: "What the diagnosis says" }), findings),
  );

  let run = null;

  function draw() {
    const follows = figuresWith(run, "follows")[0]?.[1].follows;
    const at = follows?.time ?? [];
    const none = Array.from(at, () => null);
    against.root.hidden = at.length === 0;
    against.set([at, follows?.x_mm ?? none, follows?.y_mm ?? none, follows?.z_mm ?? none], times.range(at));
  }

  return {
    show(blob) {
      run = blob;
      draw();
      scatter.show(blob.crystals ?? {});
      const shift = figuresWith(run, "shift_mm")[0]?.[1].shift_mm;
      const mean = figuresWith(run, "x_mm")[0]?.[1];
      const { x, y, num } = scatter.mean();
      const stated = shift ? "by the diagnosis" : mean ? `of ${whole(mean.n)} crystals` : `of the last ${whole(num)} crystals`;
      const [sx, sy, sz] = shift ?? (mean ? [mean.x_mm, mean.y_mm, null] : [x, y, null]);
      tiles.set([
        ["shift_x", "shift in x", inMm(sx), stated],
        ["shift_y", "shift in y", inMm(sy), stated],
        ["shift_z", "shift along the beam", inMm(sz), isNumber(sz) ? stated : "not known"],
      ]);
      list(findings, figuresWith(run, "findings").flatMap(([, figures]) => figures.findings ?? []));
    },
  };
}

function list(root, findings) {
  const texts = findings.length ? findings.map((one) => [one.subject, one.text, one.is_wrong]) : [["", "nothing so far"]];
  while (root.children.length > texts.length) root.lastElementChild.remove();
  while (root.children.length < texts.length) root.append(element("li", {}, element("strong"), element("span")));
  texts.forEach(([subject, text, isWrong], n) => {
    root.children[n].className = isWrong ? "wrong" : "";
    setText(root.children[n].firstElementChild, subject ? `${subject}: ` : "");
    setText(root.children[n].lastElementChild, text);
  });
}

/** The shifts of single crystals across the beam; the newest are the darkest. */
function createScatter(bus) {
  let points = { serial: [], x: [], y: [] };
  let size = 0; // half of what is seen, mm; it grows when it must, and shrinks only when it is far too large
  let middle = { x: 0, y: 0 };
  const plot = createPlot({
    name: "shift-scatter",
    title: "Shift of recent crystals",
    bus,
    height: 260,
    x: { label: "x / mm" },
    y: { label: "y / mm", range: () => [middle.y - (size || 1), middle.y + (size || 1)] },
    series: [{ label: "y", isUnseen: true }],
    keys: () => [
      { look: { ...POINT, isFilled: true }, label: "crystals, the newest darkest" },
      { look: { ...MEAN, isFilled: true }, label: `mean ${inMm(mean().x)}, ${inMm(mean().y)}` },
    ],
    draw: paint,
    columns: () => [
      { title: "serial", values: points.serial },
      { title: "x / mm", values: points.x, format: (value) => fixed(value, 4) },
      { title: "y / mm", values: points.y, format: (value) => fixed(value, 4) },
    ],
  });

  function mean() {
    const num = points.x.length;
    const of = (values) => (num ? values.reduce((sum, value) => sum + value, 0) / num : null);
    return { x: of(points.x), y: of(points.y), num };
  }

  function paint(u, pen) {
    pen.save();
    pen.beginPath();
    pen.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
    pen.clip();
    const at = (x, y) => [u.valToPos(x, "x", true), u.valToPos(y, "y", true)];
    pen.strokeStyle = colour("--control");
    pen.lineWidth = devicePixelRatio;
    const [ox, oy] = at(0, 0);
    line(pen, [u.bbox.left, oy], [u.bbox.left + u.bbox.width, oy]);
    line(pen, [ox, u.bbox.top], [ox, u.bbox.top + u.bbox.height]);
    pen.fillStyle = colour(POINT.stroke);
    const num = points.x.length;
    points.x.forEach((x, n) => {
      pen.globalAlpha = 0.2 + (0.8 * (n + 1)) / num;
      pen.beginPath();
      pen.arc(...at(x, points.y[n]), 2.6 * devicePixelRatio, 0, 2 * Math.PI);
      pen.fill();
    });
    pen.globalAlpha = 1;
    if (num > 0) cross(pen, at(mean().x, mean().y));
    pen.restore();
  }

  function cross(pen, [x, y]) {
    const arm = 9 * devicePixelRatio;
    for (const [stroke, width] of [["--raised", 5], [MEAN.stroke, 3]]) {
      pen.strokeStyle = colour(stroke);
      pen.lineWidth = width * devicePixelRatio;
      line(pen, [x - arm, y], [x + arm, y]);
      line(pen, [x, y - arm], [x, y + arm]);
    }
  }

  return {
    root: plot.root,
    mean,
    show(crystals) {
      const x = Array.from(crystals.shift_x_mm ?? []);
      const known = x.map((value, n) => n).filter((n) => Number.isFinite(x[n]) && Number.isFinite(crystals.shift_y_mm[n]));
      points = {
        serial: known.map((n) => crystals.serial[n]),
        x: known.map((n) => x[n]),
        y: known.map((n) => crystals.shift_y_mm[n]),
      };
      const ends = (values) => [Math.min(0, ...values), Math.max(0, ...values)]; // where the detector should be is seen, too
      const [[left, right], [bottom, top]] = [ends(points.x), ends(points.y)];
      const wanted = Math.max(0.01, right - left, top - bottom) / 2;
      const isOutside = left < middle.x - size || right > middle.x + size || bottom < middle.y - size || top > middle.y + size;
      if (isOutside || wanted < size / 3) {
        size = 1.3 * wanted;
        middle = { x: (left + right) / 2, y: (bottom + top) / 2 };
      }
      plot.key();
      const box = plot.u()?.bbox;
      const across = size * (box ? box.width / box.height : 1); // a millimetre is as long in x as in y
      const range = [middle.x - across, middle.x + across];
      plot.set([range, [0, 0]], range);
    },
  };
}

function line(pen, from, to) {
  pen.beginPath();
  pen.moveTo(...from);
  pen.lineTo(...to);
  pen.stroke();
}
