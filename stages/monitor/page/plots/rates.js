/** Rates against time: what arrives, what is found in it, what is rejected and why, and how long frames take. */

import { element } from "../dom.js";
import { csvButton } from "../tables/csv_button.js";
import { createTable } from "../tables/table.js";
import { fixed, isNumber, percent, significant, whole } from "./format.js";
import { perSecond, shareOf, starts } from "./intervals.js";
import { createNamedCurves } from "./named_curves.js";
import { createPlot } from "./plot.js";
import { createTiles } from "./tiles.js";
import { createTimes } from "./times.js";

const inPercent = (value) => (isNumber(value) ? `${value.toFixed(1)} %` : "–");
const inMs = (value) => (isNumber(value) ? `${significant(value)} ms` : "–");

export function create(root, bus) {
  const tiles = createTiles("How many frames so far");
  const times = createTimes(() => draw());
  const x = { label: "time", isTime: true };
  const plots = {
    rate: createPlot({
      name: "rates",
      title: "Frames per second",
      bus,
      x,
      y: { label: "1/s", least: 0 },
      series: [{ label: "received" }, { label: "hits" }, { label: "indexed" }, { label: "crystals", isOff: true }],
    }),
    share: createPlot({
      name: "hit-rate",
      title: "Hits and indexed",
      bus,
      x,
      y: { label: "%", least: 0, most: 100 },
      series: [
        { label: "hits of frames", format: inPercent },
        { label: "indexed of frames", format: inPercent },
        { label: "indexed of hits", format: inPercent },
      ],
    }),
    lost: createPlot({
      name: "rejected",
      title: "Rejected, dropped, lost",
      bus,
      x,
      y: { label: "1/s", least: 0 },
      series: [{ label: "rejected" }, { label: "dropped" }, { label: "lost on the way here" }],
    }),
    latency: createPlot({
      name: "latency",
      title: "Latency",
      bus,
      x,
      y: { label: "ms", least: 0 },
      series: [{ label: "half of the frames within", format: inMs }, { label: "99 of 100 within", format: inMs }],
    }),
  };
  const reasons = createNamedCurves();
  const rejections = createTable({
    caption: "Why frames were rejected or dropped",
    columns: [
      { key: "what", title: "What", isText: true },
      { key: "node", title: "Node", isText: true },
      { key: "reason", title: "Reason", isText: true },
      { key: "count", title: "Frames", format: whole },
      { key: "example", title: "One of them", isText: true },
    ],
    order: { key: "count", isDown: true },
    empty: "no frame was rejected or dropped",
  });
  const save = csvButton("rejections", "why frames were rejected or dropped", () => rejections, bus);
  root.append(
    tiles.root,
    element("div", { class: "part-head" }, times.root),
    element("div", { class: "plots" }, ...Object.values(plots).map((plot) => plot.root)),
    reasons.root,
    element(
      "section",
      { class: "card" },
      element("div", { class: "part-head" }, element("h3", { text: "Why frames were rejected or dropped" }), save),
      rejections.root,
    ),
  );

  let history = null;

  function draw() {
    if (history === null) return;
    const at = history.time_unix_s;
    const from = starts(at, times.average_s);
    const range = times.range(at);
    const rate = (name) => perSecond(history[name], at, from);
    plots.rate.set([at, ...["received", "hits", "indexed", "crystals"].map(rate)], range);
    const share = (name, of) => shareOf(history[name], history[of], from);
    plots.share.set([at, share("hits", "received"), share("indexed", "received"), share("indexed", "hits")], range);
    plots.lost.set([at, ...["rejected", "dropped", "lost"].map(rate)], range);
    const why = history.rejections ?? [];
    const rejected = { name: "reasons", title: "Rejected, by reason", bus, y: { label: "1/s", least: 0 } };
    reasons.set(rejected, why.map((one) => one.reason), at, why.map((one) => perSecond(one.rejected, at, from)), range);
    plots.latency.set([at, history.latency_p50_ms, history.latency_p99_ms], range);
  }

  function about(run) {
    const counts = run.counts ?? {};
    const { received, hits, indexed, crystals, rejected, dropped, lost, delivered, in_flight } = counts;
    const [p50, p99] = run.latency_ms ?? [];
    tiles.set([
      ["frames_per_s", "frames/s", run.ended ? "–" : fixed(run.frames_per_s), run.ended ? "the run has ended" : "now"],
      ["received", "received", whole(received), `${whole(delivered)} delivered, ${whole(in_flight)} on the way`],
      ["hits", "hits", whole(hits), `${percent(hits, received)} of frames`],
      ["indexed", "indexed", whole(indexed), `${percent(indexed, hits)} of hits, ${percent(indexed, received)} of frames`],
      ["crystals", "crystals", whole(crystals), `${fixed(crystals / indexed, 2)} in an indexed frame`],
      ["rejected", "rejected", whole(rejected), percent(rejected, received, 2), rejected > 0 ? "warn" : ""],
      ["dropped", "dropped", whole(dropped), percent(dropped, received, 2), dropped > 0 ? "warn" : ""],
      ["lost", "lost", whole(lost), "did not come", lost > 0 ? "warn" : ""],
      ["latency", "latency", inMs(p50), `99 of 100: ${inMs(p99)}${run.latency_to ? `; ${run.latency_to}` : ""}`],
    ]);
    rejections.set([
      ...(run.rejections ?? []).map((one) => ({ what: "rejected", ...one })),
      ...Object.entries(run.drops ?? {}).map(([reason, count]) => ({ what: "dropped", node: "", reason, count, example: "" })),
    ]);
  }

  return {
    show(blob) {
      if (blob.kind === "run") about(blob);
      else {
        history = blob;
        draw();
      }
    },
  };
}
