/** How far crystals diffract, and the peakogram: which peaks there are at which resolution, and whether the detector saturates. */

import { element } from "../dom.js";
import { AXIS, format as inAngstrom } from "./angstroms.js";
import { drawBars, drawLine, middles } from "./bars.js";
import { colour } from "./colours.js";
import { fixed, isNumber, percent, whole } from "./format.js";
import { createPlot } from "./plot.js";
import { colourOf, picture } from "./scale_of_colours.js";
import { createTiles } from "./tiles.js";

const BARS = { stroke: "--series-1", dash: [] };
const SATURATION = { stroke: "--series-2", dash: [8, 4] };

export function create(root, bus) {
  const tiles = createTiles("Resolution");
  const limits = createLimits(bus);
  const peakogram = createPeakogram(bus);
  root.append(tiles.root, element("div", { class: "plots" }, limits.root, peakogram.root));
  return {
    show(blob) {
      if (blob.kind !== "resolution") return;
      limits.show(blob.crystals);
      if (blob.peakogram) peakogram.show(blob.peakogram);
      peakogram.root.hidden = !blob.peakogram;
      tiles.set(numbers(blob));
    },
  };
}

/** The bin in which the crystal stands that has this part of all before it. */
function partOf(counts, part) {
  const all = counts.reduce((sum, value) => sum + value, 0);
  let sum = 0;
  for (let bin = 0; bin < counts.length; bin += 1) {
    sum += counts[bin];
    if (all > 0 && sum >= part * all) return bin;
  }
  return -1;
}

function numbers({ crystals, peakogram }) {
  const { edges_per_angstrom: edges, counts } = crystals;
  const d = (part) => {
    const bin = partOf(counts, part);
    return bin < 0 ? "–" : `${inAngstrom((edges[bin] + edges[bin + 1]) / 2)} Å`;
  };
  const all = counts.reduce((sum, value) => sum + value, 0);
  const found = [
    ["median", "half of the crystals to", d(0.5), `${whole(all)} crystals with a limit`],
    ["best", "one of ten to", d(0.9), "or better"],
  ];
  if (peakogram) {
    const over = saturated(peakogram);
    const peaks = peakogram.counts.reduce((sum, value) => sum + value, 0);
    found.push(["peaks", "peaks", whole(peaks), peakogram.max_pixel ? "by their highest pixel" : "by their sum"]);
    if (isNumber(over)) found.push(["saturated", "peaks at saturation", percent(over, peaks, 2), "or above", over > 0 ? "warn" : ""]);
  }
  return found;
}

/** How many peaks are saturated; null where that cannot be told. */
function saturated({ counts, log10_intensity: [low, high], saturation, max_pixel }) {
  if (!(saturation > 0) || !max_pixel) return null;
  const [ny, nx] = counts.shape;
  const first = Math.ceil((ny * (Math.log10(saturation) - low)) / (high - low));
  let sum = 0;
  for (let at = Math.max(0, first) * nx; at < counts.length; at += 1) sum += counts[at];
  return sum;
}

function createLimits(bus) {
  let edges = [0, 1];
  let counts = [0];
  const plot = createPlot({
    name: "resolution",
    title: "Resolution limits of crystals",
    bus,
    height: 260,
    x: AXIS,
    y: { label: "crystals", least: 0 },
    series: [{ label: "crystals", isUnseen: true, format: whole }],
    keys: () => [{ look: { ...BARS, isFilled: true }, label: "crystals that diffract so far" }],
    draw: (u, pen) => drawBars(u, pen, edges, [{ colour: colour(BARS.stroke), counts }]),
    columns: () => [
      { title: "d from / Å", values: edges.slice(0, -1).map((at) => 1 / at), format: (d) => fixed(d, 2) },
      { title: "d to / Å", values: edges.slice(1).map((at) => 1 / at), format: (d) => fixed(d, 2) },
      { title: "crystals", values: counts, format: whole },
    ],
  });
  return {
    root: plot.root,
    show(crystals) {
      edges = Array.from(crystals.edges_per_angstrom);
      counts = Array.from(crystals.counts);
      plot.set([middles(edges), counts], [edges[0], edges.at(-1)]);
    },
  };
}

function createPeakogram(bus) {
  let shown = null; // the message's part
  let image = null;
  const plot = createPlot({
    name: "peakogram",
    title: "Peakogram",
    bus,
    height: 260,
    x: AXIS,
    y: { label: "log10 of intensity", range: () => shown?.log10_intensity ?? [0, 5] },
    series: [{ label: "peaks", isUnseen: true, format: whole }],
    keys: () => (isNumber(saturation()) ? [{ look: SATURATION, label: `saturation ${whole(shown.saturation)}` }] : []),
    drawBelow: paint,
    draw(u, pen) {
      if (isNumber(saturation())) drawLine(u, pen, "y", saturation(), { colour: colour(SATURATION.stroke), dash: SATURATION.dash });
    },
    columns,
  });
  const scale = createScale();
  plot.figure.body.append(scale.root);

  function saturation() {
    return shown?.max_pixel && shown.saturation > 0 ? Math.log10(shown.saturation) : null;
  }

  function paint(u, pen) {
    if (image === null) return;
    const [left, right] = shown.per_angstrom.map((at) => u.valToPos(at, "x", true));
    const [bottom, top] = shown.log10_intensity.map((at) => u.valToPos(at, "y", true));
    pen.save();
    pen.beginPath();
    pen.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
    pen.clip();
    pen.imageSmoothingEnabled = false;
    pen.drawImage(image, left, top, right - left, bottom - top);
    pen.restore();
  }

  /** The bins that have peaks. */
  function columns() {
    const found = [[], [], []];
    if (shown === null) return [];
    const [ny, nx] = shown.counts.shape;
    const [from, to] = shown.per_angstrom;
    const [low, high] = shown.log10_intensity;
    shown.counts.forEach((value, at) => {
      if (!(value > 0)) return;
      found[0].push(1 / (from + ((at % nx) + 0.5) * ((to - from) / nx)));
      found[1].push(10 ** (low + (Math.floor(at / nx) + 0.5) * ((high - low) / ny)));
      found[2].push(value);
    });
    return [
      { title: "d / Å", values: found[0], format: (d) => fixed(d, 2) },
      { title: shown.max_pixel ? "highest pixel" : "intensity", values: found[1], format: whole },
      { title: "peaks", values: found[2], format: whole },
    ];
  }

  return {
    root: plot.root,
    show(peakogram) {
      shown = peakogram;
      const [ny, nx] = peakogram.counts.shape;
      image = picture(peakogram.counts, nx, ny);
      scale.show(peakogram.counts.reduce((max, value) => Math.max(max, value), 0));
      plot.key();
      plot.set([peakogram.per_angstrom, [0, 0]], peakogram.per_angstrom);
    },
  };
}

/** Which colour means how many. */
function createScale() {
  const canvas = element("canvas", { width: 128, height: 1, class: "colour-scale", "aria-hidden": "true" });
  const most = element("span", { class: "number" });
  const pen = canvas.getContext("2d");
  for (let x = 0; x < 128; x += 1) {
    pen.fillStyle = `rgb(${colourOf(x / 127).join(" ")})`;
    pen.fillRect(x, 0, 1, 1);
  }
  return {
    root: element("p", { class: "quiet words" }, "peaks in a bin: 1 ", canvas, " ", most, " (logarithmic)"),
    show(value) {
      most.textContent = whole(value);
    },
  };
}
