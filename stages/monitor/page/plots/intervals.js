/**
 * Rates out of counts: the history has what was counted until each of its times, and here is what happened between them.
 *
 * Counts of the last seconds say little where frames come slowly, so that what is shown may be averaged over a longer time: each value
 * is then of the interval from the last row that is at least so much older.
 */

/** For each row the number of the row that its interval begins with; -1 where there is none yet. */
export function starts(times, average_s) {
  const found = new Int32Array(times.length).fill(-1);
  let from = 0;
  for (let n = 1; n < times.length; n += 1) {
    while (from + 1 < n && times[n] - times[from + 1] >= average_s) from += 1;
    found[n] = from;
  }
  return found;
}

/** What was counted in a second of each interval. */
export function perSecond(counts, times, from) {
  return Array.from(counts, (count, n) => {
    const passed = from[n] < 0 ? 0 : times[n] - times[from[n]];
    return passed > 0 ? (count - counts[from[n]]) / passed : null;
  });
}

/** What part of `of` was in `counts` in each interval, percent; null where there was nothing. */
export function shareOf(counts, of, from) {
  return Array.from(counts, (count, n) => {
    const whole = from[n] < 0 ? 0 : of[n] - of[from[n]];
    return whole > 0 ? (100 * (count - counts[from[n]])) / whole : null;
  });
}
