/**
 * Hot keys: one list of what each does, which the help shows.
 *
 * Keys act where nobody is writing. Keys of one letter can be switched off (they are in the way of speech input); those with a name
 * (arrows, Escape) and "?" stay.
 */

import { element } from "./dom.js";

const LETTERS = "streamajig.letters";

export function createKeys() {
  const known = [];
  let letters = localStorage.getItem(LETTERS) !== "no";

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isWriting(event)) return;
    if (document.querySelector("dialog[open]")) return;
    const found = known.find((one) => one.keys.includes(event.key) && one.when() && !(one.free && takesKeys(event.target)));
    if (found === undefined || (!letters && event.key.length === 1 && event.key !== "?")) return;
    event.preventDefault();
    found.act(event);
  });

  return {
    /**
     * Let keys (as `KeyboardEvent.key` names them) do something. `where` is the heading in the help; `when` says whether they act
     * now; `free` keys (arrows) are left to sliders, lists and tabs that have the focus.
     */
    add({ keys, shown = keys.join(" "), what, where = "Everywhere", when = () => true, free = false, act }) {
      known.push({ keys, shown, what, where, when, free, act });
    },

    /** The list of all keys, as a table for each heading. */
    list() {
      const headings = [...new Set(known.map((one) => one.where))];
      return headings.map((where) =>
        element(
          "table",
          {},
          element("caption", { text: where }),
          element(
            "tbody",
            {},
            ...known.filter((one) => one.where === where).map((one) =>
              element("tr", {}, element("th", { scope: "row" }, ...kbds(one.shown)), element("td", { text: one.what })),
            ),
          ),
        ),
      );
    },

    get letters() {
      return letters;
    },

    set letters(act) {
      letters = act;
      localStorage.setItem(LETTERS, act ? "yes" : "no");
    },
  };
}

function kbds(shown) {
  return shown.split(" ").flatMap((key) => [element("kbd", { text: key }), " "]);
}

function isWriting(event) {
  const at = event.target;
  if (at instanceof HTMLTextAreaElement || at instanceof HTMLSelectElement || at.isContentEditable) return true;
  return at instanceof HTMLInputElement && !["checkbox", "radio", "button", "range"].includes(at.type);
}

function takesKeys(at) {
  return at instanceof HTMLInputElement || at instanceof HTMLSelectElement || at?.closest?.("[role=tab], table, [data-keys]") !== null;
}
