"""Lattice vectors, one at a time: refined by the planes that the spots lie on."""

import math

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import cholesky_solve
from stages.compute.kernel import FAST, kernel
from stages.index._kernels.unknown.residuals import off_plane
from stages.index._kernels.unknown.tuples import SIGMA_SHIFT_PX, Limits, PlaneFit, SpotSet, Vectors, plane_fit

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]

MASK_SPOTS = 128
"""So many bits a mask has."""
N_STEPS = 6
"""Steps of expectation and maximization on all spots."""
NORMAL_PEAK = 1.0 / math.sqrt(2.0 * math.pi)
"""The density of a normal distribution of standard deviation 1 at its mean."""
SIGMA, ON_PLANES = range(2)  # places in the model of a vector's fit

SIGMA_ALONG = 0.001
"""Standard error of a spot along its ray in 1/Angstrom, before anything is known of it."""
LENGTH_VARIANCE = 0.0025
"""Square of the standard error of a length, 5 %, that is expected before a refinement."""
SAME_VECTOR = 0.0009
"""Two vectors are one if the square of their difference is less than that of 3 % of the length."""
TOO_LARGE, TOO_SMALL = 1e200, 1e-200
"""The logarithm of a product of likelihoods is taken before it leaves the range of numbers."""


@kernel
def standard_error(v: Floats, px: float) -> float:
    """The standard error of t.q: a pixel across the ray, which is nearly along z, and SIGMA_ALONG along it."""
    return float(np.sqrt(px * px * (v[0] ** 2 + v[1] ** 2 + v[2] ** 2) + (SIGMA_ALONG * v[2]) ** 2))


@kernel
def plane_tolerance(v: Floats, px: float) -> float:
    """How far t.q may be from an integer: 2.5 standard errors, within 0.08 and 0.18."""
    return float(min(0.18, max(0.08, 2.5 * standard_error(v, px))))


@kernel
def support(v: Floats, q: Floats, px: float) -> float:
    """ln of the likelihood ratio of the distances of the spots from the planes t.q = integer, a fifth being random."""
    sigma = max(0.05, standard_error(v, px))
    peak = 0.8 * NORMAL_PEAK / sigma
    value = 0.0
    for k in range(q.shape[1]):
        e = off_plane(v, 0.0, q, k) / sigma
        value += np.log(0.2 + peak * np.exp(-0.5 * e * e))
    return value


@kernel(fastmath=FAST)
def fit_planes(v: Floats, q: Floats, n: int, sigma_shift: float, fit: PlaneFit) -> float:
    """One step of expectation and maximization of t.q - p = integer, v = (t, p); returns ln of the likelihood ratio before it.

    What :func:`.fit.fit_lattice` does, in one dimension: a fraction of the first n spots is off by an error of sigma, in
    indices, the others are random; `fit.model` holds sigma and the fraction. The phase p is what a shift of the detector
    makes, of which `sigma_shift` is the standard error.
    """
    model, matrix, right = fit.model, fit.matrix, fit.right
    t0, t1, t2, p = v[0], v[1], v[2], v[3]
    variance = model[SIGMA] * model[SIGMA]
    peak, rest = model[ON_PLANES] * NORMAL_PEAK / model[SIGMA], 1.0 - model[ON_PLANES]
    xx = yy = zz = variance / (LENGTH_VARIANCE * (t0 * t0 + t1 * t1 + t2 * t2) + 1e-9)
    xy = xz = yz = x1 = y1 = z1 = 0.0
    bx = by = bz = b1 = 0.0
    total = squares = value = 0.0
    product = 1.0
    for k in range(n):
        x, y, z = q[0, k], q[1, k], q[2, k]
        f = t0 * x + t1 * y + t2 * z - p
        e = f - np.rint(f)
        g = peak * np.exp(-0.5 * e * e / variance)
        w = g / (rest + g)
        product *= rest + g
        if product > TOO_LARGE or product < TOO_SMALL:
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
    prior = variance / ((t0 * t0 + t1 * t1) * sigma_shift * sigma_shift + 1e-9)
    matrix[0, 0], matrix[1, 0], matrix[1, 1] = xx, xy, yy
    matrix[2, 0], matrix[2, 1], matrix[2, 2] = xz, yz, zz
    matrix[3, 0], matrix[3, 1], matrix[3, 2], matrix[3, 3] = x1, y1, z1, total + prior
    right[0], right[1], right[2], right[3] = bx, by, bz, b1 - prior * p
    if cholesky_solve(matrix, right, right.size):
        for i in range(4):
            v[i] += right[i]
    model[SIGMA] = min(0.25, max(0.03, np.sqrt((squares + 0.01) / (total + 1.0))))
    model[ON_PLANES] = min(0.9, max(0.1, total / n))
    return float(value + np.log(product))


@kernel
def fit_growing(v: Floats, q: Floats, n_first: int, n: int, sigma_shift: float, fit: PlaneFit) -> float:
    """Refine a vector from the lowest `n_first` of n spots outwards; returns ln of the likelihood ratio."""
    fit.model[SIGMA], fit.model[ON_PLANES] = 0.15, 0.8
    m = min(n, n_first)
    fit_planes(v, q, m, sigma_shift, fit)
    while m < n:
        m = min(n, m + m // 2 + 1)
        fit_planes(v, q, m, sigma_shift, fit)
    value = 0.0
    for _ in range(N_STEPS):
        value = fit_planes(v, q, n, sigma_shift, fit)
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
def score_vector(v: Floats, spots: SpotSet, limits: Limits) -> float:
    """Return n KL(m/n || 2 tolerance) - 3 ln |t|, with m of n spots on the planes; -inf if the length is not allowed."""
    size = np.sqrt(v[0] ** 2 + v[1] ** 2 + v[2] ** 2)
    if not (size >= limits.shortest and size <= 1.05 * limits.longest):
        return -np.inf
    n = spots.q.shape[1]
    tolerance = plane_tolerance(v, spots.px)
    inside = 0
    for k in range(n):
        inside += abs(off_plane(v, v[3], spots.q, k)) < tolerance
    return float(n * divergence(inside / n, 2.0 * tolerance) - 3.0 * np.log(size))


@kernel
def is_new(v: Floats, vectors: Vectors) -> bool:
    """Whether a vector is none of those that were found, nor the reverse of one."""
    size = v[0] ** 2 + v[1] ** 2 + v[2] ** 2
    for o in range(vectors.number[0]):
        plus = minus = 0.0
        for x in range(3):
            plus += (v[x] - vectors.t[o, x]) ** 2
            minus += (v[x] + vectors.t[o, x]) ** 2
        if min(plus, minus) < SAME_VECTOR * size:
            return False
    return True


@kernel
def mark_spots(v: Floats, spots: SpotSet, mask: Words) -> None:
    """Set the bits of those of the first MASK_SPOTS spots that lie on a vector's planes."""
    tolerance = plane_tolerance(v, spots.px)
    mask[0] = mask[1] = np.uint64(0)
    for k in range(min(spots.q.shape[1], MASK_SPOTS)):
        if abs(off_plane(v, v[3], spots.q, k)) < tolerance:
            mask[k >> 6] |= np.uint64(1) << np.uint64(k & 63)


@kernel
def refine_vectors(peaks: Floats, n_peaks: int, spots: SpotSet, n_first: int, limits: Limits, vectors: Vectors) -> None:
    """Refine the summits, from the `n_first` spots of the transform outwards; fill `vectors` with the best distinct ones."""
    fit = plane_fit()
    score = np.empty(n_peaks)
    for i in range(n_peaks):
        fit_growing(peaks[i], spots.q, n_first, spots.q.shape[1], SIGMA_SHIFT_PX * spots.px, fit)
        score[i] = score_vector(peaks[i], spots, limits)
    vectors.number[0] = 0
    for i in np.argsort(-score):
        kept = vectors.number[0]
        if kept == vectors.t.shape[0] or score[i] == -np.inf:
            break
        v = peaks[i]
        if is_new(v, vectors):
            for x in range(4):
                vectors.t[kept, x] = v[x]
            mark_spots(v, spots, vectors.masks[kept])
            vectors.number[0] = kept + 1
