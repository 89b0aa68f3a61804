"""The choice among the bases that have been found, and whether the best one is accepted."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import align, apply, copy, invert, same_lattice, turn
from stages.compute.kernel import kernel
from stages.index._kernels.known.judge import CERTAIN, judge
from stages.index._kernels.known.polish import INDEX_SIGMA, PRIOR, gather, polish, step
from stages.index._kernels.known.sharpen import SCALED, SHIFTED, STRAINED, sharpen
from stages.index._kernels.known.tuples import IS_SURE, N_FOUND, Cell, Found, Pattern, Room
from stages.index._kernels.spots import AT_015, AT_020, AT_025, N_COUNTS, count, significance

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


FEW_CONTENDERS, CONTENDERS = 8, 16
# elements of a change of basis: one lattice refined twice; a lattice turned back; one that tells against the best
ALIKE, TURNED, APART = 0.012, 0.05, 0.15
LARGE_ANGSTROM, LARGE_MAX_SPOTS = 200.0, 40  # above, and below: more are compared, and pairs are tried at length
BLURRED = 0.5  # pixels: residuals across the ray from here on tell of a twin, or of a detector that is off
NEAR = 0.8  # of the spots within 0.25 lie within 0.15, or it is a lattice beside the true one
# then it is no twin: of the spots within 0.15; margin for each spot, which is 3.2 at most if half of the points are shared
MOST, NO_TWIN_PER_SPOT = 0.9, 3.5
HOPE, CLEAR = 3.0, 25.0  # margins: below it is noise; a search may stop
# places in the report
SCORE, LOG_TRIALS, GAP, SPOTS, EXPLAINED_015, EXPLAINED_020, EXPLAINED_025 = range(7)
HYPOTHESES, POLISHED, SPREAD, RESIDUAL, N_REPORT = range(7, 12)


@kernel
def strain_cost(basis: Floats, cell: Cell, room: Room) -> float:
    """How unlikely a cell is, in nats: its rows' distances from those of the target turned onto it, 0 +- 0.5 % of each."""
    rigid = room.scratch[2]
    align(cell.basis, basis, rigid, room.scratch)
    cost = 0.0
    for i in range(3):
        length = rigid[i, 0] ** 2 + rigid[i, 1] ** 2 + rigid[i, 2] ** 2
        for j in range(3):
            cost += 0.5 * (basis[i, j] - rigid[i, j]) ** 2 / (PRIOR * PRIOR * length)
    return cost


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
        cost = 0.0
        for i in range(3):
            length = rigid[i, 0] ** 2 + rigid[i, 1] ** 2 + rigid[i, 2] ** 2
            for j in range(3):
                cost += (trial[i, j] - rigid[i, j]) ** 2 / (PRIOR * PRIOR * length)
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
def spread(basis: Floats, pattern: Pattern, room: Room) -> float:
    """How well the explained spots fix the orientation: 0 if they lie in one row through the origin, up to 1.

    The smallest eigenvalue of sum(|q|^2 1 - q q^T) over the spots within 0.2, as a fraction of the mean one.
    """
    sums = room.sums
    gather(basis, pattern.spots, pattern.ones, pattern.spots.shape[1], 0.2, sums)
    trace = sums[16] + sums[19] + sums[21]
    if not (trace > 0.0):
        return 0.0
    m = np.empty((3, 3))
    m[0, 0], m[1, 1], m[2, 2] = trace - sums[16], trace - sums[19], trace - sums[21]
    m[0, 1], m[0, 2], m[1, 2] = -sums[17], -sums[18], -sums[20]
    # smallest eigenvalue of a symmetric 3x3 matrix (Smith, 1961, https://doi.org/10.1145/355578.366316)
    mean = (m[0, 0] + m[1, 1] + m[2, 2]) / 3.0
    p = (m[0, 0] - mean) ** 2 + (m[1, 1] - mean) ** 2 + (m[2, 2] - mean) ** 2
    p = np.sqrt((p + 2.0 * (m[0, 1] ** 2 + m[0, 2] ** 2 + m[1, 2] ** 2)) / 6.0)
    if p == 0.0:
        return 1.0
    for i in range(3):
        m[i, i] -= mean
    det = (
        m[0, 0] * (m[1, 1] * m[2, 2] - m[1, 2] ** 2)
        - m[0, 1] * (m[0, 1] * m[2, 2] - m[1, 2] * m[0, 2])
        + m[0, 2] * (m[0, 1] * m[1, 2] - m[1, 1] * m[0, 2])
    )
    r = min(1.0, max(-1.0, det / (2.0 * p**3)))
    angle = np.arccos(r) / 3.0
    return float(max(0.0, (mean + 2.0 * p * np.cos(angle + 2.0 * np.pi / 3.0)) / mean))


@kernel
def sharpest(
    start: Floats,
    cell: Cell,
    pattern: Pattern,
    margin: float,
    thorough: bool,
    basis: Floats,
    counts: Integers,
    verdict: Floats,
    room: Room,
) -> float:
    """Sharpen a basis in each of three ways, and keep the most significant; return its margin.

    Nothing changes unless it exceeds `margin`. The simpler and the freer way are tried only where the margin is not so high
    that it makes no difference, or residuals are large, or where it is to be `thorough`.
    """
    trial, shift = np.empty((3, 3)), np.zeros(2)
    trial_counts, trial_verdict = np.empty(N_COUNTS, np.int64), np.empty(3)
    best = margin
    for model in (STRAINED, SCALED, SHIFTED):
        if model != STRAINED and best > CERTAIN and verdict[2] < BLURRED and not thorough:
            break
        copy(start, trial)
        shift[0] = shift[1] = 0.0
        sharpen(trial, cell.basis, shift, model, 4, pattern, room)
        m = judge(trial, shift, model, cell, pattern, trial_counts, trial_verdict)
        if m > best:
            best = m
            copy(trial, basis)
            for i in range(3):
                verdict[i] = trial_verdict[i]
            for t in range(N_COUNTS):
                counts[t] = trial_counts[t]
    return best


@kernel
def better_twin(
    margin: float, cell: Cell, pattern: Pattern, basis: Floats, counts: Integers, verdict: Floats, room: Room
) -> float:
    """Put a twin of a basis in its place, if one is more significant and less strained; return the margin.

    Twins of a sharp basis are looked at if they explain as many spots as they stand; those of a blurred one are polished first,
    which tells most of them apart. All that remain are sharpened with a shift of the detector as well: where it is off, a twin
    explains more spots than the truth as long as nobody knows of the shift. What is better is looked at in the same way.
    """
    n, n_spots = cell.twins.shape[0], pattern.spots.shape[1]
    trials, scores, sharp = np.empty((n, 3, 3)), np.empty(n), np.empty((3, 3))
    trial_counts, trial_verdict = np.empty(N_COUNTS, np.int64), np.empty(3)
    for _ in range(4):
        count(basis, pattern.spots, n_spots, trial_counts)
        least, explained = max(pattern.log_trials, 0.7 * significance(trial_counts, n_spots)), trial_counts[AT_025]
        blurred = verdict[2] >= BLURRED
        for t in range(n):
            apply(cell.twins[t], basis, trials[t])
            count(trials[t], pattern.spots, n_spots, trial_counts)
            scores[t] = 0.0
            if blurred or trial_counts[AT_025] >= 0.9 * explained:
                scores[t] = polish(trials[t], cell.basis, pattern, trial_counts, room)
                least = max(least, 0.4 * scores[t])
        best = margin - strain_cost(basis, cell, room)
        changed = False
        for t in range(n):
            if scores[t] < least:
                continue
            trial_margin = sharpest(trials[t], cell, pattern, -np.inf, True, sharp, trial_counts, trial_verdict, room)
            if trial_margin - strain_cost(sharp, cell, room) > best:
                changed, margin = True, trial_margin
                best = margin - strain_cost(sharp, cell, room)
                copy(sharp, basis)
                for i in range(N_COUNTS):
                    counts[i] = trial_counts[i]
                for i in range(3):
                    verdict[i] = trial_verdict[i]
        if not changed:
            break
    return margin


@kernel
def contest(cell: Cell, pattern: Pattern, found: Found, report: Floats, basis: Floats, room: Room) -> None:
    """Find the best of the bases polished, by what is known of residuals, and the best other lattice; fill the report.

    The few best are sharpened, each in the one of the cell's `variants` (bases of one lattice that are nearly the target's)
    that fits best. A lattice a degree beside another is one of its own here: with few spots either may turn out the better.
    Unless the best explains nearly all spots, or all but some that are spurious, and sharply, its twins are looked at
    (:func:`better_twin`).
    Few spots often let a lattice be wrong by one to five degrees, some of them indexed one off: unless the best is certain,
    or hopeless, it is turned by 1 and by 2.2 degrees about 26 axes, polished, and sharpened if that is a new lattice; if it
    is better, once more.
    """
    spots, state = pattern.spots, found.state
    order = np.argsort(-found.score[: state[N_FOUND]])
    if order.size == 0:
        return
    wanted = CONTENDERS if cell.longest > LARGE_ANGSTROM and spots.shape[1] <= LARGE_MAX_SPOTS else FEW_CONTENDERS
    if state[IS_SURE] == 2:
        wanted = 1
    margin = np.full(CONTENDERS, -np.inf)
    sharp, sharp_inverse = np.empty((CONTENDERS, 3, 3)), np.empty((CONTENDERS, 3, 3))
    start_inverse = np.empty((CONTENDERS, 3, 3))
    counts, verdicts = np.zeros((CONTENDERS, N_COUNTS), np.int64), np.full((CONTENDERS, 3), np.inf)
    trial, trial_counts = np.empty((3, 3)), np.zeros(N_COUNTS, np.int64)
    best = m = 0
    for c in range(order.size):
        k = order[c]
        if m == wanted or found.score[k] < 0.6 * found.score[order[0]]:
            break
        new = True
        for o in range(m):
            new = new and not same_lattice(found.basis[k], sharp_inverse[o], ALIKE)
            new = new and not same_lattice(found.basis[k], start_inverse[o], 0.3 * ALIKE)
        if not new or invert(found.basis[k], start_inverse[m]) == 0.0:
            continue
        copy(found.basis[k], trial)
        if cell.variants.shape[0] > 1:
            settle(trial, cell, pattern, room)
        margin[m] = sharpest(trial, cell, pattern, -np.inf, False, sharp[m], counts[m], verdicts[m], room)
        if margin[m] > -np.inf and invert(sharp[m], sharp_inverse[m]) != 0.0:
            if margin[m] > margin[best]:
                best = m
            m += 1
    if m == 0:
        return
    sure = counts[best, AT_015] >= MOST * spots.shape[1] or margin[best] >= NO_TWIN_PER_SPOT * spots.shape[1]
    if margin[best] > HOPE and (not sure or verdicts[best, 2] >= BLURRED):
        margin[best] = better_twin(margin[best], cell, pattern, sharp[best], counts[best], verdicts[best], room)
        invert(sharp[best], sharp_inverse[best])
    rounds = 2
    while rounds > 0 and HOPE < margin[best] < CERTAIN and state[IS_SURE] < 2:
        rounds -= 1
        start = sharp[best].copy()
        before = margin[best]
        for step_x in range(-1, 2):
            for step_y in range(-1, 2):
                for step_z in range(-1, 2):
                    size = np.sqrt(float(step_x * step_x + step_y * step_y + step_z * step_z))
                    if size == 0.0:
                        continue
                    for angle in (0.0175, 0.0385):
                        copy(start, trial)
                        turn(trial, angle * step_x / size, angle * step_y / size, angle * step_z / size)
                        score = polish(trial, cell.basis, pattern, trial_counts, room)
                        if score < pattern.log_trials:
                            continue
                        if same_lattice(trial, sharp_inverse[best], TURNED):
                            continue
                        better = sharpest(
                            trial, cell, pattern, margin[best], False, sharp[best], counts[best], verdicts[best], room
                        )
                        if better > margin[best]:
                            margin[best] = better
                            invert(sharp[best], sharp_inverse[best])
        if not (margin[best] > before):
            break
    other = 0.0
    for o in range(m):
        if o != best and not same_lattice(sharp[o], sharp_inverse[best], APART):
            other = max(other, margin[o])
    copy(sharp[best], basis)
    report[SCORE] = verdicts[best, 0]
    report[LOG_TRIALS] = verdicts[best, 1]
    report[GAP] = margin[best] - other
    report[EXPLAINED_015] = counts[best, AT_015]
    report[EXPLAINED_020] = counts[best, AT_020]
    report[EXPLAINED_025] = counts[best, AT_025]
    report[RESIDUAL] = verdicts[best, 2]
    report[SPREAD] = spread(basis, pattern, room)


@kernel
def keep_better(new_report: Floats, new_basis: Floats, report: Floats, basis: Floats) -> None:
    """Put a result in the place of another if it is more significant; another lattice tells against the one that stays."""
    lead = (new_report[SCORE] - new_report[LOG_TRIALS]) - (report[SCORE] - report[LOG_TRIALS])
    inverse = np.empty((3, 3))
    known = invert(basis, inverse) != 0.0
    alike = known and same_lattice(new_basis, inverse, APART)
    gap = min(new_report[GAP], lead) if known and not alike else new_report[GAP]
    if lead > 0.0 or not known:
        copy(new_basis, basis)
        for i in range(N_REPORT):
            report[i] = new_report[i]
        report[GAP] = gap
    elif not alike:
        report[GAP] = min(report[GAP], -lead)


@kernel
def worth_a_contest(found: Found, log_trials: float) -> bool:
    """Whether any basis polished so far is better than noise often is."""
    return bool(np.any(found.score[: found.state[N_FOUND]] > log_trials + 8.0))


@kernel
def clear(report: Floats) -> bool:
    """Whether a search may stop after a contest: far above noise and above other lattices, with half of the spots.

    Most of them must be near: where many lie between 0.15 and 0.25, it is a lattice beside the true one, or the detector is
    off, as it is where residuals across the ray are large.
    """
    margin = report[SCORE] - report[LOG_TRIALS]
    near = report[EXPLAINED_025] >= 0.5 * report[SPOTS] and report[EXPLAINED_015] >= NEAR * report[EXPLAINED_025]
    sharp = report[RESIDUAL] < 2.0 * BLURRED or margin >= CERTAIN
    return bool(near and sharp and margin >= CLEAR and report[GAP] >= 10.0)


@kernel
def accept(report: Floats, check_peaks: bool) -> bool:
    """The acceptance rule; see the manual of index/pairs.

    The margin of noise does not depend on the cell or the number of spots: median -2, one list in 100 above 5 to 7, one in
    some thousands above 12.
    """
    n = report[SPOTS]
    margin = report[SCORE] - report[LOG_TRIALS]
    if margin < 12.0 or report[SPREAD] < 0.02:
        return False
    if not check_peaks:
        return True
    if report[GAP] < 6.0 and margin < 50.0:
        return False
    return bool(report[EXPLAINED_025] >= 0.45 * n or (margin >= 30.0 and report[EXPLAINED_020] >= 0.25 * n))
