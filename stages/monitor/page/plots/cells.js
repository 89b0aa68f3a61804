/**
 * The cell: histograms of its six parameters as the crystals have them, where they agree, and what does not belong to it.
 *
 * Each crystal has the colour of its centring. Grey are those that were switched off (click a centring or a method) and those outside
 * of what was selected in any histogram (drag, or write the limits).
 */

import { element, setText } from "../dom.js";
import { csvButton } from "../tables/csv_button.js";
import { createTable } from "../tables/table.js";
import { figuresWith, listOf } from "./choose.js";
import { createCellHistogram } from "./cell_histogram.js";
import { createBanner } from "./cell_banner.js";
import { look, sample } from "./colours.js";
import { fixed, percent, whole } from "./format.js";

const PARAMETERS = [
  { name: "a", title: "a", unit: "Å", digits: 2 },
  { name: "b", title: "b", unit: "Å", digits: 2 },
  { name: "c", title: "c", unit: "Å", digits: 2 },
  { name: "alpha", title: "α", unit: "°", digits: 2 },
  { name: "beta", title: "β", unit: "°", digits: 2 },
  { name: "gamma", title: "γ", unit: "°", digits: 2 },
];

export function create(root, bus) {
  const state = {
    blob: null,
    run: null,
    bins: 50,
    fits: false,
    isWide: false,
    off: new Set(), // centrings
    offMethods: new Set(),
    selected: PARAMETERS.map(() => null), // [from, to] of each
  };
  const banner = createBanner();
  const table = createTable({
    caption: "Cells: where the crystals agree, what is wanted, and what else there is",
    columns: [
      { key: "what", title: "What", isText: true },
      { key: "lattice", title: "Lattice", isText: true },
      ...PARAMETERS.map(({ name, title, unit }) => ({ key: name, title: `${title} / ${unit}`, format: (value, row) => withError(value, row.sigma?.[name]) })),
      { key: "crystals", title: "Crystals", format: whole },
      { key: "share", title: "Share", format: (value) => percent(value) },
    ],
    empty: "no crystal yet",
  });
  const centrings = element("div", { class: "tools", role: "group", "aria-label": "Centrings" });
  const methods = element("div", { class: "tools", role: "group", "aria-label": "Methods of indexing" });
  const note = element("p", { class: "quiet words", "aria-live": "polite" });
  const button = (text, label, act) => element("button", { type: "button", text, "aria-label": label, title: label, on: { click: act } });
  const fit = button("Fit normal", "Fit a normal distribution to each histogram (f)", () => setFits(!state.fits));
  const wide = button("Whole range", "Show all values, not only those near the middle", () => setWide(!state.isWide));
  const bins = element("output", { class: "number", "aria-label": "Number of bins" });
  const tools = element(
    "div",
    { class: "tools" },
    button("−", "Fewer bins", () => setBins(state.bins / 1.4)),
    bins,
    button("+", "More bins", () => setBins(state.bins * 1.4)),
    fit,
    wide,
    csvButton("cells", "the table of cells", () => table, bus),
    button("Select all", "Drop all selections, and switch all centrings and methods on", selectAll),
  );
  fit.setAttribute("aria-pressed", "false");
  wide.setAttribute("aria-pressed", "false");
  const histograms = PARAMETERS.map((parameter, n) =>
    createCellHistogram({ parameter, n, bus, state, select: (range) => select(n, range) }),
  );
  root.append(
    banner.root,
    element("section", { class: "card cells-table" }, table.root, element("p", { class: "quiet words", text: "± is the spread of single crystals." })),
    element("div", { class: "part-head" }, centrings, methods, tools),
    note,
    element("div", { class: "plots small" }, ...histograms.map((one) => one.root)),
  );
  bus.keys?.add({ keys: ["f"], what: "Fit a normal distribution to each histogram", where: "Cells", when: () => bus.state.tab === "cells", act: () => setFits(!state.fits) });

  function setBins(num) {
    state.bins = Math.max(10, Math.min(400, Math.round(num)));
    draw();
  }

  function setFits(is) {
    state.fits = is;
    fit.setAttribute("aria-pressed", String(is));
    draw();
  }

  function setWide(is) {
    state.isWide = is;
    wide.setAttribute("aria-pressed", String(is));
    draw();
  }

  function select(n, range) {
    state.selected[n] = range;
    draw();
  }

  function selectAll() {
    state.selected.fill(null);
    state.off.clear();
    state.offMethods.clear();
    draw();
  }

  /** Which crystals are not grey; and how many of each centring and method there are. */
  function sort() {
    const { parameters, centring, method } = state.blob;
    const num = centring.length;
    const isIn = new Uint8Array(num).fill(1);
    for (let n = 0; n < num; n += 1) {
      if (state.off.has(centring[n]) || state.offMethods.has(method[n])) isIn[n] = 0;
      for (let p = 0; p < PARAMETERS.length && isIn[n]; p += 1) {
        const range = state.selected[p];
        const value = parameters[PARAMETERS.length * n + p];
        if (range !== null && !(value >= range[0] && value <= range[1])) isIn[n] = 0;
      }
    }
    return isIn;
  }

  function draw() {
    setText(bins, `${state.bins} bins`);
    if (state.blob === null) return;
    const { centring, centrings: names, method, methods: methodNames, of } = state.blob;
    const isIn = sort();
    switches(centrings, names, centring, state.off, (n) => look(n), draw);
    switches(methods, methodNames, method, state.offMethods, null, draw);
    const chosen = isIn.reduce((sum, is) => sum + is, 0);
    const sampled = of > centring.length ? `, which are a sample of all ${whole(of)}` : "";
    setText(note, `${whole(chosen)} of ${whole(centring.length)} crystals are chosen${sampled}`);
    const consensus = cellsOf(state.run)[0]?.[1].consensus ?? null;
    for (const histogram of histograms) histogram.draw(isIn, consensus?.cell ?? null);
  }

  function about(run) {
    state.run = run;
    const found = cellsOf(run);
    banner.show(found.map(([leaf, figures]) => [found.length > 1 ? leaf : "", figures]));
    table.set(found.flatMap(([leaf, figures]) => rows(figures, found.length > 1 ? `${leaf}: ` : "", state.blob?.target ?? null)));
  }

  draw();
  return {
    show(blob) {
      if (blob.kind === "cells") {
        if (state.blob !== null && state.blob.run !== blob.run) selectAll();
        state.blob = blob;
        if (state.run) about(state.run);
        draw();
      } else about(blob);
    },
  };
}

function cellsOf(run) {
  return figuresWith(run, "consensus");
}

/** Lattice type and centring, however they are told: "tP", or "tetragonal P". */
function latticeOf({ lattice, centring }) {
  const type = String(lattice ?? "");
  return type.length <= 2 ? type : `${type} ${centring ?? ""}`.trim();
}

function withError(value, error) {
  return error >= 0.0005 ? `${fixed(value, 2)} ± ${error.toFixed(error < 0.01 ? 3 : 2)}` : fixed(value, 2);
}

function rows(figures, before, target) {
  const found = [];
  const cell = (what, one, mark = "") => {
    if (!one?.cell) return;
    const values = Object.fromEntries(PARAMETERS.map(({ name }, n) => [name, one.cell[n]]));
    const sigma = one.sigma && Object.fromEntries(PARAMETERS.map(({ name }, n) => [name, one.sigma[n]]));
    found.push({ what: before + what, ...values, sigma, lattice: latticeOf(one), crystals: one.crystals ?? null, share: one.share ?? null, mark });
  };
  cell(figures.is_stable ? "consensus" : "consensus, not yet stable", figures.consensus, "strong");
  if (target) cell("target", { cell: Array.from(target) });
  for (const other of listOf(figures.alternatives)) cell("besides", other);
  for (const other of listOf(figures.elsewhere_cells ?? figures.elsewhere)) cell("not the target", other, "bad");
  return found;
}

/** Buttons that switch kinds of crystals on and off; made anew only when there is another kind. */
function switches(root, names, kinds, off, lookOf, draw) {
  const counts = new Map();
  for (const kind of kinds) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  const present = [...counts.keys()].sort((one, other) => one - other);
  const text = JSON.stringify([present, names]);
  if (root.dataset.known !== text) {
    root.dataset.known = text;
    root.replaceChildren(
      ...present.map((kind) => {
        const act = () => {
          if (!off.delete(kind)) off.add(kind);
          draw();
        };
        const shown = lookOf ? sample({ ...lookOf(kind), isFilled: true }) : null;
        const made = element("button", { type: "button", class: "key-entry", "data-kind": String(kind), on: { click: act } }, shown);
        made.append(element("span", { text: String(names[kind] ?? kind) }), element("output", { class: "number" }));
        return made;
      }),
    );
  }
  for (const made of root.children) {
    const kind = Number(made.dataset.kind);
    made.setAttribute("aria-pressed", String(!off.has(kind)));
    setText(made.lastElementChild, whole(counts.get(kind) ?? 0));
  }
}
