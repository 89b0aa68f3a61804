/** Numbers and times as the plots and tables show them. What is not known is a dash. */

export const UNKNOWN = "–";

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 }); // made once: that takes longer than to use it
const CLOCK = new Intl.DateTimeFormat("en", { timeStyle: "medium", hourCycle: "h23" });

/** Whether there is a number to show. */
export function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

/** So many digits after the point. */
export function fixed(value, digits = 1) {
  return isNumber(value) ? value.toFixed(digits) : UNKNOWN;
}

/** A count, with commas between thousands. */
export function whole(value) {
  return isNumber(value) ? WHOLE.format(Math.round(value)) : UNKNOWN;
}

/** So many digits that count, without an exponent where that is short. */
export function significant(value, digits = 3) {
  if (!isNumber(value)) return UNKNOWN;
  if (value === 0) return "0";
  const power = Math.floor(Math.log10(Math.abs(value)));
  if (power >= digits) return Math.abs(value) < 1e7 ? whole(value) : value.toExponential(digits - 1);
  return power < -4 ? value.toExponential(digits - 1) : value.toFixed(Math.max(0, digits - 1 - power));
}

/** A part of a whole in percent; of nothing it is unknown. */
export function percent(part, of = 1, digits = 1) {
  return isNumber(part) && of > 0 ? `${((100 * part) / of).toFixed(digits)} %` : UNKNOWN;
}

/** A time of day. */
export function time(unix_s) {
  return isNumber(unix_s) ? CLOCK.format(1000 * unix_s) : UNKNOWN;
}

/** Date and time of day, as sortable text. */
export function dateTime(unix_s) {
  if (!isNumber(unix_s)) return UNKNOWN;
  const at = new Date(1000 * unix_s);
  const two = (n) => String(n).padStart(2, "0");
  const date = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${date} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** How long something takes, in the two largest units. */
export function span(seconds) {
  if (!isNumber(seconds)) return UNKNOWN;
  if (seconds < 1) return `${significant(1000 * seconds, 2)} ms`;
  if (seconds < 60) return `${seconds.toFixed(0)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${(hours / 24).toFixed(1)} days`;
}

/** Numbers at which an axis has its ticks: multiples of 1, 2 or 5 times a power of ten, about `num` of them. */
export function niceSteps(min, max, num) {
  if (!(max > min)) return [min];
  const rough = (max - min) / Math.max(1, num);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((n) => n * power >= rough) ?? 10);
  const first = Math.ceil(min / step - 1e-9);
  const last = Math.floor(max / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, n) => (first + n) * step);
}
