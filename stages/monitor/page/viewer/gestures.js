/**
 * What pointers do on a picture: one drags it; two enlarge it about the point between them, and it moves with that point; a double
 * click, or two quick taps, shows all of it.
 */

const TAP_MS = 350; // a tap is no longer, and the second one of two begins no later
const TAP_REACH = 24; // pixels of the page: fingers do not meet the same point twice
const MOST = 2; // pointers; others are not looked at

/**
 * Listen on a canvas. `place(event)`: where that is, pixels of the screen; `point(place)`: a pointer is there, null: nowhere;
 * `drag(dx, dy)`, `zoom(times, x, y)` and `fit()`: what the picture does.
 */
export function listenToPointers(canvas, { place, point, drag, zoom, fit }) {
  const held = new Map(); // identity of a pointer that is down: where it is
  let tap = null; // a finger that is down, and may become a tap: {since, x, y, isAlone}
  let last = null; // the tap before: the same
  let before = "";

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || held.size >= MOST) return;
    held.set(event.pointerId, place(event));
    canvas.setPointerCapture(event.pointerId);
    const isTouch = event.pointerType === "touch" && held.size === 1;
    tap = isTouch ? { since: event.timeStamp, x: event.clientX, y: event.clientY } : null;
    if (isTouch) point(place(event));
  });

  canvas.addEventListener("pointermove", (event) => {
    const where = `${event.pointerId} ${event.clientX} ${event.clientY}`;
    if (where === before) return; // the page has changed under a pointer that rests: the keyboard's cross may be in use
    before = where;
    const at = place(event);
    if (held.has(event.pointerId)) {
      const old = middle(held);
      held.set(event.pointerId, at);
      const now = middle(held);
      drag(now.x - old.x, now.y - old.y);
      if (old.apart > 0 && now.apart > 0) zoom(now.apart / old.apart, now.x, now.y);
    }
    point(at);
  });

  const release = (event) => {
    held.delete(event.pointerId);
    if (tap === null || event.type === "pointercancel" || !isNear(tap, event) || event.timeStamp - tap.since > TAP_MS) {
      tap = last = null;
      return;
    }
    const isSecond = last !== null && isNear(last, event) && tap.since - last.since <= 2 * TAP_MS;
    last = isSecond ? null : tap;
    tap = null;
    if (isSecond) fit();
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && point(null)); // what was touched stays read
  canvas.addEventListener("dblclick", fit);
}

/** The point between the pointers, and how far apart they are; 0 for one alone. */
function middle(held) {
  const [one, other = one] = held.values();
  return { x: (one[0] + other[0]) / 2, y: (one[1] + other[1]) / 2, apart: Math.hypot(one[0] - other[0], one[1] - other[1]) };
}

function isNear(tap, event) {
  return Math.hypot(event.clientX - tap.x, event.clientY - tap.y) <= TAP_REACH;
}
