"""Orientations where the detector is off by a part of a reciprocal axis, as it easily is with long axes.

A shift s of the detector takes every spot from its lattice point by nearly the same vector, so that the planes of an axis a do
not go through the origin: a.q = h + a.s. How well spots lie on planes wherever these begin is the modulus of the sum of
exp(2 pi i a.q) over the spots; its phase is a.s. The phases of three axes make s, up to a reciprocal vector; the detector moves
in its plane only, and not far, which tells which it is. Then the spots are moved back, and the search goes on as usual.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import copy, invert, same_lattice
from stages.compute.kernel import kernel
from stages.index._kernels.known.accept import HOPE, is_beside, keep_better
from stages.index._kernels.known.contest import contest
from stages.index._kernels.known.phases import displaced_vectors, phase_of, score_phases_of_turns
from stages.index._kernels.known.polish import polish
from stages.index._kernels.known.residuals import displacement, ray_of
from stages.index._kernels.known.tuples import (
    N_FOUND,
    N_HYPOTHESES,
    N_POLISHED,
    Cell,
    Pattern,
    Result,
    Room,
    Tables,
    no_result,
    room_for_bases,
)
from stages.index._kernels.known.turns import Laid, lay, room_for_turns, take_lowest, turn_to
from stages.index._kernels.spots import N_COUNTS

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

REACH_PX = 6.0  # a detector is not farther off
PHASE_SIGMA = 0.07  # of a phase, in turns
N_VECTORS, N_PEAKS, N_TURNS, N_BEST = 8, 14, 3, 4
BESIDE_PX = 0.7  # sharper residuals across the ray show that spots between 0.15 and 0.25 are of another lattice


class Best(NamedTuple):
    """The few best bases so far, each with the shift that it asks for, (N_BEST, ...); a score of 0 is a free place."""

    score: Floats
    basis: Floats
    shift: Floats


class Trials(NamedTuple):
    """What is filled anew for each orientation that is tried.

    Attributes
    ----------
    basis, shift
        (3, 3) in Angstrom; (2) in 1/Angstrom.
    counts
        How many spots lie within each threshold, (N_COUNTS).
    inverse
        (N_TURNS, 3, 3) of those that have been tried about this vector.
    every
        Places of all spots of the subset.
    """

    basis: Floats
    shift: Floats
    counts: Integers
    inverse: Floats
    every: Integers


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
    return is_within_reach(shift, px)


@kernel
def moved(pattern: Pattern, shift: Floats) -> Pattern:
    """The pattern with its spots moved back by a shift of the detector, each across its ray."""
    spots, subset = pattern.spots.copy(), pattern.subset.copy()
    for points in (spots, subset):
        for k in range(points.shape[1]):
            x, y, z = points[0, k], points[1, k], points[2, k]
            ux, uy, uz = ray_of(x, y, z, pattern.k0)
            sx, sy, sz = displacement(ux, uy, uz, shift)
            points[0, k], points[1, k], points[2, k] = x - sx, y - sy, z - sz
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
        pattern.moved_x + shift[0],
        pattern.moved_y + shift[1],
    )


@kernel
def is_within_reach(shift: Floats, px: float) -> bool:
    """Whether a detector could be off by so much."""
    return bool(shift[0] ** 2 + shift[1] ** 2 < (REACH_PX * px) ** 2)


@kernel
def enter(score: float, trial: Floats, shift: Floats, px: float, best: Best) -> None:
    """Put a basis and its shift among the best, in the place of one that is nearly the same, or else of the worst."""
    inverse = np.empty((3, 3))
    if invert(trial, inverse) == 0.0:
        return
    place = int(np.argmin(best.score))
    for k in range(best.score.size):
        off = (best.shift[k, 0] - shift[0]) ** 2 + (best.shift[k, 1] - shift[1]) ** 2
        if best.score[k] > 0.0 and off < px * px and same_lattice(best.basis[k], inverse, 0.02):
            place = k
    if score > best.score[place]:
        best.score[place] = score
        best.shift[place, 0], best.shift[place, 1] = shift[0], shift[1]
        copy(trial, best.basis[place])


@kernel
def judge_moved(
    start: Floats, score: float, cell: Cell, pattern: Pattern, result: Result, basis: Floats, room: Room
) -> Result:
    """Let a basis, polished on spots that were moved, stand in a contest; return what comes of it, if it is better.

    A lattice that begins at a wrong spot, and is tilted by one or two degrees for that, explains most spots, too, but many of
    them between 0.15 and 0.25 only, though the others show that positions are sharper: that does not count.
    """
    found = room_for_bases()
    copy(start, found.basis[0])
    found.score[0] = score
    found.state[N_FOUND] = 1
    new_basis = np.zeros((3, 3))
    new = contest(cell, pattern, found, no_result(0.0), new_basis, room)
    if new.verdict.score > 0.0 and not (new.verdict.residual < BESIDE_PX and is_beside(new.verdict)):
        return keep_better(new, new_basis, result, basis)
    return result


@kernel
def move_and_polish(
    cell: Cell, pattern: Pattern, laid: Laid, m: int, state: Integers, trials: Trials, best: Best, room: Room
) -> None:
    """Find the shift that an orientation asks for, move the spots back, polish; enter what comes of it among the best.

    Polished it may ask for another shift: three times at most.
    """
    subset, px, shift, longest = pattern.subset, pattern.px, trials.shift, cell.longest
    is_near = shift_of(trials.basis, subset, laid.inliers[:m], px, longest, shift)
    for _ in range(3):
        state[N_POLISHED] += 1
        score = polish(trials.basis, cell.basis, moved(pattern, shift), trials.counts, room)
        if score < 0.5 * pattern.log_trials:
            break
        if is_near:
            enter(score, trials.basis, shift, px, best)
        before_x, before_y = shift[0], shift[1]
        is_near = shift_of(trials.basis, subset, trials.every, px, longest, shift)
        if (shift[0] - before_x) ** 2 + (shift[1] - before_y) ** 2 < (0.3 * px) ** 2:
            break


@kernel
def try_turns(
    cell: Cell,
    tables: Tables,
    pattern: Pattern,
    laid: Laid,
    m: int,
    steps: int,
    state: Integers,
    trials: Trials,
    best: Best,
    room: Room,
) -> None:
    """Try the best turns about a vector that are different lattices, N_TURNS of N_PEAKS; their scores are crossed out."""
    first = laid.lab[0].copy()
    n_tried = 0
    for _ in range(N_PEAKS):
        turn_to(take_lowest(room.scores, steps), steps, tables, first, cell.basis, laid, trials.basis)
        new = True
        for o in range(n_tried):
            new = new and not same_lattice(trials.basis, trials.inverse[o], 0.01)
        if not new or invert(trials.basis, trials.inverse[n_tried]) == 0.0:
            continue
        n_tried += 1
        state[N_HYPOTHESES] += 1
        move_and_polish(cell, pattern, laid, m, state, trials, best, room)
        if n_tried == N_TURNS:
            break


@kernel
def try_beside(
    shift: Floats, cell: Cell, pattern: Pattern, result: Result, basis: Floats, trials: Trials, room: Room
) -> Result:
    """Try the lattice moved on by short reciprocal vectors, and return what is best.

    What was found may begin at a spot beside the beam instead of the beam itself; moved on by the difference it fits nearly as
    well.
    """
    px = pattern.px
    inverse, start = np.empty((3, 3)), basis.copy()
    if invert(start, inverse) == 0.0:
        return result
    for place in range(27):
        h, k, m = place // 9 - 1, place // 3 % 3 - 1, place % 3 - 1
        z = inverse[2, 0] * h + inverse[2, 1] * k + inverse[2, 2] * m
        for i in range(2):
            trials.shift[i] = shift[i] + inverse[i, 0] * h + inverse[i, 1] * k + inverse[i, 2] * m
        is_near = abs(z) < 3.0 * PHASE_SIGMA / cell.longest and is_within_reach(trials.shift, px)
        if is_near and (h != 0 or k != 0 or m != 0):
            copy(start, trials.basis)
            there = moved(pattern, trials.shift)
            score = polish(trials.basis, cell.basis, there, trials.counts, room)
            if score >= pattern.log_trials:
                result = judge_moved(trials.basis, score, cell, there, result, basis, room)
    return result


@kernel
def try_displaced(
    which: int, cell: Cell, tables: Tables, pattern: Pattern, state: Integers, basis: Floats, room: Room
) -> Result:
    """Find one axis wherever its planes begin, turn the cell about it, move the spots back, polish, and judge the best.

    `basis` becomes the best one, and what :func:`contest` makes of it is returned.
    """
    axis, n_signs, subset = tables.axes[which], tables.signs[which], pattern.subset
    size = np.sqrt(cell.basis[axis, 0] ** 2 + cell.basis[axis, 1] ** 2 + cell.basis[axis, 2] ** 2)
    vectors = np.empty((max(3, min(N_VECTORS, 240 // pattern.spots.shape[1])), 3))
    phases = np.empty(vectors.shape[0])
    laid = room_for_turns(subset.shape[1])
    best = Best(np.zeros(N_BEST), np.empty((N_BEST, 3, 3)), np.empty((N_BEST, 2)))
    trials = Trials(
        np.empty((3, 3)),
        np.empty(2),
        np.empty(N_COUNTS, np.int64),
        np.empty((N_TURNS, 3, 3)),
        np.arange(subset.shape[1]),
    )
    n_vectors = displaced_vectors(size, tables, pattern, vectors, phases, room)
    for c in range(n_vectors * n_signs):
        v = vectors[c // n_signs]
        if c % n_signs == 1:
            phases[c // n_signs] = -phases[c // n_signs]
            for i in range(3):
                v[i] = -v[i]
        m, steps = lay(
            cell.basis, axis, v, phases[c // n_signs], subset, laid.lab, laid.frame, laid.shape, laid.inliers
        )
        if m >= 4:
            score_phases_of_turns(subset, laid, m, steps, tables, room.scores)
            try_turns(cell, tables, pattern, laid, m, steps, state, trials, best, room)
    result = no_result(0.0)
    origin = 0
    for k in range(N_BEST):
        if best.score[k] >= pattern.log_trials:
            before = result.verdict.margin
            result = judge_moved(best.basis[k], best.score[k], cell, moved(pattern, best.shift[k]), result, basis, room)
            if result.verdict.margin > before or k == 0:
                origin = k
    if not (result.verdict.margin > HOPE):
        return result
    return try_beside(best.shift[origin], cell, pattern, result, basis, trials, room)
