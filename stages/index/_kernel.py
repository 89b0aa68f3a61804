"""Known-cell indexing on plain arrays: the search for the orientation that explains one pattern's spots.

One file, and above 400 lines, because numba's cache watches only the file of the outer function: all callees stand here.

Units and names: q in 1/Angstrom (without 2 pi), spots as (3, n) arrays sorted by |q|. A basis holds a, b, c of the primitive
reduced cell in its rows, so that the indices of a spot are ``h = A q``; its misfit is ``d = max |h - round(h)|`` over the
three indices, and 1 if it rounds to (0, 0, 0), which is never an explanation.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.int64]

FAST = {"reassoc", "contract", "nsz", "arcp"}  # no "nnan": what is not a number must not count as agreement
THRESHOLDS = np.array([0.05, 0.075, 0.1, 0.125, 0.15, 0.2])
AT_015, AT_020, AT_025 = 4, 5, 6  # places in the counts
N_COUNTS = 7
MAX_SOLUTIONS = 320
MAX_SUBSET = 150
MIN_SPOTS = 6
SURE = 30.0
SEEDS = 60
SAMPLE = 40
MAX_STEPS = 2048
CAPPED = 0.09
INDEX_SIGMA = 0.06
PRIOR = 0.005
SHIFT_PX = 2.0
STRAIN_WEIGHT = 0.25  # residuals of a quarter of the squared scale, on the average, are what the priors weigh against
ACROSS = np.array([0.35, 0.5, 0.75, 1.1, 1.6, 2.4, 3.6])  # pixels
ALONG = np.array([4e-4, 8e-4, 1.6e-3, 3.2e-3, 6.4e-3])  # 1/Angstrom
SCALED, STRAINED, SHIFTED = 4, 9, 11  # what may change in sharpen(): turn and scale, turn and strain, a shift as well
FEW_CONTENDERS, CONTENDERS = 8, 16
# elements of a change of basis: one lattice refined twice; a lattice turned back; one that tells against the best
ALIKE, TURNED, APART = 0.012, 0.05, 0.15
LARGE_ANGSTROM, LARGE_MAX_SPOTS = 200.0, 40  # above, and below: pairs are tried at length
HOPE, CLEAR, CERTAIN = 3.0, 25.0, 60.0  # margins: below it is noise; a search may stop; nothing can be better
# places in the state of a search
N_FOUND, N_HYPOTHESES, N_POLISHED, IS_SURE, ENOUGH, N_STATE = range(6)
# places in the report
SCORE, LOG_TRIALS, GAP, SPOTS, EXPLAINED_015, EXPLAINED_020, EXPLAINED_025, HYPOTHESES, POLISHED, SPREAD, N_REPORT = (
    range(11)
)


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
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


@njit(cache=True, nogil=True, error_model="numpy")
def significance(counts: Integers, n: int) -> float:
    """Return S = max over thresholds t of n KL(m/n || (2t)^3): how unlikely the counts are by chance, in nats.

    By Chernoff's bound the probability that m or more of n random spots fall below t is at most exp(-S).
    """
    best = 0.0
    for t in range(THRESHOLDS.size):
        p = (2.0 * THRESHOLDS[t]) ** 3
        m = counts[t]
        f = m / n
        if f > p:
            s = m * np.log(f / p)
            if m < n:
                s += (n - m) * np.log((1.0 - f) / (1.0 - p))
            best = max(best, s)
    return best


@njit(cache=True, nogil=True, error_model="numpy")
def invert(m: Floats, out: Floats) -> float:
    """Invert a 3x3 matrix; return its determinant (0: `out` is not touched)."""
    c00 = m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1]
    c01 = m[1, 2] * m[2, 0] - m[1, 0] * m[2, 2]
    c02 = m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0]
    det = m[0, 0] * c00 + m[0, 1] * c01 + m[0, 2] * c02
    if det == 0.0:
        return 0.0
    s = 1.0 / det
    o01 = (m[0, 2] * m[2, 1] - m[0, 1] * m[2, 2]) * s
    o02 = (m[0, 1] * m[1, 2] - m[0, 2] * m[1, 1]) * s
    o11 = (m[0, 0] * m[2, 2] - m[0, 2] * m[2, 0]) * s
    o12 = (m[0, 2] * m[1, 0] - m[0, 0] * m[1, 2]) * s
    o21 = (m[0, 1] * m[2, 0] - m[0, 0] * m[2, 1]) * s
    o22 = (m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]) * s
    out[0, 0], out[1, 0], out[2, 0] = c00 * s, c01 * s, c02 * s
    out[0, 1], out[0, 2] = o01, o02
    out[1, 1], out[1, 2], out[2, 1], out[2, 2] = o11, o12, o21, o22
    return float(det)


@njit(cache=True, nogil=True, error_model="numpy")
def copy(source: Floats, to: Floats) -> None:
    """Copy a 3x3 matrix (an assignment of slices takes numba seconds to compile)."""
    for i in range(3):
        for j in range(3):
            to[i, j] = source[i, j]


@njit(cache=True, nogil=True, error_model="numpy")
def solve_symmetric(
    xx: float, xy: float, xz: float, yy: float, yz: float, zz: float, b0: float, b1: float, b2: float
) -> tuple[float, float, float]:
    """Solve a symmetric positive definite 3x3 system by cofactors."""
    c0 = yy * zz - yz * yz
    c1 = xz * yz - xy * zz
    c2 = xy * yz - xz * yy
    det = xx * c0 + xy * c1 + xz * c2
    if det == 0.0:
        return 0.0, 0.0, 0.0
    s = 1.0 / det
    c3 = xx * zz - xz * xz
    c4 = xy * xz - xx * yz
    c5 = xx * yy - xy * xy
    return (c0 * b0 + c1 * b1 + c2 * b2) * s, (c1 * b0 + c3 * b1 + c4 * b2) * s, (c2 * b0 + c4 * b1 + c5 * b2) * s


@njit(cache=True, nogil=True, error_model="numpy")
def turn(basis: Floats, wx: float, wy: float, wz: float) -> None:
    """Turn the rows of a basis by a rotation vector (Rodrigues)."""
    angle = np.sqrt(wx * wx + wy * wy + wz * wz)
    if angle < 1e-12:
        return
    ux, uy, uz = wx / angle, wy / angle, wz / angle
    c, s = np.cos(angle), np.sin(angle)
    for i in range(3):
        x, y, z = basis[i, 0], basis[i, 1], basis[i, 2]
        along = (ux * x + uy * y + uz * z) * (1.0 - c)
        basis[i, 0] = x * c + (uy * z - uz * y) * s + ux * along
        basis[i, 1] = y * c + (uz * x - ux * z) * s + uy * along
        basis[i, 2] = z * c + (ux * y - uy * x) * s + uz * along


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
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
    sums[0] = m
    sums[1], sums[2], sums[3], sums[4], sums[5], sums[6] = h00, h01, h02, h11, h12, h22
    sums[7], sums[8], sums[9] = g00, g01, g02
    sums[10], sums[11], sums[12] = g10, g11, g12
    sums[13], sums[14], sums[15] = g20, g21, g22
    sums[16], sums[17], sums[18], sums[19], sums[20], sums[21] = q00, q01, q02, q11, q12, q22


@njit(cache=True, nogil=True, error_model="numpy")
def step(
    basis: Floats,
    rigid: Floats,
    spots: Floats,
    weights: Floats,
    n: int,
    tolerance: float,
    sums: Floats,
    scratch: Floats,
) -> float:
    """One step of refinement; return the weight of the spots within `tolerance`. Below 4 nothing changes.

    With h = round(A q) of the spots within the tolerance, in turn:

    rotation of the target (`rigid`, rows T): p = T^-1 h should be q; to first order q - p = w x p, so that
    ``sum(|p|^2 1 - p p^T) w = sum p x q``;
    the basis itself, least squares in h with the turned target as the prior (0.5 % of each length, 0.06 for an index):
    ``a_i = (sum q q^T + L_i 1)^-1 (sum h_i q + L_i t_i)``, ``L_i = (0.06 / (0.005 |t_i|))^2``.
    """
    gather(basis, spots, weights, n, tolerance, sums)
    if sums[0] < 4.0:
        return float(sums[0])
    inverse, product = scratch[0], scratch[1]
    if invert(rigid, inverse) == 0.0:
        return 0.0
    for i in range(3):
        for j in range(3):  # sum p q^T = T^-1 (sum h q^T)
            product[i, j] = inverse[i, 0] * sums[7 + j] + inverse[i, 1] * sums[10 + j] + inverse[i, 2] * sums[13 + j]
    tx, ty, tz = product[1, 2] - product[2, 1], product[2, 0] - product[0, 2], product[0, 1] - product[1, 0]
    s1, s2, s3, s4, s5, s6 = sums[1], sums[2], sums[3], sums[4], sums[5], sums[6]
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
            sums[16] + weight,
            sums[17],
            sums[18],
            sums[19] + weight,
            sums[20],
            sums[21] + weight,
            sums[7 + 3 * i] + weight * t0,
            sums[8 + 3 * i] + weight * t1,
            sums[9 + 3 * i] + weight * t2,
        )
    return float(sums[0])


@njit(cache=True, nogil=True, error_model="numpy")
def align(target: Floats, basis: Floats, rigid: Floats, scratch: Floats) -> None:
    """Turn the target onto a basis: `rigid` becomes target R^T, R the orthogonal factor of target^-1 basis.

    Newton's iteration X <- (X + X^-T) / 2 for the polar decomposition (Higham, 1986, https://doi.org/10.1137/0907079).
    """
    inverse, x = scratch[0], scratch[1]
    if invert(target, inverse) == 0.0:
        return
    for i in range(3):
        for j in range(3):
            x[i, j] = inverse[i, 0] * basis[0, j] + inverse[i, 1] * basis[1, j] + inverse[i, 2] * basis[2, j]
    for _ in range(12):
        if invert(x, inverse) == 0.0:
            return
        change = 0.0
        for i in range(3):
            for j in range(3):
                new = 0.5 * (x[i, j] + inverse[j, i])
                change = max(change, abs(new - x[i, j]))
                x[i, j] = new
        if change < 1e-12:
            break
    for i in range(3):
        for j in range(3):
            rigid[i, j] = target[i, 0] * x[0, j] + target[i, 1] * x[1, j] + target[i, 2] * x[2, j]


@njit(cache=True, nogil=True, error_model="numpy")
def polish(
    basis: Floats,
    target: Floats,
    subset: Floats,
    n_start: int,
    spots: Floats,
    ones: Floats,
    counts: Integers,
    sums: Floats,
    scratch: Floats,
) -> float:
    """Refine a basis that is nearly right, from low resolution outwards; return its S on all spots, 0 if it fails.

    Sets of spots grow by half, two steps each (0.3, 0.25); it fails if fewer than 0.2 of a set, or 4, are explained. Then
    0.2, 0.15, 0.12 on the whole subset, and, if that is not all spots, 0.2, 0.2, 0.15, 0.15, 0.12 on all, with the target
    turned onto the basis once more.
    """
    rigid = scratch[2]
    copy(basis, rigid)
    n_subset, n = subset.shape[1], spots.shape[1]
    m = min(n_start, n_subset)
    phase = 0
    while phase < 10:
        on = subset
        if phase < 2:
            tolerance = 0.3 if phase == 0 else 0.25
        elif phase < 5:
            m = n_subset
            tolerance = 0.2 if phase == 2 else (0.15 if phase == 3 else 0.12)
        else:
            if phase == 5:
                if n == n_subset:
                    break
                align(target, basis, rigid, scratch)
            on = spots
            m = n
            tolerance = 0.2 if phase < 7 else (0.15 if phase < 9 else 0.12)
        explained = step(basis, rigid, on, ones, m, tolerance, sums, scratch)
        if phase < 2 and explained < max(4.0, 0.2 * m):
            return 0.0
        phase += 1
        if phase == 2 and m < n_subset:
            m = min(n_subset, m + m // 2 + 1)
            phase = 0
    count(basis, spots, n, counts)
    return significance(counts, n)


@njit(cache=True, nogil=True, error_model="numpy")
def same_lattice(a: Floats, b_inverse: Floats, within: float) -> bool:
    """Whether two bases span one lattice: a b^-1 is within `within` of an integer matrix of determinant 1 or -1."""
    m = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            v = a[i, 0] * b_inverse[0, j] + a[i, 1] * b_inverse[1, j] + a[i, 2] * b_inverse[2, j]
            m[i, j] = np.rint(v)
            if not (abs(v - m[i, j]) < within):
                return False
    det = (
        m[0, 0] * (m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1])
        - m[0, 1] * (m[1, 0] * m[2, 2] - m[1, 2] * m[2, 0])
        + m[0, 2] * (m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0])
    )
    return bool(abs(det) == 1.0)


@njit(cache=True, nogil=True, error_model="numpy")
def consider(
    trial: Floats,
    target: Floats,
    subset: Floats,
    n_start: int,
    spots: Floats,
    ones: Floats,
    log_trials: float,
    found: Floats,
    found_inverse: Floats,
    found_score: Floats,
    found_counts: Integers,
    state: Integers,
    sums: Floats,
    scratch: Floats,
) -> None:
    """Polish an orientation that has not been polished before, put it on the list, and note in `state` if it is sure.

    Sure is S >= lnN + 30 with half of the spots within 0.15; IS_SURE is 2 if they are so many, ENOUGH per cent, that no
    other lattice need be looked for.
    """
    n_found = state[N_FOUND]
    if n_found == MAX_SOLUTIONS:
        return
    for i in range(n_found):
        if same_lattice(trial, found_inverse[i], 0.02):
            return
    state[N_POLISHED] += 1
    counts = found_counts[n_found]
    score = polish(trial, target, subset, n_start, spots, ones, counts, sums, scratch)
    if score <= 0.0 or invert(trial, found_inverse[n_found]) == 0.0:
        return
    copy(trial, found[n_found])
    found_score[n_found] = score
    state[N_FOUND] = n_found + 1
    n = spots.shape[1]
    if score >= log_trials + SURE and counts[AT_015] >= 0.5 * n:
        state[IS_SURE] = max(state[IS_SURE], 2 if 100 * counts[AT_015] >= state[ENOUGH] * n else 1)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
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


@njit(cache=True, nogil=True, error_model="numpy")
def frame_of(u: Floats, v: Floats, frame: Floats) -> None:
    """Orthonormal rows: u + v, u - v, and their cross product, for unit vectors u and v."""
    for i in range(3):
        frame[0, i] = u[i] + v[i]
        frame[1, i] = u[i] - v[i]
    for r in range(2):
        s = 1.0 / np.sqrt(frame[r, 0] ** 2 + frame[r, 1] ** 2 + frame[r, 2] ** 2)
        for i in range(3):
            frame[r, i] *= s
    frame[2, 0] = frame[0, 1] * frame[1, 2] - frame[0, 2] * frame[1, 1]
    frame[2, 1] = frame[0, 2] * frame[1, 0] - frame[0, 0] * frame[1, 2]
    frame[2, 2] = frame[0, 0] * frame[1, 1] - frame[0, 1] * frame[1, 0]


@njit(cache=True, nogil=True, error_model="numpy")
def carry(target: Floats, frame: Floats, lab: Floats, basis: Floats) -> None:
    """Turn the target's rows by the rotation that takes `frame` to `lab` (both orthonormal rows)."""
    for i in range(3):
        t0, t1, t2 = target[i, 0], target[i, 1], target[i, 2]
        c0 = frame[0, 0] * t0 + frame[0, 1] * t1 + frame[0, 2] * t2
        c1 = frame[1, 0] * t0 + frame[1, 1] * t1 + frame[1, 2] * t2
        c2 = frame[2, 0] * t0 + frame[2, 1] * t1 + frame[2, 2] * t2
        for j in range(3):
            basis[i, j] = c0 * lab[0, j] + c1 * lab[1, j] + c2 * lab[2, j]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def scan(directions: Singles, spots: Floats, chosen: Integers, length: float, scores: Singles) -> None:
    """Score every direction u: sum over spots of min(d^2, 0.09), d the distance of length (u.q) from an integer."""
    for start in range(0, directions.shape[1], 512):
        dx, dy, dz = (
            directions[0, start : start + 512],
            directions[1, start : start + 512],
            directions[2, start : start + 512],
        )
        out = scores[start : start + 512]
        for i in range(out.size):
            out[i] = np.float32(0.0)
        k = 0
        while k + 2 <= chosen.size:
            i, j = chosen[k], chosen[k + 1]
            x0, y0, z0 = (
                np.float32(length * spots[0, i]),
                np.float32(length * spots[1, i]),
                np.float32(length * spots[2, i]),
            )
            x1, y1, z1 = (
                np.float32(length * spots[0, j]),
                np.float32(length * spots[1, j]),
                np.float32(length * spots[2, j]),
            )
            for i in range(out.size):
                t = x0 * dx[i] + y0 * dy[i] + z0 * dz[i]
                u = x1 * dx[i] + y1 * dy[i] + z1 * dz[i]
                t -= np.rint(t)
                u -= np.rint(u)
                out[i] += min(t * t, np.float32(CAPPED)) + min(u * u, np.float32(CAPPED))
            k += 2
        if k < chosen.size:
            i = chosen[k]
            x0, y0, z0 = (
                np.float32(length * spots[0, i]),
                np.float32(length * spots[1, i]),
                np.float32(length * spots[2, i]),
            )
            for i in range(out.size):
                t = x0 * dx[i] + y0 * dy[i] + z0 * dz[i]
                t -= np.rint(t)
                out[i] += min(t * t, np.float32(CAPPED))


@njit(cache=True, nogil=True, error_model="numpy")
def lowest(scores: Singles, n: int, places: Integers, values: Singles) -> int:
    """Fill `places` with the indices of the lowest scores, best first."""
    size = places.size
    have = 0
    for i in range(n):
        s = scores[i]
        if have == size and not (s < values[size - 1]):
            continue
        j = have if have < size else size - 1
        while j > 0 and values[j - 1] > s:
            values[j], places[j] = values[j - 1], places[j - 1]
            j -= 1
        values[j], places[j] = s, i
        have = min(size, have + 1)
    return have


@njit(cache=True, nogil=True, error_model="numpy")
def fit_vector(v: Floats, spots: Floats, chosen: Integers, length: float) -> int:
    """Trimmed least squares of one lattice vector, with a prior of 2 % of its length; return its inliers within 0.1."""
    v0, v1, v2 = v[0], v[1], v[2]
    weight = (INDEX_SIGMA / (0.02 * length)) ** 2
    for tolerance in (0.3, 0.25, 0.2, 0.15, 0.15):
        xx = yy = zz = weight
        xy = xz = yz = 0.0
        b0, b1, b2 = weight * v0, weight * v1, weight * v2
        for c in range(chosen.size):
            k = chosen[c]
            x, y, z = spots[0, k], spots[1, k], spots[2, k]
            f = v[0] * x + v[1] * y + v[2] * z
            h = np.rint(f)
            if abs(f - h) < tolerance:
                xx += x * x
                yy += y * y
                zz += z * z
                xy += x * y
                xz += x * z
                yz += y * z
                b0 += h * x
                b1 += h * y
                b2 += h * z
        v[0], v[1], v[2] = solve_symmetric(xx, xy, xz, yy, yz, zz, b0, b1, b2)
    m = 0
    for c in range(chosen.size):
        k = chosen[c]
        f = v[0] * spots[0, k] + v[1] * spots[1, k] + v[2] * spots[2, k]
        m += abs(f - np.rint(f)) < 0.1
    return m


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def turns(
    target: Floats,
    axis: int,
    v: Floats,
    spots: Floats,
    cosine: Singles,
    sine: Singles,
    scores: Singles,
    lab: Floats,
    frame: Floats,
    inliers: Integers,
) -> int:
    """Score turns of the target about the vector v, onto which its row `axis` is laid; return the number of turns.

    Only spots within 0.2 of v's planes count, and of those the ones where a tilt of 0.015 rad still matters less than 0.3 of
    an index. Step k is the angle 2 pi k / steps; `lab` and `frame` become the frames to :func:`carry` between.
    """
    one, two = (axis + 1) % 3, (axis + 2) % 3
    length = np.sqrt(target[axis, 0] ** 2 + target[axis, 1] ** 2 + target[axis, 2] ** 2)
    size = np.sqrt(v[0] ** 2 + v[1] ** 2 + v[2] ** 2)
    # frame: third row along the axis, first row along the part of the next axis that is across it
    for i in range(3):
        frame[2, i] = target[axis, i] / length
        lab[2, i] = v[i] / size
    b3 = target[one, 0] * frame[2, 0] + target[one, 1] * frame[2, 1] + target[one, 2] * frame[2, 2]
    c3 = target[two, 0] * frame[2, 0] + target[two, 1] * frame[2, 1] + target[two, 2] * frame[2, 2]
    b1 = 0.0
    for i in range(3):
        frame[0, i] = target[one, i] - b3 * frame[2, i]
        b1 += frame[0, i] ** 2
    b1 = np.sqrt(b1)
    for i in range(3):
        frame[0, i] /= b1
    flat = 0
    for i in range(3):
        if abs(lab[2, i]) < abs(lab[2, flat]):
            flat = i
    size = np.sqrt(1.0 - lab[2, flat] ** 2)
    for i in range(3):
        lab[0, i] = ((1.0 if i == flat else 0.0) - lab[2, flat] * lab[2, i]) / size
    for f in (frame, lab):
        f[1, 0] = f[2, 1] * f[0, 2] - f[2, 2] * f[0, 1]
        f[1, 1] = f[2, 2] * f[0, 0] - f[2, 0] * f[0, 2]
        f[1, 2] = f[2, 0] * f[0, 1] - f[2, 1] * f[0, 0]
    c1 = target[two, 0] * frame[0, 0] + target[two, 1] * frame[0, 1] + target[two, 2] * frame[0, 2]
    c2 = target[two, 0] * frame[1, 0] + target[two, 1] * frame[1, 1] + target[two, 2] * frame[1, 2]
    across = max(b1, np.sqrt(c1 * c1 + c2 * c2))
    limit = 0.3 / (0.015 * across)
    m = 0
    q_max = 0.0
    for k in range(spots.shape[1]):
        x, y, z = spots[0, k], spots[1, k], spots[2, k]
        r = np.sqrt(x * x + y * y + z * z)
        if r > limit and m >= 20:
            break
        f = v[0] * x + v[1] * y + v[2] * z
        if abs(f - np.rint(f)) < 0.2:
            inliers[m] = k
            m += 1
            q_max = max(q_max, r)
    wanted = 2.0 * np.pi * across * q_max / 0.3
    steps = 64
    while steps < wanted and steps < MAX_STEPS:
        steps *= 2
    stride = MAX_STEPS // steps
    out = scores[:steps]
    co, si = cosine[::stride], sine[::stride]
    for i in range(steps):
        out[i] = np.float32(0.0)
    for c in range(m):
        k = inliers[c]
        x = lab[0, 0] * spots[0, k] + lab[0, 1] * spots[1, k] + lab[0, 2] * spots[2, k]
        y = lab[1, 0] * spots[0, k] + lab[1, 1] * spots[1, k] + lab[1, 2] * spots[2, k]
        z = lab[2, 0] * spots[0, k] + lab[2, 1] * spots[1, k] + lab[2, 2] * spots[2, k]
        bz, bx, by = np.float32(b3 * z), np.float32(b1 * x), np.float32(b1 * y)
        cz, cx, cy = np.float32(c3 * z), np.float32(c1 * x + c2 * y), np.float32(c1 * y - c2 * x)
        for i in range(steps):
            t = bz + co[i] * bx + si[i] * by
            u = cz + co[i] * cx + si[i] * cy
            t -= np.rint(t)
            u -= np.rint(u)
            out[i] += min(max(t * t, u * u), np.float32(CAPPED))
    return steps


@njit(cache=True, nogil=True, error_model="numpy")
def spread(basis: Floats, spots: Floats, ones: Floats, sums: Floats) -> float:
    """How well the explained spots fix the orientation: 0 if they lie in one row through the origin, up to 1.

    The smallest eigenvalue of sum(|q|^2 1 - q q^T) over the spots within 0.2, as a fraction of the mean one.
    """
    gather(basis, spots, ones, spots.shape[1], 0.2, sums)
    trace = sums[16] + sums[19] + sums[21]
    if not (trace > 0.0):
        return 0.0
    m = np.empty((3, 3))
    m[0, 0], m[1, 1], m[2, 2] = trace - sums[16], trace - sums[19], trace - sums[21]
    m[0, 1], m[0, 2], m[1, 2] = -sums[17], -sums[18], -sums[20]
    # smallest eigenvalue of a symmetric 3x3 matrix (Smith, 1961, https://doi.org/10.1145/355578.366316)
    mean = (m[0, 0] + m[1, 1] + m[2, 2]) / 3.0
    p = (m[0, 0] - mean) ** 2 + (m[1, 1] - mean) ** 2 + (m[2, 2] - mean) ** 2
    p = np.sqrt((p + 2.0 * (m[0, 1] ** 2 + m[0, 2] ** 2 + m[1, 2] ** 2)) / 6.0)
    if p == 0.0:
        return 1.0
    for i in range(3):
        m[i, i] -= mean
    det = (
        m[0, 0] * (m[1, 1] * m[2, 2] - m[1, 2] ** 2)
        - m[0, 1] * (m[0, 1] * m[2, 2] - m[1, 2] * m[0, 2])
        + m[0, 2] * (m[0, 1] * m[1, 2] - m[1, 1] * m[0, 2])
    )
    r = min(1.0, max(-1.0, det / (2.0 * p**3)))
    angle = np.arccos(r) / 3.0
    return float(max(0.0, (mean + 2.0 * p * np.cos(angle + 2.0 * np.pi / 3.0)) / mean))


@njit(cache=True, nogil=True, error_model="numpy")
def apply(matrix: Floats, basis: Floats, to: Floats) -> None:
    """Matrix product of 3x3 matrices: another basis of the same lattice."""
    for i in range(3):
        for j in range(3):
            to[i, j] = matrix[i, 0] * basis[0, j] + matrix[i, 1] * basis[1, j] + matrix[i, 2] * basis[2, j]


@njit(cache=True, nogil=True, error_model="numpy")
def settle(
    basis: Floats, target: Floats, variants: Floats, spots: Floats, ones: Floats, sums: Floats, scratch: Floats
) -> int:
    """Among the bases of one lattice that are nearly the target's, take the one that fits best; return which it is.

    `variants` are the unimodular matrices that lead there, the identity first. The cost of each is that of :func:`step`, in
    units of sigma^2: how far the cell is from the target, and the spots that the first basis explains from its lattice.
    """
    n = spots.shape[1]
    explained = np.empty(n, np.bool_)
    for k in range(n):
        worst = 0.0
        for i in range(3):
            f = basis[i, 0] * spots[0, k] + basis[i, 1] * spots[1, k] + basis[i, 2] * spots[2, k]
            worst = max(worst, abs(f - np.rint(f)))
        explained[k] = worst < 0.15
    best = np.inf
    chosen = 0
    result = np.empty((3, 3))
    trial, rigid = np.empty((3, 3)), np.empty((3, 3))
    for v in range(variants.shape[0]):
        apply(variants[v], basis, trial)
        align(target, trial, rigid, scratch)
        for tolerance in (0.2, 0.15, 0.15, 0.12):
            step(trial, rigid, spots, ones, n, tolerance, sums, scratch)
        cost = 0.0
        for i in range(3):
            length = rigid[i, 0] ** 2 + rigid[i, 1] ** 2 + rigid[i, 2] ** 2
            for j in range(3):
                cost += (trial[i, j] - rigid[i, j]) ** 2 / (PRIOR * PRIOR * length)
        for k in range(n):
            if explained[k]:
                for i in range(3):
                    f = trial[i, 0] * spots[0, k] + trial[i, 1] * spots[1, k] + trial[i, 2] * spots[2, k]
                    cost += ((f - np.rint(f)) / INDEX_SIGMA) ** 2
        if cost < best:
            best = cost
            chosen = v
            copy(trial, result)
    if chosen > 0:
        copy(result, basis)
    return chosen


@njit(cache=True, nogil=True, error_model="numpy")
def median(values: Floats) -> float:
    """The middle one of the values (of an even number, the upper of the two)."""
    return float(values[np.argsort(values)[values.size // 2]])


@njit(cache=True, nogil=True, error_model="numpy")
def cholesky_solve(m: Floats, b: Floats, n: int) -> bool:
    """Solve a symmetric positive definite n x n system in place (its lower triangle is read); False if it is not."""
    for i in range(n):
        for j in range(i + 1):
            v = m[i, j]
            for k in range(j):
                v -= m[i, k] * m[j, k]
            if i == j:
                if not (v > 0.0):
                    return False
                m[i, i] = np.sqrt(v)
            else:
                m[i, j] = v / m[j, j]
    for i in range(n):
        v = b[i]
        for k in range(i):
            v -= m[i, k] * b[k]
        b[i] = v / m[i, i]
    for i in range(n - 1, -1, -1):
        v = b[i]
        for k in range(i + 1, n):
            v -= m[k, i] * b[k]
        b[i] = v / m[i, i]
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def residuals(
    basis: Floats,
    inverse: Floats,
    shift: Floats,
    spots: Floats,
    k0: float,
    across: Floats,
    along: Floats,
    worst: Floats,
) -> None:
    """Take the residual q - s - A^-1 h of each spot apart, into its parts across and along the ray; and its misfit.

    The ray is the direction of q + k0 z; s is what a shift of the detector makes of the spot: the part of ``cos(2 theta)
    (shift_x, shift_y, 0)`` across the ray.
    """
    for k in range(spots.shape[1]):
        x, y, z = spots[0, k], spots[1, k], spots[2, k]
        norm = np.sqrt(x * x + y * y + (z + k0) * (z + k0))
        ux, uy, uz = x / norm, y / norm, (z + k0) / norm
        on_ray = ux * shift[0] + uy * shift[1]
        x -= uz * (shift[0] - on_ray * ux)
        y -= uz * (shift[1] - on_ray * uy)
        z += uz * on_ray * uz
        largest = 0.0
        r0, r1, r2 = x, y, z
        zero = True
        for i in range(3):
            f = basis[i, 0] * x + basis[i, 1] * y + basis[i, 2] * z
            h = np.rint(f)
            zero = zero and h == 0.0
            largest = max(largest, abs(f - h))
            r0 -= inverse[0, i] * h
            r1 -= inverse[1, i] * h
            r2 -= inverse[2, i] * h
        on_ray = r0 * ux + r1 * uy + r2 * uz
        along[k] = abs(on_ray)
        across[k] = np.sqrt(max(0.0, r0 * r0 + r1 * r1 + r2 * r2 - on_ray * on_ray))
        worst[k] = 1.0 if zero else largest


@njit(cache=True, nogil=True, error_model="numpy")
def sharpen(
    basis: Floats,
    target: Floats,
    shift: Floats,
    n_free: int,
    n_cycles: int,
    spots: Floats,
    k0: float,
    px: float,
    scratch: Floats,
) -> None:
    """Refine a basis with what is known of residuals: sharp across the ray, broad along it, spurious spots off both.

    A true spot may lie off its lattice point along its own ray, since reflections are seen at some distance from the Ewald
    sphere, but across the ray only by the error of its position. About the target T turned onto the basis, with
    p = T^-1 h, the residual is to first order

        q - p = w x p + E p + s,

    w a rotation vector, E a symmetric strain (prior: 0 +- 0.5 %), s the detector's shift (prior: 0 +- 2 pixels). `n_free` is
    11 for all of them, 9 without the shift, and 4 if of the strain there is only the scale (a wrong distance or wavelength
    looks like that, too): few spots do not bear more. Weighted least squares, the parts across and along the ray by their
    scales, twice the medians of the explained spots (at least a pixel), each spot by Geman and McClure's weights of both
    parts, ``1 / (1 + (r/scale)^2)^2``: spurious spots that happen to lie near a lattice point do not pull. Then
    ``A^-1 = (1 + E) T^-1`` with T turned by w.
    """
    n = spots.shape[1]
    rigid, inverse, change = scratch[2], scratch[0], np.empty((3, 3))
    across, along, worst, middle = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    normal, right, row = np.empty((11, 11)), np.empty(11), np.empty((3, 11))
    align(target, basis, rigid, scratch)
    for _ in range(n_cycles):
        if invert(basis, inverse) == 0.0:
            return
        residuals(basis, inverse, shift, spots, k0, across, along, worst)
        m = 0
        for k in range(n):
            if worst[k] < 0.25:
                middle[m] = across[k]
                m += 1
        if m < MIN_SPOTS:
            return
        across_scale = max(px, 2.0 * median(middle[:m]))
        m = 0
        for k in range(n):
            if worst[k] < 0.25:
                middle[m] = along[k]
                m += 1
        along_scale = max(px, 2.0 * median(middle[:m]))
        for a in range(n_free):
            right[a] = 0.0
            for b in range(n_free):
                normal[a, b] = 0.0
        if invert(rigid, change) == 0.0:
            return
        for k in range(n):
            if not (worst[k] < 0.25):
                continue
            weight = 1.0 / (1.0 + (across[k] / across_scale) ** 2) ** 2 / (1.0 + (along[k] / along_scale) ** 2) ** 2
            x, y, z = spots[0, k], spots[1, k], spots[2, k]
            norm = np.sqrt(x * x + y * y + (z + k0) * (z + k0))
            ux, uy, uz = x / norm, y / norm, (z + k0) / norm
            on_ray = ux * shift[0] + uy * shift[1]
            sx, sy, sz = uz * (shift[0] - on_ray * ux), uz * (shift[1] - on_ray * uy), -uz * on_ray * uz
            p0 = p1 = p2 = 0.0
            for i in range(3):
                h = np.rint(basis[i, 0] * (x - sx) + basis[i, 1] * (y - sy) + basis[i, 2] * (z - sz))
                p0 += change[0, i] * h
                p1 += change[1, i] * h
                p2 += change[2, i] * h
            for a in range(11):
                row[0, a] = row[1, a] = row[2, a] = 0.0
            row[0, 1], row[0, 2] = p2, -p1  # w x p
            row[1, 0], row[1, 2] = -p2, p0
            row[2, 0], row[2, 1] = p1, -p0
            row[0, 3], row[1, 4], row[2, 5] = p0, p1, p2  # E p
            if n_free == SCALED:
                row[1, 3], row[2, 3] = p1, p2
            row[0, 6], row[1, 6] = p1, p0
            row[0, 7], row[2, 7] = p2, p0
            row[1, 8], row[2, 8] = p2, p1
            row[0, 9], row[1, 9], row[2, 9] = uz * (1.0 - ux * ux), -uz * ux * uy, -uz * ux * uz
            row[0, 10], row[1, 10], row[2, 10] = -uz * ux * uy, uz * (1.0 - uy * uy), -uz * uy * uz
            r0, r1, r2 = x - p0, y - p1, z - p2
            wa, wl = weight / across_scale**2, weight / along_scale**2
            for a in range(n_free):  # W = wa (1 - u u^T) + wl u u^T
                c = (wl - wa) * (ux * row[0, a] + uy * row[1, a] + uz * row[2, a])
                w0, w1, w2 = wa * row[0, a] + c * ux, wa * row[1, a] + c * uy, wa * row[2, a] + c * uz
                right[a] += w0 * r0 + w1 * r1 + w2 * r2
                for b in range(a + 1):
                    normal[a, b] += w0 * row[0, b] + w1 * row[1, b] + w2 * row[2, b]
        trace = normal[0, 0] + normal[1, 1] + normal[2, 2]
        for a in range(3):
            normal[a, a] += 1e-6 * trace
        for a in range(3, min(n_free, 9)):  # an element off the diagonal stands for two
            normal[a, a] += (1.0 if a < 6 else 2.0) / (PRIOR * PRIOR) * STRAIN_WEIGHT
        for a in range(9, n_free):
            normal[a, a] += STRAIN_WEIGHT / (SHIFT_PX * px) ** 2
        if not cholesky_solve(normal, right, n_free):
            return
        if not (right[0] ** 2 + right[1] ** 2 + right[2] ** 2 < 0.04):
            return
        if n_free == SHIFTED:
            shift[0], shift[1] = right[9], right[10]
        turn(rigid, right[0], right[1], right[2])
        # A = T (1 + E)^-1
        if n_free == SCALED:
            right[4] = right[5] = right[3]
            right[6] = right[7] = right[8] = 0.0
        change[0, 0], change[1, 1], change[2, 2] = 1.0 + right[3], 1.0 + right[4], 1.0 + right[5]
        change[0, 1] = change[1, 0] = right[6]
        change[0, 2] = change[2, 0] = right[7]
        change[1, 2] = change[2, 1] = right[8]
        if invert(change, inverse) == 0.0:
            return
        for i in range(3):
            t0, t1, t2 = rigid[i, 0], rigid[i, 1], rigid[i, 2]
            for j in range(3):
                basis[i, j] = t0 * inverse[0, j] + t1 * inverse[1, j] + t2 * inverse[2, j]


@njit(cache=True, nogil=True, error_model="numpy")
def judge(
    basis: Floats,
    shift: Floats,
    n_free: int,
    spots: Floats,
    k0: float,
    px: float,
    volume: float,
    longest: float,
    n_sym: int,
    q_rms: float,
    counts: Integers,
    verdict: Floats,
) -> float:
    """How significant a basis is: return the largest S - lnN over all shapes of tolerance, and put S, lnN in `verdict`.

    A shape says how near a spot must be to its lattice point: misfit below t (as :func:`significance`), or within r across
    and l along the ray. The chance of a random spot is its volume times that of the cell: p = (2 t)^3, or V pi r^2 2 l. Of n
    spots m are near; S = n KL(m/n || p) (Chernoff). Against it stands lnN, the number of bases that can be told apart with
    that shape, steps being twice the tolerance: orientations, one angle about the ray and two that tilt it,

        N = 8 pi^2 / n_sym * (q_rms / 2 r) (q_rms / 2 l)^2,

    for each element of the strain, 0.5 % to either side, a factor 1 + 0.01 q_rms / 2 r (three of them act across the ray) or
    2 l (a scale is one element), and for each element of a shift of the detector 1 + 2 * 2 pixels / 2 r. `n_free` is that of
    :func:`sharpen`.
    """
    n = spots.shape[1]
    inverse = np.empty((3, 3))
    verdict[0] = verdict[1] = 0.0
    if invert(basis, inverse) == 0.0:
        return -np.inf
    across, along, worst = np.empty(n), np.empty(n), np.empty(n)
    residuals(basis, inverse, shift, spots, k0, across, along, worst)
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
    shifted = n_free == SHIFTED
    strains = 1.0 if n_free == SCALED else 6.0
    all_turns = np.log(8.0 * np.pi**2 / n_sym)
    best = -np.inf
    edge = volume ** (1.0 / 3.0)
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
        if shifted:
            trials += 2.0 * np.log(1.0 + 2.0 * SHIFT_PX * px / tolerance)
        if s - trials > best:
            best = s - trials
            verdict[0], verdict[1] = s, trials
    for j in range(ALONG.size):
        if ALONG[j] * longest > 0.5:
            break
        for i in range(ACROSS.size):
            radius = ACROSS[i] * px
            p = volume * np.pi * radius**2 * 2.0 * ALONG[j]
            if p > 0.3 or radius * longest > 0.5:
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
            if shifted:
                trials += 2.0 * np.log(1.0 + SHIFT_PX * px / radius)
            if s - trials > best:
                best = s - trials
                verdict[0], verdict[1] = s, trials
    return best


@njit(cache=True, nogil=True, error_model="numpy")
def accept(report: Floats, check_peaks: bool) -> bool:
    """The acceptance rule; see the manual of index/pairs.

    The margin of noise does not depend on the cell or the number of spots: median -2, one list in 100 above 5 to 7, one in
    some thousands above 12.
    """
    n = report[SPOTS]
    margin = report[SCORE] - report[LOG_TRIALS]
    if margin < 12.0 or report[SPREAD] < 0.02:
        return False
    if not check_peaks:
        return True
    if report[GAP] < 6.0 and margin < 50.0:
        return False
    return bool(report[EXPLAINED_025] >= 0.45 * n or (margin >= 30.0 and report[EXPLAINED_020] >= 0.25 * n))


@njit(cache=True, nogil=True, error_model="numpy")
def worth_a_contest(found_score: Floats, state: Integers, log_trials: float) -> bool:
    """Whether any basis polished so far is better than noise often is."""
    return bool(np.any(found_score[: state[N_FOUND]] > log_trials + 8.0))


@njit(cache=True, nogil=True, error_model="numpy")
def clear(report: Floats) -> bool:
    """Whether a search may stop after a contest: far above noise and above other lattices, with half of the spots.

    Most of them must be near: where many lie between 0.15 and 0.25, it is a lattice beside the true one.
    """
    margin = report[SCORE] - report[LOG_TRIALS]
    near = report[EXPLAINED_025] >= 0.5 * report[SPOTS] and report[EXPLAINED_015] >= 0.8 * report[EXPLAINED_025]
    return bool(near and margin >= CLEAR and report[GAP] >= 10.0)


@njit(cache=True, nogil=True, error_model="numpy")
def sharpest(
    start: Floats,
    target: Floats,
    spots: Floats,
    k0: float,
    px: float,
    volume: float,
    longest: float,
    n_sym: int,
    q_rms: float,
    margin: float,
    basis: Floats,
    counts: Integers,
    verdict: Floats,
    scratch: Floats,
) -> float:
    """Sharpen a basis in each of three ways, and keep the most significant; return its margin.

    Nothing changes unless it exceeds `margin`. The simpler and the freer way are tried only where the margin is not so high
    that it makes no difference.
    """
    trial, shift = np.empty((3, 3)), np.zeros(2)
    trial_counts, trial_verdict = np.empty(N_COUNTS, np.int64), np.empty(2)
    best = margin
    for model in (STRAINED, SCALED, SHIFTED):
        if model != STRAINED and best > CERTAIN:
            break
        copy(start, trial)
        shift[0] = shift[1] = 0.0
        sharpen(trial, target, shift, model, 4, spots, k0, px, scratch)
        m = judge(trial, shift, model, spots, k0, px, volume, longest, n_sym, q_rms, trial_counts, trial_verdict)
        if m > best:
            best = m
            copy(trial, basis)
            verdict[0], verdict[1] = trial_verdict[0], trial_verdict[1]
            for t in range(N_COUNTS):
                counts[t] = trial_counts[t]
    return best


@njit(cache=True, nogil=True, error_model="numpy")
def contest(
    target: Floats,
    variants: Floats,
    subset: Floats,
    n_start: int,
    spots: Floats,
    ones: Floats,
    k0: float,
    px: float,
    volume: float,
    longest: float,
    n_sym: int,
    q_rms: float,
    log_trials: float,
    found: Floats,
    found_score: Floats,
    state: Integers,
    report: Floats,
    basis: Floats,
    sums: Floats,
    scratch: Floats,
) -> None:
    """Find the best of the bases polished, by what is known of residuals, and the best other lattice; fill the report.

    The few best are sharpened, each in the one of its `variants` (bases of one lattice that are nearly the target's) that
    fits best. A lattice a degree beside another is one of its own here: with few spots either may turn out the better.
    Few spots often let a lattice be wrong by one to five degrees, some of them indexed one off: unless the best is certain,
    or hopeless, it is turned by 1 and by 2.2 degrees about 26 axes, polished, and sharpened if that is a new lattice; if it
    is better, once more.
    """
    order = np.argsort(-found_score[: state[N_FOUND]])
    if order.size == 0:
        return
    wanted = CONTENDERS if longest > LARGE_ANGSTROM and spots.shape[1] <= LARGE_MAX_SPOTS else FEW_CONTENDERS
    if state[IS_SURE] == 2:
        wanted = 1
    margin = np.full(CONTENDERS, -np.inf)
    sharp, sharp_inverse = np.empty((CONTENDERS, 3, 3)), np.empty((CONTENDERS, 3, 3))
    start_inverse = np.empty((CONTENDERS, 3, 3))
    counts, verdicts = np.zeros((CONTENDERS, N_COUNTS), np.int64), np.zeros((CONTENDERS, 2))
    trial, trial_counts = np.empty((3, 3)), np.zeros(N_COUNTS, np.int64)
    best = m = 0
    for c in range(order.size):
        k = order[c]
        if m == wanted or found_score[k] < 0.6 * found_score[order[0]]:
            break
        new = True
        for o in range(m):
            new = new and not same_lattice(found[k], sharp_inverse[o], ALIKE)
            new = new and not same_lattice(found[k], start_inverse[o], 0.3 * ALIKE)
        if not new or invert(found[k], start_inverse[m]) == 0.0:
            continue
        copy(found[k], trial)
        if variants.shape[0] > 1:
            settle(trial, target, variants, spots, ones, sums, scratch)
        margin[m] = sharpest(
            trial,
            target,
            spots,
            k0,
            px,
            volume,
            longest,
            n_sym,
            q_rms,
            -np.inf,
            sharp[m],
            counts[m],
            verdicts[m],
            scratch,
        )
        if margin[m] > -np.inf and invert(sharp[m], sharp_inverse[m]) != 0.0:
            if margin[m] > margin[best]:
                best = m
            m += 1
    if m == 0:
        return
    rounds = 2
    while rounds > 0 and HOPE < margin[best] < CERTAIN and state[IS_SURE] < 2:
        rounds -= 1
        start = sharp[best].copy()
        before = margin[best]
        for step_x in range(-1, 2):
            for step_y in range(-1, 2):
                for step_z in range(-1, 2):
                    size = np.sqrt(float(step_x * step_x + step_y * step_y + step_z * step_z))
                    if size == 0.0:
                        continue
                    for angle in (0.0175, 0.0385):
                        copy(start, trial)
                        turn(trial, angle * step_x / size, angle * step_y / size, angle * step_z / size)
                        score = polish(trial, target, subset, n_start, spots, ones, trial_counts, sums, scratch)
                        if score < log_trials:
                            continue
                        if same_lattice(trial, sharp_inverse[best], TURNED):
                            continue
                        better = sharpest(
                            trial,
                            target,
                            spots,
                            k0,
                            px,
                            volume,
                            longest,
                            n_sym,
                            q_rms,
                            margin[best],
                            sharp[best],
                            counts[best],
                            verdicts[best],
                            scratch,
                        )
                        if better > margin[best]:
                            margin[best] = better
                            invert(sharp[best], sharp_inverse[best])
        if not (margin[best] > before):
            break
    other = 0.0
    for o in range(m):
        if o != best and not same_lattice(sharp[o], sharp_inverse[best], APART):
            other = max(other, margin[o])
    copy(sharp[best], basis)
    report[SCORE] = verdicts[best, 0]
    report[LOG_TRIALS] = verdicts[best, 1]
    report[GAP] = margin[best] - other
    report[EXPLAINED_015] = counts[best, AT_015]
    report[EXPLAINED_020] = counts[best, AT_020]
    report[EXPLAINED_025] = counts[best, AT_025]
    report[SPREAD] = spread(basis, spots, ones, sums)


@njit(cache=True, nogil=True, error_model="numpy")
def first_not_below(values: Floats, limit: float) -> int:
    """The first place in an ascending array whose value is at least `limit`."""
    low, high = 0, values.size
    while low < high:
        middle = (low + high) // 2
        if values[middle] < limit:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True, error_model="numpy")
def try_pairs(
    target: Floats,
    table: Floats,
    table_length: Floats,
    canonical: Floats,
    canonical_length: Floats,
    px: float,
    sample: Floats,
    max_hypotheses: int,
    max_polished: int,
    subset: Floats,
    n_start: int,
    spots: Floats,
    length: Floats,
    ones: Floats,
    log_trials: float,
    found: Floats,
    found_inverse: Floats,
    found_score: Floats,
    found_counts: Integers,
    state: Integers,
    sums: Floats,
    scratch: Floats,
) -> None:
    """Lay pairs of reciprocal vectors on pairs of low-resolution spots; polish the orientations that seem likely.

    Pairs go by increasing i + j. Windows: 0.6 % of the length + 1.2 pixels; 0.012 rad + what 1.8 pixels make at the inner spot.
    """
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
                    carry(target, frame, lab, trial)
                    left -= 1
                    state[N_HYPOTHESES] += 1
                    if likely(trial, sample):
                        before = state[IS_SURE]
                        consider(
                            trial,
                            target,
                            subset,
                            n_start,
                            spots,
                            ones,
                            log_trials,
                            found,
                            found_inverse,
                            found_score,
                            found_counts,
                            state,
                            sums,
                            scratch,
                        )
                        if state[IS_SURE] == 2:
                            return
                        if state[IS_SURE] > before:
                            left = min(left, 60)


@njit(cache=True, nogil=True, error_model="numpy")
def lattice_vectors(
    size: float, directions: Singles, scores: Singles, spots: Floats, length: Floats, vectors: Floats
) -> int:
    """Find vectors of about this length on whose planes the spots lie; fill `vectors`, best first, return their number."""
    n = spots.shape[1]
    n_directions = directions.shape[1]
    spacing = np.sqrt(2.0 * np.pi / n_directions)
    within = first_not_below(length, 0.3 / (size * 0.5 * spacing))
    within = min(n, max(within, 25))
    chosen = np.empty(min(within, 128 if n_directions < 100_000 else 96), np.int64)
    for k in range(chosen.size):
        chosen[k] = k * within // chosen.size
    scan(directions, spots, chosen, size, scores)
    n_places = max(32, min(96, 3200 // chosen.size))  # few spots: the scores of wrong directions scatter more
    places, values = np.empty(n_places, np.int64), np.empty(n_places, np.float32)
    have = lowest(scores, n_directions, places, values)
    fitted, support = np.empty((n_places, 3)), np.empty(n_places, np.int64)
    m = 0
    for c in range(have):
        v = fitted[m]
        for i in range(3):
            v[i] = size * directions[i, places[c]]
        support[m] = fit_vector(v, spots, chosen, size)
        if not (abs(np.sqrt(v[0] ** 2 + v[1] ** 2 + v[2] ** 2) - size) < 0.08 * size):
            continue
        new = True
        for o in range(m):
            plus = minus = 0.0
            for i in range(3):
                plus += (v[i] - fitted[o, i]) ** 2
                minus += (v[i] + fitted[o, i]) ** 2
            new = new and min(plus, minus) > (0.02 * size) ** 2
        if new:
            m += 1
    wanted = min(m, vectors.shape[0])
    for c in range(wanted):
        best = 0
        for o in range(1, m):
            if support[o] > support[best]:
                best = o
        support[best] = -1
        for i in range(3):
            vectors[c, i] = fitted[best, i]
    return int(wanted)


@njit(cache=True, nogil=True, error_model="numpy")
def try_directions(
    target: Floats,
    axis: int,
    n_signs: int,
    directions: Singles,
    cosine: Singles,
    sine: Singles,
    scores: Singles,
    length: Floats,
    subset: Floats,
    n_start: int,
    spots: Floats,
    ones: Floats,
    log_trials: float,
    found: Floats,
    found_inverse: Floats,
    found_score: Floats,
    found_counts: Integers,
    state: Integers,
    sums: Floats,
    scratch: Floats,
) -> None:
    """Find one axis of the target by scanning directions, turn the target about it, polish the best turns."""
    trial, frame, lab, first = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3)), np.empty(3)
    size = np.sqrt(target[axis, 0] ** 2 + target[axis, 1] ** 2 + target[axis, 2] ** 2)
    vectors = np.empty((max(12, min(24 // n_signs, 800 // spots.shape[1])), 3))
    inliers = np.empty(subset.shape[1], np.int64)
    n_vectors = lattice_vectors(size, directions, scores, spots, length, vectors)
    for c in range(n_vectors * n_signs):
        v = vectors[c // n_signs]
        if c % n_signs == 1:
            for i in range(3):
                v[i] = -v[i]
        steps = turns(target, axis, v, subset, cosine, sine, scores, lab, frame, inliers)
        for i in range(3):
            first[i] = lab[0, i]
        for _ in range(3):
            k = 0
            for i in range(1, steps):
                if scores[i] < scores[k]:
                    k = i
            for near in range(-2, 3):
                scores[(k + near) % steps] = np.float32(np.inf)
            co, si = cosine[k * (MAX_STEPS // steps)], sine[k * (MAX_STEPS // steps)]
            for i in range(3):
                second = lab[2, (i + 1) % 3] * first[(i + 2) % 3] - lab[2, (i + 2) % 3] * first[(i + 1) % 3]
                lab[0, i] = co * first[i] + si * second
                lab[1, i] = co * second - si * first[i]
            carry(target, frame, lab, trial)
            state[N_HYPOTHESES] += 1
            consider(
                trial,
                target,
                subset,
                n_start,
                spots,
                ones,
                log_trials,
                found,
                found_inverse,
                found_score,
                found_counts,
                state,
                sums,
                scratch,
            )
            if state[IS_SURE] > 0:
                return
        if c % n_signs == n_signs - 1:
            for k in range(state[N_FOUND]):
                if found_score[k] >= log_trials + CERTAIN and 2 * found_counts[k, AT_025] >= spots.shape[1]:
                    return


@njit(cache=True, nogil=True, error_model="numpy")
def search(
    q: Floats,
    k0: float,
    px: float,
    target: Floats,
    n_sym: int,
    table: Floats,
    table_length: Floats,
    canonical: Floats,
    canonical_length: Floats,
    variants: Floats,
    axes: Integers,
    signs: Integers,
    directions: Singles,
    cosine: Singles,
    sine: Singles,
    max_hypotheses: int,
    max_polished: int,
    check_peaks: bool,
    scores: Singles,
    report: Floats,
    basis: Floats,
) -> bool:
    """Search the orientation of the target cell that explains the spots; return whether one is significant.

    Parameters
    ----------
    q
        (n, 3) scattering vectors, in any order.
    k0
        1 / wavelength.
    px
        What one pixel is in q, at the centre of the detector.
    target
        (3, 3) primitive reduced basis in any orientation, shortest first; `n_sym` is the number of its rotations.
    table, table_length, canonical, canonical_length
        Reciprocal vectors (3, m) of the target sorted by length, and those of them that are unique under its rotations.
    variants
        (k, 3, 3), the identity first: changes of basis that leave the metric nearly, but not exactly, as it is.
    axes, signs
        Rows of the target to scan for, and for each 1 if a rotation of the lattice reverses it, else 2.
    directions, cosine, sine, scores
        (3, d) float32 unit vectors on a half sphere; float32 circle of MAX_STEPS; float32 room for d or MAX_STEPS numbers.
    max_hypotheses, max_polished
        How far to go with pairs of spots before directions are scanned.
    check_peaks
        Whether a fraction of the spots, and a lead over other lattices, are asked for beside the significance.
    report, basis
        Results: see the constants SCORE ...; the basis (rows) found, zero if none was polished.
    """
    for i in range(report.size):
        report[i] = 0.0
    for i in range(9):
        basis[i // 3, i % 3] = 0.0
    sums, scratch = np.empty(22), np.empty((3, 3, 3))
    volume = abs(invert(target, scratch[0]))
    shortest = canonical_length[0]
    longest = np.sqrt(target[2, 0] ** 2 + target[2, 1] ** 2 + target[2, 2] ** 2)
    room = np.empty((3, q.shape[0]))
    n = prepare(q, shortest, min(2.0 * px, 0.15 * shortest), room)
    report[SPOTS] = n
    if n < MIN_SPOTS:
        return False

    # --- subsets: for the search, its low-resolution part, the sequential test's sample
    spots, length, ones = np.empty((3, n)), np.empty(n), np.ones(n)
    q_low = 0.3 / (0.012 * longest)
    n_low = 0
    square = 0.0
    for k in range(n):
        for x in range(3):
            spots[x, k] = room[x, k]
        length[k] = np.sqrt(spots[0, k] ** 2 + spots[1, k] ** 2 + spots[2, k] ** 2)
        square += length[k] ** 2
        n_low += length[k] < q_low
    n_inner = max(n_low, 8)
    n_low = max(n_low, min(n, 20))
    n_subset = min(n, MAX_SUBSET)
    subset = np.empty((3, n_subset))
    for k in range(n_subset):
        for x in range(3):
            subset[x, k] = spots[x, k * n // n_subset]
    n_start = min(n_subset, max(8, n_inner * n_subset // n))
    golden = np.empty(n_low)
    for k in range(n_low):
        golden[k] = (k * 0.6180339887498949) % 1.0
    order = np.argsort(golden)
    sample = np.empty((3, min(SAMPLE, n_low)))
    for k in range(sample.shape[1]):
        for x in range(3):
            sample[x, k] = spots[x, order[k]]
    cube = max(1.0, volume ** (1.0 / 3.0) * np.sqrt(square / n) / 0.3) ** 3
    log_trials = np.log(8.0 * np.pi**2 / n_sym * cube)
    report[LOG_TRIALS] = log_trials

    # --- candidates
    found, found_inverse = np.empty((MAX_SOLUTIONS, 3, 3)), np.empty((MAX_SOLUTIONS, 3, 3))
    found_score, found_counts = np.empty(MAX_SOLUTIONS), np.empty((MAX_SOLUTIONS, N_COUNTS), np.int64)
    state = np.zeros(N_STATE, np.int64)
    # a twin explains most of few spots, too (22 of 30 of a rhombohedral lattice), and more of a lattice that is nearly of
    # higher symmetry
    state[ENOUGH] = 95 if n < 25 else (90 if n < 60 or variants.shape[0] > 1 else 70)
    try_pairs(
        target,
        table,
        table_length,
        canonical,
        canonical_length,
        px,
        sample,
        max_hypotheses,
        max_polished,
        subset,
        n_start,
        spots,
        length,
        ones,
        log_trials,
        found,
        found_inverse,
        found_score,
        found_counts,
        state,
        sums,
        scratch,
    )
    q_rms = np.sqrt(square / n)
    settled = False
    if state[IS_SURE] == 2:
        contest(
            target,
            variants,
            subset,
            n_start,
            spots,
            ones,
            k0,
            px,
            volume,
            longest,
            n_sym,
            q_rms,
            log_trials,
            found,
            found_score,
            state,
            report,
            basis,
            sums,
            scratch,
        )
        settled = 100.0 * report[EXPLAINED_015] >= state[ENOUGH] * n
        if not settled:  # sharpened it explains less: look for what it may be a twin of
            state[IS_SURE], state[ENOUGH] = 0, 101
            try_pairs(
                target,
                table,
                table_length,
                canonical,
                canonical_length,
                px,
                sample,
                min(60, max_hypotheses),
                max_polished,
                subset,
                n_start,
                spots,
                length,
                ones,
                log_trials,
                found,
                found_inverse,
                found_score,
                found_counts,
                state,
                sums,
                scratch,
            )
    if not settled and state[IS_SURE] == 0 and worth_a_contest(found_score, state, log_trials):
        contest(
            target,
            variants,
            subset,
            n_start,
            spots,
            ones,
            k0,
            px,
            volume,
            longest,
            n_sym,
            q_rms,
            log_trials,
            found,
            found_score,
            state,
            report,
            basis,
            sums,
            scratch,
        )
        settled = clear(report)
    for which in range(axes.size):
        if state[IS_SURE] == 0 and not settled:
            try_directions(
                target,
                axes[which],
                signs[which],
                directions,
                cosine,
                sine,
                scores,
                length,
                subset,
                n_start,
                spots,
                ones,
                log_trials,
                found,
                found_inverse,
                found_score,
                found_counts,
                state,
                sums,
                scratch,
            )
            if which + 1 < axes.size and state[IS_SURE] == 0 and worth_a_contest(found_score, state, log_trials):
                contest(
                    target,
                    variants,
                    subset,
                    n_start,
                    spots,
                    ones,
                    k0,
                    px,
                    volume,
                    longest,
                    n_sym,
                    q_rms,
                    log_trials,
                    found,
                    found_score,
                    state,
                    report,
                    basis,
                    sums,
                    scratch,
                )
                settled = clear(report)
    # few spots hardly mark the direction of a long axis: then pairs are tried at length
    long_way = longest > LARGE_ANGSTROM and n <= LARGE_MAX_SPOTS and not settled and state[IS_SURE] == 0
    if long_way and not np.any(found_score[: state[N_FOUND]] > log_trials + 15.0):
        try_pairs(
            target,
            table,
            table_length,
            canonical,
            canonical_length,
            px,
            sample,
            10 * max_hypotheses,
            MAX_SOLUTIONS,
            subset,
            n_start,
            spots,
            length,
            ones,
            log_trials,
            found,
            found_inverse,
            found_score,
            found_counts,
            state,
            sums,
            scratch,
        )
    if not settled:
        contest(
            target,
            variants,
            subset,
            n_start,
            spots,
            ones,
            k0,
            px,
            volume,
            longest,
            n_sym,
            q_rms,
            log_trials,
            found,
            found_score,
            state,
            report,
            basis,
            sums,
            scratch,
        )
    report[HYPOTHESES] = state[N_HYPOTHESES]
    report[POLISHED] = state[N_POLISHED]
    return state[N_FOUND] > 0 and accept(report, check_peaks)
