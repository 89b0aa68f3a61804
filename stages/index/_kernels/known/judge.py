"""How significant a basis is: the probability that as many spots agree by chance, against the number of bases tried."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import invert
from stages.compute.kernel import kernel
from stages.index._kernels.known.polish import PRIOR
from stages.index._kernels.known.residuals import Residuals, residuals, room_for_residuals, typical
from stages.index._kernels.known.sharpen import SCALED, SHIFT_PX, SHIFTED
from stages.index._kernels.known.tuples import NO_VERDICT, Cell, Pattern, Verdict
from stages.index._kernels.spots import AT_015, AT_020, AT_025, N_COUNTS, THRESHOLDS, chernoff

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


ACROSS = np.array([0.35, 0.5, 0.75, 1.1, 1.6, 2.4, 3.6])  # pixels
CERTAIN = 60.0  # a margin: nothing can be better
ALONG = np.array([4e-4, 8e-4, 1.6e-3, 3.2e-3, 6.4e-3])  # 1/Angstrom


class Freedom(NamedTuple):
    """What may differ between two bases, when those are counted that can be told apart.

    Attributes
    ----------
    turns
        ln(8 pi^2 / n_sym), of all orientations.
    strains
        How many elements of the strain are free: 1 or 6.
    reach
        How far a shift of the detector may go, in 1/Angstrom; 0 if there is none.
    q_rms
        The root mean square of the spots' |q|.
    """

    turns: float
    strains: float
    reach: float
    q_rms: float


@kernel
def judge(basis: Floats, shift: Floats, n_free: int, cell: Cell, pattern: Pattern) -> Verdict:
    """How significant a basis is: the largest S - lnN over all shapes of tolerance.

    A shape says how near a spot must be to its lattice point: a cube, misfit below t, or a cylinder, within r across and l
    along the ray. The chance of a random spot is its volume times that of the cell: p = (2 t)^3, or V pi r^2 2 l. Of n spots
    m are near; S = n KL(m/n || p) (:func:`chernoff`). Against it stands lnN, the number of bases that can be told apart with
    that shape, steps being twice the tolerance: orientations, one angle about the ray and two that tilt it,

        N = 8 pi^2 / n_sym * (q_rms / 2 r) (q_rms / 2 l)^2,

    for each element of the strain, 0.5 % to either side, a factor 1 + 0.01 q_rms / 2 r (three of them act across the ray) or
    2 l (a scale is one element), and for each element of a shift of the detector 1 + 2 * 2 pixels / 2 r. `n_free` is that of
    :func:`sharpen`.
    """
    px, n = pattern.px, pattern.spots.shape[1]
    inverse = np.empty((3, 3))
    if invert(basis, inverse) == 0.0:
        return NO_VERDICT
    off = room_for_residuals(n)
    residuals(basis, inverse, shift, pattern.spots, pattern.k0, off)
    counts, cells = np.zeros(N_COUNTS, np.int64), np.zeros((ACROSS.size + 1, ALONG.size + 1), np.int64)
    tally(off, px, counts, cells)
    reach = pattern.reach_px if pattern.reach_px > 0.0 else (SHIFT_PX if n_free == SHIFTED else 0.0)
    freedom = Freedom(np.log(8.0 * np.pi**2 / cell.n_sym), 1.0 if n_free == SCALED else 6.0, reach * px, pattern.q_rms)
    score, trials = best_cube(counts, n, cell.volume ** (1.0 / 3.0), freedom)
    other_score, other_trials = best_cylinder(cells, n, cell, px, freedom)
    if other_score - other_trials > score - trials:
        score, trials = other_score, other_trials
    is_any = score > -np.inf
    return Verdict(
        score - trials,
        score if is_any else 0.0,
        trials if is_any else 0.0,
        typical(off.across, off.misfit)[0] / px,
        float(counts[AT_015]),
        float(counts[AT_020]),
        float(counts[AT_025]),
        pattern.moved_x + shift[0],
        pattern.moved_y + shift[1],
    )


@kernel
def tally(off: Residuals, px: float, counts: Integers, cells: Integers) -> None:
    """Add the spots to the counts: within each threshold, and in each cell between two of ACROSS and two of ALONG."""
    for k in range(off.misfit.size):
        misfit = off.misfit[k]
        for t in range(THRESHOLDS.size):
            counts[t] += misfit < THRESHOLDS[t]
        counts[AT_025] += misfit < 0.25
        if misfit < 0.5:
            i = j = 0
            while i < ACROSS.size and off.across[k] >= ACROSS[i] * px:
                i += 1
            while j < ALONG.size and off.along[k] >= ALONG[j]:
                j += 1
            cells[i, j] += 1


@kernel
def best_cube(counts: Integers, n: int, edge: float, freedom: Freedom) -> tuple[float, float]:
    """Return S and lnN of the cube of indices with the largest margin, S minus infinity if there is none."""
    best, score, trials = -np.inf, -np.inf, 0.0
    for t in range(THRESHOLDS.size):
        s = chernoff(counts[t], n, (2.0 * THRESHOLDS[t]) ** 3)
        if s == -np.inf:
            continue
        tolerance = 2.0 * THRESHOLDS[t] / edge
        tried = freedom.turns + 3.0 * np.log(max(1.0, freedom.q_rms / tolerance))
        tried += freedom.strains * np.log(1.0 + 2.0 * PRIOR * freedom.q_rms / tolerance)
        tried += 2.0 * np.log(1.0 + 2.0 * freedom.reach / tolerance)
        if s - tried > best:
            best, score, trials = s - tried, s, tried
    return score, trials


@kernel
def best_cylinder(cells: Integers, n: int, cell: Cell, px: float, freedom: Freedom) -> tuple[float, float]:
    """Return S and lnN of the cylinder along the ray with the largest margin, S minus infinity if there is none."""
    best, score, trials = -np.inf, -np.inf, 0.0
    for j in range(ALONG.size):
        if ALONG[j] * cell.longest > 0.5:
            break
        for i in range(ACROSS.size):
            radius = ACROSS[i] * px
            p = cell.volume * np.pi * radius**2 * 2.0 * ALONG[j]
            if p > 0.3 or radius * cell.longest > 0.5:
                break
            m = 0
            for a in range(i + 1):
                for b in range(j + 1):
                    m += cells[a, b]
            s = chernoff(m, n, p)
            if s == -np.inf:
                continue
            tried = freedom.turns + np.log(max(1.0, freedom.q_rms / (2.0 * radius)))
            tried += 2.0 * np.log(max(1.0, freedom.q_rms / (2.0 * ALONG[j])))
            across = np.log(1.0 + PRIOR * freedom.q_rms / radius)
            if freedom.strains == 1.0:
                tried += across
            else:
                tried += 3.0 * across + 3.0 * np.log(1.0 + PRIOR * freedom.q_rms / ALONG[j])
            tried += 2.0 * np.log(1.0 + freedom.reach / radius)
            if s - tried > best:
                best, score, trials = s - tried, s, tried
    return score, trials
