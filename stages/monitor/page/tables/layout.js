/**
 * Where the nodes of a graph stand: each below all that it comes after, and as far left as its branch allows.
 *
 * A node's row is the longest way to it. Its column is that of what it comes after, as far as that is free in its row and further
 * down; so a chain is a straight line, and each branch beside it another one.
 */

/** `nodes`: {name, befores: [name]}, in any order; `box`: {width, height, across, down, margin}. Gives {width, height, places}. */
export function layOut(nodes, box) {
  const known = new Map(nodes.map((node) => [node.name, node]));
  const rows = new Map();
  const row = (name, seen = new Set()) => {
    if (rows.has(name)) return rows.get(name);
    if (!known.has(name) || seen.has(name)) return -1;
    seen.add(name);
    const found = 1 + Math.max(-1, ...known.get(name).befores.map((before) => row(before, seen)));
    rows.set(name, found);
    return found;
  };
  for (const node of nodes) row(node.name);

  const taken = new Set();
  const columns = new Map();
  const inOrder = [...nodes].sort((one, other) => rows.get(one.name) - rows.get(other.name));
  for (const node of inOrder) {
    const first = Math.min(...node.befores.map((before) => columns.get(before) ?? 0), Infinity);
    let column = Number.isFinite(first) ? first : 0;
    while (taken.has(`${rows.get(node.name)} ${column}`)) column += 1;
    taken.add(`${rows.get(node.name)} ${column}`);
    columns.set(node.name, column);
  }
  const places = new Map(
    nodes.map((node) => [
      node.name,
      {
        x: box.margin + columns.get(node.name) * (box.width + box.across),
        y: box.margin + rows.get(node.name) * (box.height + box.down),
      },
    ]),
  );
  const wide = 1 + Math.max(0, ...columns.values());
  const high = 1 + Math.max(0, ...rows.values());
  return {
    width: 2 * box.margin + wide * (box.width + box.across) - box.across,
    height: 2 * box.margin + high * (box.height + box.down) - box.down,
    places,
  };
}
