/** Merged data while they are measured: how they get better with the number of crystals, in shells, and when they suffice. */

import { element, setText } from "../dom.js";
import { AXIS } from "./angstroms.js";
import { drawLine } from "./bars.js";
import { createChoice, figuresWith } from "./choose.js";
import { colour, look } from "./colours.js";
import { fixed, isNumber, percent, significant, span, whole } from "./format.js";
import { createPlot } from "./plot.js";
import { createTiles } from "./tiles.js";

const inPercent = (value) => (isNumber(value) ? `${value.toFixed(1)} %` : "–");

/** The parts in percent, and the numbers; `name` as in the figures. */
const SHARES = [["completeness", "completeness"], ["cc_half", "CC1/2"], ["r_split", "Rsplit"]];
const NUMBERS = [["multiplicity", "multiplicity"], ["i_over_sigma", "I/σ(I)"]];

/** Axis of the logarithm of the number of crystals. */
const CRYSTALS = {
  label: "crystals",
  splits(min, max) {
    const found = [];
    for (let power = Math.floor(min); power <= max; power += 1) {
      for (const n of max - min > 3 ? [1] : [1, 2, 5]) found.push(power + Math.log10(n));
    }
    return found.filter((at) => at >= min && at <= max);
  },
  format: (at) => whole(10 ** at),
};

export function create(root, bus) {
  const empty = element("p", { class: "empty", text: "This run does not merge (--merge, or live/merge in its graph)." });
  const heading = element("h2");
  const leaf = createChoice("Analysis", () => draw());
  const group = createChoice("Crystals of", () => draw());
  const tiles = createTiles("Merged data");
  const toGo = element("p", { class: "words to-go" });
  const plots = {
    shares: plotOf("merging-crystals", "Against crystals", CRYSTALS, SHARES, true),
    numbers: plotOf("multiplicity-crystals", "Multiplicity and I/σ(I) against crystals", CRYSTALS, NUMBERS, false),
    shellShares: plotOf("merging-shells", "In shells of resolution", AXIS, SHARES, true),
    shellNumbers: plotOf("multiplicity-shells", "Multiplicity and I/σ(I) in shells", AXIS, NUMBERS, false),
  };
  const filled = element(
    "div",
    { hidden: true },
    element("div", { class: "part-head" }, heading, leaf.root, group.root),
    tiles.root,
    toGo,
    element("div", { class: "plots" }, ...Object.values(plots).map((plot) => plot.root)),
  );
  root.append(empty, filled);

  let run = null;
  let shown = null; // the figures that are drawn

  function plotOf(name, title, x, quantities, isShare) {
    const isOfShells = x === AXIS;
    const format = isShare ? inPercent : (value) => significant(value);
    return createPlot({
      name,
      title,
      bus,
      x,
      y: isShare ? { label: "%", least: 0, most: 100 } : { label: "", least: 0 },
      series: quantities.map(([, label]) => ({ label, format, hasPoints: true })),
      draw: (u, pen) => targets(u, pen, quantities, isShare, isOfShells),
      columns: () => columnsOf(isOfShells ? shown?.shells : shown?.looks, isOfShells),
    });
  }

  /** What is wanted, as lines; and where among the crystals it will be reached. */
  function targets(u, pen, quantities, isShare, isOfShells) {
    quantities.forEach(([name, label], n) => {
      const value = shown?.targets?.[name];
      if (!isNumber(value)) return;
      const style = { colour: colour(look(n).stroke), dash: [2, 5], text: `wanted: ${label} ${isShare ? inPercent(100 * value) : significant(value)}` };
      drawLine(u, pen, "y", isShare ? 100 * value : value, style);
    });
    const more = shown?.to_go?.crystals;
    if (!isOfShells && more > 0) {
      drawLine(u, pen, "x", Math.log10(shown.crystals + more), { colour: colour("--quiet"), dash: [2, 5], text: "expected" });
    }
  }

  function draw() {
    const found = figuresWith(run, "looks");
    empty.hidden = found.length > 0;
    filled.hidden = found.length === 0;
    if (found.length === 0) return;
    leaf.set(found.map(([name]) => [name, name]));
    const whole_ = (found.find(([name]) => name === leaf.value) ?? found[0])[1];
    const groups = Object.keys(whole_.groups ?? {});
    group.set([["", "all groups"], ...groups.map((value) => [value, value])]);
    shown = whole_.groups?.[group.value] ?? whole_;
    setText(heading, `Merged over ${shown.symmetry ?? whole_.symmetry ?? "?"}`);
    drawLooks();
    drawShells();
    drawNumbers();
  }

  function drawLooks() {
    const { looks, crystals, to_go: rest } = shown;
    const at = Array.from(looks?.crystals ?? [], (value) => Math.log10(Math.max(1, value)));
    const end = Math.log10(Math.max(10, crystals + (rest?.crystals ?? 0))) + 0.03;
    const range = at.length ? [Math.min(at[0], 1), Math.max(at.at(-1) + 0.03, end)] : [0, 1];
    const percents = (name) => Array.from(looks?.[name] ?? [], (value) => (value === null ? null : 100 * value));
    const also = JSON.stringify([shown.targets, rest?.crystals > 0 ? crystals + rest.crystals : null]);
    plots.shares.set([at, ...SHARES.map(([name]) => percents(name))], range, also);
    plots.numbers.set([at, ...NUMBERS.map(([name]) => looks?.[name] ?? [])], range, also);
  }

  function drawShells() {
    const { shells } = shown;
    const outer = Array.from(shells?.d_min ?? [], (d) => 1 / d);
    const inner = Array.from(shells?.d_max ?? [], (d) => (Number.isFinite(d) && d > 0 ? 1 / d : 0));
    const at = outer.map((value, n) => (value + inner[n]) / 2);
    const range = outer.length ? [0, Math.max(...outer)] : [0, 0.5];
    const percents = (name) => Array.from(shells?.[name] ?? [], (value) => (value === null ? null : 100 * value));
    const also = JSON.stringify(shown.targets);
    plots.shellShares.set([at, ...SHARES.map(([name]) => percents(name))], range, also);
    plots.shellNumbers.set([at, ...NUMBERS.map(([name]) => shells?.[name] ?? [])], range, also);
  }

  function drawNumbers() {
    const { looks, to_go: rest } = shown;
    const last = (name) => looks?.[name]?.[looks[name].length - 1];
    const wanted = (name, text) => (isNumber(shown.targets?.[name]) ? `wanted: ${text(shown.targets[name])}` : "");
    tiles.set([
      ["crystals", "crystals", whole(shown.crystals), wanted("crystals", whole)],
      ["completeness", "completeness", percent(last("completeness")), wanted("completeness", percent)],
      ["multiplicity", "multiplicity", fixed(last("multiplicity"), 1), wanted("multiplicity", (value) => fixed(value, 1))],
      ["cc_half", "CC1/2", fixed(last("cc_half"), 3), wanted("cc_half", (value) => fixed(value, 3))],
      ["r_split", "Rsplit", percent(last("r_split")), ""],
      ["i_over_sigma", "I/σ(I)", fixed(last("i_over_sigma"), 1), ""],
    ]);
    setText(toGo, inWords(rest, run));
  }

  return {
    show(blob) {
      run = blob;
      draw();
    },
  };
}

/** How long it still takes, as far as can be told. */
function inWords(rest, run) {
  if (!rest || !rest.what) return "";
  if (!(rest.crystals > 0)) return rest.what;
  const when = isNumber(rest.seconds) && !run.ended ? `, in about ${span(rest.seconds)} if it goes on like this` : "";
  return `${rest.what}: about ${whole(rest.crystals)} more crystals${when}`;
}

function columnsOf(table, isOfShells) {
  if (!table) return [{ title: isOfShells ? "shell" : "crystals", values: [] }];
  const shares = ["completeness", "cc_half", "r_split"];
  const titles = {
    d_max: "d from / Å",
    d_min: "d to / Å",
    cc_half: "CC1/2",
    r_split: "Rsplit",
    i_over_sigma: "I/σ(I)",
  };
  const format = (name) => (name.startsWith("d_") ? (d) => fixed(d, 2) : shares.includes(name) ? (value) => fixed(value, 3) : (value) => significant(value));
  return Object.entries(table).map(([name, values]) => ({ title: titles[name] ?? name, values: Array.from(values), format: format(name) }));
}
