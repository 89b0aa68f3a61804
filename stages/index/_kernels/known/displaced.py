"""Orientations where the detector is off by a part of a reciprocal axis, as it easily is with long axes.

A shift s of the detector takes every spot from its lattice point by nearly the same vector, so that the planes of an axis a do
not go through the origin: a.q = h + a.s. How well spots lie on planes wherever these begin is the modulus of the sum of
exp(2 pi i a.q) over the spots; its phase is a.s. The phases of three axes make s, up to a reciprocal vector; the detector moves
in its plane only, and not far, which tells which it is. Then the spots are moved back, and the search goes on as usual.

DPS (Steller et al., 1997, https://doi.org/10.1107/S0021889897008777) looks at the modulus of such sums,
too, by Fourier transforms of projections.
"""

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import carry, cholesky_solve, copy, first_not_below, invert, same_lattice
from stages.compute.kernel import FAST, kernel
from stages.index._kernels.known.contest import (
    EXPLAINED_015,
    EXPLAINED_025,
    HOPE,
    LOG_TRIALS,
    N_REPORT,
    NEAR,
    RESIDUAL,
    SCORE,
    SPOTS,
    contest,
    keep_better,
)
from stages.index._kernels.known.directions import MAX_STEPS, lay, lowest
from stages.index._kernels.known.polish import INDEX_SIGMA, polish
from stages.index._kernels.known.tuples import (
    N_FOUND,
    N_HYPOTHESES,
    N_POLISHED,
    Cell,
    Pattern,
    Room,
    Tables,
    room_for_bases,
)
from stages.index._kernels.spots import N_COUNTS

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.int64]

REACH_PX = 6.0  # a detector is not farther off
PHASE_SIGMA = 0.07  # of a phase, in turns
N_PLACES, N_VECTORS, N_PEAKS, N_TURNS, N_BEST = 32, 8, 14, 3, 4
QUARTER, HALF = np.float32(0.25), np.float32(0.5)


@kernel(fastmath=FAST)
def scan_phases(directions: Singles, spots: Floats, chosen: Integers, length: float, scores: Singles) -> None:
    """Score every direction u: minus the squared modulus of the sum of exp(2 pi i length (u.q)), the lowest is the best.

    Sine and cosine are parabolas, 8 t (1 - 2 |t|) between -1/2 and 1/2; the factor is left out. Of an odd number of spots the
    last one does not count.
    """
    real, imaginary = np.empty(512, np.float32), np.empty(512, np.float32)
    for start in range(0, directions.shape[1], 512):
        dx, dy, dz = (
            directions[0, start : start + 512],
            directions[1, start : start + 512],
            directions[2, start : start + 512],
        )
        out = scores[start : start + 512]
        for i in range(out.size):
            real[i] = imaginary[i] = np.float32(0.0)
        for c in range(0, chosen.size - 1, 2):
            j, k = chosen[c], chosen[c + 1]
            x0, y0, z0 = (
                np.float32(length * spots[0, j]),
                np.float32(length * spots[1, j]),
                np.float32(length * spots[2, j]),
            )
            x1, y1, z1 = (
                np.float32(length * spots[0, k]),
                np.float32(length * spots[1, k]),
                np.float32(length * spots[2, k]),
            )
            for i in range(out.size):
                t = x0 * dx[i] + y0 * dy[i] + z0 * dz[i]
                u = x1 * dx[i] + y1 * dy[i] + z1 * dz[i]
                t -= np.rint(t)
                u -= np.rint(u)
                v, w = QUARTER - abs(t), QUARTER - abs(u)
                real[i] += v * (HALF - abs(v)) + w * (HALF - abs(w))
                imaginary[i] += t * (HALF - abs(t)) + u * (HALF - abs(u))
        for i in range(out.size):
            out[i] = -(real[i] * real[i] + imaginary[i] * imaginary[i])


@kernel
def phase_of(v: Floats, spots: Floats, chosen: Integers) -> float:
    """Where the planes of a vector begin: the phase of the sum of exp(2 pi i v.q), as a part of a turn."""
    real = imaginary = 0.0
    for k in chosen:
        t = 2.0 * np.pi * (v[0] * spots[0, k] + v[1] * spots[1, k] + v[2] * spots[2, k])
        real += np.cos(t)
        imaginary += np.sin(t)
    return float(np.arctan2(imaginary, real) / (2.0 * np.pi))


@kernel
def fit_displaced(v: Floats, spots: Floats, chosen: Integers, length: float) -> tuple[int, float]:
    """Trimmed least squares of a lattice vector and of where its planes begin; return its inliers within 0.1, and the latter.

    As :func:`stages.index._kernels.known.directions.fit_vector`, with a fourth unknown.
    """
    prior = (INDEX_SIGMA / (0.02 * length)) ** 2
    before = v.copy()
    normal, right = np.empty((4, 4)), np.empty(4)
    phase = phase_of(v, spots, chosen)
    row = np.empty(4)
    row[3] = 1.0
    for tolerance in (0.3, 0.25, 0.2, 0.15, 0.15):
        for a in range(4):
            right[a] = prior * before[a] if a < 3 else 0.0
            for b in range(4):
                normal[a, b] = prior if a == b and a < 3 else 0.0
        normal[3, 3] = 1e-3
        for k in chosen:
            f = v[0] * spots[0, k] + v[1] * spots[1, k] + v[2] * spots[2, k]
            h = np.rint(f - phase)
            if abs(f - phase - h) < tolerance:
                row[0], row[1], row[2] = spots[0, k], spots[1, k], spots[2, k]
                for a in range(4):
                    right[a] += row[a] * h
                    for b in range(a + 1):
                        normal[a, b] += row[a] * row[b]
        if not cholesky_solve(normal, right, 4):
            break
        v[0], v[1], v[2], phase = right[0], right[1], right[2], -right[3]
    m = 0
    for k in chosen:
        f = v[0] * spots[0, k] + v[1] * spots[1, k] + v[2] * spots[2, k] - phase
        m += abs(f - np.rint(f)) < 0.1
    return m, phase


@kernel(fastmath=FAST)
def turn_phases(
    shape: Floats, lab: Floats, spots: Floats, inliers: Integers, steps: int, tables: Tables, scores: Singles
) -> None:
    """Score turns about an axis: minus the sum of the squared moduli of the two other axes; see `lay` for the arguments."""
    b1, b3, c1, c2, c3 = shape[0], shape[1], shape[2], shape[3], shape[4]
    stride = MAX_STEPS // steps
    co, si = tables.cosine[::stride], tables.sine[::stride]
    sums = np.zeros((4, steps), np.float32)
    b_real, b_imaginary, c_real, c_imaginary = sums[0], sums[1], sums[2], sums[3]
    for k in inliers:
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
            w = QUARTER - abs(t)
            b_real[i] += w * (HALF - abs(w))
            b_imaginary[i] += t * (HALF - abs(t))
            w = QUARTER - abs(u)
            c_real[i] += w * (HALF - abs(w))
            c_imaginary[i] += u * (HALF - abs(u))
    for i in range(steps):
        b = b_real[i] * b_real[i] + b_imaginary[i] * b_imaginary[i]
        scores[i] = -(b + c_real[i] * c_real[i] + c_imaginary[i] * c_imaginary[i])


@kernel
def displaced_vectors(
    size: float, tables: Tables, pattern: Pattern, vectors: Floats, phases: Floats, room: Room
) -> int:
    """Find vectors of about this length on whose planes the spots lie, wherever these begin; return their number."""
    spots, directions = pattern.spots, tables.directions
    n, n_directions = spots.shape[1], directions.shape[1]
    within = first_not_below(pattern.length, 0.3 / (size * 0.5 * np.sqrt(2.0 * np.pi / n_directions)))
    within = min(n, max(within, 25))
    chosen = np.empty(min(within, 40), np.int64)
    for k in range(chosen.size):
        chosen[k] = k * within // chosen.size
    scan_phases(directions, spots, chosen, size, room.scores)
    places, values = np.empty(N_PLACES, np.int64), np.empty(N_PLACES, np.float32)
    have = lowest(room.scores, n_directions, places, values)
    fitted, support, begin = np.empty((N_PLACES, 3)), np.empty(N_PLACES, np.int64), np.empty(N_PLACES)
    m = 0
    for c in range(have):
        v = fitted[m]
        for i in range(3):
            v[i] = size * directions[i, places[c]]
        support[m], begin[m] = fit_displaced(v, spots, chosen, size)
        if not (abs(np.sqrt(v[0] ** 2 + v[1] ** 2 + v[2] ** 2) - size) < 0.08 * size):
            continue
        new = True
        for o in range(m):
            plus = minus = 0.0
            for i in range(3):
                plus += (v[i] - fitted[o, i]) ** 2
                minus += (v[i] + fitted[o, i]) ** 2
            new = new and min(plus, minus) > (0.02 * size) ** 2
        m += new
    wanted = min(m, vectors.shape[0])
    for c in range(wanted):
        best = int(np.argmax(support[:m]))
        support[best] = -1
        phases[c] = begin[best]
        for i in range(3):
            vectors[c, i] = fitted[best, i]
    return int(wanted)


@kernel
def shift_of(basis: Floats, spots: Floats, inliers: Integers, px: float, longest: float, shift: Floats) -> bool:
    """The shift of the detector that the phases of three axes ask for; False if there is none that a detector could have.

    A s = phases + integers; of the 27 nearest the one that is smallest and in the plane of the detector.
    """
    inverse, phases = np.empty((3, 3)), np.empty(3)
    if invert(basis, inverse) == 0.0:
        return False
    for i in range(3):
        phases[i] = phase_of(basis[i], spots, inliers)
    best = np.inf
    for h in range(-1, 2):
        for k in range(-1, 2):
            for m in range(-1, 2):
                a, b, c = phases[0] + h, phases[1] + k, phases[2] + m
                x = inverse[0, 0] * a + inverse[0, 1] * b + inverse[0, 2] * c
                y = inverse[1, 0] * a + inverse[1, 1] * b + inverse[1, 2] * c
                z = inverse[2, 0] * a + inverse[2, 1] * b + inverse[2, 2] * c
                cost = (z * longest / PHASE_SIGMA) ** 2 + (x * x + y * y) / (0.5 * REACH_PX * px) ** 2
                if cost < best:
                    best = cost
                    shift[0], shift[1] = x, y
    return bool(shift[0] ** 2 + shift[1] ** 2 < (REACH_PX * px) ** 2)


@kernel
def moved(pattern: Pattern, shift: Floats) -> Pattern:
    """The pattern with its spots moved back by a shift of the detector, each across its ray (see `sharpen.residuals`)."""
    spots, subset = pattern.spots.copy(), pattern.subset.copy()
    for points in (spots, subset):
        for k in range(points.shape[1]):
            x, y, z = points[0, k], points[1, k], points[2, k]
            norm = np.sqrt(x * x + y * y + (z + pattern.k0) * (z + pattern.k0))
            ux, uy, uz = x / norm, y / norm, (z + pattern.k0) / norm
            on_ray = ux * shift[0] + uy * shift[1]
            points[0, k] = x - uz * (shift[0] - on_ray * ux)
            points[1, k] = y - uz * (shift[1] - on_ray * uy)
            points[2, k] = z + uz * on_ray * uz
    return Pattern(
        spots,
        pattern.length,
        pattern.ones,
        subset,
        pattern.n_start,
        pattern.sample,
        pattern.k0,
        pattern.px,
        pattern.q_rms,
        pattern.log_trials,
        REACH_PX,
    )


@kernel
def enter(
    score: float, trial: Floats, shift: Floats, px: float, best_score: Floats, best_shift: Floats, best_basis: Floats
) -> None:
    """Put a basis and its shift among the best, in the place of one that is nearly the same, or else of the worst."""
    inverse = np.empty((3, 3))
    if invert(trial, inverse) == 0.0:
        return
    place = int(np.argmin(best_score))
    for k in range(best_score.size):
        off = (best_shift[k, 0] - shift[0]) ** 2 + (best_shift[k, 1] - shift[1]) ** 2
        if best_score[k] > 0.0 and off < px * px and same_lattice(best_basis[k], inverse, 0.02):
            place = k
    if score > best_score[place]:
        best_score[place] = score
        best_shift[place, 0], best_shift[place, 1] = shift[0], shift[1]
        copy(trial, best_basis[place])


@kernel
def judge_moved(
    start: Floats, score: float, cell: Cell, pattern: Pattern, report: Floats, basis: Floats, room: Room
) -> None:
    """Let a basis, polished on spots that were moved, stand in a contest; keep what comes of it, if it is better.

    A lattice that begins at a wrong spot, and is tilted by one or two degrees for that, explains most spots, too, but many of
    them between 0.15 and 0.25 only, though the others show that positions are sharper: that does not count.
    """
    found = room_for_bases()
    copy(start, found.basis[0])
    found.score[0] = score
    found.state[N_FOUND] = 1
    new_report, new_basis = np.zeros(N_REPORT), np.zeros((3, 3))
    new_report[SPOTS] = pattern.spots.shape[1]
    contest(cell, pattern, found, new_report, new_basis, room)
    beside = new_report[RESIDUAL] < 0.7 and new_report[EXPLAINED_015] < NEAR * new_report[EXPLAINED_025]
    if new_report[SCORE] > 0.0 and not beside:
        keep_better(new_report, new_basis, report, basis)


@kernel
def try_displaced(
    which: int, cell: Cell, tables: Tables, pattern: Pattern, state: Integers, report: Floats, basis: Floats, room: Room
) -> None:
    """Find one axis wherever its planes begin, turn the cell about it, move the spots back, polish, and judge the best.

    `report` and `basis` become what :func:`contest` makes of the best, if that is better than what stands there.
    """
    axis, n_signs = tables.axes[which], tables.signs[which]
    subset, scores, px = pattern.subset, room.scores, pattern.px
    size = np.sqrt(cell.basis[axis, 0] ** 2 + cell.basis[axis, 1] ** 2 + cell.basis[axis, 2] ** 2)
    vectors = np.empty((max(3, min(N_VECTORS, 240 // pattern.spots.shape[1])), 3))
    phases = np.empty(vectors.shape[0])
    frame, lab, first, shape = np.empty((3, 3)), np.empty((3, 3)), np.empty(3), np.empty(5)
    inliers, counts = np.empty(subset.shape[1], np.int64), np.empty(N_COUNTS, np.int64)
    best_score, best_basis = np.zeros(N_BEST), np.empty((N_BEST, 3, 3))
    best_shift = np.empty((N_BEST, 2))
    trial, shift = np.empty((3, 3)), np.empty(2)
    tried_inverse, every = np.empty((N_TURNS, 3, 3)), np.arange(subset.shape[1])
    n_vectors = displaced_vectors(size, tables, pattern, vectors, phases, room)
    for c in range(n_vectors * n_signs):
        v = vectors[c // n_signs]
        if c % n_signs == 1:
            phases[c // n_signs] = -phases[c // n_signs]
            for i in range(3):
                v[i] = -v[i]
        m, steps = lay(cell.basis, axis, v, phases[c // n_signs], subset, lab, frame, shape, inliers)
        if m < 4:
            continue
        turn_phases(shape, lab, subset, inliers[:m], steps, tables, scores)
        for i in range(3):
            first[i] = lab[0, i]
        n_tried = 0
        for _ in range(N_PEAKS):
            k = int(np.argmin(scores[:steps]))
            for near in range(-2, 3):
                scores[(k + near) % steps] = np.float32(np.inf)
            co, si = tables.cosine[k * (MAX_STEPS // steps)], tables.sine[k * (MAX_STEPS // steps)]
            for i in range(3):
                second = lab[2, (i + 1) % 3] * first[(i + 2) % 3] - lab[2, (i + 2) % 3] * first[(i + 1) % 3]
                lab[0, i] = co * first[i] + si * second
                lab[1, i] = co * second - si * first[i]
            carry(cell.basis, frame, lab, trial)
            new = True
            for o in range(n_tried):
                new = new and not same_lattice(trial, tried_inverse[o], 0.01)
            if not new or invert(trial, tried_inverse[n_tried]) == 0.0:
                continue
            n_tried += 1
            state[N_HYPOTHESES] += 1
            is_near = shift_of(trial, subset, inliers[:m], px, cell.longest, shift)
            for _ in range(3):
                state[N_POLISHED] += 1
                score = polish(trial, cell.basis, moved(pattern, shift), counts, room)
                if score < 0.5 * pattern.log_trials:
                    break
                if is_near:
                    enter(score, trial, shift, px, best_score, best_shift, best_basis)
                # polished it may ask for another shift
                before_x, before_y = shift[0], shift[1]
                is_near = shift_of(trial, subset, every, px, cell.longest, shift)
                if (shift[0] - before_x) ** 2 + (shift[1] - before_y) ** 2 < (0.3 * px) ** 2:
                    break
            if n_tried == N_TURNS:
                break
    origin = 0
    for k in range(N_BEST):
        if best_score[k] >= pattern.log_trials:
            before = report[SCORE] - report[LOG_TRIALS]
            judge_moved(best_basis[k], best_score[k], cell, moved(pattern, best_shift[k]), report, basis, room)
            if report[SCORE] - report[LOG_TRIALS] > before or k == 0:
                origin = k
    if not (report[SCORE] - report[LOG_TRIALS] > HOPE):
        return
    # the lattice may begin at the spot beside the beam: moved on by a short reciprocal vector it fits nearly as well
    inverse, start = np.empty((3, 3)), basis.copy()
    if invert(start, inverse) == 0.0:
        return
    for h in range(-1, 2):
        for k in range(-1, 2):
            for m in range(-1, 2):
                z = inverse[2, 0] * h + inverse[2, 1] * k + inverse[2, 2] * m
                for i in range(2):
                    shift[i] = best_shift[origin, i] + inverse[i, 0] * h + inverse[i, 1] * k + inverse[i, 2] * m
                is_near = (
                    abs(z) < 3.0 * PHASE_SIGMA / cell.longest and shift[0] ** 2 + shift[1] ** 2 < (REACH_PX * px) ** 2
                )
                if is_near and (h != 0 or k != 0 or m != 0):
                    copy(start, trial)
                    there = moved(pattern, shift)
                    score = polish(trial, cell.basis, there, counts, room)
                    if score >= pattern.log_trials:
                        judge_moved(trial, score, cell, there, report, basis, room)
