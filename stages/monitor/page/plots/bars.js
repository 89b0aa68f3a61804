/** Histograms: numbers sorted into bins, and bars in stacks. */

import { niceSteps } from "./format.js";

/** Edges of about `num` bins between two numbers, at round numbers. */
export function edgesBetween(min, max, num) {
  const at = niceSteps(min, max, num);
  const step = at.length > 1 ? at[1] - at[0] : max - min || 1;
  const first = Math.floor(min / step + 1e-9);
  const last = Math.ceil(max / step - 1e-9);
  return Array.from({ length: Math.max(2, last - first + 1) }, (_, n) => (first + n) * step);
}

/** How many values lie in each bin: for each of `num` kinds a list; `kind(n)` says of which kind the nth value is (-1: leave it out). */
export function count(values, edges, kind, num) {
  const bins = edges.length - 1;
  const width = (edges[bins] - edges[0]) / bins;
  const found = Array.from({ length: num }, () => new Array(bins).fill(0));
  for (let n = 0; n < values.length; n += 1) {
    const of = kind(n);
    const bin = Math.floor((values[n] - edges[0]) / width);
    if (of >= 0 && bin >= 0 && bin < bins) found[of][bin] += 1;
  }
  return found;
}

/** The middles of bins. */
export function middles(edges) {
  return edges.slice(1).map((edge, n) => (edge + edges[n]) / 2);
}

/** What stands in each bin together. */
export function sums(stacks) {
  return stacks[0].map((_, bin) => stacks.reduce((sum, counts) => sum + counts[bin], 0));
}

/** Draw bars one on top of another; `stacks`: [{colour, counts}], the first at the bottom. */
export function drawBars(u, pen, edges, stacks) {
  pen.save();
  pen.beginPath();
  pen.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
  pen.clip();
  const base = new Float64Array(edges.length - 1);
  const gap = Math.min(1, (u.valToPos(edges[1], "x", true) - u.valToPos(edges[0], "x", true)) / 6);
  for (const { colour, counts } of stacks) {
    pen.fillStyle = colour;
    counts.forEach((num, bin) => {
      if (num <= 0) return;
      const left = u.valToPos(edges[bin], "x", true);
      const right = u.valToPos(edges[bin + 1], "x", true);
      const top = u.valToPos(base[bin] + num, "y", true);
      const bottom = u.valToPos(base[bin], "y", true);
      pen.fillRect(left, top, Math.max(0.5, right - left - gap), bottom - top);
      base[bin] += num;
    });
  }
  pen.restore();
}

/** Draw a line across the plot at a value of x or y, with a text at its end. */
export function drawLine(u, pen, scale, value, { colour, dash = [], text = "" }) {
  const at = u.valToPos(value, scale, true);
  const { left, top, width, height } = u.bbox;
  if (scale === "x" ? at < left || at > left + width : at < top || at > top + height) return;
  pen.save();
  pen.strokeStyle = colour;
  pen.fillStyle = colour;
  pen.lineWidth = 2 * devicePixelRatio;
  pen.setLineDash(dash.map((one) => one * devicePixelRatio));
  pen.beginPath();
  if (scale === "x") {
    pen.moveTo(at, top);
    pen.lineTo(at, top + height);
  } else {
    pen.moveTo(left, at);
    pen.lineTo(left + width, at);
  }
  pen.stroke();
  if (text) {
    pen.font = `${11 * devicePixelRatio}px system-ui, "DejaVu Sans", sans-serif`;
    pen.textAlign = "left";
    const isAbove = scale === "y" && at - top > 16 * devicePixelRatio;
    pen.textBaseline = isAbove ? "bottom" : "top";
    if (scale === "x") pen.fillText(text, at + 4 * devicePixelRatio, top + 2 * devicePixelRatio);
    else pen.fillText(text, left + 4 * devicePixelRatio, at + (isAbove ? -2 : 3) * devicePixelRatio);
  }
  pen.restore();
}
