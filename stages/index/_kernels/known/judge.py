"""How significant a basis is: the probability that as many spots agree by chance, against the number of bases tried."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import invert, median
from stages.compute.kernel import kernel
from stages.index._kernels.known.polish import PRIOR
from stages.index._kernels.known.sharpen import SCALED, SHIFT_PX, SHIFTED, residuals
from stages.index._kernels.known.tuples import Cell, Pattern
from stages.index._kernels.spots import AT_025, N_COUNTS, THRESHOLDS

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


ACROSS = np.array([0.35, 0.5, 0.75, 1.1, 1.6, 2.4, 3.6])  # pixels
CERTAIN = 60.0  # a margin: nothing can be better
ALONG = np.array([4e-4, 8e-4, 1.6e-3, 3.2e-3, 6.4e-3])  # 1/Angstrom


@kernel
def judge(
    basis: Floats, shift: Floats, n_free: int, cell: Cell, pattern: Pattern, counts: Integers, verdict: Floats
) -> float:
    """How significant a basis is: return the largest S - lnN over all shapes; S, lnN and a residual go to `verdict`.

    A shape says how near a spot must be to its lattice point: misfit below t (as :func:`significance`), or within r across
    and l along the ray. The chance of a random spot is its volume times that of the cell: p = (2 t)^3, or V pi r^2 2 l. Of n
    spots m are near; S = n KL(m/n || p) (Chernoff). Against it stands lnN, the number of bases that can be told apart with
    that shape, steps being twice the tolerance: orientations, one angle about the ray and two that tilt it,

        N = 8 pi^2 / n_sym * (q_rms / 2 r) (q_rms / 2 l)^2,

    for each element of the strain, 0.5 % to either side, a factor 1 + 0.01 q_rms / 2 r (three of them act across the ray) or
    2 l (a scale is one element), and for each element of a shift of the detector 1 + 2 * 2 pixels / 2 r. `n_free` is that of
    :func:`sharpen`. The residual is that of the spots within 0.25 across the ray, in the middle, in pixels.
    """
    spots, px, q_rms = pattern.spots, pattern.px, pattern.q_rms
    n = spots.shape[1]
    inverse = np.empty((3, 3))
    verdict[0], verdict[1], verdict[2] = 0.0, 0.0, np.inf
    if invert(basis, inverse) == 0.0:
        return -np.inf
    across, along, worst = np.empty(n), np.empty(n), np.empty(n)
    residuals(basis, inverse, shift, spots, pattern.k0, across, along, worst)
    cells = np.zeros((ACROSS.size + 1, ALONG.size + 1), np.int64)
    for t in range(N_COUNTS):
        counts[t] = 0
    for k in range(n):
        for t in range(THRESHOLDS.size):
            counts[t] += worst[k] < THRESHOLDS[t]
        counts[AT_025] += worst[k] < 0.25
        if worst[k] < 0.5:
            i = j = 0
            while i < ACROSS.size and across[k] >= ACROSS[i] * px:
                i += 1
            while j < ALONG.size and along[k] >= ALONG[j]:
                j += 1
            cells[i, j] += 1
    m = 0
    for k in range(n):
        if worst[k] < 0.25:
            across[m] = across[k]
            m += 1
    if m > 0:
        verdict[2] = median(across[:m]) / px
    reach = pattern.reach_px if pattern.reach_px > 0.0 else (SHIFT_PX if n_free == SHIFTED else 0.0)
    strains = 1.0 if n_free == SCALED else 6.0
    all_turns = np.log(8.0 * np.pi**2 / cell.n_sym)
    best = -np.inf
    edge = cell.volume ** (1.0 / 3.0)
    for t in range(THRESHOLDS.size):
        p, tolerance = (2.0 * THRESHOLDS[t]) ** 3, 2.0 * THRESHOLDS[t] / edge
        f = counts[t] / n
        if f <= p:
            continue
        s = counts[t] * np.log(f / p)
        if counts[t] < n:
            s += (n - counts[t]) * np.log((1.0 - f) / (1.0 - p))
        trials = all_turns + 3.0 * np.log(max(1.0, q_rms / tolerance))
        trials += strains * np.log(1.0 + 2.0 * PRIOR * q_rms / tolerance)
        trials += 2.0 * np.log(1.0 + 2.0 * reach * px / tolerance)
        if s - trials > best:
            best = s - trials
            verdict[0], verdict[1] = s, trials
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
            f = m / n
            if f <= p:
                continue
            s = m * np.log(f / p)
            if m < n:
                s += (n - m) * np.log((1.0 - f) / (1.0 - p))
            trials = all_turns + np.log(max(1.0, q_rms / (2.0 * radius)))
            trials += 2.0 * np.log(max(1.0, q_rms / (2.0 * ALONG[j])))
            if strains == 1.0:
                trials += np.log(1.0 + PRIOR * q_rms / radius)
            else:
                trials += 3.0 * np.log(1.0 + PRIOR * q_rms / radius) + 3.0 * np.log(1.0 + PRIOR * q_rms / ALONG[j])
            trials += 2.0 * np.log(1.0 + reach * px / radius)
            if s - trials > best:
                best = s - trials
                verdict[0], verdict[1] = s, trials
    return best
