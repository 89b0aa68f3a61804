"""Which peaks belong to a crystal, and to which of its reflections."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.lattices.cell import Lattice
from stages.prediction._kernels import pair as kernel
from stages.prediction.centring import centering_code
from stages.prediction.panel_finder import PanelFinder
from stages.records.peaklist import PeakList


class Pairs(NamedTuple):
    """What each of n peaks would be if it belonged to the crystal.

    Attributes
    ----------
    hkl
        int32 (n, 3), nearest indices.
    excitation_error_per_angstrom
        float64, of that reflection; NaN where there is none.
    dfs, dss
        float64, predicted minus observed position in pixels.
    fraction
        float64, largest deviation of the peak's fractional indices from integers.
    paired
        bool, whether reflection and peak lie near enough to belong together.
    """

    hkl: NDArray[np.int32]
    excitation_error_per_angstrom: NDArray[np.float64]
    dfs: NDArray[np.float64]
    dss: NDArray[np.float64]
    fraction: NDArray[np.float64]
    paired: NDArray[np.bool_]


def pair_peaks(
    real_space_angstrom: NDArray[np.float64],
    lattice: Lattice,
    shift_m: tuple[float, float] | NDArray[np.float64],
    peaks: PeakList,
    finder: PanelFinder,
) -> Pairs:
    """Pair peaks and reflections: nearest indices, predicted nearer than a sixth of the shortest reciprocal vector."""
    n = len(peaks)
    hkl, numbers, paired = np.empty((n, 3), np.int32), np.empty((kernel.N_NUMBERS, n)), np.empty(n, np.bool_)
    kernel.pair(
        np.ascontiguousarray(real_space_angstrom, np.float64),
        centering_code(lattice),
        finder.wave_number,
        np.asarray(shift_m, np.float64),
        finder.panels,
        peaks.panel,
        peaks.fs,
        peaks.ss,
        hkl,
        numbers,
        paired,
    )
    error, dfs, dss, fraction = numbers
    return Pairs(hkl, error, dfs, dss, fraction, paired)
