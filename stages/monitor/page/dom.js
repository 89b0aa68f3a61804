/** Making elements: text is always set as text, never as markup. */

/**
 * An element with attributes and children; children are elements or texts.
 * Attributes: `class`, `text`, `on` ({event: handler}), properties that need no attribute (`checked`, `value`, `disabled`, `hidden`),
 * everything else as an attribute.
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") made.textContent = value;
    else if (name === "on") for (const [event, f] of Object.entries(value)) made.addEventListener(event, f);
    else if (["checked", "value", "disabled", "hidden"].includes(name)) made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Set a text only where it has changed, so that nothing is laid out or read out anew for nothing. */
export function setText(where, text) {
  if (where.textContent !== text) where.textContent = text;
}

let numbered = 0;

/** An identity that no other element has. */
export function newId(stem) {
  numbered += 1;
  return `${stem}-${numbered}`;
}
