/**
 * What the parts of the page share: events, the way to the monitor, and what is known now.
 *
 * Events (`bus.on(kind, f)` gives a function that stops it):
 *   a kind of blob ("run", "frame", ...)  with the blob, as it arrives
 *   "show-frame"   with a serial number: the frames' tab shows that frame
 *   "theme"        with "dark" or "light", after the colours have changed
 *   "tab"          with the name of the tab that is shown now
 *   "connection"   with true or false
 *   "new-run"      with the run's identity: what was accumulated of another run is of no use any more
 *   "say"          with a sentence for the status bar, which is also read out
 *
 * `bus.state`: `latest` ({kind: blob}), `theme`, `tab`, `connected`, `run` (identity of the run that is shown),
 * `serial` (the frame that was asked for last by "show-frame").
 */
export function createBus() {
  const listeners = new Map();
  return {
    state: { latest: {}, theme: "light", tab: "", connected: false, run: null, serial: null },

    on(kind, f) {
      if (!listeners.has(kind)) listeners.set(kind, new Set());
      listeners.get(kind).add(f);
      return () => listeners.get(kind).delete(f);
    },

    emit(kind, value) {
      for (const f of [...(listeners.get(kind) ?? [])]) {
        try {
          f(value);
        } catch (error) {
          console.error(`a listener to ${kind} failed`, error); // one part's fault stops no other part
        }
      }
    },

    /** Send a request to the monitor; false where there is no connection (main.js puts the real one here). */
    send() {
      return false;
    },
  };
}
