/**
 * The line at the bottom: is there a connection, how old are the data, does the run go on, is its sender there, how many frames.
 *
 * The age is how long ago the monitor has received something from the run, as the monitor says once a second by its own clock.
 */

import { setText } from "./dom.js";
import { time, whole } from "./plots/format.js";

const OLD_S = 5; // data come twice a second: after this something is wrong, or the run has ended

export function startStatus(bus) {
  const at = (name) => document.getElementById(`status-${name}`);
  const announce = document.getElementById("announce");
  const isReport = document.querySelector("script[data-kind]") !== null; // messages lie in the page itself (recorded.js)
  let since = null; // since when there is no connection, Unix time
  let newest = null; // when the monitor had received the last message of the run, by this page's clock (performance.now), seconds

  const say = (sentence) => {
    setText(at("note"), sentence);
    setText(announce, sentence);
  };
  bus.on("say", say);

  const state = (where, kind, text) => {
    where.dataset.state = kind;
    where.hidden = text === "";
    setText(where, text);
  };

  const draw = () => {
    const run = bus.state.latest.run;
    if (isReport) state(at("connection"), "", "a report");
    else if (since !== null) state(at("connection"), "bad", `no connection since ${time(since)}; trying again`);
    else if (!bus.state.connected) state(at("connection"), "warn", "connecting");
    else state(at("connection"), "good", "connected");

    const age = newest === null ? null : Math.max(0, performance.now() / 1000 - newest);
    const isOld = age !== null && age > OLD_S && !run?.ended;
    at("age").dataset.state = isOld ? "warn" : "";
    at("age").hidden = isReport;
    setText(at("age"), age === null ? "no data yet" : `data ${span(age)} old`);
    if (run === undefined) return setText(at("run"), bus.state.connected ? "waiting for a run" : "");

    const lasted = span(run.elapsed_s);
    const silent = isOld && bus.state.connected ? `, nothing has come from it for ${span(age)}` : "";
    const ended = run.ended ? `the run ended at ${time(run.time_unix_s)} after ${span(run.elapsed_s)}: ${run.ended}` : "";
    setText(at("run"), ended || `the run has lasted ${lasted}${silent}`);
    const lost = run.sender?.lost_since_unix_s;
    state(at("sender"), "warn", lost && !run.ended ? `sender lost since ${time(lost)}` : "");
    const { received = 0, hits = 0, indexed = 0, dropped = 0, rejected = 0 } = run.counts ?? {};
    const parts = [`${whole(received)} frames`, `${whole(hits)} hits`, `${whole(indexed)} indexed${share(indexed, hits, " of hits")}`];
    if (rejected) parts.push(`${whole(rejected)} rejected`);
    if (dropped) parts.push(`${whole(dropped)} dropped`);
    if (!run.ended && Number.isFinite(run.frames_per_s)) parts.push(`${run.frames_per_s.toFixed(1)} frames/s`);
    setText(at("counts"), parts.join(" · "));
    const title = `${run.ended ? "ended" : `${whole(indexed)} indexed`} · streamajig`;
    if (document.title !== title) document.title = title;
  };

  let told = "";
  bus.on("run", (run) => {
    const lost = run.sender?.lost_since_unix_s;
    const tell = run.ended ? `The run ended: ${run.ended}` : lost ? `The sender is lost since ${time(lost)}` : "";
    if (tell !== told) setText(announce, tell || (told.startsWith("The sender") ? "The sender is back" : ""));
    told = tell;
  });
  setInterval(draw, 500);
  draw();

  bus.on("monitor", (monitor) => {
    newest = Number.isFinite(monitor.age_s) ? performance.now() / 1000 - monitor.age_s : null;
  });

  return {
    opened() {
      since = null;
      setText(announce, "Connected to the monitor");
      draw();
    },

    closed(when) {
      if (since === null) setText(announce, "There is no connection to the monitor");
      since = when;
      draw();
    },
  };
}

function share(part, of, what) {
  return of > 0 ? ` (${((100 * part) / of).toFixed(0)} %${what})` : "";
}

function span(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${String(Math.floor(seconds % 60)).padStart(2, "0")} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}
