/**
 * A plot: uPlot in a frame (figure.js), with what all plots here have.
 *
 * Nothing jumps: until the user zooms, the plot follows what it is given; from then on it stays, in x and y, until "Reset zoom".
 * What is seen of x stands in `data-seen`.
 * By pointer: drag zooms (or selects, where the plot has `onSelect`), shift and drag moves, the wheel zooms once the plot has the
 * focus, a double click resets. By keyboard: arrows move the cursor, whose values stand in the key; shift and arrows move the plot,
 * + and - zoom, 0 resets.
 */

import { element, setText } from "../dom.js";
import { colour, look } from "./colours.js";
import { createFigure } from "./figure.js";
import { isNumber, niceSteps, significant, time } from "./format.js";
import { uPlot } from "./library.js";

const FONT = '12px system-ui, "DejaVu Sans", sans-serif';
const HELP = "Arrows: values; shift and arrows: move; plus and minus: zoom; 0: reset.";
const DAY_S = 86400;

/**
 * Make a plot.
 *
 * `x`: {label, isTime?, format?, splits?(min, max)}; `y`: {label, format?, least? (the axis begins at or below it), most?, range?()
 * (whatever the data are)}; `y2`: the same for an axis on the right; `series`: [{label, format?, look?, on?: "y2", hasPoints?, isOff?,
 * isUnseen? (it only says how far the axes go, and is drawn by `draw`)}]; `draw(u, pen)` after and `drawBelow(u, pen)` before the
 * curves; `onSelect(min, max)`; `onZoom([min, max] or null)`; `columns()`: the numbers, where they are not the plot's data; `keys()`:
 * what else stands in the key. Gives {root, figure, set(data, [min, max], also), key(), reset(), zoomed(), zoomTo(min, max), off(), u(),
 * destroy()}.
 */
export function createPlot(options) {
  const { name, title, bus, x, y, y2 = null, series, height: least = 210 } = options;
  const looks = series.map((one, n) => one.look ?? look(n));
  const seen = series.map((one) => one.isOff !== true);
  let data = [[], ...series.map(() => [])];
  let follows = null; // what is seen in x while the user has not zoomed
  let drawn = null; // what else was drawn last
  let zoom = null; // {x: [min, max], y: {scale: [min, max]}}: where the user has zoomed to
  let setValues = () => {};
  let u = null;
  const height = () => Math.round(least * Math.max(1, Math.min(1.7, innerHeight / 850))); // larger where there is room

  const figure = createFigure({
    name,
    title,
    hint: options.hint,
    bus,
    order: x.isTime ? { key: 0, isDown: true } : null,
    columns: options.columns ?? ownColumns,
    canvas: () => u.ctx.canvas,
    onReset: reset,
  });
  const place = element("div", { class: "plot-canvas", tabindex: "0", role: "group", "data-keys": "", "aria-label": `${title}. ${HELP}` });
  const spoken = element("div", { class: "for-readers", "aria-live": "polite" });
  figure.body.append(place, spoken);

  function ownColumns() {
    const first = { title: x.isTime ? "time (Unix, s)" : x.label, values: data[0], format: x.isTime ? (value) => time(value) : x.format };
    return [first, ...series.map((one, n) => ({ title: one.label, values: data[n + 1], format: one.format ?? significant }))];
  }

  function entry(one, n) {
    const act = () => {
      seen[n] = !seen[n];
      u?.setSeries(n + 1, { show: seen[n] });
      key();
    };
    return { look: looks[n], label: one.label, isOn: seen[n], act };
  }

  /** The key anew, after a series has been switched on or off. */
  function key() {
    const entries = series.flatMap((one, n) => (one.isUnseen ? [] : [entry(one, n)]));
    setValues = figure.setKey([...entries, ...(options.keys?.() ?? [])]);
    values();
  }

  /** The values at the cursor, or the last ones. */
  function values() {
    const at = u?.cursor.idx;
    const value = (n) => (isNumber(at) ? data[n + 1][at] : lastOf(data[n + 1]));
    setValues(series.flatMap((one, n) => (one.isUnseen ? [] : [(one.format ?? significant)(value(n))])));
  }

  function speak() {
    const at = u?.cursor.idx;
    if (!isNumber(at)) return;
    const texts = series.flatMap((one, n) => (seen[n] ? [`${one.label} ${(one.format ?? significant)(data[n + 1][at])}`] : []));
    setText(spoken, [x.isTime ? time(data[0][at]) : `${x.label} ${(x.format ?? significant)(data[0][at])}`, ...texts].join(", "));
  }

  function yRange(axis, scale) {
    return (self, min, max) => {
      const kept = zoom?.y[scale];
      if (kept) return kept;
      const found = axis.range?.() ?? roomFor(isNumber(min) ? min : 0, isNumber(max) ? max : 1, axis);
      if (zoom) zoom.y[scale] = found;
      return found;
    };
  }

  function make(width) {
    const axis = (more) => ({ stroke: () => colour("--quiet"), font: FONT, labelFont: FONT, labelSize: 16, gap: 3, ...grid(), ...more });
    const vertical = (of, scale, more) =>
      axis({ scale, label: of.label, size: 52, values: (_, at) => ticks(at, of.format), ...more });
    const axes = [
      axis({ size: 32, label: x.isTime ? undefined : x.label, labelGap: -4, space: 70, ...horizontal(x) }),
      vertical(y, "y", {}),
    ];
    if (y2) axes.push(vertical(y2, "y2", { side: 1, grid: { show: false } }));
    const scales = { x: { time: false, auto: false }, y: { range: yRange(y, "y") } };
    if (y2) scales.y2 = { range: yRange(y2, "y2") };
    u = new uPlot(
      {
        width,
        height: height(),
        legend: { show: false },
        padding: [10, y2 ? 0 : 14, 0, 0],
        scales,
        axes,
        cursor: { drag: { x: true, y: false, setScale: false }, points: { size: 7 }, bind: { dblclick: () => null } },
        series: [{}, ...series.map((one, n) => curve(one, looks[n], seen[n]))],
        hooks: {
          drawClear: [(self) => options.drawBelow?.(self, self.ctx)],
          draw: [(self) => options.draw?.(self, self.ctx)],
          setCursor: [values],
          setSelect: [selected],
        },
      },
      data,
      place,
    );
    seeX();
  }

  function selected(self) {
    if (self.select.width < 3) return;
    const [min, max] = [self.select.left, self.select.left + self.select.width].map((at) => self.posToVal(at, "x"));
    self.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    if (options.onSelect) options.onSelect(min, max);
    else zoomTo(min, max);
  }

  function seeX() {
    const [min, max] = zoom?.x ?? follows ?? (data[0].length ? [data[0][0], data[0].at(-1)] : [0, 1]);
    place.dataset.seen = `${min} ${max}`;
    u?.setScale("x", max > min ? { min, max } : { min: min - 0.5, max: min + 0.5 });
  }

  function zoomTo(min, max) {
    if (!(max > min)) return;
    zoom = { x: [min, max], y: {} };
    figure.zoomed(true);
    options.onZoom?.(zoom.x);
    seeX();
  }

  function reset() {
    zoom = null;
    figure.zoomed(false);
    options.onZoom?.(null);
    seeX();
  }

  /** Zoom about a place by a factor, or move by a part of what is seen. */
  function change(factor, about = null, part = 0) {
    const { min, max } = u.scales.x;
    const fixed = about ?? (min + max) / 2;
    const by = part * (max - min);
    zoomTo(fixed + (min - fixed) * factor + by, fixed + (max - fixed) * factor + by);
  }

  function step(by) {
    const from = isNumber(u.cursor.idx) ? u.cursor.idx : data[0].length - 1 - Math.sign(by);
    const to = Math.max(0, Math.min(data[0].length - 1, from + by));
    const left = u.valToPos(data[0][to], "x");
    u.setCursor({ left: Math.max(0, Math.min(u.over.clientWidth, left)), top: u.over.clientHeight / 2 });
    speak();
  }

  place.addEventListener("keydown", (event) => {
    if (u === null || event.ctrlKey || event.altKey || event.metaKey) return;
    const moves = event.shiftKey ? () => change(1, null, event.key === "ArrowLeft" ? -0.2 : 0.2) : null;
    const by = event.key === "ArrowLeft" ? -1 : 1;
    const act = {
      ArrowLeft: moves ?? (() => step(by)),
      ArrowRight: moves ?? (() => step(by)),
      Home: () => step(-data[0].length),
      End: () => step(data[0].length),
      "+": () => change(0.7),
      "-": () => change(1 / 0.7),
      0: reset,
    }[event.key];
    if (act === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  });
  place.addEventListener("wheel", (event) => {
    if (u === null || document.activeElement !== place) return;
    event.preventDefault();
    change(event.deltaY > 0 ? 1.2 : 1 / 1.2, u.posToVal(event.clientX - u.over.getBoundingClientRect().left, "x"));
  }, { passive: false });
  place.addEventListener("dblclick", reset);
  place.addEventListener("mousedown", (event) => {
    if (!event.shiftKey || event.button !== 0 || u === null) return;
    event.preventDefault();
    event.stopPropagation();
    moveWith(event, u, zoomTo);
  }, { capture: true });

  const observer = new ResizeObserver(() => {
    const width = Math.floor(place.clientWidth);
    if (width < 50) return;
    if (u === null) make(width);
    else if (u.width !== width || u.height !== height()) u.setSize({ width, height: height() });
  });
  observer.observe(place);
  const deaf = bus.on("theme", () => u?.redraw(true));
  key();

  return {
    root: figure.root,
    figure,
    reset,
    key,
    u: () => u,

    /** Let go of everything: the plot is not used any more. */
    destroy() {
      deaf();
      observer.disconnect();
      u?.destroy();
      u = null;
    },

    /** What is seen of x by the user's own zoom, or null. */
    zoomed: () => zoom?.x ?? null,

    zoomTo,

    /** The labels of the series that are switched off. */
    off: () => series.filter((_, n) => !seen[n]).map((one) => one.label),

    /**
     * Set the data: x and one list for each series (unknown: null); `range`: what is seen of x while nobody has zoomed; `also`: a
     * text that is another one when something else that is drawn has changed. Where nothing has, nothing is drawn.
     */
    set(newer, range = null, also = options.draw ? null : "") {
      const now = newer.map(plain);
      if (also !== null && also === drawn && isSame(now, data) && isSame([range ?? []], [follows ?? []])) return;
      drawn = also;
      data = now;
      follows = range;
      if (u !== null) {
        u.batch(() => {
          u.setData(data, false);
          seeX();
        });
      }
      values();
      figure.numbers();
    },
  };
}

function curve(one, looked, isSeen) {
  return {
    show: isSeen,
    label: one.label,
    scale: one.on ?? "y",
    stroke: () => colour(looked.stroke),
    dash: looked.dash.length ? looked.dash : undefined,
    width: 1.75,
    paths: one.isUnseen ? () => null : undefined,
    points: { show: one.hasPoints === true, size: 5 },
  };
}

function grid() {
  const line = { stroke: () => colour("--line"), width: 1 };
  return { grid: line, ticks: { ...line, size: 5 } };
}

function horizontal(x) {
  if (x.splits) return { splits: (_, __, min, max) => x.splits(min, max), values: (_, at) => at.map(x.format) };
  if (!x.isTime) return { values: (_, at) => ticks(at) };
  return {
    splits: (self, _, min, max) => timeSteps(min, max, self.width / 110),
    values: (_, at) => at.map((value, n) => clock(value, at[1] - at[0], n === 0 || day(value) !== day(at[n - 1]))),
  };
}

/** Numbers at ticks, all with the same digits. */
function ticks(at, format) {
  if (format) return at.map(format);
  const step = at.length > 1 ? Math.abs(at[1] - at[0]) : 1;
  let digits = 0;
  while (digits < 7 && Math.abs(step * 10 ** digits - Math.round(step * 10 ** digits)) > 1e-4) digits += 1;
  return at.map((value) => (digits > 6 || Math.abs(value) >= 1e7 ? significant(value) : fixedWithCommas(value, digits)));
}

function fixedWithCommas(value, digits) {
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function day(unix_s) {
  return new Date(1000 * unix_s).toDateString();
}

/** Time of day; with seconds where they differ, and with the date where a day begins and hours are seen. */
function clock(unix_s, step, isFirst) {
  const at = new Date(1000 * unix_s);
  const two = (n) => String(n).padStart(2, "0");
  const text = `${two(at.getHours())}:${two(at.getMinutes())}${step < 60 ? `:${two(at.getSeconds())}` : ""}`;
  return isFirst && step >= 3600 ? `${two(at.getMonth() + 1)}-${two(at.getDate())} ${text}` : text;
}

/** Round times of this place's clock. */
function timeSteps(min, max, num) {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, DAY_S];
  const rough = (max - min) / Math.max(1, num);
  const step = steps.find((one) => one >= rough) ?? DAY_S * Math.ceil(rough / DAY_S);
  if (step < 1) return niceSteps(min, max, num);
  const here = -60 * new Date(1000 * min).getTimezoneOffset();
  const found = [];
  for (let at = Math.ceil((min + here) / step) * step - here; at <= max; at += step) found.push(at);
  return found;
}

/** Where an axis begins and ends so that the data have room, at round numbers: so it seldom changes while data come. */
function roomFor(min, max, { least, most }) {
  const low = least === undefined ? min : Math.min(least, min);
  const high = max > low ? max : low + (Math.abs(low) || 1);
  const [step] = [niceSteps(0, high - low, 6)].map((at) => (at.length > 1 ? at[1] : high - low));
  const bottom = low === least ? low : Math.floor(low / step) * step;
  const top = Math.ceil(high / step + (high > low ? 0.02 : 0)) * step;
  return [bottom, most === undefined ? top : Math.min(Math.max(most, high), top)];
}

function lastOf(values) {
  for (let n = values.length - 1; n >= 0; n -= 1) if (values[n] !== null) return values[n];
  return null;
}

/** What uPlot takes: numbers, and null where there is none. */
function plain(values) {
  return Array.from(values, (value) => (Number.isFinite(value) ? value : null));
}

/** Whether lists of lists of numbers are the same. */
function isSame(some, others) {
  const alike = (one, other) => one.length === other.length && one.every((value, n) => value === other[n]);
  return some.length === others.length && some.every((one, n) => alike(one, others[n]));
}

/** Move what is seen with the pointer until its button is let go. */
function moveWith(start, u, zoomTo) {
  const { min, max } = u.scales.x;
  const perPixel = (max - min) / u.over.clientWidth;
  const move = (event) => {
    const by = (start.clientX - event.clientX) * perPixel;
    zoomTo(min + by, max + by);
  };
  const end = () => {
    document.removeEventListener("mousemove", move);
    document.removeEventListener("mouseup", end);
  };
  document.addEventListener("mousemove", move);
  document.addEventListener("mouseup", end);
}
