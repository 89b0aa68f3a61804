"""Spots as the searches for lattices use them: sorted, without doubles, and counted by how near a lattice point they are."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import FAST, kernel

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


THRESHOLDS = np.array([0.05, 0.075, 0.1, 0.125, 0.15, 0.2])
AT_015, AT_020, AT_025 = 4, 5, 6  # places in the counts
N_COUNTS = 7
MIN_SPOTS = 6


@kernel
def prepare(q: Floats, shortest: float, merge: float, spots: Floats) -> int:
    """Sort spots by |q|, drop beam artefacts, doubles and what is not finite; fill (3, n) `spots`, return their number.

    Beam artefacts lie below 0.85 of the shortest reciprocal vector; a spot within `merge` of an earlier one is its double.
    """
    n = q.shape[0]
    length = np.empty(n)
    for k in range(n):
        length[k] = np.sqrt(q[k, 0] ** 2 + q[k, 1] ** 2 + q[k, 2] ** 2)
    order = np.argsort(length)
    kept = 0
    lowest = 0.85 * shortest
    for k in order:
        r = length[k]
        if not (r >= lowest and r < np.inf):
            continue
        double = False
        i = kept - 1
        while i >= 0 and not double:
            dx, dy, dz = q[k, 0] - spots[0, i], q[k, 1] - spots[1, i], q[k, 2] - spots[2, i]
            if r - np.sqrt(spots[0, i] ** 2 + spots[1, i] ** 2 + spots[2, i] ** 2) > merge:
                break
            double = dx * dx + dy * dy + dz * dz < merge * merge
            i -= 1
        if not double:
            spots[0, kept], spots[1, kept], spots[2, kept] = q[k, 0], q[k, 1], q[k, 2]
            kept += 1
    return kept


@kernel(fastmath=FAST)
def count(basis: Floats, spots: Floats, n: int, counts: Integers) -> None:
    """Count the spots whose misfit is below each threshold, and below 0.25."""
    a0, a1, a2 = basis[0, 0], basis[0, 1], basis[0, 2]
    b0, b1, b2 = basis[1, 0], basis[1, 1], basis[1, 2]
    c0, c1, c2 = basis[2, 0], basis[2, 1], basis[2, 2]
    x, y, z = spots[0, :n], spots[1, :n], spots[2, :n]
    n0 = n1 = n2 = n3 = n4 = n5 = n6 = 0
    for k in range(n):
        h0 = a0 * x[k] + a1 * y[k] + a2 * z[k]
        h1 = b0 * x[k] + b1 * y[k] + b2 * z[k]
        h2 = c0 * x[k] + c1 * y[k] + c2 * z[k]
        r0, r1, r2 = np.rint(h0), np.rint(h1), np.rint(h2)
        d = max(abs(h0 - r0), abs(h1 - r1), abs(h2 - r2))
        d = 1.0 if r0 * r0 + r1 * r1 + r2 * r2 == 0.0 else d
        n0 += d < 0.05
        n1 += d < 0.075
        n2 += d < 0.1
        n3 += d < 0.125
        n4 += d < 0.15
        n5 += d < 0.2
        n6 += d < 0.25
    counts[0], counts[1], counts[2], counts[3], counts[4], counts[5], counts[6] = n0, n1, n2, n3, n4, n5, n6


@kernel
def chernoff(m: int, n: int, p: float) -> float:
    """Return n KL(m/n || p) in nats, minus infinity if m of n is not more than p.

    By Chernoff's bound the probability that m or more of n spots are near a lattice point, each with the probability p, is at
    most exp(-n KL).
    """
    f = m / n
    if f <= p:
        return -np.inf
    s = m * np.log(f / p)
    if m < n:
        s += (n - m) * np.log((1.0 - f) / (1.0 - p))
    return float(s)


@kernel
def score_of_counts(counts: Integers, n: int) -> float:
    """Return S = max over thresholds t of n KL(m/n || (2t)^3), at least 0: how unlikely the counts are by chance, in nats."""
    best = 0.0
    for t in range(THRESHOLDS.size):
        best = max(best, chernoff(counts[t], n, (2.0 * THRESHOLDS[t]) ** 3))
    return best


@kernel
def pixel_and_distance(fs_m: Floats, origin_m: Floats) -> tuple[float, float]:
    """Return the mean size of a pixel and the mean distance of the panels along the beam, of (P, 3) steps and corners."""
    n = fs_m.shape[0]
    pixel = distance = 0.0
    for k in range(n):
        pixel += np.sqrt(fs_m[k, 0] ** 2 + fs_m[k, 1] ** 2 + fs_m[k, 2] ** 2)
        distance += abs(origin_m[k, 2])
    return pixel / n, distance / n
