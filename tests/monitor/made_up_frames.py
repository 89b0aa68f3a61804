"""Frames that were never measured: a detector of one panel or of many, a lattice turned at random, spots, rings, background.

Spots lie where those of a real lattice would: reciprocal lattice points near the Ewald sphere. All is drawn from one seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rng = np.random.Generator

PIXEL_M = 75e-6
EIGER_4M = (2167, 2070)
"""Height and width; the gaps between its modules are masked."""

AGIPD_PIXEL_M = 200e-6
WAVELENGTH_ANGSTROM = 1.3051
LYSOZYME = np.array([79.1, 79.1, 38.4, 90.0, 90.0, 90.0])
HIGHEST_D = 1.9
HOSTILE = '<script>alert("1")</script><img src=x onerror=alert(2)>'
"""What a sender may write where a name is expected; a page shows it as it is."""

ICE_ANGSTROM = (3.90, 3.67, 3.44, 2.67, 2.25)
_OFF_SPHERE = 0.0012
"""A lattice point so far off the Ewald sphere still gives a spot, 1/Angstrom."""


@dataclass(frozen=True, eq=False)
class Panels:
    """Where panels lie: corner and the steps of one pixel in the plane across the beam, metres, and which pixels are masked."""

    names: list[str]
    height: int
    width: int
    corner: Floats
    fs: Floats
    ss: Floats
    bad: list[NDArray[np.uint8]]
    clen_m: float

    def blob(self) -> dict[str, Any]:
        """The geometry as a message has it."""
        num = len(self.names)
        return {
            "id": 1,
            "name": self.names,
            "width": np.full(num, self.width, "i4"),
            "height": np.full(num, self.height, "i4"),
            "corner": self.corner,
            "fs": self.fs,
            "ss": self.ss,
            "clen_m": self.clen_m,
            "wavelength_angstrom": WAVELENGTH_ANGSTROM,
            "photon_energy_ev": 12398.42 / WAVELENGTH_ANGSTROM,
            "no_index": np.zeros(num, "u1"),
            "saturation": np.full(num, 60000, "f4"),
        }

    @cached_property
    def radius_m(self) -> list[NDArray[np.float32]]:
        """How far each pixel of each panel is from the beam."""
        ss, fs = np.mgrid[: self.height, : self.width].astype("f4") + np.float32(0.5)
        found = []
        for corner, along_fs, along_ss in zip(self.corner, self.fs, self.ss, strict=True):
            x = corner[0] + fs * along_fs[0] + ss * along_ss[0]
            y = corner[1] + fs * along_fs[1] + ss * along_ss[1]
            found.append(np.hypot(x, y).astype("f4"))
        return found

    def find(self, x: Floats, y: Floats) -> tuple[NDArray[np.int32], Floats, Floats]:
        """Panel, fs and ss of points of the plane; panel -1 where there is none."""
        panel = np.full(len(x), -1, "i4")
        found_fs, found_ss = np.zeros(len(x)), np.zeros(len(x))
        for p in range(len(self.names)):
            steps = np.array([self.fs[p], self.ss[p]]).T
            fs, ss = np.linalg.solve(steps, np.array([x - self.corner[p, 0], y - self.corner[p, 1]]))
            inside = (fs >= 0) & (fs < self.width) & (ss >= 0) & (ss < self.height)
            here = np.flatnonzero(inside)
            here = here[self.bad[p][ss[here].astype(int), fs[here].astype(int)] == 0]
            panel[here], found_fs[here], found_ss[here] = p, fs[here], ss[here]
        return panel, found_fs, found_ss


def eiger(height: int = EIGER_4M[0], width: int = EIGER_4M[1]) -> Panels:
    """One panel with rows downwards, as an Eiger has it: modules of 514 x 1030 pixels with gaps of 37 and 10 between them."""
    bad = np.zeros((height, width), "u1")
    bad[np.arange(height) % (514 + 37) >= 514] = 1
    bad[:, np.arange(width) % (1030 + 10) >= 1030] = 1
    ss, fs = np.ogrid[:height, :width]
    bad[(ss - height / 2) ** 2 + (fs - width / 2) ** 2 < 25**2] = 1  # the beam stop
    return Panels(
        ["thepanel"],
        height,
        width,
        np.array([[-width / 2, height / 2]]) * PIXEL_M,
        np.array([[PIXEL_M, 0.0]]),
        np.array([[0.0, -PIXEL_M]]),
        [bad],
        0.125,
    )


def agipd() -> Panels:
    """128 panels of 64 x 128 pixels: four quadrants about a hole, each turned a little, of four modules of eight panels."""
    names, corners, fs_steps, ss_steps = [], [], [], []
    for module in range(16):
        quadrant, row = divmod(module, 4)
        turn = math.radians(90 * quadrant + 0.2 * (quadrant - 1.5))
        along, across = np.array([math.cos(turn), math.sin(turn)]), np.array([-math.sin(turn), math.cos(turn)])
        for asic in range(8):
            start = along * (6 + asic * 66) + across * (-20 + row * 158)
            names.append(f"p{module}a{asic}")
            corners.append(start * AGIPD_PIXEL_M)
            fs_steps.append(across * AGIPD_PIXEL_M)
            ss_steps.append(along * AGIPD_PIXEL_M)
    bad = [np.zeros((64, 128), "u1") for _ in names]
    bad[17][:] = 1  # a panel that is off
    return Panels(names, 64, 128, np.array(corners), np.array(fs_steps), np.array(ss_steps), bad, 0.165)


def _matrix(cell: Floats) -> Floats:
    """Real-space axes in rows, Angstrom, a along x."""
    a, b, c = cell[:3]
    al, be, ga = np.radians(cell[3:])
    cy = (math.cos(al) - math.cos(be) * math.cos(ga)) / math.sin(ga)
    return np.array(
        [
            [a, 0, 0],
            [b * math.cos(ga), b * math.sin(ga), 0],
            [c * math.cos(be), c * cy, c * math.sqrt(max(0.0, 1 - math.cos(be) ** 2 - cy**2))],
        ]
    )


def _turn(rng: Rng) -> Floats:
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    return q * np.sign(np.diag(r))


@dataclass(frozen=True, eq=False)
class Spots:
    """Spots of one crystal on the detector."""

    panel: NDArray[np.int32]
    fs: Floats
    ss: Floats
    hkl: NDArray[np.int16]
    intensity: Floats


def diffract(rng: Rng, panels: Panels, cell: Floats, highest_d: float = 1.9) -> Spots:
    """Where a lattice turned at random has its spots, and how strong they are."""
    reciprocal = np.linalg.inv(_matrix(cell) @ _turn(rng)).T
    most = [int(length / highest_d) for length in cell[:3]]
    hkl = np.stack(np.meshgrid(*(np.arange(-m, m + 1) for m in most), indexing="ij"), axis=-1).reshape(-1, 3)
    q = hkl @ reciprocal
    length = np.linalg.norm(q, axis=1)
    beam = 1 / WAVELENGTH_ANGSTROM
    along_beam = np.array([0, 0, beam])
    off = np.linalg.norm(q + along_beam, axis=1) - beam
    near = (np.abs(off) < _OFF_SPHERE) & (length > 0) & (length < 1 / highest_d)
    q, hkl, off, length = q[near], hkl[near], off[near], length[near]
    out = q + along_beam
    panel, fs, ss = panels.find(out[:, 0] / out[:, 2] * panels.clen_m, out[:, 1] / out[:, 2] * panels.clen_m)
    on = panel >= 0
    strength = 9000 * np.exp(-14 * length[on] ** 2 - (off[on] / _OFF_SPHERE) ** 2) * rng.exponential(size=int(on.sum()))
    return Spots(panel[on], fs[on], ss[on], hkl[on].astype("i2"), strength)


class Camera:
    """Takes frames: a background of scattered photons with ice rings, and spots on it."""

    def __init__(self, panels: Panels, seed: int, dtype: str = "<u2", backgrounds: int = 3) -> None:
        self.panels = panels
        rng = np.random.default_rng(seed)
        self._dtype = np.dtype(dtype)
        self._backgrounds = [self._background(rng) for _ in range(backgrounds)]

    def _background(self, rng: Rng) -> list[NDArray[Any]]:
        made = []
        for radius, bad in zip(self.panels.radius_m, self.panels.bad, strict=True):
            expected = 30 * np.exp(-((radius / 0.045) ** 2)) + 3
            for d in ICE_ANGSTROM:
                where = self.panels.clen_m * math.tan(2 * math.asin(WAVELENGTH_ANGSTROM / (2 * d)))
                expected += 8 * np.exp(-(((radius - where) / 0.0004) ** 2))
            values = rng.poisson(expected)
            values[bad == 1] = np.iinfo(self._dtype).max if self._dtype.kind in "iu" else 0
            made.append(values.astype(self._dtype))
        return made

    def take(self, rng: Rng, spots: Spots | None) -> list[NDArray[Any]]:
        """The panels of one frame."""
        pixels = [panel.copy() for panel in self._backgrounds[rng.integers(len(self._backgrounds))]]
        if spots is None:
            return pixels
        ss_off, fs_off = np.mgrid[-3:4, -3:4]
        for panel, fs, ss, total in zip(spots.panel, spots.fs, spots.ss, spots.intensity, strict=True):
            at_fs, at_ss = int(fs) + fs_off, int(ss) + ss_off
            in_it = (at_fs >= 0) & (at_fs < self.panels.width) & (at_ss >= 0) & (at_ss < self.panels.height)
            shape = np.exp(-((at_fs + 0.5 - fs) ** 2 + (at_ss + 0.5 - ss) ** 2) / 1.6) / 5.0
            in_it &= (
                self.panels.bad[panel][at_ss.clip(0, self.panels.height - 1), at_fs.clip(0, self.panels.width - 1)] == 0
            )
            pixels[panel][at_ss[in_it], at_fs[in_it]] += (total * shape[in_it]).clip(0, 50000).astype(self._dtype)
        return pixels
