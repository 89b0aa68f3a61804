"""Orientations from pairs of spots: two reciprocal vectors of the cell laid on two spots."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import carry, first_not_below, frame_of
from stages.compute.kernel import FAST, kernel
from stages.index._kernels.known.polish import consider
from stages.index._kernels.known.tuples import IS_SURE, N_HYPOTHESES, N_POLISHED, Cell, Found, Pattern, Room, Tables

Floats = NDArray[np.float64]


SEEDS = 60


@kernel(fastmath=FAST)
def likely(basis: Floats, sample: Floats) -> bool:
    """Wald's sequential test on a sample of spots: is this orientation worth polishing?

    A spot lies within 0.25 with probability 0.35 if the orientation is right, 0.125 if it is not; log likelihood ratios
    1.03 and -0.297. Rejected below -1.8, passed above 5, or at the end with at least one spot's worth.
    """
    evidence = 0.0
    for k in range(sample.shape[1]):
        x, y, z = sample[0, k], sample[1, k], sample[2, k]
        h0 = basis[0, 0] * x + basis[0, 1] * y + basis[0, 2] * z
        h1 = basis[1, 0] * x + basis[1, 1] * y + basis[1, 2] * z
        h2 = basis[2, 0] * x + basis[2, 1] * y + basis[2, 2] * z
        r0, r1, r2 = np.rint(h0), np.rint(h1), np.rint(h2)
        inside = abs(h0 - r0) < 0.25 and abs(h1 - r1) < 0.25 and abs(h2 - r2) < 0.25
        if inside and (r0 != 0.0 or r1 != 0.0 or r2 != 0.0):
            evidence += 1.03
            if evidence > 5.0:
                return True
        else:
            evidence -= 0.297
            if evidence < -1.8:
                return False
    return evidence >= 1.03


@kernel
def try_pairs(
    cell: Cell, tables: Tables, pattern: Pattern, max_hypotheses: int, max_polished: int, found: Found, room: Room
) -> None:
    """Lay pairs of reciprocal vectors on pairs of low-resolution spots; polish the orientations that seem likely.

    Pairs go by increasing i + j. Windows: 0.6 % of the length + 1.2 pixels; 0.012 rad + what 1.8 pixels make at the inner spot.
    """
    spots, length, px, state = pattern.spots, pattern.length, pattern.px, found.state
    table, table_length = tables.table, tables.table_length
    canonical, canonical_length = tables.canonical, tables.canonical_length
    trial, frame, lab = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3))
    p, r = np.empty(3), np.empty(3)
    u, v = np.empty(3), np.empty(3)
    left = max_hypotheses
    n_seeds = min(spots.shape[1], SEEDS)
    for total in range(1, 2 * n_seeds - 2):
        for i in range(max(0, total - n_seeds + 1), (total + 1) // 2):
            j = total - i
            for x in range(3):
                p[x], r[x] = spots[x, i] / length[i], spots[x, j] / length[j]
            angle_cosine = p[0] * r[0] + p[1] * r[1] + p[2] * r[2]
            if abs(angle_cosine) > 0.97:
                continue
            frame_of(p, r, lab)
            angle = np.arccos(angle_cosine)
            slack = 0.012 + 1.5 * 1.2 * px / length[i]
            high = min(0.99, np.cos(max(0.0, angle - slack)))
            low = max(-0.99, np.cos(min(np.pi, angle + slack)))
            i0 = first_not_below(canonical_length, length[i] * 0.994 - 1.2 * px)
            i1 = first_not_below(canonical_length, length[i] * 1.006 + 1.2 * px)
            j0 = first_not_below(table_length, length[j] * 0.994 - 1.2 * px)
            j1 = first_not_below(table_length, length[j] * 1.006 + 1.2 * px)
            for g in range(i0, i1):
                for x in range(3):
                    u[x] = canonical[x, g] / canonical_length[g]
                for k in range(j0, j1):
                    c = (u[0] * table[0, k] + u[1] * table[1, k] + u[2] * table[2, k]) / table_length[k]
                    if not (low < c < high):
                        continue
                    if left <= 0 or state[N_POLISHED] >= max_polished:
                        return
                    for x in range(3):
                        v[x] = table[x, k] / table_length[k]
                    frame_of(u, v, frame)
                    carry(cell.basis, frame, lab, trial)
                    left -= 1
                    state[N_HYPOTHESES] += 1
                    if likely(trial, pattern.sample):
                        before = state[IS_SURE]
                        consider(trial, cell.basis, pattern, found, room)
                        if state[IS_SURE] == 2:
                            return
                        if state[IS_SURE] > before:
                            left = min(left, 60)
