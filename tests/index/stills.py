"""Simulated spot lists for the tests of indexing: stills of one lattice, with jitter and spurious spots; and real ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from stages.geometry import HC_EV_ANGSTROM, DetGeom, Panel
from stages.lattice import Lattice, UnitCell
from stages.peaklist import PeakList

PIXEL_M, DISTANCE_M, WAVELENGTH_ANGSTROM = 75e-6, 0.12, 1.24


def cell(a, b, c, al, be, ga, *lattice) -> UnitCell:
    return UnitCell(a, b, c, math.radians(al), math.radians(be), math.radians(ga), Lattice(*lattice))


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
ALLOWED = {
    "P": lambda h, k, l: np.isfinite(h),  # noqa: E741
    "R": lambda h, k, l: np.isfinite(h),  # noqa: E741
    "A": lambda h, k, l: (k + l) % 2 == 0,  # noqa: E741
    "B": lambda h, k, l: (h + l) % 2 == 0,  # noqa: E741
    "C": lambda h, k, l: (h + k) % 2 == 0,  # noqa: E741
    "I": lambda h, k, l: (h + k + l) % 2 == 0,  # noqa: E741
    "F": lambda h, k, l: ((h + k) % 2 == 0) & ((k + l) % 2 == 0),  # noqa: E741
    "H": lambda h, k, l: (-h + k + l) % 3 == 0,  # noqa: E741
}


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """A rotation, uniform over all (from a uniform unit quaternion)."""
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
def reflections(unit_cell: UnitCell, d_min: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices of all reflections to d_min that the centring allows, and 1/d^2."""
    most = np.floor(np.linalg.norm(unit_cell.real_space_angstrom, axis=1) / d_min).astype(int)
    hkl = np.stack(np.meshgrid(*[np.arange(-m, m + 1, dtype=np.int16) for m in most], indexing="ij"), -1).reshape(-1, 3)
    hkl = hkl[ALLOWED[unit_cell.lattice.centering](*hkl.T)].astype(float)
    square = ((hkl @ np.linalg.inv(unit_cell.real_space_angstrom).T) ** 2).sum(axis=1)
    inside = (square > 0) & (square < 1 / d_min**2)
    return hkl[inside], square[inside]


@dataclass(frozen=True)
class Still:
    q: np.ndarray
    real_space_angstrom: np.ndarray


def simulate(
    unit_cell: UnitCell,
    rng: np.random.Generator,
    n_spots: int,
    spurious: float = 0.0,
    *,
    jitter_px: float = 0.3,
    cell_error: float = 0.005,
    shift_px: float = 0.5,
    profile_radius: float = 0.0015,
    d_min: float = 2.0,
) -> Still:
    """Spots of one lattice near the Ewald sphere, the low-resolution ones likelier, as seen on a flat detector.

    The true cell is larger or smaller than `unit_cell` by up to `cell_error`; the detector is not where it is believed to be
    by `shift_px`, nor each spot by `jitter_px` (standard deviations). Of the `n_spots` a part is spurious.
    """
    scale = 1 + rng.uniform(-cell_error, cell_error)
    real = scale * unit_cell.real_space_angstrom @ random_rotation(rng).T
    reciprocal = np.linalg.inv(real).T
    k0 = 1 / WAVELENGTH_ANGSTROM
    hkl, square = reflections(unit_cell, d_min)
    # distance from the Ewald sphere: (|g + k0|^2 - |k0|^2) / 2 k0, to first order
    excitation = np.abs(square / scale**2 / (2 * k0) + hkl @ reciprocal[:, 2])
    near = np.flatnonzero(excitation < profile_radius)
    k_out = hkl[near] @ reciprocal + np.array([0, 0, k0])
    near, k_out = near[k_out[:, 2] > 0], k_out[k_out[:, 2] > 0]
    length = np.sqrt(square[near])
    weight = np.exp(-10 * length**2) * rng.exponential(size=near.size)
    n_bad = round(n_spots * spurious)
    n_good = min(n_spots - n_bad, near.size)
    chosen = np.argsort(-weight)[:n_good]
    xy = k_out[chosen, :2] / k_out[chosen, 2:] * DISTANCE_M / PIXEL_M
    r_max = math.tan(2 * math.asin(WAVELENGTH_ANGSTROM / 2 / d_min)) * DISTANCE_M / PIXEL_M
    r = r_max * np.sqrt(rng.uniform(0.002, 1, n_bad))
    phi = rng.uniform(0, 2 * np.pi, n_bad)
    bad = np.stack([r * np.cos(phi), r * np.sin(phi)], -1)
    xy = np.concatenate([xy + rng.normal(size=xy.shape) * jitter_px, bad]) + rng.normal(size=2) * shift_px
    return Still(q_of_pixels(xy), real)


def q_of_pixels(xy: np.ndarray) -> np.ndarray:
    lab = np.column_stack([xy * PIXEL_M, np.full(len(xy), DISTANCE_M)])
    return (lab / np.linalg.norm(lab, axis=1)[:, None] - [0, 0, 1]) / WAVELENGTH_ANGSTROM


def noise(rng: np.random.Generator, n: int, d_min: float = 2.0) -> np.ndarray:
    r_max = math.tan(2 * math.asin(WAVELENGTH_ANGSTROM / 2 / d_min)) * DISTANCE_M / PIXEL_M
    r = r_max * np.sqrt(rng.uniform(0.002, 1, n))
    phi = rng.uniform(0, 2 * np.pi, n)
    return q_of_pixels(np.stack([r * np.cos(phi), r * np.sin(phi)], -1))


def as_peaks(q: np.ndarray, wavelength_angstrom: float = WAVELENGTH_ANGSTROM) -> tuple[PeakList, DetGeom]:
    """Put any q list on one virtual flat panel: only a spot's direction matters."""
    size = 4000
    k_out = q * wavelength_angstrom + [0, 0, 1]
    xy = k_out[:, :2] / k_out[:, 2:] * DISTANCE_M / PIXEL_M + size / 2
    panel = Panel("virtual", max_fs=size - 1, max_ss=size - 1)
    geom = DetGeom(
        (panel,),
        np.array([[-size / 2 * PIXEL_M, -size / 2 * PIXEL_M, DISTANCE_M]]),
        np.array([[PIXEL_M, 0, 0]]),
        np.array([[0, PIXEL_M, 0]]),
        HC_EV_ANGSTROM / wavelength_angstrom,
        np.array([DISTANCE_M]),
        (np.zeros((1, 1), np.uint8),),
    )
    n = len(q)
    return PeakList.make(np.zeros(n), xy[:, 0], xy[:, 1], np.full(n, 100.0)), geom
