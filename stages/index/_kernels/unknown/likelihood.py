"""How significant a lattice is: the likelihood of the spots, and what the search for it could have found by chance."""

import math

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import reciprocal
from stages.compute.kernel import FAST, kernel
from stages.index._kernels.unknown.residuals import indices_within, residual
from stages.index._kernels.unknown.tuples import (
    ACROSS,
    ALONG,
    EXPLAINED,
    FRACTION,
    LOG_TRIALS,
    SCORE,
    Candidate,
    SpotSet,
    Workspace,
)
from stages.index._kernels.unknown.vectors import TOO_LARGE, TOO_SMALL

Floats = NDArray[np.float64]

NORMAL_3D = (2.0 * math.pi) ** 1.5
"""Divided by it and by the product of three standard deviations, 1 is the density of a normal distribution at its mean."""
N_CYCLES = 4
"""How often the likelihood is computed, the model being adapted after each but the last."""
NO_DENSITY = 20.0
"""A spot whose density is below e^-20 of that on its lattice point is taken for random."""


@kernel
def limit_model(model: Floats, px: float) -> None:
    """Keep the standard errors and the fraction of a model within what a still can have."""
    model[ACROSS] = min(6.0 * px, max(0.3 * px, model[ACROSS]))
    model[ALONG] = min(0.004, max(0.0003, model[ALONG]))
    model[FRACTION] = min(0.98, max(0.02, model[FRACTION]))


@kernel(fastmath=FAST)
def adapt_model(model: Floats, directions: float, sums: tuple[float, float, float], n: int, px: float) -> None:
    """Set a model by the sums over n spots of their weights, and of the weighted squares of residuals across and along rays.

    The residuals across have one or two `directions`. Before any spot is seen, one has been off by a pixel in each of them,
    and by 0.001/Angstrom along its ray.
    """
    total, sum_across, sum_along = sums
    model[ACROSS] = np.sqrt((sum_across + directions * px * px) / (directions * total + directions))
    model[ALONG] = np.sqrt((sum_along + 1e-6) / (total + 1.0))
    model[FRACTION] = total / n
    limit_model(model, px)


@kernel(fastmath=FAST)
def peak_density(model: Floats, volume: float) -> float:
    """Return w g(0) / V: the density of the spots of a lattice on its points, relative to that of random spots."""
    return float(model[FRACTION] / (NORMAL_3D * model[ACROSS] ** 2 * model[ALONG] * volume))


@kernel
def log_trials(model: Floats, total: float, q_rms: float) -> float:
    """Return lnN, how many lattices so many spots can tell apart; see :func:`score`."""
    return float(3.0 * np.log(max(1.0, (q_rms * np.sqrt(max(total, 1.0))) ** 3 / (model[ACROSS] ** 2 * model[ALONG]))))


@kernel(fastmath=FAST)
def score(lattice: Candidate, spots: SpotSet, room: Workspace) -> float:
    """Return S - lnN of a lattice, -inf if it is none; its result is set, and its model adapts.

    ``S = sum ln(1 - w + w g(r) / V)``, the logarithm of the likelihood ratio against random spots: of random spots a share of
    at most exp(-S) has as high a ratio, as its mean over them is 1 (Markov). The lattice was chosen among many, though: each
    of the 9 elements of the basis is determined to a small part of what it might have been, which makes
    ``lnN = 3 ln(q_rms^3 m^1.5 / (sigma_a^2 sigma_l))`` (Laplace's approximation to the Bayes factor; MacKay, 1992).
    """
    basis, shift, model, result = lattice.basis, lattice.shift, lattice.model, lattice.result
    star, residuals, rays, n = room.star, room.residuals, spots.rays, spots.q.shape[1]
    volume = abs(reciprocal(basis, star))
    if volume == 0.0:
        return -np.inf
    for k in range(n):
        h0, h1, h2, r0, r1, r2 = residual(basis, star, shift, spots.q, k)
        on_ray = r0 * rays[0, k] + r1 * rays[1, k] + r2 * rays[2, k]
        along2 = on_ray * on_ray
        origin = h0 == 0.0 and h1 == 0.0 and h2 == 0.0
        residuals[k, 0] = 1.0 if origin else max(0.0, r0 * r0 + r1 * r1 + r2 * r2 - along2)
        residuals[k, 1] = along2
    total = s = 0.0
    for cycle in range(N_CYCLES):
        wa, wl = 0.5 / model[ACROSS] ** 2, 0.5 / model[ALONG] ** 2
        peak, rest = peak_density(model, volume), 1.0 - model[FRACTION]
        total = sum_across = sum_along = 0.0
        product = 1.0
        s = 0.0
        for k in range(n):
            exponent = residuals[k, 0] * wa + residuals[k, 1] * wl
            g = peak * np.exp(-exponent) if exponent < NO_DENSITY else 0.0
            w = g / (g + rest)
            total += w
            sum_across += w * residuals[k, 0]
            sum_along += w * residuals[k, 1]
            product *= g + rest
            if product > TOO_LARGE or product < TOO_SMALL:
                s += np.log(product)
                product = 1.0
        s += np.log(product)
        if cycle < N_CYCLES - 1:
            adapt_model(model, 2.0, (total, sum_across, sum_along), n, spots.px)
    result[SCORE] = s
    result[LOG_TRIALS] = log_trials(model, total, spots.q_rms)
    result[EXPLAINED] = total
    return float(result[SCORE] - result[LOG_TRIALS])


@kernel
def spread(lattice: Candidate, spots: SpotSet, m: Floats) -> float:
    """Return the standard deviation of the explained spots' indices in the direction in which it is smallest; `m`: room.

    It is 0 if all these spots lie in one plane through the origin of the lattice: then nothing tells its third axis. It is the
    square root of the smallest eigenvalue of the mean of h h^T. A spot is explained within 0.2 of whole indices.
    """
    indices = np.empty((spots.q.shape[1] + 1, 3), np.int64)
    used = indices_within(lattice.basis, lattice.shift, spots.q, 0.2, indices)
    if used == 0:
        return 0.0
    for i in range(3):
        for j in range(3):
            m[i, j] = 0.0
            for k in range(used):
                m[i, j] += indices[k, i] * indices[k, j]
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
