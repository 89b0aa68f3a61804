"""What the peaks tell of a crystal: its profile radius, and how far it diffracts."""

from __future__ import annotations

import numpy as np

from stages.prediction.pairing import Pairs, pair_peaks
from stages.prediction.panel_finder import PanelFinder
from stages.records.crystal import Crystal
from stages.records.peaklist import PeakList

DEFAULT_PROFILE_RADIUS = 0.002
"""1/Angstrom: with what CrystFEL goes on where the radius cannot be determined (0.02 nm^-1)."""

OUTLIER_SPREAD = 5.0
"""Pairs whose excitation error exceeds so many medians are chance pairs, and do not count for the profile radius."""

FEWEST_PAIRS = 3
"""With fewer pairs of peaks and reflections nothing is estimated."""


def profile_radius(crystal: Crystal, peaks: PeakList, finder: PanelFinder) -> float:
    """Estimate the profile radius from the peaks, in 1/Angstrom: DEFAULT_PROFILE_RADIUS if fewer than three are paired.

    The 98th percentile of |excitation error| over the paired peaks, those left out that exceed OUTLIER_SPREAD medians: chance
    pairs, whose errors are far larger, would otherwise set the radius. (CrystFEL leaves out what exceeds 1.5
    medians; for errors distributed normally its percentile is then about one standard deviation.)
    """
    pairs = pair_peaks(crystal.real_space_angstrom, crystal.lattice, crystal.det_shift_m, peaks, finder)
    return radius_of_pairs(pairs)


def radius_of_pairs(pairs: Pairs) -> float:
    """Return the profile radius that pairs of peaks and reflections show; see :func:`profile_radius`."""
    errors = np.abs(pairs.excitation_error_per_angstrom[pairs.paired])
    errors.sort()
    if len(errors) < FEWEST_PAIRS:
        return DEFAULT_PROFILE_RADIUS
    n = int(errors.searchsorted(OUTLIER_SPREAD * errors[len(errors) // 2], side="right"))
    radius = float(errors[n - 1 - n // 50])
    return radius if radius > 0.0 else DEFAULT_PROFILE_RADIUS


def resolution_limit(crystal: Crystal, peaks: PeakList, finder: PanelFinder) -> float:
    """Estimate 1/d (1/Angstrom) to which the crystal diffracts: 0 if fewer than three peaks belong to it.

    Peaks whose fractional indices are all within 0.25 of integers belong to it; their 1/d is sorted and a fiftieth of them,
    but two at least, set aside as outliers; the next is the limit. As CrystFEL's diffraction_resolution_limit.
    """
    pairs = pair_peaks(crystal.real_space_angstrom, crystal.lattice, crystal.det_shift_m, peaks, finder)
    near = pairs.fraction < 0.25
    q = np.sort(np.linalg.norm(pairs.hkl[near] @ crystal.reciprocal_per_angstrom, axis=1))
    n = len(q)
    return float(q[n - 1 - max(2, n // 50)]) if n >= FEWEST_PAIRS else 0.0
