"""Lattices of which this one is a sublattice or superlattice: one of them may be the true one."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import reciprocal
from stages.compute.kernel import kernel
from stages.index._kernels.unknown.bases import allowed, derive, dot
from stages.index._kernels.unknown.fit import refine_if_better
from stages.index._kernels.unknown.likelihood import score
from stages.index._kernels.unknown.residuals import indices_within
from stages.index._kernels.unknown.tuples import (
    Candidate,
    Limits,
    SpotSet,
    Workspace,
    copy_candidate,
    margin,
    no_candidate,
)

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MOST_MOVES = 10
"""From neighbour to neighbour at most so often."""
MOST_SUBLATTICES = 3
"""Lattices with a cell that many times larger are tried at most; with a smaller one, of index 7 at most."""
INDEX_TOLERANCE = 0.25
"""A spot so near to whole indices has these."""
MIN_GAIN = 1.0
"""S - lnN must grow by that."""


@kernel
def common_class(indices: Integers, m: int, w0: int, w1: int, w2: int, p: int) -> int:
    """Return that w.h mod p which three fifths of the `m` indices have, -1 if there is none."""
    counts = np.zeros(p, np.int64)
    for k in range(m):
        counts[(w0 * indices[k, 0] + w1 * indices[k, 1] + w2 * indices[k, 2]) % p] += 1
    for c in range(p):
        if 5 * counts[c] > 3 * m:
            return c
    return -1


@kernel
def shift_class(basis: Floats, w0: int, w1: int, w2: int, p: int, c: int, star: Floats, shift: Floats) -> bool:
    """Move a shift of the detector by the shortest multiple of a*, b* or c* with w.h = c mod p; False if there is none."""
    if reciprocal(basis, star) == 0.0:
        return False
    best, axis, times = np.inf, -1, 0
    for i in range(3):
        w = w0 if i == 0 else (w1 if i == 1 else w2)
        for k in range(-3, 4):
            if (w * k - c) % p == 0 and k * k * dot(star[i], star[i]) < best:
                best, axis, times = k * k * dot(star[i], star[i]), i, k
    if axis < 0:
        return False
    shift[0] += times * star[axis, 0]
    shift[1] += times * star[axis, 1]
    return True


@kernel
def neighbour(
    lattice: Candidate, w: tuple[int, int, int], p: int, common: int, smaller: bool, room: Workspace, trial: Candidate
) -> bool:
    """Fill `trial` with the lattice of index p that w names, above or below this one; False if there is none.

    `common` is that w.h mod p which most spots have. If it is not 0 in a lattice with a smaller cell, the detector is shifted
    so that it becomes 0.
    """
    w0, w1, w2 = w
    if not derive(lattice.basis, w0, w1, w2, p, smaller, room.star, trial.basis):
        return False
    trial.shift[0], trial.shift[1] = lattice.shift[0], lattice.shift[1]
    if smaller and common > 0 and not shift_class(lattice.basis, w0, w1, w2, p, common, room.star, trial.shift):
        return False
    for i in range(3):
        trial.model[i] = lattice.model[i]
    return True


@kernel
def best_neighbour(
    lattice: Candidate, indices: Integers, m: int, spots: SpotSet, limits: Limits, room: Workspace, best: Candidate
) -> tuple[int, bool]:
    """Fill `best` with the best lattice of index 2 and 3 above, 2 to 7 below, by the indices of m spots.

    Return how many were refined, and whether the best one has a higher S - lnN by MIN_GAIN.
    """
    trial = no_candidate()
    now = margin(lattice)
    top, improved, trials = now + MIN_GAIN, False, 0
    for p in (2, 3, 5, 7):
        for code in range(1, p * p * p):
            w0, w1, w2 = code // (p * p), (code // p) % p, code % p
            lead = w0 if w0 != 0 else (w1 if w1 != 0 else w2)
            if lead != 1:
                continue  # a multiple of another w, modulo p
            common = common_class(indices, m, w0, w1, w2, p)
            for smaller in (True, False):
                if (smaller and common < 0) or (not smaller and p > MOST_SUBLATTICES):
                    continue
                if not neighbour(lattice, (w0, w1, w2), p, common, smaller, room, trial):
                    continue
                value = score(trial, spots, room)
                if value < 0.5 * now:
                    continue
                trials += 1
                value = refine_if_better(trial, spots, value, room)
                if value > top and allowed(trial.basis, limits):
                    top = value
                    improved = True
                    copy_candidate(trial, best)
    return trials, improved


@kernel
def to_best_neighbour(lattice: Candidate, spots: SpotSet, limits: Limits, room: Workspace) -> int:
    """Go to lattices of index 2 and 3 above, 2 to 7 below, as long as S - lnN grows by that; return the number of trials.

    A multiple of the true cell explains the same spots with a p that many times larger; a part of it leaves half of the
    spots, or two thirds, unexplained. Both have a lower S, but may be all that the vectors gave. In a multiple all spots may
    have odd indices, say, if the shift of the detector is wrong by a reciprocal vector; then it is moved.
    """
    best = no_candidate()
    indices = np.empty((spots.q.shape[1] + 1, 3), np.int64)
    total = 0
    for _ in range(MOST_MOVES):
        m = indices_within(lattice.basis, lattice.shift, spots.q, INDEX_TOLERANCE, indices)
        trials, improved = best_neighbour(lattice, indices, m, spots, limits, room, best)
        total += trials
        if not improved:
            break
        copy_candidate(best, lattice)
    return total
