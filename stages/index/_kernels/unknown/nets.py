"""Nets: two axes of a lattice without the third. Two of three axes are often right, and tell whether the third is."""

import math

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import FAST, kernel
from stages.index._kernels.unknown.bases import dot
from stages.index._kernels.unknown.likelihood import N_CYCLES, NO_DENSITY, adapt_model, log_trials
from stages.index._kernels.unknown.residuals import centre
from stages.index._kernels.unknown.tuples import (
    ACROSS,
    ALONG,
    EXPLAINED,
    FRACTION,
    Candidate,
    SpotSet,
    Workspace,
    margin,
)
from stages.index._kernels.unknown.vectors import TOO_LARGE, TOO_SMALL, support

Floats = NDArray[np.float64]

N_NETS = 3
"""So many nets of a lattice are compared with it, or completed."""
N_SHORTEST = 13
"""So many vectors has a reduced basis with coefficients of -1, 0 and 1, a vector and its reverse being one."""
NORMAL_2D = 2.0 * math.pi
"""Divided by it and by the product of two standard deviations, 1 is the density of a normal distribution at its mean."""
CLEAR, CLEAR_PER_SPOT = 20.0, 0.7
"""Above the sum of the first and the second for each spot S - lnN tells that a lattice need not be doubted."""
CLEAR_LEAD, CLEAR_FRACTION = 6.0, 0.88
"""Nor need its third axis, if it adds so much to S - lnN and loses no more than the rest of the spots of its best net."""


@kernel
def best_net(lattice: Candidate, spots: SpotSet, rank: int, to: Floats) -> bool:
    """Fill `to` with a basis of the lattice, its first two axes in the `rank`-th best net; False if there are not so many.

    Nets of two of the 13 shortest vectors of a reduced basis (-1, 0, 1), by the support of both. If one axis of the lattice
    is wrong and two are right, these two are found, even if the reduced basis has but one of them.
    """
    basis = lattice.basis
    vectors, values, w = np.empty((N_SHORTEST, 3)), np.empty(N_SHORTEST), np.empty((N_SHORTEST, 3), np.int64)
    centred = np.empty(spots.q.shape)
    centre(spots.q, lattice.shift, centred)
    for i in range(N_SHORTEST):
        code = i + 14
        w[i, 0], w[i, 1], w[i, 2] = code // 9 - 1, code // 3 % 3 - 1, code % 3 - 1
        for x in range(3):
            vectors[i, x] = w[i, 0] * basis[0, x] + w[i, 1] * basis[1, x] + w[i, 2] * basis[2, x]
        values[i] = support(vectors[i], centred, spots.px)
    used = np.zeros((rank + 1, 3), np.int64)
    for r in range(rank + 1):
        best, bi, bj = -np.inf, -1, -1
        for i in range(N_SHORTEST):
            for j in range(i):
                value = values[i] + values[j]
                if not (value > best):
                    continue
                n0 = w[i, 1] * w[j, 2] - w[i, 2] * w[j, 1]
                n1 = w[i, 2] * w[j, 0] - w[i, 0] * w[j, 2]
                n2 = w[i, 0] * w[j, 1] - w[i, 1] * w[j, 0]
                if n0 % 2 == 0 and n1 % 2 == 0 and n2 % 2 == 0:
                    continue  # every other vector of the net is missed
                new = True
                for o in range(r):
                    u0, u1, u2 = used[o, 0], used[o, 1], used[o, 2]
                    if n0 * u1 == n1 * u0 and n1 * u2 == n2 * u1 and n0 * u2 == n2 * u0:
                        new = False
                if new:
                    best, bi, bj = value, i, j
                    used[r, 0], used[r, 1], used[r, 2] = n0, n1, n2
        if bi < 0:
            return False
    for i in range(N_SHORTEST):
        if abs(used[rank, 0] * w[i, 0] + used[rank, 1] * w[i, 1] + used[rank, 2] * w[i, 2]) == 1:
            for x in range(3):
                to[0, x], to[1, x], to[2, x] = vectors[bi, x], vectors[bj, x], vectors[i, x]
            return True
    return False


@kernel(fastmath=FAST)
def score_net(net: Floats, shift: Floats, spots: SpotSet, model: Floats, residuals: Floats) -> float:
    """Return S - lnN of the net of the first two axes alone, any third index: :func:`.likelihood.score` in two dimensions.

    The spots lie on rows across the net's plane. A residual in that plane, ``r = (a.q - h) a' + (b.q - k) b'`` with a', b' dual
    to a, b in the plane, has the covariance ``sigma_a^2 (1 - p p^T) + sigma_l^2 p p^T`` there, p being the ray's part in the
    plane: for |p| < 1 the variance along p is ``sigma_a^2 (1 - |p|^2) + sigma_l^2 |p|^2``, across it sigma_a^2.
    lnN is two thirds of that of a lattice. The model adapts.
    """
    a, b = net[0], net[1]
    q, rays, n = spots.q, spots.rays, spots.q.shape[1]
    aa, ab, bb = dot(a, a), dot(a, b), dot(b, b)
    square = aa * bb - ab * ab
    if not (square > 0.0):
        return -np.inf
    for k in range(n):
        x, y, z = q[0, k] - shift[0], q[1, k] - shift[1], q[2, k]
        fa, fb = a[0] * x + a[1] * y + a[2] * z, b[0] * x + b[1] * y + b[2] * z
        ra, rb = fa - np.rint(fa), fb - np.rint(fb)
        e0, e1, e2 = rays[0, k], rays[1, k], rays[2, k]
        ea, eb = a[0] * e0 + a[1] * e1 + a[2] * e2, b[0] * e0 + b[1] * e1 + b[2] * e2
        # products of vectors in the plane by their components along a and b: (u, v) = (u_a, u_b) G^-1 (v_a, v_b)
        rr = (bb * ra * ra - 2.0 * ab * ra * rb + aa * rb * rb) / square
        pp = (bb * ea * ea - 2.0 * ab * ea * eb + aa * eb * eb) / square
        rp = (bb * ra * ea - ab * (ra * eb + rb * ea) + aa * rb * eb) / square
        along2 = rp * rp / pp if pp > 1e-12 else 0.0
        residuals[k, 0] = max(0.0, rr - along2)
        residuals[k, 1] = along2
        residuals[k, 2] = min(1.0, pp)
    total = s = 0.0
    area = np.sqrt(square)
    for cycle in range(N_CYCLES):
        total = sum_across = sum_along = 0.0
        across, along, fraction = model[ACROSS], model[ALONG], model[FRACTION]
        rest = 1.0 - fraction
        product = 1.0
        s = 0.0
        for k in range(n):
            p2 = residuals[k, 2]
            va = across * across
            vl = va * (1.0 - p2) + along * along * p2
            exponent = 0.5 * (residuals[k, 0] / va + residuals[k, 1] / vl)
            g = (
                fraction / (NORMAL_2D * across * np.sqrt(vl) * area) * np.exp(-exponent)
                if exponent < NO_DENSITY
                else 0.0
            )
            w = g / (g + rest)
            total += w
            sum_across += w * residuals[k, 0]
            # of the variance along p the part that sigma_l makes
            part = along * along * p2 / vl
            sum_along += w * (along * along * (1.0 - part) + part * part * residuals[k, 1] / max(p2, 1e-9))
            product *= g + rest
            if product > TOO_LARGE or product < TOO_SMALL:
                s += np.log(product)
                product = 1.0
        s += np.log(product)
        if cycle < N_CYCLES - 1:
            adapt_model(model, 1.0, (total, sum_across, sum_along), n, spots.px)
    return float(s - log_trials(model, total, spots.q_rms) * 2.0 / 3.0)


@kernel
def net_lead(lattice: Candidate, spots: SpotSet, room: Workspace) -> tuple[float, float]:
    """Return by how much S - lnN of a lattice exceeds that of its best net: what the third axis explains beyond chance.

    And how many spots belong to that of the nets which has most.
    """
    best, most, net, net_model = -np.inf, 0.0, np.empty((3, 3)), np.empty(3)
    for rank in range(N_NETS):
        if not best_net(lattice, spots, rank, net):
            break
        for i in range(3):
            net_model[i] = lattice.model[i]
        best = max(best, score_net(net, lattice.shift, spots, net_model, room.residuals))
        most = max(most, net_model[FRACTION] * spots.q.shape[1])
    return float(margin(lattice) - best), float(most)


@kernel
def is_significant(score: float, n: int) -> bool:
    """Whether S - lnN of a lattice, or of a net, of n spots is so high that it need not be doubted."""
    return bool(score > CLEAR + CLEAR_PER_SPOT * n)


@kernel
def is_clear(lattice: Candidate, spots: SpotSet, room: Workspace) -> bool:
    """Whether no better lattice is to be expected.

    It is significant, its third axis explains more than chance, and it has nearly all spots of the net that has most.
    """
    lead, most = net_lead(lattice, spots, room)
    return bool(
        is_significant(margin(lattice), spots.q.shape[1])
        and lead > CLEAR_LEAD
        and lattice.result[EXPLAINED] > CLEAR_FRACTION * most
    )
