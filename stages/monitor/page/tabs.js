/**
 * Tabs: one panel is seen, its name stands in the address (#rates), so that the browser's own "back" works and a reload stays.
 *
 * Parts are loaded when their tab is first opened, and get blobs only while it is open.
 */

import { element } from "./dom.js";
import { PARTS } from "./parts.js";

export function startTabs(bus, wanted) {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const parts = new Map(); // name of a part: what its create() gave, or null where it could not be loaded

  const name = (tab) => tab.id.replace("tab-", "");
  const usable = () => tabs.filter((tab) => !tab.hidden);
  const panel = (which) => document.getElementById(`panel-${which}`);
  const partsOn = (which) => [...panel(which).querySelectorAll("[data-part]")].map((section) => section.dataset.part);

  const feed = (part, blob) => {
    try {
      part.show(blob);
    } catch (error) {
      console.error("a part of the page could not show a message", error);
    }
  };

  const load = async (part) => {
    if (parts.has(part)) return parts.get(part);
    parts.set(part, null);
    const root = document.querySelector(`[data-part="${part}"]`);
    try {
      const module = await import(PARTS[part].module);
      parts.set(part, module.create(root, bus));
    } catch (error) {
      root.replaceChildren(element("p", { class: "empty", text: `This part cannot be shown: ${error.message}` }));
      console.error(`the part ${part} cannot be shown`, error);
    }
    return parts.get(part);
  };

  const fill = async (which) => {
    for (const name of partsOn(which)) {
      const part = await load(name);
      if (part === null || bus.state.tab !== which) continue;
      part.shown?.();
      for (const kind of PARTS[name].kinds) if (bus.state.latest[kind]) feed(part, bus.state.latest[kind]);
    }
  };

  const open = (which, focus = false) => {
    const chosen = usable().find((tab) => name(tab) === which) ?? usable()[0];
    for (const tab of tabs) {
      const is = tab === chosen;
      tab.setAttribute("aria-selected", String(is));
      tab.tabIndex = is ? 0 : -1;
      panel(name(tab)).hidden = !is;
    }
    if (focus) chosen.focus();
    if (bus.state.tab === name(chosen)) return;
    bus.state.tab = name(chosen);
    if (location.hash !== `#${name(chosen)}`) history.pushState(null, "", `#${name(chosen)}`);
    wanted();
    bus.emit("tab", bus.state.tab);
    fill(bus.state.tab);
  };

  const list = document.querySelector("[role=tablist]");
  list.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab !== null) open(name(tab));
  });
  list.addEventListener("keydown", (event) => {
    const seen = usable();
    const at = seen.findIndex((tab) => name(tab) === bus.state.tab);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: seen.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    open(name(seen[(to + seen.length) % seen.length]), true);
  });
  addEventListener("popstate", () => open(location.hash.slice(1)));
  addEventListener("hashchange", () => panel(location.hash.slice(1)) && open(location.hash.slice(1)));

  return {
    open,

    /** The tabs that can be chosen, as [name, title]. */
    list: () => usable().map((tab) => [name(tab), tab.textContent]),

    /** The kinds of blobs that the visible tab needs. */
    kinds: () => [...new Set(["monitor", "run", ...partsOn(bus.state.tab).flatMap((part) => PARTS[part].kinds)])],

    /** Show a blob in the visible parts that want its kind; whether there are any. */
    show(blob) {
      const wanting = partsOn(bus.state.tab).filter((part) => PARTS[part].kinds.includes(blob.kind) && parts.get(part));
      for (const part of wanting) feed(parts.get(part), blob);
      return wanting.length > 0;
    },

    /** Show or hide a tab (the variants' one is there only where there are variants). */
    allow(which, is) {
      const tab = document.getElementById(`tab-${which}`);
      if (tab.hidden === !is) return;
      tab.hidden = !is;
      if (!is && bus.state.tab === which) open(name(usable()[0]));
    },
  };
}
