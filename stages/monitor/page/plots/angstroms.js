/** Axes of 1/d whose ticks say d: resolution as crystallographers read it, and equal lengths for equal steps of angle. */

const ROUND = [100, 50, 30, 20, 15, 10, 8, 6, 5, 4.5, 4, 3.5, 3, 2.8, 2.6, 2.4, 2.2, 2, 1.9, 1.8, 1.7, 1.6, 1.5, 1.4, 1.3, 1.2, 1.1, 1, 0.9, 0.8, 0.7];
const MOST_TICKS = 9;

/** Where ticks stand, 1/Angstrom, so that they are not too close. */
export function splits(min, max) {
  const apart = (max - min) / MOST_TICKS;
  const found = [];
  for (const at of ROUND.map((d) => 1 / d)) {
    if (at >= min && at <= max && (found.length === 0 || at - found.at(-1) >= apart)) found.push(at);
  }
  return found;
}

/** d in Angstrom as text. */
export function format(per_angstrom) {
  if (!(per_angstrom > 0)) return "∞";
  const d = 1 / per_angstrom;
  return d >= 10 ? d.toFixed(0) : String(Number(d.toFixed(2)));
}

export const AXIS = { label: "resolution / Å", splits, format };
