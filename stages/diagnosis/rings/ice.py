"""Whether rings are those of ice, and how far away the detector is then."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.diagnosis.rings.counted import Ring
from stages.prediction.powder_rings import ICE_ANGSTROM

Floats = NDArray[np.float64]

_ALIKE = 0.012
"""Rings are ice's if their spacings are its within this part."""
_FACTORS = np.linspace(0.94, 1.06, 121)
_CLEAR, _FEWEST_ALIKE = 0.005, 3
"""With a distance that is off all spacings are off by one factor; so many must be ice's to believe that."""

_DISTANCES = np.linspace(0.92, 1.08, 321)
"""Distances that are tried, as parts of the one that is given."""
_SAME = 0.0025
"""So near to ice's, relative, must radii be with the right distance; they are told to a tenth of that."""
_APART = 0.008
"""Distances that differ by more are two, and if both make ice of as many rings neither is believed."""
_BOTH_ICES = ICE_ANGSTROM[1]
_STRONGEST = frozenset((*ICE_ANGSTROM[:3], ICE_ANGSTROM[4]))
"""The ring that hexagonal and cubic ice both have, and the strongest of either; without those it is no ice."""
ICE_SPREAD = 0.001
"""By how much, relative, spacings of cold ice may differ from these: from 100 K to melting its axes grow by half a per cent
(Roettger et al. 1994, doi:10.1107/S0108768194004933)."""


def ice_among(rings: Sequence[Ring]) -> tuple[float, list[Ring]]:
    """Return by which factor spacings are off those of ice, and the rings that are ice's then."""
    plain = [ring for ring in rings if _is_ice(ring.d_angstrom, _ALIKE)]
    best, first = plain, math.nan
    for factor in _FACTORS:
        alike = [ring for ring in rings if _is_ice(ring.d_angstrom / factor, _CLEAR)]
        if len(alike) >= _FEWEST_ALIKE and len(alike) > len(best):
            best, first = alike, float(factor)
    if math.isnan(first):
        return 1.0, best
    return float(np.mean([ring.d_angstrom / _nearest_ice(ring.d_angstrom / first) for ring in best])), best


@dataclass(frozen=True)
class IceDistance:
    """How far away the detector is, in parts of the distance that is given, if rings are ice's.

    Attributes
    ----------
    factor, error
        The distance and its standard error, in which that of ice's spacings is contained.
    num_rings
        How many rings are ice's with it.
    """

    factor: float
    error: float
    num_rings: int


def distance_by_ice(tangents: Floats, covariance: Floats, wavelength_angstrom: float) -> IceDistance | None:
    """Return the distance that makes the rings ice's; None if none does, or more than one.

    Parameters
    ----------
    tangents, covariance
        Radii of K rings as parts of the distance that is given, (K,), and (K, K).

    >>> wide = lambda d: np.tan(2 * np.arcsin(1.24 / 2 / np.array(d)))
    >>> told = distance_by_ice(1.03 * wide([3.897, 3.669, 3.441]), 1e-10 * np.eye(3), 1.24)
    >>> round(told.factor, 4), round(told.error, 4), told.num_rings
    (1.03, 0.001, 3)
    >>> distance_by_ice(wide([3.26, 2.82, 1.99]), 1e-10 * np.eye(3), 1.24) is None
    True
    """
    ice = np.array([d for d in ICE_ANGSTROM if d > wavelength_angstrom / math.sqrt(2)])
    known = np.tan(2.0 * np.arcsin(wavelength_angstrom / 2.0 / ice))
    found: list[tuple[int, float, float]] = []
    for factor in _DISTANCES:
        nearest = np.argmin(np.abs(tangents[:, None] / (factor * known) - 1.0), axis=1)
        off = tangents / (factor * known[nearest]) - 1.0
        alike = np.abs(off) < _SAME
        if _may_be_ice([float(d) for d in ice[nearest[alike]]], len(tangents)):
            found.append((int(alike.sum()), float(np.mean(np.abs(off[alike]))), float(factor)))
    if not found:
        return None
    most = max(num for num, _, _ in found)
    rivals = [(off, factor) for num, off, factor in found if num == most]
    factor = min(rivals)[1]
    if any(abs(other - factor) > _APART for _, other in rivals):
        return None
    nearest = np.argmin(np.abs(tangents[:, None] / (factor * known) - 1.0), axis=1)
    on = np.flatnonzero(np.abs(tangents / (factor * known[nearest]) - 1.0) < _SAME)
    ratios, scale = tangents[on] / known[nearest[on]], 1.0 / known[nearest[on]]
    errors = np.sqrt(np.diag(covariance)[on]) * scale
    weights = 1.0 / (errors**2 + ICE_SPREAD**2)
    weights /= weights.sum()
    spread = float((weights * scale) @ covariance[np.ix_(on, on)] @ (weights * scale))
    return IceDistance(float(weights @ ratios), math.sqrt(spread + ICE_SPREAD**2), len(on))


def _may_be_ice(spacings: Sequence[float], num_rings: int) -> bool:
    """Whether it is ice if these of so many rings are at spacings of its."""
    of_ice = set(spacings)
    if _BOTH_ICES not in of_ice or len(of_ice & _STRONGEST) < 2 or 2 * len(of_ice) < num_rings:
        return False
    return len(of_ice) >= _FEWEST_ALIKE or (num_rings == 2 and of_ice <= _STRONGEST)


def _nearest_ice(d_angstrom: float) -> float:
    return min(ICE_ANGSTROM, key=lambda d: abs(d_angstrom / d - 1.0))


def _is_ice(d_angstrom: float, within: float) -> bool:
    return abs(d_angstrom / _nearest_ice(d_angstrom) - 1.0) <= within
