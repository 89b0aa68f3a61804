/** What must not be overlooked: the crystals are not of the cell that was given, or not at the distance. And what to do then. */

import { element } from "../dom.js";

const TO_DO = [
  "Is the cell file (-p) that of this sample? Compare it with the cell that fits better, in the table below.",
  "Let a short run find the cell by itself: the same command without -p; what it agrees on stands below as consensus.",
  "If a, b and c are all off by the same part, it is the distance or the photon energy that is wrong, not the cell.",
];

export function createBanner() {
  const root = element("div", { role: "alert" });
  let known = "";
  return {
    root,

    /** `found`: [leaf or "", figures of live/cells]. Nothing is said again that stands there already. */
    show(found) {
      const said = found.flatMap(([leaf, figures]) => sentences(figures).map((sentence) => [sentence, leaf]));
      const text = JSON.stringify(said.map(([sentence, leaf]) => [head(sentence), leaf]));
      const words = said.map(([sentence]) => sentence);
      if (text === known) {
        [...root.querySelectorAll(".banner-words")].forEach((where, n) => {
          if (where.textContent !== words[n]) where.textContent = words[n];
        });
        return;
      }
      known = text;
      root.replaceChildren(...said.map(([sentence, leaf]) => banner(sentence, leaf)));
    },
  };
}

function sentences(figures) {
  return [figures.not_this_cell, figures.not_this_distance].flatMap((said) => (Array.isArray(said) ? said : [said])).filter((said) => said);
}

/** What stands in capitals before the colon. */
function head(sentence) {
  return /^[A-Z ]+(?=:)/.exec(sentence)?.[0] ?? "NOT THIS CELL";
}

function banner(sentence, leaf) {
  return element(
    "div",
    { class: "banner" },
    element("strong", { text: leaf ? `${head(sentence)} (${leaf})` : head(sentence) }),
    element("p", { class: "banner-words", text: sentence }),
    element("p", { text: "What to do:" }),
    element("ul", {}, ...TO_DO.map((text) => element("li", { text }))),
  );
}
