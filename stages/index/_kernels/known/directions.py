"""Orientations from directions: where an axis of the cell may lie, and how the cell is turned about it."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import carry, first_not_below, solve_symmetric
from stages.compute.kernel import FAST, kernel
from stages.index._kernels.known.judge import CERTAIN
from stages.index._kernels.known.polish import INDEX_SIGMA, consider
from stages.index._kernels.known.tuples import IS_SURE, N_FOUND, N_HYPOTHESES, Cell, Found, Pattern, Room, Tables
from stages.index._kernels.spots import AT_025

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.int64]


MAX_STEPS = 2048
CAPPED = 0.09


@kernel(fastmath=FAST)
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


@kernel
def lay(
    target: Floats,
    axis: int,
    v: Floats,
    phase: float,
    spots: Floats,
    lab: Floats,
    frame: Floats,
    shape: Floats,
    inliers: Integers,
) -> tuple[int, int]:
    """Lay the target's row `axis` onto the vector v, and say how to turn it; return the numbers of inliers and of turns.

    `inliers` become the spots within 0.2 of v's planes, which begin at `phase`, and of those the ones where a tilt of 0.015
    rad still matters less than 0.3 of an index. `lab` and `frame` become the frames to :func:`carry` between; `shape` the
    parts b1, b3, c1, c2, c3 of the two next axes along the rows of `frame` (b2 is 0).
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
    shape[0], shape[1], shape[2], shape[3], shape[4] = b1, b3, c1, c2, c3
    across = max(b1, np.sqrt(c1 * c1 + c2 * c2))
    limit = 0.3 / (0.015 * across)
    m = 0
    q_max = 0.0
    for k in range(spots.shape[1]):
        x, y, z = spots[0, k], spots[1, k], spots[2, k]
        r = np.sqrt(x * x + y * y + z * z)
        if r > limit and m >= 20:
            break
        f = v[0] * x + v[1] * y + v[2] * z - phase
        if abs(f - np.rint(f)) < 0.2:
            inliers[m] = k
            m += 1
            q_max = max(q_max, r)
    wanted = 2.0 * np.pi * across * q_max / 0.3
    steps = 64
    while steps < wanted and steps < MAX_STEPS:
        steps *= 2
    return m, steps


@kernel(fastmath=FAST)
def turns(
    target: Floats,
    axis: int,
    v: Floats,
    spots: Floats,
    tables: Tables,
    scores: Singles,
    lab: Floats,
    frame: Floats,
    inliers: Integers,
) -> int:
    """Score turns of the target about the vector v, onto which its row `axis` is laid; return the number of turns.

    Step k is the angle 2 pi k / steps; for `lab`, `frame` and the spots that count see :func:`lay`.
    """
    shape = np.empty(5)
    m, steps = lay(target, axis, v, 0.0, spots, lab, frame, shape, inliers)
    b1, b3, c1, c2, c3 = shape[0], shape[1], shape[2], shape[3], shape[4]
    stride = MAX_STEPS // steps
    out = scores[:steps]
    co, si = tables.cosine[::stride], tables.sine[::stride]
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


@kernel
def lattice_vectors(size: float, tables: Tables, pattern: Pattern, vectors: Floats, room: Room) -> int:
    """Find vectors of about this length on whose planes the spots lie; fill `vectors`, best first, return their number."""
    spots, directions, scores = pattern.spots, tables.directions, room.scores
    n = spots.shape[1]
    n_directions = directions.shape[1]
    spacing = np.sqrt(2.0 * np.pi / n_directions)
    within = first_not_below(pattern.length, 0.3 / (size * 0.5 * spacing))
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


@kernel
def try_directions(which: int, cell: Cell, tables: Tables, pattern: Pattern, found: Found, room: Room) -> None:
    """Find one axis of the target by scanning directions, turn the target about it, polish the best turns."""
    target, axis, n_signs = cell.basis, tables.axes[which], tables.signs[which]
    subset, scores, cosine, sine, state = pattern.subset, room.scores, tables.cosine, tables.sine, found.state
    n = pattern.spots.shape[1]
    trial, frame, lab, first = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3)), np.empty(3)
    size = np.sqrt(target[axis, 0] ** 2 + target[axis, 1] ** 2 + target[axis, 2] ** 2)
    vectors = np.empty((max(12, min(24 // n_signs, 800 // n)), 3))
    inliers = np.empty(subset.shape[1], np.int64)
    n_vectors = lattice_vectors(size, tables, pattern, vectors, room)
    for c in range(n_vectors * n_signs):
        v = vectors[c // n_signs]
        if c % n_signs == 1:
            for i in range(3):
                v[i] = -v[i]
        steps = turns(target, axis, v, subset, tables, scores, lab, frame, inliers)
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
            consider(trial, target, pattern, found, room)
            if state[IS_SURE] > 0:
                return
        if c % n_signs == n_signs - 1:
            for k in range(state[N_FOUND]):
                if found.score[k] >= pattern.log_trials + CERTAIN and 2 * found.counts[k, AT_025] >= n:
                    return
