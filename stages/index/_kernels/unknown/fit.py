"""A lattice is refined by expectation and maximization, and judged by the likelihood of the spots."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import cholesky_solve, copy, reciprocal
from stages.compute.kernel import FAST, kernel
from stages.index._kernels.unknown.bases import dot, reduce_basis
from stages.index._kernels.unknown.vectors import N_STEPS

Floats = NDArray[np.float64]

SIGMA_SHIFT_PX = 3.0
ACROSS, ALONG, FRACTION = range(3)  # places in a model


class Room(NamedTuple):
    """Arrays that are filled anew and again."""

    normal: Floats
    right: Floats
    star: Floats
    residuals: Floats


@kernel
def limit_model(model: Floats, px: float) -> None:
    """Keep the standard errors and the fraction of a model within what a still can have."""
    model[ACROSS] = min(6.0 * px, max(0.3 * px, model[ACROSS]))
    model[ALONG] = min(0.004, max(0.0003, model[ALONG]))
    model[FRACTION] = min(0.98, max(0.02, model[FRACTION]))


@kernel(fastmath=FAST)
def fit_lattice(
    basis: Floats, shift: Floats, spots: Floats, rays: Floats, n: int, px: float, model: Floats, room: Room
) -> bool:
    """One step of expectation and maximization of a lattice, the detector shift and the model; False if it fails.

    The residual of a spot, ``r = q - s - sum h_j a*_j``, has the standard error sigma_a across its ray (two directions) and
    sigma_l along it if the spot belongs to the lattice, with the density g(r); else its density is that of a random spot, V.
    With the fraction w of spots that belong, this one does with the probability ``w g / (w g + (1 - w) V)``: its weight in the
    least squares for a*, b*, c*, s and in the new sigmas and w (Dempster et al., 1977).
    """
    normal, right, star = room.normal, room.right, room.star
    volume = abs(reciprocal(basis, star))
    if volume == 0.0:
        return False
    for i in range(12):
        right[i] = 0.0
        for j in range(12):
            normal[i, j] = 0.0
    wa, wl = 1.0 / model[ACROSS] ** 2, 1.0 / model[ALONG] ** 2
    peak = model[FRACTION] / (15.749609945722419 * model[ACROSS] ** 2 * model[ALONG] * volume)
    rest = 1.0 - model[FRACTION]
    total = sum_across = sum_along = 0.0
    h = np.empty(4)
    h[3] = 1.0
    for k in range(n):
        x, y, z = spots[k, 0] - shift[0], spots[k, 1] - shift[1], spots[k, 2]
        f0 = basis[0, 0] * x + basis[0, 1] * y + basis[0, 2] * z
        f1 = basis[1, 0] * x + basis[1, 1] * y + basis[1, 2] * z
        f2 = basis[2, 0] * x + basis[2, 1] * y + basis[2, 2] * z
        h0, h1, h2 = np.rint(f0), np.rint(f1), np.rint(f2)
        if h0 == 0.0 and h1 == 0.0 and h2 == 0.0:
            continue
        r0 = x - h0 * star[0, 0] - h1 * star[1, 0] - h2 * star[2, 0]
        r1 = y - h0 * star[0, 1] - h1 * star[1, 1] - h2 * star[2, 1]
        r2 = z - h0 * star[0, 2] - h1 * star[1, 2] - h2 * star[2, 2]
        e0, e1, e2 = rays[k, 0], rays[k, 1], rays[k, 2]
        on_ray = r0 * e0 + r1 * e1 + r2 * e2
        along2 = on_ray * on_ray
        across2 = max(0.0, r0 * r0 + r1 * r1 + r2 * r2 - along2)
        exponent = 0.5 * (across2 * wa + along2 * wl)
        if exponent > 12.0:
            continue
        g = peak * np.exp(-exponent)
        w = g / (g + rest)
        total += w
        sum_across += w * across2
        sum_along += w * along2
        h[0], h[1], h[2] = h0, h1, h2
        # the weight matrix wa (1 - e e^T) + wl e e^T
        u, v = w * wa, w * (wl - wa)
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
    if not (total >= 3.0):
        return False
    for i in range(3):
        w = 1.0 / (0.0025 * dot(star[i], star[i]))  # a step of 5 % is one standard error
        for x in range(3):
            normal[3 * i + x, 3 * i + x] += w
    w = 1.0 / (SIGMA_SHIFT_PX * px) ** 2
    normal[9, 9] += w
    normal[10, 10] += w
    right[9] -= w * shift[0]
    right[10] -= w * shift[1]
    normal[11, 11] += 1e6 * (w + wa)  # no shift along the beam
    right[11] = 0.0
    if not cholesky_solve(normal, right, right.size):
        return False
    for i in range(3):
        for x in range(3):
            star[i, x] += right[3 * i + x]
    if reciprocal(star, basis) == 0.0:
        return False
    shift[0] += right[9]
    shift[1] += right[10]
    model[ACROSS] = np.sqrt((sum_across + 2.0 * px * px) / (2.0 * total + 2.0))
    model[ALONG] = np.sqrt((sum_along + 1e-6) / (total + 1.0))
    model[FRACTION] = total / n
    limit_model(model, px)
    return True


@kernel
def log_trials(model: Floats, total: float, q_rms: float) -> float:
    """Return lnN, how many lattices so many spots can tell apart; see :func:`score`."""
    return float(3.0 * np.log(max(1.0, (q_rms * np.sqrt(max(total, 1.0))) ** 3 / (model[ACROSS] ** 2 * model[ALONG]))))


@kernel(fastmath=FAST)
def score(
    basis: Floats,
    shift: Floats,
    spots: Floats,
    rays: Floats,
    n: int,
    px: float,
    q_rms: float,
    model: Floats,
    room: Room,
    result: Floats,
) -> float:
    """Return S - lnN of a lattice, -inf if it is none; `result`: S, lnN, how many spots belong; the model adapts.

    ``S = sum ln(1 - w + w g(r) / V)``, the logarithm of the likelihood ratio against random spots: of random spots a share of
    at most exp(-S) has as high a ratio, as its mean over them is 1 (Markov). The lattice was chosen among many, though: each
    of the 9 elements of the basis is determined to a small part of what it might have been, which makes
    ``lnN = 3 ln(q_rms^3 m^1.5 / (sigma_a^2 sigma_l))`` (Laplace's approximation to the Bayes factor; MacKay, 1992).
    """
    volume = abs(reciprocal(basis, room.star))
    if volume == 0.0:
        return -np.inf
    star, residuals = room.star, room.residuals
    for k in range(n):
        x, y, z = spots[k, 0] - shift[0], spots[k, 1] - shift[1], spots[k, 2]
        h0 = np.rint(basis[0, 0] * x + basis[0, 1] * y + basis[0, 2] * z)
        h1 = np.rint(basis[1, 0] * x + basis[1, 1] * y + basis[1, 2] * z)
        h2 = np.rint(basis[2, 0] * x + basis[2, 1] * y + basis[2, 2] * z)
        r0 = x - h0 * star[0, 0] - h1 * star[1, 0] - h2 * star[2, 0]
        r1 = y - h0 * star[0, 1] - h1 * star[1, 1] - h2 * star[2, 1]
        r2 = z - h0 * star[0, 2] - h1 * star[1, 2] - h2 * star[2, 2]
        on_ray = r0 * rays[k, 0] + r1 * rays[k, 1] + r2 * rays[k, 2]
        along2 = on_ray * on_ray
        origin = h0 == 0.0 and h1 == 0.0 and h2 == 0.0
        residuals[k, 0] = 1.0 if origin else max(0.0, r0 * r0 + r1 * r1 + r2 * r2 - along2)
        residuals[k, 1] = along2
    total = s = 0.0
    for cycle in range(4):
        wa, wl = 0.5 / model[ACROSS] ** 2, 0.5 / model[ALONG] ** 2
        peak = model[FRACTION] / (15.749609945722419 * model[ACROSS] ** 2 * model[ALONG] * volume)
        rest = 1.0 - model[FRACTION]
        total = sum_across = sum_along = 0.0
        product = 1.0
        s = 0.0
        for k in range(n):
            exponent = residuals[k, 0] * wa + residuals[k, 1] * wl
            g = peak * np.exp(-exponent) if exponent < 20.0 else 0.0
            w = g / (g + rest)
            total += w
            sum_across += w * residuals[k, 0]
            sum_along += w * residuals[k, 1]
            product *= g + rest
            if product > 1e200 or product < 1e-200:
                s += np.log(product)
                product = 1.0
        s += np.log(product)
        if cycle < 3:
            model[ACROSS] = np.sqrt((sum_across + 2.0 * px * px) / (2.0 * total + 2.0))
            model[ALONG] = np.sqrt((sum_along + 1e-6) / (total + 1.0))
            model[FRACTION] = total / n
            limit_model(model, px)
    result[0] = s
    result[1] = log_trials(model, total, q_rms)
    result[2] = total
    return float(result[0] - result[1])


@kernel
def refine(
    basis: Floats,
    shift: Floats,
    spots: Floats,
    rays: Floats,
    n: int,
    px: float,
    q_rms: float,
    model: Floats,
    room: Room,
    result: Floats,
) -> float:
    """Refine a lattice and the model, reduce it, and return S - lnN; -inf if it fails."""
    for _ in range(N_STEPS):
        if not fit_lattice(basis, shift, spots, rays, n, px, model, room):
            return -np.inf
    reduce_basis(basis)
    return score(basis, shift, spots, rays, n, px, q_rms, model, room, result)


@kernel
def polish(
    basis: Floats,
    shift: Floats,
    spots: Floats,
    rays: Floats,
    n_first: int,
    n: int,
    px: float,
    q_rms: float,
    model: Floats,
    room: Room,
    result: Floats,
) -> float:
    """Refine a lattice from `n_first` spots outwards, reduce it, and return S - lnN; -inf if it fails.

    The standard errors start at 0.15 of an index, and shrink to what the spots have.
    """
    reduce_basis(basis)
    volume = abs(reciprocal(basis, room.star))
    if volume == 0.0:
        return -np.inf
    model[ACROSS] = 0.15 / volume ** (1.0 / 3.0)
    model[ALONG] = max(0.001, model[ACROSS])
    model[FRACTION] = 0.5
    limit_model(model, px)
    m = min(n, n_first)
    while m < n:
        if not fit_lattice(basis, shift, spots, rays, m, px, model, room):
            return -np.inf
        m = min(n, m + m // 2 + 1)
    return refine(basis, shift, spots, rays, n, px, q_rms, model, room, result)


@kernel
def spread(basis: Floats, shift: Floats, spots: Floats, n: int, m: Floats) -> float:
    """How many different indices the explained spots have in the poorest of the three directions, less one: 0 if all are equal.

    Of the singular directions of the indices the last tells whether they lie in one plane; whatever the basis, a lattice
    that is three-dimensional has spots off every net plane through the origin. Returned is the standard deviation of the
    indices in that direction: the square root of the smallest eigenvalue of the mean of h h^T.
    """
    for i in range(3):
        for j in range(3):
            m[i, j] = 0.0
    used = 0
    h = np.empty(3)
    for k in range(n):
        x, y, z = spots[k, 0] - shift[0], spots[k, 1] - shift[1], spots[k, 2]
        worst = 0.0
        for i in range(3):
            f = basis[i, 0] * x + basis[i, 1] * y + basis[i, 2] * z
            h[i] = np.rint(f)
            worst = max(worst, abs(f - h[i]))
        if worst < 0.2:
            used += 1
            for i in range(3):
                for j in range(3):
                    m[i, j] += h[i] * h[j]
    if used == 0:
        return 0.0
    trace = (m[0, 0] + m[1, 1] + m[2, 2]) / used
    minors = (
        m[0, 0] * m[1, 1] - m[0, 1] ** 2 + m[1, 1] * m[2, 2] - m[1, 2] ** 2 + m[0, 0] * m[2, 2] - m[0, 2] ** 2
    ) / used**2
    det = (
        m[0, 0] * (m[1, 1] * m[2, 2] - m[1, 2] ** 2)
        - m[0, 1] * (m[0, 1] * m[2, 2] - m[1, 2] * m[0, 2])
        + m[0, 2] * (m[0, 1] * m[1, 2] - m[1, 1] * m[0, 2])
    ) / used**3
    low = 0.0  # Newton's iteration on the characteristic polynomial, from below its smallest root
    for _ in range(50):
        value = ((trace - low) * low - minors) * low + det
        slope = (2.0 * trace - 3.0 * low) * low - minors
        if slope == 0.0 or abs(value) <= 1e-12 * abs(det):
            break
        low -= value / slope
    return float(np.sqrt(max(0.0, low)))


@kernel
def sharpen(
    basis: Floats,
    shift: Floats,
    spots: Floats,
    rays: Floats,
    n: int,
    px: float,
    q_rms: float,
    value: float,
    model: Floats,
    room: Room,
    result: Floats,
) -> float:
    """Refine a lattice that has the score `value` from where it is; undo it if the score does not grow; return the score."""
    trial, moved, trial_model, trial_result = np.empty((3, 3)), np.empty(2), np.empty(3), np.empty(3)
    copy(basis, trial)
    moved[0], moved[1] = shift[0], shift[1]
    for i in range(3):
        trial_model[i] = model[i]
    for _ in range(N_STEPS // 2):
        if not fit_lattice(trial, moved, spots, rays, n, px, trial_model, room):
            return value
    refined = score(trial, moved, spots, rays, n, px, q_rms, trial_model, room, trial_result)
    if not (refined > value):
        reduce_basis(basis)
        return value
    copy(trial, basis)
    reduce_basis(basis)
    shift[0], shift[1] = moved[0], moved[1]
    for i in range(3):
        model[i], result[i] = trial_model[i], trial_result[i]
    return refined
