"""Two of three axes are often right: the third is looked for anew, in the spots on the planes of the two."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import copy
from stages.compute.kernel import FAST, kernel
from stages.index._kernels.spots import MIN_SPOTS
from stages.index._kernels.unknown.bases import allowed, dot, same_basis
from stages.index._kernels.unknown.fit import ACROSS, ALONG, FRACTION, Room, limit_model, log_trials, refine
from stages.index._kernels.unknown.transform import summits, transform
from stages.index._kernels.unknown.vectors import fit_growing, plane_tolerance, support

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

N_VECTORS, N_TRIPLES, COMPLETED = 28, 64, 5  # the highest summits hold the short vectors; more bring in chance triples
POLISHED_FROM = 12
N_NETS, N_AGAIN, N_PAIRS = 3, 4, 24
CLEAR, CLEAR_PER_SPOT, CLEAR_LEAD, CLEAR_FRACTION = 20.0, 0.7, 6.0, 0.88  # no need to look further


class Grid(NamedTuple):
    """Room for one transform after the other: what it finds, its summits, and a system of four unknowns to refine them."""

    found: Floats
    peaks: Floats
    matrix: Floats
    right: Floats


class Tried(NamedTuple):
    """The lattices that were refined so far, their S - lnN, and, in an array of one, how many they are."""

    bases: Floats
    scores: Floats
    number: Integers


@kernel
def add(basis: Floats, score: float, tried: Tried) -> None:
    """Note a lattice that was refined."""
    copy(basis, tried.bases[tried.number[0]])
    tried.scores[tried.number[0]] = score
    tried.number[0] += 1


@kernel
def best_net(basis: Floats, shift: Floats, spots: Floats, n: int, px: float, rank: int, to: Floats) -> bool:
    """Fill `to` with a basis of the lattice, its first two axes in the `rank`-th best net; False if there are not so many.

    Nets of two of the 13 shortest vectors of a reduced basis (-1, 0, 1), by the support of both. If one axis of the lattice
    is wrong and two are right, these two are found, even if the reduced basis has but one of them.
    """
    vectors, values, w = np.empty((13, 3)), np.empty(13), np.empty((13, 3), np.int64)
    centred = np.empty((n, 3))
    for k in range(n):
        centred[k, 0], centred[k, 1], centred[k, 2] = spots[k, 0] - shift[0], spots[k, 1] - shift[1], spots[k, 2]
    for i in range(13):
        code = i + 14
        w[i, 0], w[i, 1], w[i, 2] = code // 9 - 1, code // 3 % 3 - 1, code % 3 - 1
        for x in range(3):
            vectors[i, x] = w[i, 0] * basis[0, x] + w[i, 1] * basis[1, x] + w[i, 2] * basis[2, x]
        values[i] = support(vectors[i], 0.0, centred, n, px)
    used = np.zeros((rank + 1, 3), np.int64)
    for r in range(rank + 1):
        best, bi, bj = -np.inf, -1, -1
        for i in range(13):
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
    for i in range(13):
        if abs(used[rank, 0] * w[i, 0] + used[rank, 1] * w[i, 1] + used[rank, 2] * w[i, 2]) == 1:
            for x in range(3):
                to[0, x], to[1, x], to[2, x] = vectors[bi, x], vectors[bj, x], vectors[i, x]
            return True
    return False


@kernel(fastmath=FAST)
def score_net(
    basis: Floats,
    shift: Floats,
    spots: Floats,
    rays: Floats,
    n: int,
    px: float,
    q_rms: float,
    model: Floats,
    residuals: Floats,
) -> float:
    """Return S - lnN of the net of the first two axes alone, any third index: :func:`score` in two dimensions.

    The spots lie on rows across the net's plane. A residual in that plane, ``r = (a.q - h) a' + (b.q - k) b'`` with a', b' dual
    to a, b in the plane, has the covariance ``sigma_a^2 (1 - p p^T) + sigma_l^2 p p^T`` there, p being the ray's part in the
    plane: for |p| < 1 the variance along p is ``sigma_a^2 (1 - |p|^2) + sigma_l^2 |p|^2``, across it sigma_a^2.
    lnN is two thirds of that of a lattice.
    """
    a, b = basis[0], basis[1]
    aa, ab, bb = dot(a, a), dot(a, b), dot(b, b)
    square = aa * bb - ab * ab
    if not (square > 0.0):
        return -np.inf
    for k in range(n):
        x, y, z = spots[k, 0] - shift[0], spots[k, 1] - shift[1], spots[k, 2]
        fa, fb = a[0] * x + a[1] * y + a[2] * z, b[0] * x + b[1] * y + b[2] * z
        ra, rb = fa - np.rint(fa), fb - np.rint(fb)
        ea, eb = dot(a, rays[k]), dot(b, rays[k])
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
    for cycle in range(4):
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
                fraction / (6.283185307179586 * across * np.sqrt(vl) * area) * np.exp(-exponent)
                if exponent < 20.0
                else 0.0
            )
            w = g / (g + rest)
            total += w
            sum_across += w * residuals[k, 0]
            # of the variance along p the part that sigma_l makes
            part = along * along * p2 / vl
            sum_along += w * (along * along * (1.0 - part) + part * part * residuals[k, 1] / max(p2, 1e-9))
            product *= g + rest
            if product > 1e200 or product < 1e-200:
                s += np.log(product)
                product = 1.0
        s += np.log(product)
        if cycle < 3:
            model[ACROSS] = np.sqrt((sum_across + px * px) / (total + 1.0))
            model[ALONG] = np.sqrt((sum_along + 1e-6) / (total + 1.0))
            model[FRACTION] = total / n
            limit_model(model, px)
    return float(s - log_trials(model, total, q_rms) * 2.0 / 3.0)


@kernel
def net_lead(
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
) -> tuple[float, float]:
    """Return by how much S - lnN of a lattice exceeds that of its best net: what the third axis explains beyond chance.

    And how many spots belong to that of the nets which has most.
    """
    best, most, net, net_model = -np.inf, 0.0, np.empty((3, 3)), np.empty(3)
    for rank in range(N_NETS):
        if not best_net(basis, shift, spots, n, px, rank, net):
            break
        for i in range(3):
            net_model[i] = model[i]
        best = max(best, score_net(net, shift, spots, rays, n, px, q_rms, net_model, room.residuals))
        most = max(most, net_model[FRACTION] * n)
    return float(result[0] - result[1] - best), float(most)


@kernel
def is_clear(margin: float, lead: float, most: float, explained: float, n: int) -> bool:
    """Whether no better lattice is to be expected: it is significant, its third axis, too, which most spots of nets support."""
    return bool(margin > CLEAR + CLEAR_PER_SPOT * n and lead > CLEAR_LEAD and explained > CLEAR_FRACTION * most)


@kernel
def complete(
    basis: Floats,
    shift: Floats,
    spots: Floats,
    rays: Floats,
    n: int,
    px: float,
    q_rms: float,
    shortest: float,
    longest: float,
    work: float,
    model: Floats,
    room: Room,
    result: Floats,
    grid: Grid,
    tried: Tried,
) -> bool:
    """Look for a better third axis to the first two, which may be right; take over what raises S - lnN; whether it did.

    Only spots on the planes of both axes count, and the third axis is looked for modulo the two, ``u a + v b + w n`` with n the
    unit normal, |u|, |v| <= 1/2: a small part of the ball, and hardly a spurious spot.
    """
    found, peaks, matrix, right4 = grid.found, grid.peaks, grid.matrix, grid.right
    coordinates, on_net = np.empty((n, 3)), np.empty((n, 3))
    for k in range(n):
        on_net[k, 0], on_net[k, 1], on_net[k, 2] = spots[k, 0] - shift[0], spots[k, 1] - shift[1], spots[k, 2]
    # the wrong third axis has turned these two a little
    v, vector_model = peaks[0], np.empty(2)
    for i in range(2):
        v[0], v[1], v[2], v[3] = basis[i, 0], basis[i, 1], basis[i, 2], 0.0
        fit_growing(v, on_net, POLISHED_FROM, n, 0.0, vector_model, matrix, right4)
        for x in range(3):
            basis[i, x] = v[x]
    a, b = basis[0], basis[1]
    across = np.empty(3)
    for x in range(3):
        across[x] = a[(x + 1) % 3] * b[(x + 2) % 3] - a[(x + 2) % 3] * b[(x + 1) % 3]
    area = np.sqrt(dot(across, across))
    if not (area > 0.2 * np.sqrt(dot(a, a) * dot(b, b))):
        return False
    for x in range(3):
        across[x] /= area
    tolerance_a, tolerance_b = plane_tolerance(a, px), plane_tolerance(b, px)
    m = 0
    for k in range(n):
        x, y, z = spots[k, 0] - shift[0], spots[k, 1] - shift[1], spots[k, 2]
        fa, fb = a[0] * x + a[1] * y + a[2] * z, b[0] * x + b[1] * y + b[2] * z
        if abs(fa - np.rint(fa)) < tolerance_a and abs(fb - np.rint(fb)) < tolerance_b:
            coordinates[m, 0], coordinates[m, 1] = np.rint(fa), np.rint(fb)
            coordinates[m, 2] = across[0] * x + across[1] * y + across[2] * z
            on_net[m, 0], on_net[m, 1], on_net[m, 2] = x, y, z
            m += 1
    if m < MIN_SPOTS:
        return False
    # as many of the spots as the work allows, the lowest
    steps, ends = np.empty(3), np.empty(3)
    use = min(m, n)  # m itself would be a literal to numba, and make it compile what takes `use` twice
    while True:
        points = 1.0
        for x in range(3):
            most = 1e-9
            for k in range(use):
                most = max(most, abs(coordinates[k, x]))
            ends[x] = 0.5 if x < 2 else longest
            steps[x] = min(0.3 / most, ends[x])
            points *= (2.0 if x == 1 else 1.0) * (ends[x] / steps[x] + 1.0)
        if points * use < work or use <= 10:
            break
        use -= 1 + use // 16
    if points * use > 2.0 * work:
        ends[2] *= 2.0 * work / (points * use)
    n_found = transform(coordinates, use, steps, ends, max(shortest, steps[2]), 1e9, 0.0, 0.0, found)
    n_peaks = summits(found, n_found, steps, peaks)
    trial, moved, trial_result, trial_model = np.empty((3, 3)), np.empty(2), np.empty(3), np.empty(3)
    improved = False
    start, start_shift = np.empty((3, 3)), np.empty(2)
    copy(basis, start)
    start_shift[0], start_shift[1] = shift[0], shift[1]
    values = np.empty(n_peaks)
    for i in range(n_peaks):
        u0, u1, u2 = peaks[i, 0], peaks[i, 1], peaks[i, 2]
        v = peaks[i]
        for x in range(3):
            v[x] = u0 * start[0, x] + u1 * start[1, x] + u2 * across[x]
        v[3] = 0.0
        value = fit_growing(v, on_net, use, m, 0.5 * px, vector_model, matrix, right4)
        height = abs(v[0] * across[0] + v[1] * across[1] + v[2] * across[2])
        values[i] = value - np.log(max(1.0, height))
    order = np.argsort(-values)
    num_refined, last = 0, np.inf
    for i in order:
        v = peaks[i]
        if num_refined == COMPLETED:
            break
        if last - values[i] < 0.02:
            continue  # the same one again, modulo the net
        last = values[i]
        num_refined += 1
        copy(start, trial)
        for x in range(3):
            trial[2, x] = v[x]
        if same_basis(trial, start, 0.1):
            continue
        moved[0], moved[1] = start_shift[0], start_shift[1]
        longest_axis = np.sqrt(max(dot(trial[0], trial[0]), dot(trial[1], trial[1]), dot(trial[2], trial[2])))
        trial_model[ACROSS] = trial_model[ALONG] = 0.15 / longest_axis
        trial_model[FRACTION] = 0.5
        limit_model(trial_model, px)
        value = refine(trial, moved, spots, rays, n, px, q_rms, trial_model, room, trial_result)
        if value == -np.inf or not allowed(trial, shortest, longest):
            continue
        add(trial, value, tried)
        if value > result[0] - result[1] + 0.5:
            improved = True
            copy(trial, basis)
            shift[0], shift[1] = moved[0], moved[1]
            for x in range(3):
                result[x], model[x] = trial_result[x], trial_model[x]
    return improved
