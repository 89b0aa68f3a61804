/** Numbers in large: what one looks at from the other end of the room. */

import { element, setText } from "../dom.js";

/** Make a row of them. `set([[name, title, text, more?], ...])`: a name always stands for the same tile. */
export function createTiles(label) {
  const root = element("dl", { class: "tiles", "aria-label": label });
  const tiles = new Map();
  return {
    root,
    set(entries) {
      for (const [name, title, text, more = "", mark = ""] of entries) {
        if (!tiles.has(name)) {
          const made = { title: element("dt"), text: element("dd", { "data-number": name }), more: element("dd", { class: "tile-more" }) };
          tiles.set(name, made);
          root.append(element("div", { class: "tile" }, made.title, made.text, made.more));
        }
        const tile = tiles.get(name);
        setText(tile.title, title);
        setText(tile.text, text);
        setText(tile.more, more);
        tile.text.dataset.state = mark;
      }
    },
  };
}
