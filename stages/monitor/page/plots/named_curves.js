/**
 * A plot against time with a curve for each of some names that come and go, as those of groups and of reasons.
 *
 * The plot is made anew when the names are others. What the user has zoomed to and switched off stays.
 */

import { element } from "../dom.js";
import { createPlot } from "./plot.js";

/** Make it: `root` is empty as long as there are no names. `options` are those of createPlot, without `series`. */
export function createNamedCurves() {
  const root = element("div", { class: "plots" });
  let plot = null;
  let known = "";

  return {
    root,

    /** Set what is drawn: `labels`, one list of values for each, and the options of a plot that has to be made. */
    set(options, labels, at, values, range) {
      const text = JSON.stringify([options.title, labels]);
      if (text !== known) {
        known = text;
        const before = { zoom: plot?.zoomed() ?? null, off: plot?.off() ?? [] };
        plot?.destroy();
        const series = labels.map((label) => ({ label, format: options.format, isOff: before.off.includes(label) }));
        plot = labels.length ? createPlot({ ...options, x: { label: "time", isTime: true }, series }) : null;
        root.replaceChildren(...(plot ? [plot.root] : []));
        if (before.zoom) plot?.zoomTo(...before.zoom);
      }
      plot?.set([at, ...values], range);
    },
  };
}
