/**
 * Which part of the page is made by which module, what it shows, and on which tab it is.
 *
 * Each module exports `create(root, bus) -> {show(blob), shown?()}`: `root` is the section with that name in index.html; `show` gets
 * the blobs of the part's kinds while its tab is visible (and the last of each when it becomes visible); `shown`, where there is one,
 * is called each time the tab has become visible. A module is loaded when its tab is first opened.
 */
export const PARTS = {
  viewer: { module: "./viewer/frames.js", kinds: ["frame", "tile", "gone"] },
  powder: { module: "./viewer/powder.js", kinds: ["powder", "pixels_powder"] },
  rates: { module: "./plots/rates.js", kinds: ["run", "history"] },
  groups: { module: "./plots/groups.js", kinds: ["run", "history"] },
  cells: { module: "./plots/cells.js", kinds: ["run", "cells"] },
  resolution: { module: "./plots/resolution.js", kinds: ["run", "resolution"] },
  merging: { module: "./plots/merging.js", kinds: ["run"] },
  shift: { module: "./plots/shift.js", kinds: ["run"] },
  variants: { module: "./tables/variants.js", kinds: ["run"] },
  crystals: { module: "./tables/crystals.js", kinds: ["run"] },
  graph: { module: "./tables/graph.js", kinds: ["run"] },
};
