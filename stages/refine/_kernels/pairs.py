"""Pairs of reflections and peaks: which are chosen, and whether they are the same as before."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel

Array = NDArray[Any]


class Observed(NamedTuple):
    """Pairs of reflections and peaks: int32 (n, 3) indices, and where the peaks are, panel, fs and ss, (n) each."""

    hkl: Array
    panel: Array
    fs: Array
    ss: Array


@kernel
def select(paired: Array, error: Array, dfs: Array, dss: Array, spread: float, floor: Array, chosen: Array) -> int:
    """Choose the pairs that agree with most of the others; return how many.

    Kept are those whose |excitation error| and whose distance on the detector are both at most `spread` times the median
    over all pairs, or at most `floor` (1/Angstrom, pixels).
    """
    n = 0
    for i in range(paired.size):
        n += 1 if paired[i] else 0
    chosen[:] = False
    if n == 0:
        return 0
    errors, distances = np.empty(n), np.empty(n)
    at = 0
    for i in range(paired.size):
        if paired[i]:
            errors[at] = abs(error[i])
            distances[at] = math.hypot(dfs[i], dss[i])
            at += 1
    largest_error = max(floor[0], spread * np.sort(errors)[n // 2])
    largest_distance = max(floor[1], spread * np.sort(distances)[n // 2])
    n = 0
    for i in range(paired.size):
        if paired[i] and abs(error[i]) <= largest_error and math.hypot(dfs[i], dss[i]) <= largest_distance:
            chosen[i] = True
            n += 1
    return n


@kernel
def gather(chosen: Array, observed: Observed) -> Observed:
    """Return the chosen pairs."""
    hkl, panel, fs, ss = observed.hkl, observed.panel, observed.fs, observed.ss
    n = 0
    for i in range(chosen.size):
        n += 1 if chosen[i] else 0
    hkl_out, panel_out = np.empty((n, 3), hkl.dtype), np.empty(n, panel.dtype)
    fs_out, ss_out = np.empty(n), np.empty(n)
    n = 0
    for i in range(chosen.size):
        if chosen[i]:
            hkl_out[n, 0], hkl_out[n, 1], hkl_out[n, 2] = hkl[i, 0], hkl[i, 1], hkl[i, 2]
            panel_out[n], fs_out[n], ss_out[n] = panel[i], fs[i], ss[i]
            n += 1
    return Observed(hkl_out, panel_out, fs_out, ss_out)


@kernel
def same_pairs(chosen: Array, hkl: Array, chosen_before: Array, hkl_before: Array) -> bool:
    """Say whether the same peaks are chosen with the same indices."""
    for i in range(chosen.size):
        if chosen[i] != chosen_before[i]:
            return False
        if chosen[i] and (
            hkl[i, 0] != hkl_before[i, 0] or hkl[i, 1] != hkl_before[i, 1] or hkl[i, 2] != hkl_before[i, 2]
        ):
            return False
    return True
