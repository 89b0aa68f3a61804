"""Frames without a crystal, whose peaks are centred on the beam: powder rings, ice, salt, lipid, and what is spread evenly.

Peaks are found on the rings of a powder wherever noise or a grain lifts a few pixels: at any azimuth, but all at one of a few
radii. What holds for one cell by chance holds for all of them then.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stages.simulation.spot_lists import XRAYS, Setup, noise

Floats = NDArray[np.float64]

ICE_ANGSTROM = (3.90, 3.67, 3.44, 2.67, 2.25, 2.07)
"""The strongest rings of hexagonal ice."""
SALT_ANGSTROM = (3.26, 2.82, 1.99, 1.70, 1.63, 1.41)
"""Those of sodium chloride."""


def rings(
    rng: np.random.Generator, n: int, d_angstrom: tuple[float, ...], width_px: float, setup: Setup = XRAYS
) -> Floats:
    """Return q, (n, 3), of peaks at random azimuths on rings; their radii have a standard deviation of `width_px`.

    >>> q = rings(np.random.default_rng(1), 3, (3.67,), 0.0)
    >>> (1 / np.linalg.norm(q, axis=1)).round(3)
    array([3.67, 3.67, 3.67])
    """
    radii = np.array([setup.radius_px(d) for d in d_angstrom])
    return _at(rng, rng.choice(radii, n) + width_px * rng.normal(size=n), setup)


def lipid(rng: np.random.Generator, n: int, setup: Setup = XRAYS) -> Floats:
    """Return q of peaks on the broad ring of a lipid's chains about 4.5 Angstrom, and on sharp ones of a mesophase."""
    chains = rng.uniform(size=n) < 0.6
    d = np.where(chains, rng.normal(4.5, 0.25, n), rng.choice([60.0, 42.4, 34.6], n))
    return _at(rng, np.array([setup.radius_px(x) for x in d]) + rng.normal(size=n), setup)


def around_the_beam(rng: np.random.Generator, n: int, setup: Setup = XRAYS) -> Floats:
    """Return q of peaks whose positions are normally distributed about the beam."""
    return _at(rng, setup.radius_px(4.0) * np.linalg.norm(rng.normal(size=(n, 2)), axis=1), setup)


def _at(rng: np.random.Generator, radius_px: Floats, setup: Setup) -> Floats:
    azimuth = rng.uniform(0, 2 * np.pi, radius_px.size)
    return setup.q_of(np.abs(radius_px)[:, None] * np.column_stack([np.cos(azimuth), np.sin(azimuth)]))


def _rings_over_spots(rng: np.random.Generator, n: int) -> Floats:
    return np.concatenate([rings(rng, max(n - 10, 0), ICE_ANGSTROM[:2], 1.0), noise(rng, min(n, 10))])


BLANKS: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "one ring": lambda rng, n: rings(rng, n, (3.67,), 1.0),
    "two rings": lambda rng, n: rings(rng, n, (3.67, 2.25), 1.0),
    "six rings": lambda rng, n: rings(rng, n, ICE_ANGSTROM, 1.0),
    "salt": lambda rng, n: rings(rng, n, SALT_ANGSTROM, 0.5),
    "lipid": lipid,
    "wide": lambda rng, n: rings(rng, n, (3.67,), 15.0),
    "uniform": noise,
    "Gaussian": around_the_beam,
    "rings over spots": _rings_over_spots,
}
"""Kinds of frames without a crystal: each a function of a random generator and a number of peaks, which returns q (n, 3)."""
