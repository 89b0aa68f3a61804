"""A lattice is refined by expectation and maximization."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import cholesky_solve, reciprocal
from stages.compute.kernel import FAST, kernel
from stages.index._kernels.unknown.bases import dot, reduce_basis
from stages.index._kernels.unknown.likelihood import adapt_model, limit_model, peak_density, score
from stages.index._kernels.unknown.residuals import residual
from stages.index._kernels.unknown.tuples import (
    ACROSS,
    ALONG,
    FRACTION,
    SIGMA_SHIFT_PX,
    Candidate,
    SpotSet,
    Workspace,
    copy_candidate,
    no_candidate,
)
from stages.index._kernels.unknown.vectors import LENGTH_VARIANCE, N_STEPS

Floats = NDArray[np.float64]

SHIFT = 9  # place of the detector shift in the unknowns: a*, b*, c*, then x, y and z
NO_EXPONENT = 12.0
"""A spot whose density is below e^-12 of that on its lattice point does not count."""
MIN_WEIGHT = 3.0
"""A lattice to which fewer spots belong cannot be refined."""
FIRST_ERROR = 0.15
"""Standard error of the spots at the beginning of a refinement, in indices."""
FIRST_FRACTION = 0.5
"""Fraction of spots that belong to the lattice at the beginning of a refinement."""


@kernel(fastmath=FAST)
def add_spot(
    room: Workspace, h: Floats, r: tuple[float, float, float], e: tuple[float, float, float], u: float, v: float
) -> None:
    """Add to the normal equations a spot of indices h (and 1 for the shift), residual r and ray e.

    Its weight matrix is ``u 1 + v e e^T``.
    """
    normal, right = room.normal, room.right
    r0, r1, r2 = r
    e0, e1, e2 = e
    m00, m11, m22 = u + v * e0 * e0, u + v * e1 * e1, u + v * e2 * e2
    m01, m02, m12 = v * e0 * e1, v * e0 * e2, v * e1 * e2
    v0 = m00 * r0 + m01 * r1 + m02 * r2
    v1 = m01 * r0 + m11 * r1 + m12 * r2
    v2 = m02 * r0 + m12 * r1 + m22 * r2
    for i in range(4):
        hi = h[i]
        right[3 * i] += hi * v0
        right[3 * i + 1] += hi * v1
        right[3 * i + 2] += hi * v2
        for j in range(i + 1):
            hh = hi * h[j]
            normal[3 * i, 3 * j] += hh * m00
            normal[3 * i, 3 * j + 1] += hh * m01
            normal[3 * i, 3 * j + 2] += hh * m02
            normal[3 * i + 1, 3 * j] += hh * m01
            normal[3 * i + 1, 3 * j + 1] += hh * m11
            normal[3 * i + 1, 3 * j + 2] += hh * m12
            normal[3 * i + 2, 3 * j] += hh * m02
            normal[3 * i + 2, 3 * j + 1] += hh * m12
            normal[3 * i + 2, 3 * j + 2] += hh * m22


@kernel
def add_priors(room: Workspace, shift: Floats, px: float, wa: float) -> None:
    """Add to the normal equations what is known beforehand: lengths to 5 %, the shift to SIGMA_SHIFT_PX and none along z."""
    normal, right, star = room.normal, room.right, room.star
    for i in range(3):
        w = 1.0 / (LENGTH_VARIANCE * dot(star[i], star[i]))
        for x in range(3):
            normal[3 * i + x, 3 * i + x] += w
    w = 1.0 / (SIGMA_SHIFT_PX * px) ** 2
    for i in range(2):
        normal[SHIFT + i, SHIFT + i] += w
        right[SHIFT + i] -= w * shift[i]
    normal[SHIFT + 2, SHIFT + 2] += 1e6 * (w + wa)
    right[SHIFT + 2] = 0.0


@kernel(fastmath=FAST)
def fit_lattice(lattice: Candidate, spots: SpotSet, n: int, room: Workspace) -> bool:
    """One step of expectation and maximization of a lattice, the detector shift and the model, to the first n spots.

    False if it fails. The residual of a spot, ``r = q - s - sum h_j a*_j``, has the standard error sigma_a across its ray (two
    directions) and sigma_l along it if the spot belongs to the lattice, with the density g(r); else its density is that of a
    random spot, V. With the fraction w of spots that belong, this one does with the probability ``w g / (w g + (1 - w) V)``:
    its weight in the least squares for a*, b*, c*, s and in the new sigmas and w (Dempster et al., 1977).
    """
    basis, shift, model = lattice.basis, lattice.shift, lattice.model
    normal, right, star, rays = room.normal, room.right, room.star, spots.rays
    volume = abs(reciprocal(basis, star))
    if volume == 0.0:
        return False
    for i in range(12):
        right[i] = 0.0
        for j in range(12):
            normal[i, j] = 0.0
    wa, wl = 1.0 / model[ACROSS] ** 2, 1.0 / model[ALONG] ** 2
    peak, rest = peak_density(model, volume), 1.0 - model[FRACTION]
    total = sum_across = sum_along = 0.0
    h = np.empty(4)
    h[3] = 1.0
    for k in range(n):
        h0, h1, h2, r0, r1, r2 = residual(basis, star, shift, spots.q, k)
        if h0 == 0.0 and h1 == 0.0 and h2 == 0.0:
            continue
        e0, e1, e2 = rays[0, k], rays[1, k], rays[2, k]
        on_ray = r0 * e0 + r1 * e1 + r2 * e2
        along2 = on_ray * on_ray
        across2 = max(0.0, r0 * r0 + r1 * r1 + r2 * r2 - along2)
        exponent = 0.5 * (across2 * wa + along2 * wl)
        if exponent > NO_EXPONENT:
            continue
        g = peak * np.exp(-exponent)
        w = g / (g + rest)
        total += w
        sum_across += w * across2
        sum_along += w * along2
        h[0], h[1], h[2] = h0, h1, h2
        # the inverse of the covariance is wa (1 - e e^T) + wl e e^T
        add_spot(room, h, (r0, r1, r2), (e0, e1, e2), w * wa, w * (wl - wa))
    if not (total >= MIN_WEIGHT):
        return False
    add_priors(room, shift, spots.px, wa)
    if not cholesky_solve(normal, right, right.size):
        return False
    for i in range(3):
        for x in range(3):
            star[i, x] += right[3 * i + x]
    if reciprocal(star, basis) == 0.0:
        return False
    shift[0] += right[SHIFT]
    shift[1] += right[SHIFT + 1]
    adapt_model(model, 2.0, (total, sum_across, sum_along), n, spots.px)
    return True


@kernel
def refine(lattice: Candidate, spots: SpotSet, room: Workspace) -> float:
    """Refine a lattice and the model, reduce it, and return S - lnN; -inf if it fails."""
    for _ in range(N_STEPS):
        if not fit_lattice(lattice, spots, spots.q.shape[1], room):
            return -np.inf
    reduce_basis(lattice.basis)
    return score(lattice, spots, room)


@kernel
def refine_outwards(lattice: Candidate, spots: SpotSet, n_first: int, room: Workspace) -> float:
    """Refine a lattice from `n_first` spots outwards, reduce it, and return S - lnN; -inf if it fails.

    The standard errors start at FIRST_ERROR, in indices, and shrink to what the spots have.
    """
    model, n = lattice.model, spots.q.shape[1]
    reduce_basis(lattice.basis)
    volume = abs(reciprocal(lattice.basis, room.star))
    if volume == 0.0:
        return -np.inf
    model[ACROSS] = FIRST_ERROR / volume ** (1.0 / 3.0)
    model[ALONG] = max(0.001, model[ACROSS])
    model[FRACTION] = FIRST_FRACTION
    limit_model(model, spots.px)
    m = min(n, n_first)
    while m < n:
        if not fit_lattice(lattice, spots, m, room):
            return -np.inf
        m = min(n, m + m // 2 + 1)
    return refine(lattice, spots, room)


@kernel
def refine_if_better(lattice: Candidate, spots: SpotSet, value: float, room: Workspace) -> float:
    """Refine a lattice that has the score `value` from where it is; undo it if the score does not grow; return the score."""
    trial = no_candidate()
    copy_candidate(lattice, trial)
    for _ in range(N_STEPS // 2):
        if not fit_lattice(trial, spots, spots.q.shape[1], room):
            return value
    refined = score(trial, spots, room)
    if not (refined > value):
        reduce_basis(lattice.basis)
        return value
    copy_candidate(trial, lattice)
    reduce_basis(lattice.basis)
    return refined
