"""How much of a reflection a still has recorded, told by the intensities themselves.

A still cuts through a reciprocal lattice point at the distance e (excitation error) from its middle, and records
p = exp(-e^2 / 2 s^2) of what it would record in the middle. Nothing but intensities is needed to find the width s: the
reflections that a crystal shows at some e are on the average as strong as those at any other, so that the mean of e^2 weighted
with intensity, compared with the farthest e, says how fast p falls. (As a model this is the Gaussian of CrystFEL's
xsphere, White et al. 2016, doi:10.1107/S1600576716004751; there s follows from the positions of the peaks.)
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

LEAST = 0.1
"""What is recorded by less than this is not merged."""

FARTHEST = 0.02
"""Excitation error in 1/Angstrom beyond which nothing in a still has been recorded: such intensities obey another model."""

FEWEST = 30
"""A crystal with fewer reflections does not tell the width."""

_WIDTHS = np.geomspace(0.15, 3.0, 200)
_X = np.linspace(0.0, 1.0, 401)
_SHAPE = np.exp(-0.5 * (_X / _WIDTHS[:, None]) ** 2)
_MEAN_SQUARE = (_SHAPE * _X**2).sum(axis=1) / _SHAPE.sum(axis=1)


def width_of(error: NDArray[np.float64], intensity: NDArray[np.float64]) -> float:
    """Estimate s in 1/Angstrom from one crystal; NaN if it does not tell, infinity if p falls nowhere.

    >>> error = np.linspace(-5e-4, 5e-4, 1001)
    >>> round(width_of(error, np.exp(-0.5 * (error / 2e-4) ** 2)), 6), width_of(error, np.ones(1001))
    (0.0002, inf)
    """
    total = float(intensity.sum())
    farthest = float(np.abs(error).max()) if len(error) else 0.0
    if len(error) < FEWEST or not (total > 0.0 and 0.0 < farthest <= FARTHEST):
        return math.nan
    mean_square = float((intensity * error * error).sum()) / total / farthest**2
    if not mean_square < _MEAN_SQUARE[-1]:
        return math.inf
    return farthest * float(np.interp(mean_square, _MEAN_SQUARE, _WIDTHS))


def partiality(error: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Return p of each reflection; 1 where the width or the excitation error is not known."""
    if not 0.0 < width < math.inf:
        return np.ones(len(error))
    p = np.exp(-0.5 * (error / width) ** 2)
    return np.asarray(np.where(np.isfinite(p), p, 1.0))
