/**
 * The powder's tab: what all frames show together. Intensities of found peaks summed by the run over all hits, and the mean and the
 * highest of the pixels of the frames that the monitor got, which can be begun anew.
 */

import { element, newId, setText } from "../dom.js";
import { time, whole } from "../plots/format.js";
import { Detector } from "./detector.js";
import { Pixels } from "./pixels.js";
import { savePicture } from "./saving.js";
import { pictureKeys, Screen, toggleKeys } from "./screen.js";

const TOGGLES = {
  rings: { title: "Rings", what: "Resolution rings", key: "o", on: true },
  edges: { title: "Edges", what: "Panel edges", key: "e", on: false },
  names: { title: "Names", what: "Panel names", key: "n", on: false },
  centre: { title: "Beam", what: "Where the beam meets the detector", key: "b", on: true },
  masked: { title: "Masked", what: "Masked pixels in a colour of their own", key: "m", on: true },
};

/** What can be shown: of which kind of blob, and which of its arrays. */
const SOURCES = {
  peaks: { title: "Peaks, summed intensity", kind: "powder", of: "peaks" },
  counts: { title: "Peaks, how many", kind: "powder", of: "peak_counts" },
  maximum: { title: "Pixels, highest", kind: "pixels_powder", of: "maximum" },
  mean: { title: "Pixels, mean", kind: "pixels_powder", of: "mean" },
};

export function create(root, bus) {
  const latest = {};
  let chosen = "peaks";
  let isOther = false; // another source was chosen: it needs levels of its own

  const screen = new Screen(bus, {
    name: "Virtual powder",
    toggles: TOGGLES,
    draw(marks, on) {
      if (on.edges) marks.edges();
      if (on.rings) marks.rings();
      if (on.centre) marks.beamCentre();
      if (on.names) marks.names();
      if (on.rings) marks.ringLabels();
      marks.values(screen.single);
    },
  });

  const id = newId("powder");
  const select = element(
    "select",
    { id, "data-choice": "powder", on: { change: () => choose(select.value) } },
    ...Object.entries(SOURCES).map(([value, { title }]) => element("option", { value, text: title })),
  );
  const of = element("output", { class: "number place", "data-field": "of" });
  const reset = element("button", {
    type: "button",
    "data-act": "reset-powder",
    title: "Begin mean and highest of the pixels anew, in the monitor alone",
    text: "Begin anew",
    on: { click: () => begin() },
  });
  const save = element("button", { type: "button", "data-act": "save-picture", text: "Picture", title: "as PNG, with what is drawn over it", on: { click: () => screen.save() } });

  const begin = () => bus.send({ reset_powder: true });

  const choose = (which) => {
    chosen = which;
    isOther = true;
    select.value = which;
    draw();
  };

  const draw = () => {
    const { kind, of: arrays } = SOURCES[chosen];
    const blob = latest[kind];
    reset.disabled = kind !== "pixels_powder";
    const pixels = blob === undefined ? [] : pixelsOf(blob, arrays);
    screen.overlay.hidden = pixels.some(Boolean);
    screen.overlay.textContent = kind === "powder" ? "No peaks have come yet." : "No frame with pixels has come yet.";
    if (blob === undefined) return setText(of, "");
    if (isOther) screen.levels.isSet = false;
    isOther = false;
    setText(of, about(blob));
    screen.show(new Detector(blob.geometry), pixels);
  };

  screen.save = () => {
    const blob = latest[SOURCES[chosen].kind];
    if (blob === undefined) return;
    const { low, high, scale } = screen.levels;
    savePicture(screen, `powder-${chosen}`, [`${SOURCES[chosen].title}, ${about(blob)}`, `from ${low} to ${high}, ${scale}`]);
  };

  root.append(
    element(
      "div",
      { class: "screen" },
      element(
        "div",
        { class: "screen-main" },
        element(
          "div",
          { class: "tools stepping", role: "group", "aria-label": "What is shown" },
          element("label", { for: id, class: "for-readers", text: "What is shown" }),
          select,
          reset,
          of,
        ),
        screen.stage,
      ),
      element(
        "div",
        { class: "screen-side", tabindex: 0, role: "region", "aria-label": "Controls of the powder pattern" },
        screen.readoutRoot,
        screen.levels.root,
        screen.togglesRoot,
        element("div", { class: "tools savers", role: "group", "aria-label": "Save" }, element("span", { text: "Save" }), save),
      ),
    ),
  );
  bus.screens = Object.assign(bus.screens ?? {}, { powder: screen });
  if (!bus.hasPictureKeys) pictureKeys(bus, bus.screens);
  bus.hasPictureKeys = true;
  toggleKeys(bus, "powder", "Virtual powder", screen, TOGGLES);
  bus.keys.add({
    keys: ["w"],
    what: "Next of peaks and pixels",
    where: "Virtual powder",
    when: () => bus.state.tab === "powder",
    act: () => {
      const names = Object.keys(SOURCES);
      choose(names[(names.indexOf(chosen) + 1) % names.length]);
    },
  });
  bus.on("new-run", () => {
    screen.levels.isSet = false;
    for (const kind of Object.keys(latest)) delete latest[kind];
    draw();
  });
  draw();

  return {
    show(blob) {
      latest[blob.kind] = blob;
      if (SOURCES[chosen].kind === blob.kind) draw();
    },
  };
}

/** The panels' pixels, at their places in the list of panels. */
function pixelsOf(blob, arrays) {
  const pixels = new Array(blob.geometry.name.length).fill(null);
  (blob[arrays] ?? []).forEach((one, i) => {
    const data = one.data ?? one;
    pixels[one.panel ?? i] = new Pixels(data, { bin: blob.bin, offset: one.offset ?? 0 });
  });
  return pixels;
}

function about(blob) {
  if (blob.kind === "powder") {
    const { hits, frames = hits } = blob; // others than hits only where no stage says which frames are hits
    return frames > hits ? `of ${whole(frames)} frames, as nothing says which are hits` : `of ${whole(hits)} hits`;
  }
  return `of ${whole(blob.frames)} frames since ${time(blob.since_unix_s)}`;
}
