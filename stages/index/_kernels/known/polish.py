"""Polishing: an orientation that is nearly right becomes the basis that explains most spots, under the prior of the cell."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import align, copy, invert, same_lattice, solve_symmetric, turn
from stages.compute.kernel import FAST, kernel
from stages.index._kernels.known.tuples import ENOUGH, IS_SURE, MAX_SOLUTIONS, N_FOUND, N_POLISHED, Found, Pattern, Room
from stages.index._kernels.spots import AT_015, count, score_of_counts

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


SURE = 30.0
INDEX_SIGMA = 0.06
PRIOR = 0.005
# where the sums of `gather` begin: weights, h h^T (00, 01, 02, 11, 12, 22), h q^T (rows), q q^T (as h h^T)
WEIGHT, HH, HQ, QQ = 0, 1, 7, 16


@kernel(fastmath=FAST)
def gather(basis: Floats, spots: Floats, weights: Floats, n: int, tolerance: float, sums: Floats) -> None:
    """Sum over the spots with misfit below `tolerance`: their weight, h h^T (6), h q^T (9), q q^T (6), in `sums` (22)."""
    a0, a1, a2 = basis[0, 0], basis[0, 1], basis[0, 2]
    b0, b1, b2 = basis[1, 0], basis[1, 1], basis[1, 2]
    c0, c1, c2 = basis[2, 0], basis[2, 1], basis[2, 2]
    xs, ys, zs = spots[0, :n], spots[1, :n], spots[2, :n]
    m = 0.0
    h00 = h01 = h02 = h11 = h12 = h22 = 0.0
    g00 = g01 = g02 = g10 = g11 = g12 = g20 = g21 = g22 = 0.0
    q00 = q01 = q02 = q11 = q12 = q22 = 0.0
    for k in range(n):
        x, y, z = xs[k], ys[k], zs[k]
        f0 = a0 * x + a1 * y + a2 * z
        f1 = b0 * x + b1 * y + b2 * z
        f2 = c0 * x + c1 * y + c2 * z
        h0, h1, h2 = np.rint(f0), np.rint(f1), np.rint(f2)
        d = max(abs(f0 - h0), abs(f1 - h1), abs(f2 - h2))
        d = 1.0 if h0 * h0 + h1 * h1 + h2 * h2 == 0.0 else d
        w = weights[k] if d < tolerance else 0.0
        m += w
        w0, w1, w2 = w * h0, w * h1, w * h2
        h00 += w0 * h0
        h01 += w0 * h1
        h02 += w0 * h2
        h11 += w1 * h1
        h12 += w1 * h2
        h22 += w2 * h2
        g00 += w0 * x
        g01 += w0 * y
        g02 += w0 * z
        g10 += w1 * x
        g11 += w1 * y
        g12 += w1 * z
        g20 += w2 * x
        g21 += w2 * y
        g22 += w2 * z
        wx, wy, wz = w * x, w * y, w * z
        q00 += wx * x
        q01 += wx * y
        q02 += wx * z
        q11 += wy * y
        q12 += wy * z
        q22 += wz * z
    sums[WEIGHT] = m
    sums[HH], sums[HH + 1], sums[HH + 2], sums[HH + 3], sums[HH + 4], sums[HH + 5] = h00, h01, h02, h11, h12, h22
    sums[HQ], sums[HQ + 1], sums[HQ + 2] = g00, g01, g02
    sums[HQ + 3], sums[HQ + 4], sums[HQ + 5] = g10, g11, g12
    sums[HQ + 6], sums[HQ + 7], sums[HQ + 8] = g20, g21, g22
    sums[QQ], sums[QQ + 1], sums[QQ + 2], sums[QQ + 3], sums[QQ + 4], sums[QQ + 5] = q00, q01, q02, q11, q12, q22


@kernel
def step(basis: Floats, rigid: Floats, spots: Floats, weights: Floats, n: int, tolerance: float, room: Room) -> float:
    """One step of refinement; return the weight of the spots within `tolerance`. Below 4 nothing changes.

    With h = round(A q) of the spots within the tolerance, in turn:

    rotation of the target (`rigid`, rows T): p = T^-1 h should be q; to first order q - p = w x p, so that
    ``sum(|p|^2 1 - p p^T) w = sum p x q``;
    the basis itself, least squares in h with the turned target as the prior (0.5 % of each length, 0.06 for an index):
    ``a_i = (sum q q^T + L_i 1)^-1 (sum h_i q + L_i t_i)``, ``L_i = (0.06 / (0.005 |t_i|))^2``.
    """
    sums, scratch = room.sums, room.scratch
    gather(basis, spots, weights, n, tolerance, sums)
    if sums[WEIGHT] < 4.0:
        return float(sums[WEIGHT])
    inverse, product = scratch[0], scratch[1]
    if invert(rigid, inverse) == 0.0:
        return 0.0
    for i in range(3):
        for j in range(3):  # sum p q^T = T^-1 (sum h q^T)
            product[i, j] = (
                inverse[i, 0] * sums[HQ + j] + inverse[i, 1] * sums[HQ + 3 + j] + inverse[i, 2] * sums[HQ + 6 + j]
            )
    tx, ty, tz = product[1, 2] - product[2, 1], product[2, 0] - product[0, 2], product[0, 1] - product[1, 0]
    s1, s2, s3, s4, s5, s6 = sums[HH], sums[HH + 1], sums[HH + 2], sums[HH + 3], sums[HH + 4], sums[HH + 5]
    for i in range(3):  # sum p p^T = T^-1 (sum h h^T) T^-T; first the left product
        i0, i1, i2 = inverse[i, 0], inverse[i, 1], inverse[i, 2]
        product[i, 0] = i0 * s1 + i1 * s2 + i2 * s3
        product[i, 1] = i0 * s2 + i1 * s4 + i2 * s5
        product[i, 2] = i0 * s3 + i1 * s5 + i2 * s6
    xx = product[0, 0] * inverse[0, 0] + product[0, 1] * inverse[0, 1] + product[0, 2] * inverse[0, 2]
    yy = product[1, 0] * inverse[1, 0] + product[1, 1] * inverse[1, 1] + product[1, 2] * inverse[1, 2]
    zz = product[2, 0] * inverse[2, 0] + product[2, 1] * inverse[2, 1] + product[2, 2] * inverse[2, 2]
    xy = product[0, 0] * inverse[1, 0] + product[0, 1] * inverse[1, 1] + product[0, 2] * inverse[1, 2]
    xz = product[0, 0] * inverse[2, 0] + product[0, 1] * inverse[2, 1] + product[0, 2] * inverse[2, 2]
    yz = product[1, 0] * inverse[2, 0] + product[1, 1] * inverse[2, 1] + product[1, 2] * inverse[2, 2]
    ridge = 1e-4 * (xx + yy + zz)  # spots in one row leave the turn about it open: then do not turn
    wx, wy, wz = solve_symmetric(yy + zz + ridge, -xy, -xz, xx + zz + ridge, -yz, xx + yy + ridge, tx, ty, tz)
    if not (wx * wx + wy * wy + wz * wz < 0.04):
        return 0.0
    turn(rigid, wx, wy, wz)
    for i in range(3):
        t0, t1, t2 = rigid[i, 0], rigid[i, 1], rigid[i, 2]
        weight = (INDEX_SIGMA / PRIOR) ** 2 / (t0 * t0 + t1 * t1 + t2 * t2)
        basis[i, 0], basis[i, 1], basis[i, 2] = solve_symmetric(
            sums[QQ] + weight,
            sums[QQ + 1],
            sums[QQ + 2],
            sums[QQ + 3] + weight,
            sums[QQ + 4],
            sums[QQ + 5] + weight,
            sums[HQ + 3 * i] + weight * t0,
            sums[HQ + 3 * i + 1] + weight * t1,
            sums[HQ + 3 * i + 2] + weight * t2,
        )
    return float(sums[WEIGHT])


@kernel
def polish(basis: Floats, target: Floats, pattern: Pattern, counts: Integers, room: Room) -> float:
    """Refine a basis that is nearly right, from low resolution outwards; return its S on all spots, 0 if it fails.

    Sets of spots grow by half, two steps each (0.3, 0.25); it fails if fewer than 0.2 of a set, or 4, are explained. Then
    0.2, 0.15, 0.12 on the whole subset, and, if that is not all spots, 0.2, 0.2, 0.15, 0.15, 0.12 on all, with the target
    turned onto the basis once more.
    """
    subset, spots, ones = pattern.subset, pattern.spots, pattern.ones
    rigid = room.scratch[2]
    copy(basis, rigid)
    n_subset, n = subset.shape[1], spots.shape[1]
    m = min(pattern.n_start, n_subset)
    while True:
        for tolerance in (0.3, 0.25):
            if step(basis, rigid, subset, ones, m, tolerance, room) < max(4.0, 0.2 * m):
                return 0.0
        if m == n_subset:
            break
        m = min(n_subset, m + m // 2 + 1)
    for tolerance in (0.2, 0.15, 0.12):
        step(basis, rigid, subset, ones, n_subset, tolerance, room)
    if n > n_subset:
        align(target, basis, rigid, room.scratch)
        for tolerance in (0.2, 0.2, 0.15, 0.15, 0.12):
            step(basis, rigid, spots, ones, n, tolerance, room)
    count(basis, spots, n, counts)
    return score_of_counts(counts, n)


@kernel
def consider(trial: Floats, target: Floats, pattern: Pattern, found: Found, room: Room) -> None:
    """Polish an orientation that has not been polished before, put it on the list, and note there if it is sure.

    Sure is S >= lnN + 30 with half of the spots within 0.15; IS_SURE is 2 if they are so many, ENOUGH per cent, that no
    other lattice need be looked for.
    """
    state, inverse = found.state, found.inverse
    n_found = state[N_FOUND]
    if n_found == MAX_SOLUTIONS:
        return
    for i in range(n_found):
        if same_lattice(trial, inverse[i], 0.02):
            return
    state[N_POLISHED] += 1
    counts = found.counts[n_found]
    score = polish(trial, target, pattern, counts, room)
    if score <= 0.0 or invert(trial, inverse[n_found]) == 0.0:
        return
    copy(trial, found.basis[n_found])
    found.score[n_found] = score
    state[N_FOUND] = n_found + 1
    n = pattern.spots.shape[1]
    if score >= pattern.log_trials + SURE and counts[AT_015] >= 0.5 * n:
        state[IS_SURE] = max(state[IS_SURE], 2 if 100 * counts[AT_015] >= state[ENOUGH] * n else 1)
