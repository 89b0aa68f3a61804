/** Which resolution rings are drawn: round numbers whose rings are in sight and not too close to each other. */

const CLOSEST = 64; // pixels of the page between two rings
const MOST = 8;
const ENOUGH = 3; // then finer steps are left out
/** From those one wants most to those that fill gaps, Angstrom. */
const WANTED = [10, 5, 3, 2, 4, 2.5, 1.5, 7, 3.5, 20, 1.8, 1.2, 1, 15, 30, 6, 8, 2.2, 1.6, 1.4, 0.9, 0.8, 50, 100];
const FINE = Array.from({ length: 95 }, (_, i) => (i + 5) / 10);

/** [{d (Angstrom), radius (metres)}], the largest d first. */
export function clearRingsOf(detector, view, dpr) {
  const [nearest, furthest] = reach(view);
  const chosen = [];
  for (const d of [...WANTED, ...FINE]) {
    if (chosen.length >= (WANTED.includes(d) ? MOST : ENOUGH)) continue;
    const radius = detector.radius(d);
    const isSeen = radius > nearest && radius < furthest && radius * view.scale > (CLOSEST * dpr) / 2;
    const isFree = chosen.every((other) => Math.abs(other.radius - radius) * view.scale >= CLOSEST * dpr);
    if (isSeen && isFree) chosen.push({ d, radius });
  }
  return chosen.sort((one, other) => other.d - one.d);
}

/** How near to the beam, and how far from it, something is seen, metres. */
function reach(view) {
  const [left, top] = view.toPlane(0, 0);
  const [right, bottom] = view.toPlane(view.width, view.height);
  const inside = (v, low, high) => Math.min(Math.max(v, low), high);
  const nearest = Math.hypot(inside(0, left, right), inside(0, bottom, top));
  let furthest = Math.hypot(Math.max(-left, right), Math.max(-bottom, top));
  if (view.bounds !== null) {
    const b = view.bounds;
    furthest = Math.min(furthest, Math.hypot(Math.max(-b.left, b.right), Math.max(-b.bottom, b.top)));
  }
  return [nearest, furthest];
}
