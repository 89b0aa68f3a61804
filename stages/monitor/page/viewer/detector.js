/**
 * Where the panels are: in the plane across the beam at the mean distance, metres, x to the right and y up (as the monitor's
 * messages say), and what that means in resolution.
 */

export class Detector {
  constructor(geometry) {
    this.id = geometry.id;
    this.names = geometry.name;
    this.width = geometry.width;
    this.height = geometry.height;
    this.corner = geometry.corner;
    this.fs = geometry.fs;
    this.ss = geometry.ss;
    this.clen = geometry.clen_m;
    this.wavelength = geometry.wavelength_angstrom;
    this.photonEnergy = geometry.photon_energy_ev;
    this.noIndex = geometry.no_index ?? new Uint8Array(this.names.length);
    this.pixel = this.names.length ? Math.hypot(this.fs[0], this.fs[1]) : 1e-4;
    this.bounds = this.#bounds();
  }

  get size() {
    return this.names.length;
  }

  /** The place of a point of a panel; pixels' corners have whole numbers. */
  place(panel, fs, ss) {
    const p = 2 * panel;
    return [
      this.corner[p] + fs * this.fs[p] + ss * this.ss[p],
      this.corner[p + 1] + fs * this.fs[p + 1] + ss * this.ss[p + 1],
    ];
  }

  /** The four corners of a panel, in turn. */
  outline(panel) {
    const w = this.width[panel];
    const h = this.height[panel];
    return [
      this.place(panel, 0, 0),
      this.place(panel, w, 0),
      this.place(panel, w, h),
      this.place(panel, 0, h),
    ];
  }

  /** Coordinates of a place on a panel, though it may lie outside of it. */
  on(panel, x, y) {
    const p = 2 * panel;
    const dx = x - this.corner[p];
    const dy = y - this.corner[p + 1];
    const det = this.fs[p] * this.ss[p + 1] - this.fs[p + 1] * this.ss[p];
    return [(dx * this.ss[p + 1] - dy * this.ss[p]) / det, (dy * this.fs[p] - dx * this.fs[p + 1]) / det];
  }

  /** The panel at a place, and where on it: {panel, fs, ss}; null between panels. */
  under(x, y) {
    for (let panel = this.size - 1; panel >= 0; panel -= 1) {
      const [fs, ss] = this.on(panel, x, y);
      if (fs >= 0 && ss >= 0 && fs < this.width[panel] && ss < this.height[panel]) return { panel, fs, ss };
    }
    return null;
  }

  /** d in Angstrom at a place: wavelength / (2 sin(theta)), tan(2 theta) = r / distance; infinite at the beam, NaN if unknown. */
  resolution(x, y) {
    return this.wavelength / (2 * Math.sin(Math.atan2(Math.hypot(x, y), this.clen) / 2));
  }

  /** The radius, metres, at which d is found; NaN where it is not in front of the crystal. */
  radius(d) {
    const twoTheta = 2 * Math.asin(this.wavelength / (2 * d));
    return twoTheta < Math.PI / 2 ? this.clen * Math.tan(twoTheta) : NaN;
  }

  #bounds() {
    const bounds = { left: Infinity, right: -Infinity, bottom: Infinity, top: -Infinity };
    for (let panel = 0; panel < this.size; panel += 1) {
      for (const [x, y] of this.outline(panel)) {
        bounds.left = Math.min(bounds.left, x);
        bounds.right = Math.max(bounds.right, x);
        bounds.bottom = Math.min(bounds.bottom, y);
        bounds.top = Math.max(bounds.top, y);
      }
    }
    return bounds;
  }
}
