/**
 * The frames' tab: the latest frame (any, indexed, hit, blank) or one of the last fifty, with peaks and predicted reflections, and
 * its facts as numbers.
 */

import { element } from "../dom.js";
import { Detector } from "./detector.js";
import { Facts } from "./facts.js";
import { Pixels } from "./pixels.js";
import { saveTable, savePicture } from "./saving.js";
import { pictureKeys, Screen, toggleKeys } from "./screen.js";
import { Stepping } from "./stepping.js";
import { Tiles } from "./tiles.js";

const TOGGLES = {
  peaks: { title: "Peaks □", what: "Peaks, as squares", key: "p", on: true },
  predictions: { title: "Predicted ○", what: "Predicted reflections, as circles", key: "i", on: true },
  indices: { title: "Indices", what: "Indices hkl, when the picture is so large that there is room", key: "h", on: false },
  rings: { title: "Rings", what: "Resolution rings", key: "o", on: true },
  edges: { title: "Edges", what: "Panel edges", key: "e", on: false },
  names: { title: "Names", what: "Panel names", key: "n", on: false },
  centre: { title: "Beam", what: "Where the beam meets the detector", key: "b", on: true },
  masked: { title: "Masked", what: "Masked pixels in a colour of their own", key: "m", on: true },
};

export function create(root, bus) {
  let frame = null; // the blob that is shown
  let detector = null;
  let waiting = null; // a frame that is shown as soon as its fine pixels are there

  const screen = new Screen(bus, {
    name: "Frames",
    toggles: TOGGLES,
    draw: (marks, on) => frame !== null && drawMarks(marks, on, frame, screen),
    near: (x, y, reach) => (frame === null ? "" : nearest(frame, detector, x, y, reach)),
    moved: () => tiles.wantSoon(frame),
    recoloured: (ground) => frame !== null && facts.onGround(ground),
  });
  const stepping = new Stepping(bus);
  const facts = new Facts();
  const tiles = new Tiles(bus, screen, {
    complete(serial) {
      if (waiting !== null && waiting.serial === serial) swap(waiting);
      else if (frame !== null && frame.serial === serial) useTiles();
    },
  });

  const useTiles = () => {
    screen.tiles = tiles.of(frame.serial);
    screen.redraw();
  };

  const swap = (next) => {
    waiting = null;
    frame = next;
    screen.show(detector, next.panels.map((one) => new Pixels(one.data, { bin: next.bin, offset: one.offset ?? 0 })));
    screen.overlay.hidden = next.panels.length > 0;
    screen.overlay.textContent = "The run sends no pixels.";
    useTiles();
    facts.show(next, screen.levels.ground);
    stepping.shown(next);
    savers.forEach((button) => (button.disabled = false));
  };

  const take = (next) => {
    if (detector === null || detector.id !== next.geometry.id || detector.size !== next.geometry.name.length) {
      detector = new Detector(next.geometry);
      screen.view.look(detector.bounds, detector.pixel);
    }
    if (next.serial === frame?.serial) {
      stepping.shown(next);
      return;
    }
    waiting = tiles.want(next, detector) ? next : null;
    if (waiting === null) swap(next);
    else setTimeout(() => waiting === next && swap(next), Tiles.LONGEST_WAIT_MS);
  };

  const saver = (act, text, title, f) =>
    element("button", { type: "button", "data-act": act, disabled: true, text, title, on: { click: f } });
  const savers = [
    saver("save-picture", "Picture", "as PNG, with what is drawn over it", () => screen.save()),
    saver("save-peaks", "Peaks", "as CSV", () => savePeaks(frame, detector)),
    saver("save-reflections", "Reflections", "as CSV", () => saveReflections(frame, detector)),
  ];
  screen.save = () => frame !== null && savePicture(screen, `frame-${frame.serial}`, caption(frame, screen));

  screen.overlay.hidden = false;
  screen.overlay.textContent = "No frame has come yet.";
  root.append(
    element(
      "div",
      { class: "screen" },
      element("div", { class: "screen-main" }, stepping.root, screen.stage),
      element(
        "div",
        { class: "screen-side", tabindex: 0, role: "region", "aria-label": "Controls and facts of the frame" },
        screen.readoutRoot,
        screen.levels.root,
        screen.togglesRoot,
        element("div", { class: "tools savers", role: "group", "aria-label": "Save" }, element("span", { text: "Save" }), ...savers),
        facts.root,
      ),
    ),
  );

  bus.screens = Object.assign(bus.screens ?? {}, { frames: screen });
  if (!bus.hasPictureKeys) pictureKeys(bus, bus.screens);
  bus.hasPictureKeys = true;
  toggleKeys(bus, "frames", "Frames", screen, TOGGLES);
  bus.on("new-run", () => {
    screen.levels.isSet = false;
    detector = null;
  });

  return {
    show(blob) {
      if (blob.kind === "frame") take(blob);
      else if (blob.kind === "tile") tiles.take(blob);
      else if (blob.what === "tile") tiles.gone(blob);
      else if (blob.what === "frame") stepping.gone(blob);
    },
  };
}

function drawMarks(marks, on, frame, screen) {
  if (on.edges) marks.edges();
  if (on.rings) marks.rings();
  if (on.centre) marks.beamCentre();
  if (on.peaks) marks.peaks(frame.peaks);
  frame.crystals.forEach(({ reflections }, number) => {
    if (on.predictions) marks.predictions(reflections, number);
    if (on.indices) marks.indices(reflections, number);
  });
  if (on.names) marks.names();
  if (on.rings) marks.ringLabels();
  marks.values(screen.single);
}

/** The reflection next to a place: its indices, and of which crystal where there are several; "" if none is within reach (metres). */
function nearest(frame, detector, x, y, reach) {
  let best = reach;
  let found = "";
  frame.crystals.forEach(({ reflections: { panel, fs, ss, hkl } }, number) => {
    for (let i = 0; i < panel.length; i += 1) {
      const [px, py] = detector.place(panel[i], fs[i], ss[i]);
      const away = Math.hypot(px - x, py - y);
      if (away >= best) continue;
      best = away;
      const which = frame.crystals.length > 1 ? ` (crystal ${number + 1})` : "";
      found = `${hkl[3 * i]} ${hkl[3 * i + 1]} ${hkl[3 * i + 2]}${which}`;
    }
  });
  return found;
}

function caption(frame, screen) {
  const { levels, on, detector } = screen;
  const lines = [`${frame.event}, serial ${frame.serial}, ${frame.category}, ${new Date(1000 * frame.time_unix_s).toISOString()}`];
  const drawn = Object.entries(TOGGLES).filter(([name]) => on[name]);
  lines.push(
    `${frame.peaks.panel.length} peaks; pixels from ${levels.low} to ${levels.high}, ${levels.scale}` +
      `${frame.bin > 1 ? `, highest of ${frame.bin} × ${frame.bin}` : ""}; ${detector.photonEnergy.toFixed(0)} eV, detector at ` +
      `${(1000 * detector.clen).toFixed(1)} mm; drawn: ${drawn.map(([, { what }]) => what.toLowerCase()).join(", ") || "no marks"}`,
  );
  frame.crystals.forEach((crystal, i) => lines.push(`crystal ${i + 1}: ${Facts.cell(crystal)}, ${crystal.reflections.panel.length} reflections`));
  return lines;
}

function resolutionAt(detector, panel, fs, ss) {
  return detector.resolution(...detector.place(panel, fs, ss));
}

function savePeaks(frame, detector) {
  const { panel, fs, ss, intensity, snr } = frame.peaks;
  const rows = Array.from(panel, (p, i) => [detector.names[p], fs[i], ss[i], intensity[i], snr[i], resolutionAt(detector, p, fs[i], ss[i])]);
  saveTable(`frame-${frame.serial}-peaks`, ["panel", "fs", "ss", "intensity", "snr", "d_angstrom"], rows);
}

function saveReflections(frame, detector) {
  const rows = frame.crystals.flatMap(({ reflections: { panel, fs, ss, hkl, intensity, sigma } }, number) =>
    Array.from(panel, (p, i) => [
      number + 1,
      ...hkl.subarray(3 * i, 3 * i + 3),
      intensity[i],
      sigma[i],
      detector.names[p],
      fs[i],
      ss[i],
      resolutionAt(detector, p, fs[i], ss[i]),
    ]),
  );
  saveTable(`frame-${frame.serial}-reflections`, ["crystal", "h", "k", "l", "intensity", "sigma", "panel", "fs", "ss", "d_angstrom"], rows);
}
