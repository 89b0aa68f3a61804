"""Orientations from directions: where an axis of the cell may lie, and how the cell is turned about it."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import first_not_below, solve_symmetric
from stages.compute.kernel import FAST, kernel
from stages.index._kernels.known.judge import CERTAIN
from stages.index._kernels.known.polish import INDEX_SIGMA, consider
from stages.index._kernels.known.tuples import (
    CAPPED,
    IS_SURE,
    N_FOUND,
    N_HYPOTHESES,
    Cell,
    Found,
    Pattern,
    Room,
    Tables,
)
from stages.index._kernels.known.turns import lay, room_for_turns, score_turns, take_lowest, turn_to
from stages.index._kernels.spots import AT_025

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.int64]


BLOCK = 512  # directions that are scanned together, so that they stay in the processor's first cache


@kernel
def inner_spots(pattern: Pattern, size: float, n_directions: int, at_most: int) -> Integers:
    """Return the places of spots of low resolution, evenly spread, for a scan of directions for an axis of this length.

    They are those for which half of the spacing of the directions is less than 0.3 of an index, 25 at least.
    """
    n = pattern.spots.shape[1]
    spacing = np.sqrt(2.0 * np.pi / n_directions)
    within = first_not_below(pattern.length, 0.3 / (size * 0.5 * spacing))
    within = min(n, max(within, 25))
    chosen = np.empty(min(within, at_most), np.int64)
    for k in range(chosen.size):
        chosen[k] = k * within // chosen.size
    return chosen


@kernel
def scaled(spots: Floats, chosen: Integers, length: float) -> Singles:
    """Return float32 (3, m): the chosen spots times the length of an axis, whose products with a direction are indices."""
    out = np.empty((3, chosen.size), np.float32)
    for k in range(chosen.size):
        for x in range(3):
            out[x, k] = np.float32(length * spots[x, chosen[k]])
    return out


@kernel(fastmath=FAST)
def scan(directions: Singles, spots: Floats, chosen: Integers, length: float, scores: Singles) -> None:
    """Score every direction u: sum over spots of min(d^2, 0.09), d the distance of length (u.q) from an integer."""
    q = scaled(spots, chosen, length)
    cap = np.float32(CAPPED)
    for start in range(0, directions.shape[1], BLOCK):
        end = start + BLOCK
        dx, dy, dz, out = (
            directions[0, start:end],
            directions[1, start:end],
            directions[2, start:end],
            scores[start:end],
        )
        for i in range(out.size):
            out[i] = np.float32(0.0)
        for k in range(0, chosen.size - 1, 2):
            x0, y0, z0 = q[0, k], q[1, k], q[2, k]
            x1, y1, z1 = q[0, k + 1], q[1, k + 1], q[2, k + 1]
            for i in range(out.size):
                t = x0 * dx[i] + y0 * dy[i] + z0 * dz[i]
                u = x1 * dx[i] + y1 * dy[i] + z1 * dz[i]
                t -= np.rint(t)
                u -= np.rint(u)
                out[i] += min(t * t, cap) + min(u * u, cap)
        if chosen.size % 2 == 1:
            x0, y0, z0 = q[0, -1], q[1, -1], q[2, -1]
            for i in range(out.size):
                t = x0 * dx[i] + y0 * dy[i] + z0 * dz[i]
                t -= np.rint(t)
                out[i] += min(t * t, cap)


@kernel
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


@kernel
def on_planes(v: Floats, phase: float, spots: Floats, chosen: Integers) -> int:
    """Count the spots within 0.1 of the planes of a vector, which begin at `phase`."""
    m = 0
    for k in chosen:
        f = v[0] * spots[0, k] + v[1] * spots[1, k] + v[2] * spots[2, k] - phase
        m += abs(f - np.rint(f)) < 0.1
    return m


@kernel
def is_another(fitted: Floats, m: int, size: float) -> bool:
    """Whether the vector at place m has about the length `size` and is none of those before it, nor its opposite."""
    v = fitted[m]
    if not (abs(np.sqrt(v[0] ** 2 + v[1] ** 2 + v[2] ** 2) - size) < 0.08 * size):
        return False
    new = True
    for o in range(m):
        plus = minus = 0.0
        for i in range(3):
            plus += (v[i] - fitted[o, i]) ** 2
            minus += (v[i] + fitted[o, i]) ** 2
        new = new and min(plus, minus) > (0.02 * size) ** 2
    return new


@kernel
def best_supported(support: Integers, m: int, wanted: int) -> Integers:
    """Return the places of the so many of the first m that have most support, best first; their support becomes -1."""
    places = np.empty(min(m, wanted), np.int64)
    for c in range(places.size):
        places[c] = np.argmax(support[:m])
        support[places[c]] = -1
    return places


@kernel
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
    return on_planes(v, 0.0, spots, chosen)


@kernel
def lattice_vectors(size: float, tables: Tables, pattern: Pattern, vectors: Floats, room: Room) -> int:
    """Find vectors of about this length on whose planes the spots lie; fill `vectors`, best first, return their number."""
    spots, directions, scores = pattern.spots, tables.directions, room.scores
    n_directions = directions.shape[1]
    chosen = inner_spots(pattern, size, n_directions, 128 if n_directions < 100_000 else 96)
    scan(directions, spots, chosen, size, scores)
    n_places = max(32, min(96, 3200 // chosen.size))  # few spots: the scores of wrong directions scatter more
    places, values = np.empty(n_places, np.int64), np.empty(n_places, np.float32)
    have = lowest(scores, n_directions, places, values)
    fitted, support = np.empty((n_places, 3)), np.empty(n_places, np.int64)
    m = 0
    for c in range(have):
        for i in range(3):
            fitted[m, i] = size * directions[i, places[c]]
        support[m] = fit_vector(fitted[m], spots, chosen, size)
        m += is_another(fitted, m, size)
    best = best_supported(support, m, vectors.shape[0])
    for c in range(best.size):
        for i in range(3):
            vectors[c, i] = fitted[best[c], i]
    return int(best.size)


@kernel
def try_directions(which: int, cell: Cell, tables: Tables, pattern: Pattern, found: Found, room: Room) -> None:
    """Find one axis of the target by scanning directions, turn the target about it, polish the best turns."""
    target, axis, n_signs = cell.basis, tables.axes[which], tables.signs[which]
    subset, scores, state = pattern.subset, room.scores, found.state
    n = pattern.spots.shape[1]
    trial, first, laid = np.empty((3, 3)), np.empty(3), room_for_turns(subset.shape[1])
    size = np.sqrt(target[axis, 0] ** 2 + target[axis, 1] ** 2 + target[axis, 2] ** 2)
    vectors = np.empty((max(12, min(24 // n_signs, 800 // n)), 3))
    n_vectors = lattice_vectors(size, tables, pattern, vectors, room)
    for c in range(n_vectors * n_signs):
        v = vectors[c // n_signs]
        if c % n_signs == 1:
            for i in range(3):
                v[i] = -v[i]
        m, steps = lay(target, axis, v, 0.0, subset, laid.lab, laid.frame, laid.shape, laid.inliers)
        score_turns(subset, laid, m, steps, tables, scores)
        for i in range(3):
            first[i] = laid.lab[0, i]
        for _ in range(3):
            turn_to(take_lowest(scores, steps), steps, tables, first, target, laid, trial)
            state[N_HYPOTHESES] += 1
            consider(trial, target, pattern, found, room)
            if state[IS_SURE] > 0:
                return
        if c % n_signs == n_signs - 1:
            for k in range(state[N_FOUND]):
                if found.score[k] >= pattern.log_trials + CERTAIN and 2 * found.counts[k, AT_025] >= n:
                    return
