/** What part of the detector's plane is seen: a centre (metres) and a scale (pixels of the screen per metre). */

const ROOM = 0.97; // of the canvas that the whole detector fills
const LARGEST_PIXEL = 200; // a pixel of the detector is never larger on the screen

export class View {
  constructor() {
    this.x = 0;
    this.y = 0;
    this.scale = 1e4;
    this.width = 1;
    this.height = 1;
    this.isFitted = true; // as long as nobody has zoomed or moved
    this.bounds = null;
    this.pixel = 1e-4;
  }

  /** The canvas has this size, pixels of the screen; what was in the middle stays there. */
  resize(width, height) {
    this.width = width;
    this.height = height;
    if (this.isFitted) this.fit();
  }

  /** What there is to see: bounds and the size of a pixel in metres. A view that somebody chose stays. */
  look(bounds, pixel) {
    this.bounds = bounds;
    this.pixel = pixel;
    if (this.isFitted) this.fit();
  }

  fit() {
    this.isFitted = true;
    if (this.bounds === null || !Number.isFinite(this.bounds.left)) return;
    const { left, right, bottom, top } = this.bounds;
    this.x = (left + right) / 2;
    this.y = (bottom + top) / 2;
    this.scale = this.#fitting();
  }

  #fitting() {
    const { left, right, bottom, top } = this.bounds;
    return ROOM * Math.min(this.width / (right - left), this.height / (top - bottom));
  }

  /** Enlarge `times`, so that the point (screen) stays where it is. */
  zoom(times, sx = this.width / 2, sy = this.height / 2) {
    if (this.bounds === null) return;
    const [x, y] = this.toPlane(sx, sy);
    const smallest = this.#fitting() / 4;
    this.scale = Math.min(Math.max(this.scale * times, smallest), LARGEST_PIXEL / this.pixel);
    this.x = x - (sx - this.width / 2) / this.scale;
    this.y = y + (sy - this.height / 2) / this.scale;
    this.isFitted = false;
    this.#stay();
  }

  /** Move what is seen by so many pixels of the screen. */
  move(dx, dy) {
    this.x -= dx / this.scale;
    this.y += dy / this.scale;
    this.isFitted = false;
    this.#stay();
  }

  /** Have a place in sight. */
  showPlace(x, y) {
    const [sx, sy] = this.toScreen(x, y);
    const edge = 20;
    const dx = sx < edge ? edge - sx : sx > this.width - edge ? this.width - edge - sx : 0;
    const dy = sy < edge ? edge - sy : sy > this.height - edge ? this.height - edge - sy : 0;
    if (dx || dy) this.move(dx, dy);
  }

  /** The middle of the screen stays on the detector. */
  #stay() {
    if (this.bounds === null) return;
    this.x = Math.min(Math.max(this.x, this.bounds.left), this.bounds.right);
    this.y = Math.min(Math.max(this.y, this.bounds.bottom), this.bounds.top);
  }

  toScreen(x, y) {
    return [(x - this.x) * this.scale + this.width / 2, (this.y - y) * this.scale + this.height / 2];
  }

  toPlane(sx, sy) {
    return [this.x + (sx - this.width / 2) / this.scale, this.y - (sy - this.height / 2) / this.scale];
  }

  /** Pixels of the screen per pixel of the detector. */
  get magnification() {
    return this.scale * this.pixel;
  }

  /** Let a context draw in units of `bin` pixels of a panel, from (fs0, ss0) of it on. */
  onPanel(context, detector, panel, bin, fs0 = 0, ss0 = 0) {
    const p = 2 * panel;
    const k = bin * this.scale;
    const [x, y] = this.toScreen(...detector.place(panel, fs0, ss0));
    context.setTransform(k * detector.fs[p], -k * detector.fs[p + 1], k * detector.ss[p], -k * detector.ss[p + 1], x, y);
  }

  /** Whether any of a panel may be in sight. */
  sees(detector, panel) {
    const points = detector.outline(panel).map(([x, y]) => this.toScreen(x, y));
    const xs = points.map((point) => point[0]);
    const ys = points.map((point) => point[1]);
    return Math.max(...xs) >= 0 && Math.min(...xs) <= this.width && Math.max(...ys) >= 0 && Math.min(...ys) <= this.height;
  }

  /** What of a panel is in sight, in whole pixels with a margin: {fs0, ss0, fs1, ss1}, ends excluded; null if nothing. */
  seen(detector, panel, margin = 0) {
    if (!this.sees(detector, panel)) return null;
    const corners = [
      [0, 0],
      [this.width, 0],
      [this.width, this.height],
      [0, this.height],
    ].map(([sx, sy]) => detector.on(panel, ...this.toPlane(sx, sy)));
    const range = (which, size) => {
      const at = corners.map((corner) => corner[which]);
      return [Math.max(0, Math.floor(Math.min(...at)) - margin), Math.min(size, Math.ceil(Math.max(...at)) + margin)];
    };
    const [fs0, fs1] = range(0, detector.width[panel]);
    const [ss0, ss1] = range(1, detector.height[panel]);
    return fs1 > fs0 && ss1 > ss0 ? { fs0, ss0, fs1, ss1 } : null;
  }
}
