/** The histogram of one parameter of the cell, with the limits of what is selected in it. */

import { element } from "../dom.js";
import { count, drawBars, drawLine, edgesBetween, middles, sums } from "./bars.js";
import { colour, look } from "./colours.js";
import { isNumber, whole } from "./format.js";
import { density, fitNormal, median, quantile } from "./normal.js";
import { createPlot } from "./plot.js";

const SEEN_SDS = 10; // what is seen about the middle, in spreads of single crystals
const GREY = { stroke: "--series-8", dash: [] };
const TARGET = { stroke: "--series-4", dash: [3, 3] };
const CONSENSUS = { stroke: "--ink", dash: [] };
const FIT = { stroke: "--series-2", dash: [] };

/** Make it. `state` is that of the part (cells.js); `select(range or null)` says that something else was selected. */
export function createCellHistogram({ parameter, n, bus, state, select }) {
  const limits = [0, 1].map((end) =>
    element("input", {
      type: "number",
      step: "any",
      "aria-label": `${parameter.title}: ${end ? "to" : "from"}, ${parameter.unit}`,
      placeholder: end ? "to" : "from",
      on: { change: () => written() },
    }),
  );
  const clear = element("button", { type: "button", text: "×", "aria-label": `Drop the selection in ${parameter.title}`, on: { click: () => select(null) } });
  let found = { edges: [0, 1], stacks: [[0]], kinds: [], fit: null };
  let known = null; // what was drawn last, so that it can be drawn again for another range
  let sticks = null; // what is seen while the user has not zoomed; it changes only when it must

  const plot = createPlot({
    name: `cell-${parameter.name}`,
    title: parameter.title,
    bus,
    height: 170,
    x: { label: `${parameter.title} / ${parameter.unit}` },
    y: { label: "crystals", least: 0 },
    series: [{ label: "crystals", isUnseen: true, format: whole }],
    onSelect: (min, max) => select([min, max]),
    onZoom: () => known && redraw(),
    draw: paint,
    keys: () => [
      ...(state.blob?.target ? [{ look: TARGET, label: `target ${state.blob.target[n].toFixed(2)}` }] : []),
      ...(isNumber(known?.agreed) ? [{ look: CONSENSUS, label: `consensus ${known.agreed.toFixed(2)}` }] : []),
      ...(found.fit ? [{ look: FIT, label: `${found.fit.mean.toFixed(3)} ± ${found.fit.sd.toFixed(3)}` }] : []),
    ],
    columns,
  });
  plot.figure.tools.append(element("span", { class: "ranges" }, ...limits, clear));

  function written() {
    const [from, to] = limits.map((input) => (input.value === "" ? null : Number(input.value)));
    if (from === null && to === null) select(null);
    else select([from ?? -Infinity, to ?? Infinity]);
  }

  function columns() {
    const names = found.kinds.map((kind) => (kind < 0 ? "not chosen" : String(state.blob.centrings[kind])));
    const digits = Math.max(0, Math.ceil(-Math.log10(found.edges[1] - found.edges[0]) - 1e-9) + 1);
    const format = (value) => value.toFixed(digits);
    return [
      { title: `from / ${parameter.unit}`, values: found.edges.slice(0, -1), format },
      { title: `to / ${parameter.unit}`, values: found.edges.slice(1), format },
      ...found.stacks.map((values, kind) => ({ title: names[kind] ?? "crystals", values })),
    ];
  }

  function paint(u, pen) {
    const colours = found.kinds.map((kind) => colour(kind < 0 ? GREY.stroke : look(kind).stroke));
    pen.globalAlpha = 0.85;
    drawBars(u, pen, found.edges, found.stacks.map((counts, kind) => ({ colour: colours[kind], counts })));
    pen.globalAlpha = 1;
    if (found.fit) curve(u, pen);
    const line = (value, { stroke, dash }) => isNumber(value) && drawLine(u, pen, "x", value, { colour: colour(stroke), dash });
    line(known?.agreed, CONSENSUS);
    line(state.blob?.target?.[n], TARGET);
    const range = state.selected[n];
    if (range) for (const value of range) drawLine(u, pen, "x", value, { colour: colour("--accent"), dash: [1, 3] });
  }

  function curve(u, pen) {
    const { fit, edges } = found;
    const scale = fit.of * (edges[1] - edges[0]);
    pen.save();
    pen.beginPath();
    for (let step = 0; step <= 120; step += 1) {
      const x = fit.mean + (step / 60 - 1) * 4 * fit.sd;
      pen.lineTo(u.valToPos(x, "x", true), u.valToPos(scale * density(fit, x), "y", true));
    }
    pen.strokeStyle = colour(FIT.stroke);
    pen.lineWidth = 2 * devicePixelRatio;
    pen.stroke();
    pen.restore();
  }

  /** What is seen: the crystals near the middle, the target and the consensus; or everything. */
  function wanted(values) {
    const near = [state.blob.target?.[n], known.agreed].filter(isNumber);
    if (values.length === 0) return [(near[0] ?? 90) - 1, (near[0] ?? 90) + 1];
    const sorted = Float64Array.from(values).sort();
    if (state.isWide) return padded(Math.min(sorted[0], ...near), Math.max(sorted.at(-1), ...near));
    const middle = median(sorted);
    const spread = Math.max(0.74 * (quantile(sorted, 0.75) - quantile(sorted, 0.25)), 1e-3 * Math.abs(middle));
    const reach = SEEN_SDS * spread;
    const inReach = near.filter((value) => Math.abs(value - middle) < 3 * reach);
    return padded(Math.min(middle - reach / 2, ...inReach), Math.max(middle + reach / 2, ...inReach));
  }

  function redraw() {
    const { isIn } = known;
    const { parameters, centring } = state.blob;
    const values = Array.from(centring, (_, crystal) => parameters[6 * crystal + n]);
    const range = wanted(values.filter((_, crystal) => !state.off.has(centring[crystal])));
    if (sticks === null || isElsewhere(range, sticks) || sticks.isWide !== state.isWide) sticks = Object.assign(range, { isWide: state.isWide });
    const [min, max] = plot.zoomed() ?? sticks;
    const edges = edgesBetween(min, max, state.bins);
    const present = [...new Set(centring)].sort((one, other) => one - other);
    const kinds = [...present, -1];
    const stacks = count(values, edges, (crystal) => (isIn[crystal] ? present.indexOf(centring[crystal]) : present.length), kinds.length);
    const chosen = state.fits ? values.filter((value, crystal) => isIn[crystal] && value >= min && value <= max) : [];
    const fit = fitNormal(chosen);
    found = { edges, stacks, kinds, fit: fit && { ...fit, of: chosen.length } };
    plot.key();
    plot.set([middles(edges), sums(stacks)], [sticks[0], sticks[1]]);
  }

  return {
    root: plot.root,

    /** Draw it for what is chosen now (1 for each crystal that is not grey); `consensus`: the six parameters agreed upon. */
    draw(isIn, consensus) {
      known = { isIn, agreed: consensus?.[n] ?? null };
      const range = state.selected[n];
      limits.forEach((input, end) => {
        const value = range && Number.isFinite(range[end]) ? range[end].toFixed(parameter.digits) : "";
        if (document.activeElement !== input && input.value !== value) input.value = value;
      });
      clear.disabled = range === null;
      redraw();
    },
  };
}

function padded(min, max) {
  const room = 0.05 * (max - min) || 0.5;
  return [min - room, max + room];
}

/** Whether a range has gone so far from another that it must be followed. */
function isElsewhere([min, max], [seenMin, seenMax]) {
  const size = seenMax - seenMin;
  return Math.abs(min - seenMin) > 0.15 * size || Math.abs(max - seenMax) > 0.15 * size;
}
