/**
 * A normal distribution fitted to numbers, most of which are of it: outliers do not count.
 *
 * It starts from the median and the median absolute deviation (times 1.4826 it is the standard deviation of a normal distribution), and
 * takes mean and standard deviation of what lies within 2.5 of them, until that stays. A normal distribution cut off there has a
 * standard deviation of 0.9546 of the whole one, by which is divided.
 */

const REACH = 2.5;
const OF_CUT_OFF = 0.9546;
const MOST_ROUNDS = 20;

/** {mean, sd, num}, or null where there are fewer than five numbers or they are all one. */
export function fitNormal(values) {
  if (values.length < 5) return null;
  let mean = median(values);
  let sd = 1.4826 * median(values.map((value) => Math.abs(value - mean)));
  let num = 0;
  for (let round = 0; round < MOST_ROUNDS && sd > 0; round += 1) {
    const near = values.filter((value) => Math.abs(value - mean) <= REACH * sd);
    if (near.length < 5) break;
    const newer = near.reduce((sum, value) => sum + value, 0) / near.length;
    const spread = Math.sqrt(near.reduce((sum, value) => sum + (value - newer) ** 2, 0) / near.length) / OF_CUT_OFF;
    const isSame = near.length === num && Math.abs(newer - mean) < 1e-6 * sd;
    [mean, sd, num] = [newer, spread, near.length];
    if (isSame) break;
  }
  return sd > 0 ? { mean, sd, num } : null;
}

/** The middle one of numbers. */
export function median(values) {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The value below which a part of sorted numbers lies. */
export function quantile(sorted, part) {
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(part * (sorted.length - 1))))];
}

/** The distribution's density. */
export function density({ mean, sd }, x) {
  return Math.exp(-0.5 * ((x - mean) / sd) ** 2) / (sd * Math.sqrt(2 * Math.PI));
}
