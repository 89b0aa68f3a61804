/**
 * Colours for how many: from dark blue over grey to yellow (after cividis, which looks the same to nearly everybody), by the logarithm.
 */

const STOPS = [[0, 32, 76], [0, 66, 110], [74, 84, 108], [114, 113, 119], [150, 144, 119], [192, 177, 103], [236, 212, 66], [255, 234, 70]];

/** The colour of a part between 0 and 1, as [r, g, b]. */
export function colourOf(part) {
  const at = Math.max(0, Math.min(1, part)) * (STOPS.length - 1);
  const low = Math.min(STOPS.length - 2, Math.floor(at));
  return STOPS[low].map((value, n) => Math.round(value + (at - low) * (STOPS[low + 1][n] - value)));
}

/** A picture of counts (ny rows of nx, the first at the bottom) as a canvas of nx x ny pixels; nothing stays transparent. */
export function picture(counts, nx, ny) {
  const canvas = document.createElement("canvas");
  canvas.width = nx;
  canvas.height = ny;
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(nx, ny);
  const most = Math.log1p(counts.reduce((max, value) => Math.max(max, value), 1));
  for (let y = 0; y < ny; y += 1) {
    for (let x = 0; x < nx; x += 1) {
      const value = counts[y * nx + x];
      if (!(value > 0)) continue;
      const [r, g, b] = colourOf(Math.log1p(value) / most);
      image.data.set([r, g, b, 255], 4 * ((ny - 1 - y) * nx + x));
    }
  }
  pen.putImageData(image, 0, 0);
  return canvas;
}
