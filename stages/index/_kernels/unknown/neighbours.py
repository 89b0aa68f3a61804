"""Lattices of which this one is a sublattice or superlattice: one of them may be the true one."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import copy, reciprocal
from stages.compute.kernel import kernel
from stages.index._kernels.unknown.bases import allowed, derive, dot
from stages.index._kernels.unknown.fit import Room, score, sharpen

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


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
def settle(
    basis: Floats,
    shift: Floats,
    spots: Floats,
    rays: Floats,
    n: int,
    px: float,
    q_rms: float,
    shortest: float,
    longest: float,
    model: Floats,
    room: Room,
    result: Floats,
) -> int:
    """Go to lattices of index 2 and 3 above, 2 to 7 below, as long as S - lnN grows by that; return the number of trials.

    A multiple of the true cell explains the same spots with a p that many times larger; a part of it leaves half of the
    spots, or two thirds, unexplained. Both have a lower S, but may be all that the vectors gave. In a multiple all spots may
    have odd indices, say, if the shift of the detector is wrong by a reciprocal vector; then it is moved.
    """
    trial, moved, trial_result, trial_model = np.empty((3, 3)), np.empty(2), np.empty(3), np.empty(3)
    best, best_shift, best_result, best_model = np.empty((3, 3)), np.empty(2), np.empty(3), np.empty(3)
    indices = np.empty((n + 1, 3), np.int64)
    trials = 0
    for _ in range(10):
        now = result[0] - result[1]
        top = now + 1.0
        improved = False
        m = 0
        for k in range(n):
            x, y, z = spots[k, 0] - shift[0], spots[k, 1] - shift[1], spots[k, 2]
            worst = 0.0
            for i in range(3):
                f = basis[i, 0] * x + basis[i, 1] * y + basis[i, 2] * z
                indices[m, i] = int(np.rint(f))
                worst = max(worst, abs(f - np.rint(f)))
            m += worst < 0.25
        for p in (2, 3, 5, 7):
            for code in range(1, p * p * p):
                w0, w1, w2 = code // (p * p), (code // p) % p, code % p
                lead = w0 if w0 != 0 else (w1 if w1 != 0 else w2)
                if lead != 1:
                    continue
                c = common_class(indices, m, w0, w1, w2, p)
                for smaller in (True, False):
                    if (smaller and c < 0) or (not smaller and p > 3):
                        continue
                    if not derive(basis, w0, w1, w2, p, smaller, room.star, trial):
                        continue
                    moved[0], moved[1] = shift[0], shift[1]
                    if smaller and c > 0 and not shift_class(basis, w0, w1, w2, p, c, room.star, moved):
                        continue
                    for i in range(3):
                        trial_model[i] = model[i]
                    value = score(trial, moved, spots, rays, n, px, q_rms, trial_model, room, trial_result)
                    if value < 0.5 * now:
                        continue
                    trials += 1
                    value = sharpen(trial, moved, spots, rays, n, px, q_rms, value, trial_model, room, trial_result)
                    if value > top and allowed(trial, shortest, longest):
                        top = value
                        improved = True
                        copy(trial, best)
                        best_shift[0], best_shift[1] = moved[0], moved[1]
                        for i in range(3):
                            best_result[i], best_model[i] = trial_result[i], trial_model[i]
        if not improved:
            break
        copy(best, basis)
        shift[0], shift[1] = best_shift[0], best_shift[1]
        for i in range(3):
            result[i], model[i] = best_result[i], best_model[i]
    return trials
