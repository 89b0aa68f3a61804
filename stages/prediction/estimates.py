"""What the peaks tell of a crystal: its profile radius, and how far it diffracts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stages.prediction._kernels import estimates as kernel
from stages.prediction.pairing import Pairs, pair_peaks
from stages.prediction.panel_finder import PanelFinder
from stages.records.crystal import Crystal
from stages.records.peaklist import PeakList

DEFAULT_PROFILE_RADIUS = kernel.DEFAULT_PROFILE_RADIUS
"""1/Angstrom: with what CrystFEL goes on where the radius cannot be determined (0.02 nm^-1)."""

FEWEST_PAIRS = kernel.FEWEST_PAIRS
"""With fewer pairs of peaks and reflections nothing is estimated."""


def profile_radius(crystal: Crystal, peaks: PeakList, finder: PanelFinder) -> float:
    """Estimate the profile radius from the peaks, in 1/Angstrom: DEFAULT_PROFILE_RADIUS if fewer than three are paired.

    See :func:`radius_of_errors`.
    """
    pairs = pair_peaks(crystal.real_space_angstrom, crystal.lattice, crystal.det_shift_m, peaks, finder)
    return radius_of_pairs(pairs)


def radius_of_pairs(pairs: Pairs) -> float:
    """Return the profile radius that pairs of peaks and reflections show; see :func:`radius_of_errors`."""
    return float(kernel.radius_of_errors(pairs.excitation_error_per_angstrom, pairs.paired))


def radius_of_errors(error_per_angstrom: NDArray[np.float64]) -> float:
    """Return the standard deviation of excitation errors, 1/Angstrom: DEFAULT_PROFILE_RADIUS if there are fewer than three.

    That is what a profile radius is in the xsphere model (White et al. 2016, doi:10.1107/S1600576716004751): the partiality
    exp(-e^2 / 2 R^2) is a Gaussian of the excitation error. CrystFEL has it from an order statistic, the 98th percentile of
    those errors that do not exceed 1.5 medians, which for normally distributed ones is 0.983 standard deviations. This is
    the root mean square of all but chance pairs, which needs half as many pairs to be as sure. Chance pairs are what is
    beyond the cut 2.5 S, where S, their standard deviation if they are normally distributed, comes from the same errors:

        S^2 = mean of those e^2 with |e| <= 2.5 S, divided by what a normal distribution cut off there has for S = 1.

    Both sides grow with S, so that repeating it from the S that the median gives comes to an end. The result is that mean's
    root without the division: few spots that show a twentieth of themselves are found as peaks, and what is missing beyond
    the cut is missing for that reason too. Nothing but the crystal's own pairs counts, neither other frames nor their order.

    >>> e = 2.5e-4 * np.random.default_rng(0).standard_normal(500)
    >>> chance = np.linspace(0.002, 0.01, 100)
    >>> f"{radius_of_errors(e):.2e} {radius_of_errors(np.concatenate([e, chance])):.2e}"
    '2.33e-04 2.33e-04'
    """
    errors = np.ascontiguousarray(error_per_angstrom, np.float64)
    return float(kernel.radius_of_errors(errors, np.ones(len(errors), np.bool_)))


def resolution_limit(crystal: Crystal, peaks: PeakList, finder: PanelFinder) -> float:
    """Estimate 1/d (1/Angstrom) to which the crystal diffracts: 0 if fewer than three peaks belong to it.

    Peaks whose fractional indices are all within 0.25 of integers belong to it; their 1/d is sorted and a fiftieth of them,
    but two at least, set aside as outliers; the next is the limit. As CrystFEL's diffraction_resolution_limit.
    """
    pairs = pair_peaks(crystal.real_space_angstrom, crystal.lattice, crystal.det_shift_m, peaks, finder)
    return limit_of_pairs(pairs, crystal)


def limit_of_pairs(pairs: Pairs, crystal: Crystal) -> float:
    """Return the 1/d in 1/Angstrom to which a crystal diffracts as its peaks tell; see :func:`resolution_limit`."""
    real = np.ascontiguousarray(crystal.real_space_angstrom, np.float64)
    return float(kernel.limit_of_pairs(real, pairs.hkl, pairs.fraction))
