/** The page: connects what arrives with what is shown. */

import { createBus } from "./bus.js";
import { connect } from "./connection.js";
import { createKeys } from "./keys.js";
import { startStatus } from "./status.js";
import { startTabs } from "./tabs.js";
import { startTheme } from "./theme.js";

/**
 * Take the token out of the address, so that it is seen by nobody who looks on, and is in no address that is copied. A cookie has it by
 * now: without that no module would have been loaded, this one neither.
 */
function hideToken() {
  const address = new URL(location.href);
  if (!address.searchParams.has("token")) return;
  address.searchParams.delete("token");
  history.replaceState(history.state, "", address);
}

hideToken();
const bus = createBus();
bus.keys = createKeys();
startTheme(document.getElementById("theme"), bus);
const status = startStatus(bus);

/** Tell the monitor what the visible tab needs; a page that nobody sees needs only the run's state. */
function want() {
  bus.send({ kinds: document.hidden ? ["monitor", "run"] : tabs.kinds() });
}

const tabs = startTabs(bus, () => want());

const ANSWERS = ["tile", "gone"]; // to what a part has asked, of no use later

function received(blob) {
  if (blob.run && blob.run !== bus.state.run) {
    if (bus.state.run !== null) bus.state.latest = {};
    bus.state.run = blob.run;
    bus.emit("new-run", blob.run);
  }
  if (!ANSWERS.includes(blob.kind)) bus.state.latest[blob.kind] = blob;
  if (blob.kind === "run") tabs.allow("variants", hasVariants(blob));
  bus.emit(blob.kind, blob);
  const isShown = tabs.show(blob);
  return !isShown || ANSWERS.includes(blob.kind);
}

function hasVariants(run) {
  return Object.values(run.figures ?? {}).some((figures) => Array.isArray(figures?.rows) && figures.rows.length > 0);
}

bus.on("show-frame", (serial) => {
  bus.state.serial = serial; // the frames' tab may not be loaded yet
  tabs.open("frames");
});
document.addEventListener("visibilitychange", want);

function startHelp() {
  const dialog = document.getElementById("help");
  const letters = document.getElementById("help-letters");
  letters.checked = bus.keys.letters;
  letters.addEventListener("change", () => (bus.keys.letters = letters.checked));
  const open = () => {
    document.getElementById("help-keys").replaceChildren(...bus.keys.list());
    dialog.showModal();
  };
  document.getElementById("help-button").addEventListener("click", open);
  bus.keys.add({ keys: ["?"], what: "Show this help", act: open });
  bus.keys.add({
    keys: [..."1234567890"],
    shown: "1 … 0",
    what: "The first to the tenth tab",
    act: (event) => {
      const chosen = tabs.list()[(Number(event.key) + 9) % 10];
      if (chosen) tabs.open(chosen[0], true);
    },
  });
  bus.keys.add({
    keys: ["t"],
    what: "Dark or light",
    act: () => {
      const select = document.getElementById("theme");
      select.value = bus.state.theme === "dark" ? "light" : "dark";
      select.dispatchEvent(new Event("change"));
    },
  });
}

startHelp();
tabs.allow("variants", location.hash === "#variants");
tabs.open(location.hash.slice(1));

bus.send = connect({
  opened() {
    bus.state.connected = true;
    want();
    status.opened();
    bus.emit("connection", true);
  },
  received,
  unreadable: (sentence) => bus.emit("say", sentence),
  closed(since) {
    bus.state.connected = false;
    status.closed(since);
    bus.emit("connection", false);
  },
});
