"""Simulated spot lists with known truth, without pixels: what indexing is tested, timed and studied on.

A lattice in a random orientation; the reflections near its Ewald sphere; the strongest of them, each where its scattered
ray meets a flat detector, with an error; spurious spots evenly over the detector; and all of it read back as scattering
vectors q in 1/Angstrom with the geometry that is believed. The errors are those that a beamline makes: peak positions, the
detector's centre and distance, the cell, the bandwidth of the source.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stages.lattices.cell import Lattice, UnitCell, primitive
from stages.records.geometry import HC_EV_ANGSTROM, DetGeom, Panel
from stages.records.peaklist import PeakList

Floats = NDArray[np.float64]

B_FACTOR_TERM = 10.0
"""Spot intensities fall as exp(-10 q^2): B = 20 Angstrom^2."""


def cell(
    a: float,
    b: float,
    c: float,
    al: float,
    be: float,
    ga: float,
    kind: str = "triclinic",
    centring: str = "P",
    unique_axis: str = "*",
) -> UnitCell:
    """Make a cell of lengths in Angstrom and angles in degrees."""
    return UnitCell(a, b, c, math.radians(al), math.radians(be), math.radians(ga), Lattice(kind, centring, unique_axis))


CELLS = {
    "lysozyme": cell(79.1, 79.1, 37.9, 90, 90, 90, "tetragonal", "P", "c"),
    "orthorhombic": cell(46, 58, 71, 90, 90, 90, "orthorhombic", "P"),
    "monoclinic": cell(63, 50, 66, 90, 106, 90, "monoclinic", "P", "b"),
    "triclinic": cell(43, 52, 61, 80, 75, 100, "triclinic", "P"),
    "cubic_i": cell(78, 78, 78, 90, 90, 90, "cubic", "I"),
    "cubic_f": cell(182, 182, 182, 90, 90, 90, "cubic", "F"),
    "monoclinic_c": cell(120, 50, 66, 90, 106, 90, "monoclinic", "C", "b"),
    "rhombohedral_h": cell(66.2, 66.2, 150.2, 90, 90, 120, "hexagonal", "H", "c"),
    "rhombohedral_r": cell(60, 60, 60, 75, 75, 75, "rhombohedral", "R"),
    "hexagonal": cell(93.3, 93.3, 130.9, 90, 90, 120, "hexagonal", "P", "c"),
    "nearly_tetragonal": cell(60, 60.45, 95, 90, 90, 90, "orthorhombic", "P"),
    "small": cell(12, 15, 19, 90, 90, 90, "orthorhombic", "P"),
    "large": cell(281, 281, 165, 90, 90, 120, "hexagonal", "P", "c"),
}
"""Cells of every kind of lattice, small ones and large ones."""

SUITABLE: dict[str, dict[str, float]] = {"large": {"profile_radius": 0.0006, "d_min": 3.5}, "small": {"d_min": 1.0}}
"""What :func:`simulate` needs for those of the cells that do not diffract as the others do."""


@dataclass(frozen=True)
class Setup:
    """A flat detector across the beam, and the wavelength.

    >>> round(Setup().px_per_angstrom, 6)
    0.000504
    """

    wavelength_angstrom: float = 1.24
    distance_m: float = 0.12
    pixel_m: float = 75e-6

    @property
    def px_per_angstrom(self) -> float:
        """What one pixel near the beam is in q."""
        return self.pixel_m / (self.distance_m * self.wavelength_angstrom)

    def radius_px(self, d_min: float) -> float:
        """How far from the beam the resolution is `d_min` Angstrom."""
        return math.tan(2 * math.asin(self.wavelength_angstrom / 2 / d_min)) * self.distance_m / self.pixel_m

    def q_of(self, xy_px: Floats) -> Floats:
        """Return q, (n, 3), of positions (n, 2) in pixels from the beam."""
        lab = np.column_stack([xy_px * self.pixel_m, np.full(len(xy_px), self.distance_m)])
        q: Floats = (lab / np.linalg.norm(lab, axis=1)[:, None] - [0, 0, 1]) / self.wavelength_angstrom
        return q

    def peaks_of(self, q: Floats, intensity: Floats | None = None) -> tuple[PeakList, DetGeom]:
        """Put any q list on one virtual panel of 4000 x 4000 pixels: only a spot's direction matters."""
        size = 4000
        k_out = q * self.wavelength_angstrom + [0, 0, 1]
        xy = k_out[:, :2] / k_out[:, 2:] * self.distance_m / self.pixel_m + size / 2
        geom = DetGeom(
            (Panel("virtual", max_fs=size - 1, max_ss=size - 1),),
            np.array([[-size / 2 * self.pixel_m, -size / 2 * self.pixel_m, self.distance_m]]),
            np.array([[self.pixel_m, 0, 0]]),
            np.array([[0, self.pixel_m, 0]]),
            HC_EV_ANGSTROM / self.wavelength_angstrom,
            np.array([self.distance_m]),
            (np.zeros((1, 1), np.uint8),),
        )
        n = len(q)
        return PeakList.make(
            np.zeros(n), xy[:, 0], xy[:, 1], np.full(n, 100.0) if intensity is None else intensity
        ), geom


XRAYS = Setup()
ELECTRONS = Setup(wavelength_angstrom=0.0251, distance_m=2.0, pixel_m=55e-6)
"""200 keV; the Ewald sphere is nearly flat."""


@dataclass(frozen=True, eq=False)
class SpotList:
    """Spots, and what is true of them.

    Attributes
    ----------
    q
        float64 (n, 3), 1/Angstrom, as read with the geometry that is believed.
    intensity
        float64 (n,), arbitrary units; of spurious spots like that of the weaker true ones.
    crystals
        For each lattice its conventional basis, float64 (3, 3), rows in Angstrom in the laboratory frame.
    belongs_to
        int64 (n,), which of `crystals` a spot is of, -1 if it is spurious.
    """

    q: Floats
    intensity: Floats
    crystals: tuple[Floats, ...]
    belongs_to: NDArray[np.int64]

    @property
    def real_space_angstrom(self) -> Floats:
        """The basis of the first crystal."""
        return self.crystals[0]

    def __len__(self) -> int:
        return len(self.q)


def random_rotation(rng: np.random.Generator) -> Floats:
    """Return a rotation, uniform over all (from a uniform unit quaternion)."""
    w, x, y, z = rng.normal(size=4)
    s = 2.0 / (w * w + x * x + y * y + z * z)
    return np.array(
        [
            [1 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)],
            [s * (x * y + w * z), 1 - s * (x * x + z * z), s * (y * z - w * x)],
            [s * (x * z - w * y), s * (y * z + w * x), 1 - s * (x * x + y * y)],
        ]
    )


@lru_cache(maxsize=32)
def reflections(unit_cell: UnitCell, d_min: float) -> tuple[Floats, Floats]:
    """Return the indices of all reflections to `d_min` in the reduced primitive cell, and their 1/d^2.

    >>> hkl, square = reflections(cell(10, 10, 10, 90, 90, 90, "cubic", "I"), 7.0)
    >>> len(hkl), round(float(square[0]), 3)  # (1, 1, 0) and its like
    (12, 0.02)
    """
    basis = primitive(unit_cell).real_space_angstrom
    most = np.floor(np.linalg.norm(basis, axis=1) / d_min).astype(int)
    hkl = np.stack(np.meshgrid(*[np.arange(-m, m + 1, dtype=np.int16) for m in most], indexing="ij"), -1).reshape(-1, 3)
    square = ((hkl @ np.linalg.inv(basis).T) ** 2).sum(axis=1)
    inside = (square > 0) & (square < 1 / d_min**2)
    return hkl[inside].astype(np.float64), square[inside]


def simulate(  # noqa: PLR0913 - what is wrong with an experiment, each named where it is asked for
    unit_cell: UnitCell,
    rng: np.random.Generator,
    n_spots: int,
    spurious: float = 0.0,
    *,
    jitter_px: float = 0.3,
    cell_error: float = 0.005,
    shift_px: float = 0.5,
    offset_px: float = 0.0,
    distance_error: float = 0.0,
    profile_radius: float = 0.0015,
    bandwidth: float = 0.0,
    d_min: float = 2.0,
    setup: Setup = XRAYS,
) -> SpotList:
    """Return spots of one lattice near the Ewald sphere, the low-resolution ones likelier.

    Parameters
    ----------
    n_spots, spurious
        How many spots, and which part of them is spurious (fewer, if so many reflections are not near the sphere).
    jitter_px, shift_px
        Standard deviations of each spot's position, and of the detector's position, along x and y.
    offset_px
        The detector is off by just so much, in any direction, besides.
    cell_error, distance_error
        The true cell is larger or smaller than `unit_cell` by up to the former; the true distance is larger by the latter.
    profile_radius
        Reflections that lie so near to the Ewald sphere are seen, 1/Angstrom.
    bandwidth
        Standard deviation of the wavelength, relative. Each reflection is seen at the wavelength that fits it best,
        and the more so the more there is of it.
    """
    basis = primitive(unit_cell).real_space_angstrom
    scale = 1 + rng.uniform(-cell_error, cell_error)
    turn = scale * random_rotation(rng).T
    reciprocal = np.linalg.inv(basis @ turn).T
    hkl, square = reflections(unit_cell, d_min)
    square = square / scale**2
    k0 = 1 / setup.wavelength_angstrom
    gz = hkl @ reciprocal[:, 2]
    k = np.full(len(hkl), k0)
    weight = np.exp(-B_FACTOR_TERM * square)
    if bandwidth > 0:  # |g + k z| = k at k = -g^2 / 2 g_z
        with np.errstate(divide="ignore"):
            k = np.where(gz < 0, -square / (2 * gz), np.inf)
        k = np.clip(k, k0 * (1 - 2 * bandwidth), k0 * (1 + 2 * bandwidth))
        weight *= np.exp(-(((k / k0 - 1) / bandwidth) ** 2) / 2)
    # distance from the Ewald sphere: (|g + k|^2 - |k|^2) / 2 k, to first order
    near = np.flatnonzero(np.abs(square / (2 * k) + gz) < profile_radius)
    k_out = hkl[near] @ reciprocal
    k_out[:, 2] += k[near]
    near, k_out = near[k_out[:, 2] > 0], k_out[k_out[:, 2] > 0]
    strength = weight[near] * rng.exponential(size=near.size)
    n_bad = round(n_spots * spurious)
    n_good = min(n_spots - n_bad, near.size)
    chosen = np.argsort(-strength)[:n_good]
    xy = k_out[chosen, :2] / k_out[chosen, 2:] * setup.distance_m * (1 + distance_error) / setup.pixel_m
    xy = np.concatenate([xy + rng.normal(size=xy.shape) * jitter_px, _anywhere(rng, n_bad, setup, d_min)])
    good = strength[chosen]
    bad = rng.exponential(size=n_bad) * (np.quantile(good, 0.25) if n_good else 1.0)
    shift = rng.normal(size=2) * shift_px
    if offset_px:
        direction = rng.uniform(0, 2 * np.pi)
        shift += offset_px * np.array([np.cos(direction), np.sin(direction)])
    return SpotList(
        setup.q_of(xy + shift),
        np.concatenate([good, bad]),
        (unit_cell.real_space_angstrom @ turn,),
        np.repeat([0, -1], [n_good, n_bad]),
    )


def overlap(*lists: SpotList) -> SpotList:
    """Return the spots of several crystals in one pattern."""
    first = np.cumsum([0, *(len(one.crystals) for one in lists)])
    return SpotList(
        np.concatenate([one.q for one in lists]),
        np.concatenate([one.intensity for one in lists]),
        tuple(crystal for one in lists for crystal in one.crystals),
        np.concatenate(
            [np.where(one.belongs_to < 0, -1, one.belongs_to + k) for one, k in zip(lists, first, strict=False)]
        ),
    )


def noise(rng: np.random.Generator, n_spots: int, d_min: float = 2.0, setup: Setup = XRAYS) -> Floats:
    """Return q of spots evenly over the detector: no lattice at all."""
    return setup.q_of(_anywhere(rng, n_spots, setup, d_min))


def _anywhere(rng: np.random.Generator, n: int, setup: Setup, d_min: float) -> Floats:
    r = setup.radius_px(d_min) * np.sqrt(rng.uniform(0.002, 1, n))
    phi = rng.uniform(0, 2 * np.pi, n)
    return np.stack([r * np.cos(phi), r * np.sin(phi)], -1)
