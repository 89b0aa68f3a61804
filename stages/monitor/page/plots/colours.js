/**
 * What curves look like: a colour of the style sheet (Okabe-Ito, in both themes) and a pattern of dashes, so that they can be told
 * apart without colours.
 */

const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [5, 2], [1, 2], [12, 4, 4, 4], [3, 5]];

/** The value that a variable of the style sheet has now. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Colour (as a variable's name) and dashes of the nth of several curves. */
export function look(n) {
  return { stroke: `--series-${(n % DASHES.length) + 1}`, dash: DASHES[n % DASHES.length] };
}

const SVG = "http://www.w3.org/2000/svg";

/** A small piece of a curve, for its key. */
export function sample({ stroke, dash, isFilled = false }) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 26 10");
  svg.setAttribute("class", "sample");
  svg.setAttribute("aria-hidden", "true");
  const shape = document.createElementNS(SVG, isFilled ? "rect" : "line");
  const place = isFilled ? { x: 4, y: 0, width: 18, height: 10 } : { x1: 0, x2: 26, y1: 5, y2: 5, "stroke-width": 2.4 };
  if (!isFilled) place["stroke-dasharray"] = dash.join(" ");
  for (const [name, value] of Object.entries(place)) shape.setAttribute(name, value);
  shape.style.setProperty(isFilled ? "fill" : "stroke", `var(${stroke})`);
  svg.append(shape);
  return svg;
}
