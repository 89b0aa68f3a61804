/**
 * In a report: the run's last messages, which lie in the page itself, instead of a connection to a monitor.
 *
 * It takes the place of connection.js when the page is put into one file (stages/monitor/bundle.py), and answers what the page asks
 * for as the monitor would: frames out of those that lie here, pixels of single frames not at all.
 */

import { decode } from "./blob.js";

/** The same as connection.js has, but for a state of connection: nothing here opens or closes. */
export function connect(hooks) {
  const found = [...document.querySelectorAll("script[data-kind]")];
  const frames = found.filter((one) => one.dataset.kind === "frame").reverse(); // the latest first
  const run = found.find((one) => one.dataset.kind === "run")?.dataset.run ?? null;

  const receive = async (element, more = {}) => hooks.received({ ...(await unpack(element)), ...more });

  const look = ({ category, back, serial }) => {
    const kept = (which) => frames.filter((one) => which === "any" || one.dataset.category === which);
    const of = kept(category);
    const chosen = serial === null ? of[Math.min(back, of.length - 1)] : frames.find((one) => Number(one.dataset.serial) === serial);
    if (chosen === undefined) {
      hooks.received({ kind: "gone", run, what: "frame", serial, category });
      return;
    }
    receive(chosen, {
      back: of.includes(chosen) ? of.indexOf(chosen) : null,
      serials: of.map((one) => Number(one.dataset.serial)),
      kept: Object.fromEntries(["any", "indexed", "hit", "blank"].map((which) => [which, kept(which).length])),
      is_whole: false,
    });
  };

  const start = async () => {
    for (const one of found) if (one.dataset.kind !== "frame") await receive(one);
  };

  start();
  return (request) => {
    if (request.look) setTimeout(() => look(request.look), 0);
    if (request.tile) setTimeout(() => hooks.received({ kind: "gone", run, what: "tile", serial: request.tile.serial }), 0);
    return true;
  };
}

/** A message that lies in the page: compressed, as text. */
async function unpack(element) {
  const packed = Uint8Array.from(atob(element.textContent.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return decode(await new Response(stream).arrayBuffer());
}
