/**
 * uPlot, which draws the plots: loaded once, from this page's own server (decision 38). In a report it is in the page already.
 *
 * A module that imports this one is ready when the library is; where it cannot be loaded, the part says so.
 */

const SCRIPT = "library/uplot.js";
const STYLES = "library/uplot.css";

function loaded(element, what) {
  return new Promise((done, fail) => {
    element.addEventListener("load", () => done());
    element.addEventListener("error", () => fail(new Error(`the library of plots is not there (${what}); see the monitor's log`)));
    document.head.append(element);
  });
}

async function load() {
  const styles = document.createElement("link");
  styles.rel = "stylesheet";
  styles.href = STYLES;
  const script = document.createElement("script");
  script.src = SCRIPT;
  await Promise.all([loaded(styles, STYLES), loaded(script, SCRIPT)]);
  return globalThis.uPlot;
}

export const uPlot = globalThis.uPlot ?? (await load());
