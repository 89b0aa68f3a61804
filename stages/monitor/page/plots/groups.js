/** Groups: frames by the value of a header key, such as light and dark of a pump-probe experiment, each with a curve of its own. */

import { element } from "../dom.js";
import { csvButton } from "../tables/csv_button.js";
import { createTable } from "../tables/table.js";
import { createChoice } from "./choose.js";
import { isNumber, whole } from "./format.js";
import { perSecond, shareOf, starts } from "./intervals.js";
import { createNamedCurves } from "./named_curves.js";
import { createTimes } from "./times.js";

const inPercent = (value) => (isNumber(value) ? `${value.toFixed(1)} %` : "–");

/** What can be drawn: how it is made of the counts of a group. */
const QUANTITIES = {
  "hits of frames": { isShare: true, of: (group, from) => shareOf(group.hits, group.frames, from) },
  "indexed of frames": { isShare: true, of: (group, from) => shareOf(group.indexed, group.frames, from) },
  "indexed of hits": { isShare: true, of: (group, from) => shareOf(group.indexed, group.hits, from) },
  "frames per second": { of: (group, from, times) => perSecond(group.frames, times, from) },
};

export function create(root, bus) {
  const times = createTimes(() => draw());
  const quantity = createChoice("Quantity", () => draw(), Object.keys(QUANTITIES).map((name) => [name, name]));
  const heading = element("h2");
  const curves = createNamedCurves();
  const table = createTable({
    caption: "Groups of frames",
    columns: [
      { key: "value", title: "Value", isText: true },
      { key: "frames", title: "Frames", format: whole },
      { key: "hits", title: "Hits", format: whole },
      { key: "hits_share", title: "of frames", format: inPercent },
      { key: "indexed", title: "Indexed", format: whole },
      { key: "of_hits", title: "of hits", format: inPercent },
      { key: "of_frames", title: "of frames", format: inPercent },
      { key: "crystals", title: "Crystals", format: whole },
    ],
  });
  const save = csvButton("groups-table", "the table of groups", () => table, bus);
  const head = element("div", { class: "part-head" }, heading, quantity.root, times.root, save);
  const card = element("section", { class: "card" }, table.root);
  root.hidden = true;
  root.append(head, curves.root, card);

  let history = null;
  function draw() {
    const groups = history?.groups ?? [];
    if (groups.length === 0) return;
    const chosen = QUANTITIES[quantity.value];
    const options = {
      name: "groups",
      title: `Groups: ${quantity.value}`,
      bus,
      y: chosen.isShare ? { label: "%", least: 0, most: 100 } : { label: "1/s", least: 0 },
      format: chosen.isShare ? inPercent : undefined,
    };
    const at = history.time_unix_s;
    const from = starts(at, times.average_s);
    curves.set(options, groups.map((group) => group.value), at, groups.map((group) => chosen.of(group, from, at)), times.range(at));
  }

  return {
    show(blob) {
      if (blob.kind === "history") {
        history = blob;
        draw();
        return;
      }
      root.hidden = !blob.groups;
      if (!blob.groups) return;
      heading.textContent = `By ${blob.groups.key}`;
      const share = (part, of) => (of > 0 ? (100 * part) / of : null);
      table.set(
        blob.groups.values.map((one) => ({
          ...one,
          hits_share: share(one.hits, one.frames),
          of_hits: share(one.indexed, one.hits),
          of_frames: share(one.indexed, one.frames),
        })),
      );
    },
  };
}
