/**
 * The WebSocket to the monitor: it comes back by itself, and asks for one message at a time.
 *
 * The monitor sends at most one message for each {"ready": true}; this side says that when it has shown the last one, so that a slow
 * page gets fewer messages, never a queue of old ones.
 */

import { decode, Malformed } from "./blob.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 5000;
const SHOWN_LATEST_MS = 100; // a page in the background is not drawn: then it is ready again after this

/**
 * Connect, and stay connected. `hooks`: `opened()` (say here what is wanted), `received(blob)` (true: nothing was drawn, more is
 * wanted at once), `closed(since_unix_s)`, `unreadable(sentence)`. Gives `send(json)`, which is false where there is no connection.
 */
export function connect(hooks) {
  let socket = null;
  let wait = FIRST_WAIT_MS;
  let since = null;

  const send = (request) => {
    if (socket === null || socket.readyState !== WebSocket.OPEN) return false;
    socket.send(JSON.stringify(request));
    return true;
  };

  const open = () => {
    const address = new URL("ws", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    address.hash = "";
    const mine = new WebSocket(address);
    socket = mine;
    mine.binaryType = "arraybuffer";
    mine.onopen = () => {
      wait = FIRST_WAIT_MS;
      since = null;
      hooks.opened();
      send({ ready: true });
    };
    mine.onmessage = async (event) => {
      if (!(event.data instanceof ArrayBuffer)) return;
      if (!read(event.data, hooks)) await shown();
      if (socket === mine) send({ ready: true });
    };
    mine.onclose = () => {
      since ??= Date.now() / 1000;
      hooks.closed(since);
      setTimeout(open, wait);
      wait = Math.min(2 * wait, LONGEST_WAIT_MS);
    };
  };

  open();
  return send;
}

function read(buffer, hooks) {
  let blob;
  try {
    blob = decode(buffer);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    hooks.unreadable(`A message of the monitor cannot be shown: ${error.message}.`);
    return false;
  }
  return hooks.received(blob);
}

/** When the browser has drawn what was asked of it. */
function shown() {
  return new Promise((done) => {
    const late = setTimeout(done, SHOWN_LATEST_MS);
    requestAnimationFrame(() => setTimeout(() => (clearTimeout(late), done()), 0));
  });
}
