/**
 * Canvases and memory for pictures of pixels, used again and again.
 *
 * A frame needs some megabytes of each twice a second. Taking them anew each time costs many times what it costs to fill them, since
 * the system hands out memory page by page as it is first written to.
 */

const MOST = 300; // canvases that wait; a detector of many panels has one for each

const free = new Map(); // "width height": canvases that nobody uses
let waiting = 0;
let image = null; // of the size that was asked for last: panels mostly have one size

/** A canvas of this size; what is on it is written over. */
export function takeCanvas(width, height) {
  const canvas = free.get(`${width} ${height}`)?.pop();
  if (canvas === undefined) return new OffscreenCanvas(width, height);
  waiting -= 1;
  return canvas;
}

/** Let others use a canvas. */
export function letGo(canvas) {
  if (waiting >= MOST) {
    free.clear(); // of sizes that nobody asks for any more
    waiting = 0;
  }
  const size = `${canvas.width} ${canvas.height}`;
  if (!free.has(size)) free.set(size, []);
  free.get(size).push(canvas);
  waiting += 1;
}

/** An ImageData of this size for a moment: the next who asks gets the same one. */
export function imageFor(context, width, height) {
  if (image?.width !== width || image?.height !== height) image = context.createImageData(width, height);
  return image;
}
