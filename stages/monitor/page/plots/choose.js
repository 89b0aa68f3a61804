/** Choices: which leaf's figures, which group's, which quantity. A list is seen only where there is something to choose. */

import { element, newId } from "../dom.js";

/** The analyses of a run (`figures` by leaf) that have something of this name, as [leaf, figures]. */
export function figuresWith(run, name) {
  return Object.entries(run?.figures ?? {}).filter(([, figures]) => figures !== null && typeof figures === "object" && name in figures);
}

/** What is there of a list; nothing where there is none. */
export function listOf(value) {
  return Array.isArray(value) ? value.filter((one) => one !== null) : [];
}

/** A list to choose from. Gives {root, value, set([[value, text], ...])}; what was chosen stays chosen while it is there. */
export function createChoice(label, act, entries = []) {
  const id = newId("choice");
  const select = element("select", { id, on: { change: () => act(select.value) } });
  const root = element("span", { class: "choice", hidden: true }, element("label", { for: id, text: `${label} ` }), select);
  let known = "";
  const made = {
    root,
    get value() {
      return select.value;
    },
    set(wanted, chosen = select.value) {
      const text = JSON.stringify(wanted);
      if (text === known) return;
      known = text;
      select.replaceChildren(...wanted.map(([value, shown]) => element("option", { value, text: shown })));
      if (wanted.some(([value]) => value === chosen)) select.value = chosen;
      root.hidden = wanted.length < 2;
    },
  };
  made.set(entries);
  return made;
}

/** A button that is pressed or not. */
export function createSwitch(text, label, isOn, act) {
  const button = element("button", { type: "button", text, title: label, "aria-pressed": String(isOn) });
  button.addEventListener("click", () => {
    const is = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(is));
    act(is);
  });
  return button;
}
