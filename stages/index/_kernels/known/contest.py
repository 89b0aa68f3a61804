"""The choice among the bases that have been found: each is sharpened, and compared with what it may be mistaken for."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import align, apply, copy, invert, same_lattice, turn
from stages.compute.kernel import kernel
from stages.index._kernels.known.accept import APART, BLURRED, HOPE, spread
from stages.index._kernels.known.judge import CERTAIN, judge
from stages.index._kernels.known.polish import INDEX_SIGMA, PRIOR, polish, step
from stages.index._kernels.known.sharpen import SCALED, SHIFTED, STRAINED, sharpen
from stages.index._kernels.known.tuples import (
    IS_SURE,
    N_FOUND,
    NO_VERDICT,
    Cell,
    Found,
    Pattern,
    Result,
    Room,
    Verdict,
)
from stages.index._kernels.spots import AT_025, N_COUNTS, count, score_of_counts

Floats = NDArray[np.float64]


FEW_CONTENDERS, CONTENDERS = 8, 16
ALIKE, TURNED = 0.012, 0.05  # elements of a change of basis: one lattice refined twice; a lattice turned back
LARGE_ANGSTROM, LARGE_MAX_SPOTS = 200.0, 40  # above, and below: more are compared, and pairs are tried at length
# A basis is no twin if it explains so many of the spots within 0.15, or if its margin is so high for each spot: a twin that
# shares half of the points stays below that.
MOST, NO_TWIN_PER_SPOT = 0.9, 3.5
TILTS = (0.0175, 0.0385)  # 1 and 2.2 degrees, in rad


class Contenders(NamedTuple):
    """The bases that are compared, (CONTENDERS, ...).

    Attributes
    ----------
    basis, inverse
        Sharpened, and the inverses of those.
    start_inverse
        The inverses of the bases that they were made of.
    margin
        S - lnN in nats.
    """

    basis: Floats
    inverse: Floats
    start_inverse: Floats
    margin: Floats


@kernel
def strain_squares(basis: Floats, rigid: Floats) -> float:
    """The squared distances of a basis' rows from those of the turned target, in units of the prior, 0.5 % of each length."""
    squares = 0.0
    for i in range(3):
        length = rigid[i, 0] ** 2 + rigid[i, 1] ** 2 + rigid[i, 2] ** 2
        for j in range(3):
            squares += (basis[i, j] - rigid[i, j]) ** 2 / (PRIOR * PRIOR * length)
    return squares


@kernel
def strain_cost(basis: Floats, cell: Cell, room: Room) -> float:
    """How unlikely a cell is, in nats: its rows' distances from those of the target turned onto it, 0 +- 0.5 % of each."""
    rigid = room.scratch[2]
    align(cell.basis, basis, rigid, room.scratch)
    return 0.5 * strain_squares(basis, rigid)


@kernel
def settle(basis: Floats, cell: Cell, pattern: Pattern, room: Room) -> int:
    """Among the bases of one lattice that are nearly the target's, take the one that fits best; return which it is.

    ``cell.variants`` are the unimodular matrices that lead there, the identity first. The cost of each is that of
    :func:`step`, in units of sigma^2: how far the cell is from the target, and the spots that the first basis explains from
    its lattice.
    """
    spots, variants = pattern.spots, cell.variants
    n = spots.shape[1]
    explained = np.empty(n, np.bool_)
    for k in range(n):
        worst = 0.0
        for i in range(3):
            f = basis[i, 0] * spots[0, k] + basis[i, 1] * spots[1, k] + basis[i, 2] * spots[2, k]
            worst = max(worst, abs(f - np.rint(f)))
        explained[k] = worst < 0.15
    best = np.inf
    chosen = 0
    result = np.empty((3, 3))
    trial, rigid = np.empty((3, 3)), np.empty((3, 3))
    for v in range(variants.shape[0]):
        apply(variants[v], basis, trial)
        align(cell.basis, trial, rigid, room.scratch)
        for tolerance in (0.2, 0.15, 0.15, 0.12):
            step(trial, rigid, spots, pattern.ones, n, tolerance, room)
        cost = strain_squares(trial, rigid)
        for k in range(n):
            if explained[k]:
                for i in range(3):
                    f = trial[i, 0] * spots[0, k] + trial[i, 1] * spots[1, k] + trial[i, 2] * spots[2, k]
                    cost += ((f - np.rint(f)) / INDEX_SIGMA) ** 2
        if cost < best:
            best = cost
            chosen = v
            copy(trial, result)
    if chosen > 0:
        copy(result, basis)
    return chosen


@kernel
def sharpest(
    start: Floats, cell: Cell, pattern: Pattern, best: Verdict, thorough: bool, basis: Floats, room: Room
) -> Verdict:
    """Sharpen a basis in each of three ways, and keep the most significant in `basis`; return its verdict.

    Nothing changes unless it is more significant than `best`. The simpler and the freer way are tried only where the margin
    is not so high that it makes no difference, or residuals are large, or where it is to be `thorough`.
    """
    trial, shift = np.empty((3, 3)), np.zeros(2)
    for model in (STRAINED, SCALED, SHIFTED):
        if model != STRAINED and best.margin > CERTAIN and best.residual < BLURRED and not thorough:
            break
        copy(start, trial)
        shift[0] = shift[1] = 0.0
        sharpen(trial, cell.basis, shift, model, 4, pattern, room)
        verdict = judge(trial, shift, model, cell, pattern)
        if verdict.margin > best.margin:
            best = verdict
            copy(trial, basis)
    return best


@kernel
def better_twin(verdict: Verdict, cell: Cell, pattern: Pattern, basis: Floats, room: Room) -> Verdict:
    """Put a twin of a basis in its place, if one is more significant and less strained; return the verdict on what stands.

    Twins of a sharp basis are looked at if they explain as many spots as they stand; those of a blurred one are polished first,
    which tells most of them apart. All that remain are sharpened with a shift of the detector as well: where it is off, a twin
    explains more spots than the truth as long as nobody knows of the shift. What is better is looked at in the same way.
    """
    n, n_spots = cell.twins.shape[0], pattern.spots.shape[1]
    trials, scores, sharp = np.empty((n, 3, 3)), np.empty(n), np.empty((3, 3))
    counts = np.empty(N_COUNTS, np.int64)
    for _ in range(4):
        count(basis, pattern.spots, n_spots, counts)
        least, explained = max(pattern.log_trials, 0.7 * score_of_counts(counts, n_spots)), counts[AT_025]
        blurred = verdict.residual >= BLURRED
        for t in range(n):
            apply(cell.twins[t], basis, trials[t])
            count(trials[t], pattern.spots, n_spots, counts)
            scores[t] = 0.0
            if blurred or counts[AT_025] >= 0.9 * explained:
                scores[t] = polish(trials[t], cell.basis, pattern, counts, room)
                least = max(least, 0.4 * scores[t])
        best = verdict.margin - strain_cost(basis, cell, room)
        changed = False
        for t in range(n):
            if scores[t] < least:
                continue
            twin = sharpest(trials[t], cell, pattern, NO_VERDICT, True, sharp, room)
            value = twin.margin - strain_cost(sharp, cell, room)
            if value > best:
                changed, verdict, best = True, twin, value
                copy(sharp, basis)
        if not changed:
            break
    return verdict


@kernel
def better_nearby(
    verdict: Verdict, cell: Cell, pattern: Pattern, basis: Floats, inverse: Floats, room: Room
) -> Verdict:
    """Put a lattice that is a degree or two beside a basis in its place, if it is better; return the verdict on what stands.

    Few spots often let a lattice be wrong by one to five degrees, some of them indexed one off. So unless the basis is
    certain, or hopeless, it is turned by each of TILTS about 26 axes, polished, and sharpened if that is a new lattice; if it
    is better, once more.
    """
    trial, counts = np.empty((3, 3)), np.empty(N_COUNTS, np.int64)
    for _ in range(2):
        if not (HOPE < verdict.margin < CERTAIN):
            break
        start, before = basis.copy(), verdict.margin
        for place in range(27):
            x, y, z = place // 9 - 1, place // 3 % 3 - 1, place % 3 - 1
            size = np.sqrt(float(x * x + y * y + z * z))
            if size == 0.0:
                continue
            for angle in TILTS:
                copy(start, trial)
                turn(trial, angle * x / size, angle * y / size, angle * z / size)
                score = polish(trial, cell.basis, pattern, counts, room)
                if score < pattern.log_trials or same_lattice(trial, inverse, TURNED):
                    continue
                better = sharpest(trial, cell, pattern, verdict, False, basis, room)
                if better.margin > verdict.margin:
                    verdict = better
                    invert(basis, inverse)
        if not (verdict.margin > before):
            break
    return verdict


@kernel
def line_up(cell: Cell, pattern: Pattern, found: Found, contenders: Contenders, room: Room) -> tuple[int, int, Verdict]:
    """Sharpen the few best bases; return how many there are, which one is the best, and its verdict.

    Each is taken in the one of the cell's `variants` (bases of one lattice that are nearly the target's) that fits best. A
    lattice a degree beside another is one of its own here: with few spots either may turn out the better.
    """
    order = np.argsort(-found.score[: found.state[N_FOUND]])
    wanted = FEW_CONTENDERS
    if cell.longest > LARGE_ANGSTROM and pattern.spots.shape[1] <= LARGE_MAX_SPOTS:
        wanted = CONTENDERS
    if found.state[IS_SURE] == 2:
        wanted = 1
    trial, verdict = np.empty((3, 3)), NO_VERDICT
    best = m = 0
    for k in order:
        if m == wanted or found.score[k] < 0.6 * found.score[order[0]]:
            break
        new = True
        for o in range(m):
            new = new and not same_lattice(found.basis[k], contenders.inverse[o], ALIKE)
            new = new and not same_lattice(found.basis[k], contenders.start_inverse[o], 0.3 * ALIKE)
        if not new or invert(found.basis[k], contenders.start_inverse[m]) == 0.0:
            continue
        copy(found.basis[k], trial)
        if cell.variants.shape[0] > 1:
            settle(trial, cell, pattern, room)
        its = sharpest(trial, cell, pattern, NO_VERDICT, False, contenders.basis[m], room)
        contenders.margin[m] = its.margin
        if its.margin > -np.inf and invert(contenders.basis[m], contenders.inverse[m]) != 0.0:
            if m == 0 or its.margin > verdict.margin:
                best, verdict = m, its
            m += 1
    return m, best, verdict


@kernel
def contest(cell: Cell, pattern: Pattern, found: Found, before: Result, basis: Floats, room: Room) -> Result:
    """Find the best of the bases polished, by what is known of residuals, and the best other lattice; fill `basis`.

    The few best are sharpened (:func:`line_up`). Unless the best explains nearly all spots, or all but some that are
    spurious, and sharply, its twins are looked at (:func:`better_twin`), and then the lattices beside it
    (:func:`better_nearby`). If there is no basis at all, what was there `before` stays.
    """
    contenders = Contenders(
        np.empty((CONTENDERS, 3, 3)),
        np.empty((CONTENDERS, 3, 3)),
        np.empty((CONTENDERS, 3, 3)),
        np.full(CONTENDERS, -np.inf),
    )
    m, best, verdict = line_up(cell, pattern, found, contenders, room)
    if m == 0:
        return before
    n = pattern.spots.shape[1]
    top, top_inverse = contenders.basis[best], contenders.inverse[best]
    sure = verdict.within_015 >= MOST * n or verdict.margin >= NO_TWIN_PER_SPOT * n
    if verdict.margin > HOPE and (not sure or verdict.residual >= BLURRED):
        verdict = better_twin(verdict, cell, pattern, top, room)
        invert(top, top_inverse)
    if found.state[IS_SURE] < 2:
        verdict = better_nearby(verdict, cell, pattern, top, top_inverse, room)
    other = 0.0
    for o in range(m):
        if o != best and not same_lattice(contenders.basis[o], top_inverse, APART):
            other = max(other, contenders.margin[o])
    copy(top, basis)
    return Result(verdict, verdict.margin - other, spread(basis, pattern, room))
