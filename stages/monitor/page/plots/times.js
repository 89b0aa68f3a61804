/** The tools that plots against time share: how much of the past is seen, and over how long rates are averaged. */

import { element } from "../dom.js";
import { createChoice } from "./choose.js";

const RANGES = [["0", "the whole run"], ["28800", "8 hours"], ["3600", "1 hour"], ["600", "10 minutes"], ["60", "1 minute"]];
const AVERAGES = [["10", "10 s"], ["0", "as it comes"], ["60", "1 minute"], ["600", "10 minutes"]];

/** Make them; `act()` is called when something else was chosen; without `hasAverage` there is nothing to average. */
export function createTimes(act, hasAverage = true) {
  const range = createChoice("Show the last", act, RANGES);
  const average = createChoice("averaged over", act, AVERAGES);
  return {
    root: element("div", { class: "tools", role: "group", "aria-label": "Range of time" }, range.root, hasAverage ? average.root : null),

    get average_s() {
      return Number(average.value);
    },

    /** What is seen of these times: [first, last]. */
    range(times) {
      if (times.length === 0) return null;
      const last = times[times.length - 1];
      const back = Number(range.value);
      return [back > 0 ? last - back : Math.min(times[0], last - 1), last];
    },
  };
}
