"""Lattice vectors, one at a time: refined by the planes that the spots lie on."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import cholesky_solve
from stages.compute.kernel import FAST, kernel

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]

MASK_SPOTS = 128
N_STEPS = 6


@kernel
def standard_error(v: Floats, px: float) -> float:
    """The standard error of t.q: a pixel across the ray, which is nearly along z, and 0.001/A along it."""
    return float(np.sqrt(px * px * (v[0] ** 2 + v[1] ** 2 + v[2] ** 2) + (0.001 * v[2]) ** 2))


@kernel
def plane_tolerance(v: Floats, px: float) -> float:
    """How far t.q may be from an integer: 2.5 standard errors, within 0.08 and 0.18."""
    return float(min(0.18, max(0.08, 2.5 * standard_error(v, px))))


@kernel
def support(v: Floats, p: float, spots: Floats, n: int, px: float) -> float:
    """ln of the likelihood ratio of the distances of the spots from the planes t.q - p = integer, a fifth being random."""
    sigma = max(0.05, standard_error(v, px))
    peak = 0.8 * 0.3989422804014327 / sigma
    value = 0.0
    for k in range(n):
        f = v[0] * spots[k, 0] + v[1] * spots[k, 1] + v[2] * spots[k, 2] - p
        e = (f - np.rint(f)) / sigma
        value += np.log(0.2 + peak * np.exp(-0.5 * e * e))
    return value


@kernel(fastmath=FAST)
def fit_planes(v: Floats, spots: Floats, n: int, shift: float, model: Floats, matrix: Floats, right: Floats) -> float:
    """One step of expectation and maximization of t.q - p = integer, v = (t, p); returns ln of the likelihood ratio before it.

    What :func:`fit_lattice` does, in one dimension: a fraction of the spots is off by an error of sigma, in indices, the
    others are random; `model` holds sigma and the fraction. The phase p is what a shift of the detector makes.
    """
    t0, t1, t2, p = v[0], v[1], v[2], v[3]
    variance = model[0] * model[0]
    peak, rest = model[1] * 0.3989422804014327 / model[0], 1.0 - model[1]
    xx = yy = zz = variance / (0.0025 * (t0 * t0 + t1 * t1 + t2 * t2) + 1e-9)  # prior: 5 % of the length
    xy = xz = yz = x1 = y1 = z1 = 0.0
    bx = by = bz = b1 = 0.0
    total = squares = value = 0.0
    product = 1.0
    for k in range(n):
        x, y, z = spots[k, 0], spots[k, 1], spots[k, 2]
        f = t0 * x + t1 * y + t2 * z - p
        e = f - np.rint(f)
        g = peak * np.exp(-0.5 * e * e / variance)
        w = g / (rest + g)
        product *= rest + g
        if product > 1e200 or product < 1e-200:
            value += np.log(product)
            product = 1.0
        total += w
        squares += w * e * e
        wx, wy, wz = w * x, w * y, w * z
        xx += wx * x
        yy += wy * y
        zz += wz * z
        xy += wx * y
        xz += wx * z
        yz += wy * z
        x1 -= wx
        y1 -= wy
        z1 -= wz
        bx -= e * wx
        by -= e * wy
        bz -= e * wz
        b1 += w * e
    prior = variance / ((t0 * t0 + t1 * t1) * shift * shift + 1e-9)
    matrix[0, 0], matrix[1, 0], matrix[1, 1] = xx, xy, yy
    matrix[2, 0], matrix[2, 1], matrix[2, 2] = xz, yz, zz
    matrix[3, 0], matrix[3, 1], matrix[3, 2], matrix[3, 3] = x1, y1, z1, total + prior
    right[0], right[1], right[2], right[3] = bx, by, bz, b1 - prior * p
    if cholesky_solve(matrix, right, right.size):
        for i in range(4):
            v[i] += right[i]
    model[0] = min(0.25, max(0.03, np.sqrt((squares + 0.01) / (total + 1.0))))
    model[1] = min(0.9, max(0.1, total / n))
    return float(value + np.log(product))


@kernel
def fit_growing(
    v: Floats, spots: Floats, n_first: int, n: int, shift: float, model: Floats, matrix: Floats, right: Floats
) -> float:
    """Refine a vector from the lowest `n_first` spots outwards; returns ln of the likelihood ratio against random spots."""
    model[0], model[1] = 0.15, 0.8
    m = min(n, n_first)
    fit_planes(v, spots, m, shift, model, matrix, right)
    while m < n:
        m = min(n, m + m // 2 + 1)
        fit_planes(v, spots, m, shift, model, matrix, right)
    value = 0.0
    for _ in range(N_STEPS):
        value = fit_planes(v, spots, n, shift, model, matrix, right)
    return value


@kernel
def divergence(f: float, p: float) -> float:
    """Kullback and Leibler's divergence of a fraction f from p, f above p (else 0)."""
    if not (f > p):
        return 0.0
    value = f * np.log(f / p)
    if f < 1.0:
        value += (1.0 - f) * np.log((1.0 - f) / (1.0 - p))
    return float(value)


@kernel
def refine_vectors(
    peaks: Floats,
    n_peaks: int,
    spots: Floats,
    n_first: int,
    n: int,
    shortest: float,
    longest: float,
    px: float,
    shift: float,
    vectors: Floats,
    values: Floats,
    masks: Words,
) -> int:
    """Refine the summits, from the spots of the transform outwards; the best distinct ones go to `vectors`, in order.

    `masks` (m, 2): which of the first MASK_SPOTS spots lie on each vector's planes. Returns how many there are.
    """
    matrix, right, model = np.empty((4, 4)), np.empty(4), np.empty(2)
    score = np.empty(n_peaks)
    for i in range(n_peaks):
        v = peaks[i]
        fit_growing(v, spots, n_first, n, shift, model, matrix, right)
        size = np.sqrt(v[0] ** 2 + v[1] ** 2 + v[2] ** 2)
        score[i] = -np.inf
        if size >= shortest and size <= 1.05 * longest:
            tolerance = plane_tolerance(v, px)
            inside = 0
            for k in range(n):
                f = v[0] * spots[k, 0] + v[1] * spots[k, 1] + v[2] * spots[k, 2] - v[3]
                inside += abs(f - np.rint(f)) < tolerance
            score[i] = n * divergence(inside / n, 2.0 * tolerance) - 3.0 * np.log(size)
    order = np.argsort(-score)
    kept = 0
    for i in order:
        if kept == vectors.shape[0] or score[i] == -np.inf:
            break
        v = peaks[i]
        size = v[0] ** 2 + v[1] ** 2 + v[2] ** 2
        new = True
        for o in range(kept):
            plus = minus = 0.0
            for x in range(3):
                plus += (v[x] - vectors[o, x]) ** 2
                minus += (v[x] + vectors[o, x]) ** 2
            if min(plus, minus) < 0.0009 * size:
                new = False
                break
        if new:
            for x in range(4):
                vectors[kept, x] = v[x]
            values[kept] = score[i]
            tolerance = plane_tolerance(v, px)
            masks[kept, 0] = masks[kept, 1] = np.uint64(0)
            for k in range(min(n, MASK_SPOTS)):
                f = v[0] * spots[k, 0] + v[1] * spots[k, 1] + v[2] * spots[k, 2] - v[3]
                if abs(f - np.rint(f)) < tolerance:
                    masks[kept, k >> 6] |= np.uint64(1) << np.uint64(k & 63)
            kept += 1
    return kept
