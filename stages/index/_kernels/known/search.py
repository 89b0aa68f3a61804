"""The search as a whole: pairs, directions, the contest, and when to stop."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.index._kernels.known.accept import accept, is_clear, keep_better, worth_a_contest
from stages.index._kernels.known.contest import LARGE_ANGSTROM, LARGE_MAX_SPOTS, contest
from stages.index._kernels.known.directions import try_directions
from stages.index._kernels.known.displaced import try_displaced
from stages.index._kernels.known.pairs import try_pairs
from stages.index._kernels.known.tuples import (
    ENOUGH,
    IS_SURE,
    MAX_SOLUTIONS,
    N_FOUND,
    N_HYPOTHESES,
    N_POLISHED,
    Cell,
    Found,
    Pattern,
    Report,
    Result,
    Room,
    Tables,
    no_result,
    room_for_bases,
)
from stages.index._kernels.spots import MIN_SPOTS, prepare

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

MAX_SUBSET = 150
SAMPLE = 40
FAR_PX, FAR = 4.0, 0.2  # a detector that is off by so many pixels takes spots of long axes so far from their index


@kernel
def pattern_of(spots: Floats, k0: float, px: float, cell: Cell) -> Pattern:
    """Choose the subsets of (3, n) spots, sorted by |q|: for the search, its low-resolution part, the test's sample."""
    n = spots.shape[1]
    length = np.empty(n)
    q_low = 0.3 / (0.012 * cell.longest)
    n_low = 0
    square = 0.0
    for k in range(n):
        length[k] = np.sqrt(spots[0, k] ** 2 + spots[1, k] ** 2 + spots[2, k] ** 2)
        square += length[k] ** 2
        n_low += length[k] < q_low
    n_inner = max(n_low, 8)
    n_low = max(n_low, min(n, 20))
    n_subset = min(n, MAX_SUBSET)
    subset = np.empty((3, n_subset))
    for k in range(n_subset):
        for x in range(3):
            subset[x, k] = spots[x, k * n // n_subset]
    golden = np.empty(n_low)
    for k in range(n_low):
        golden[k] = (k * 0.6180339887498949) % 1.0
    order = np.argsort(golden)
    sample = np.empty((3, min(SAMPLE, n_low)))
    for k in range(sample.shape[1]):
        for x in range(3):
            sample[x, k] = spots[x, order[k]]
    q_rms = np.sqrt(square / n)
    cube = max(1.0, cell.volume ** (1.0 / 3.0) * q_rms / 0.3) ** 3
    log_trials = np.log(8.0 * np.pi**2 / cell.n_sym * cube)
    n_start = min(n_subset, max(8, n_inner * n_subset // n))
    return Pattern(spots, length, np.ones(n), subset, n_start, sample, k0, px, q_rms, log_trials, 0.0, 0.0, 0.0)


@kernel
def prepared(q: Floats, px: float, shortest: float) -> Floats:
    """Return the spots, (3, n), sorted by |q|, without doubles, what is the beam's and what is not finite."""
    room = np.empty((3, q.shape[0]))
    n = prepare(q, shortest, min(2.0 * px, 0.15 * shortest), room)
    spots = np.empty((3, n))
    for k in range(n):
        for x in range(3):
            spots[x, k] = room[x, k]
    return spots


@kernel
def enough(n: int, cell: Cell) -> int:
    """Return which part of the n spots, in per cent, a basis must explain so that no other lattice need be looked for.

    Of few spots a twin explains most, too. Of a lattice that is nearly of higher symmetry it explains more than of others.
    """
    if n < 25:
        return 95
    return 90 if n < 60 or cell.variants.shape[0] > 1 else 70


@kernel
def from_pairs(
    cell: Cell,
    tables: Tables,
    pattern: Pattern,
    max_hypotheses: int,
    max_polished: int,
    found: Found,
    basis: Floats,
    room: Room,
) -> tuple[bool, Result]:
    """Try pairs of spots; return whether that settles it, and the result so far, whose basis stands in `basis`."""
    state, n = found.state, pattern.spots.shape[1]
    settled, result = False, no_result(pattern.log_trials)
    try_pairs(cell, tables, pattern, max_hypotheses, max_polished, found, room)
    if state[IS_SURE] == 2:
        result = contest(cell, pattern, found, result, basis, room)
        settled = 100.0 * result.verdict.within_015 >= state[ENOUGH] * n
        if not settled:  # sharpened it explains less: look for what it may be a twin of
            state[IS_SURE], state[ENOUGH] = 0, 101
            try_pairs(cell, tables, pattern, min(60, max_hypotheses), max_polished, found, room)
    if not settled and state[IS_SURE] == 0 and worth_a_contest(found, pattern.log_trials):
        result = contest(cell, pattern, found, result, basis, room)
        settled = is_clear(result, n)
    return settled, result


@kernel
def from_directions(
    cell: Cell,
    tables: Tables,
    pattern: Pattern,
    found: Found,
    result: Result,
    basis: Floats,
    displaced_basis: Floats,
    room: Room,
) -> tuple[bool, Result, Result]:
    """Scan directions until something is sure; return whether that settles it, the result, and that of displaced lattices."""
    state, n, n_axes = found.state, pattern.spots.shape[1], tables.axes.size
    settled, displaced = False, no_result(0.0)
    for which in range(n_axes):
        if state[IS_SURE] > 0 or settled:
            break
        try_directions(which, cell, tables, pattern, found, room)
        if which + 1 < n_axes and state[IS_SURE] == 0 and worth_a_contest(found, pattern.log_trials):
            result = contest(cell, pattern, found, result, basis, room)
            settled = is_clear(result, n)
        is_far = cell.longest * FAR_PX * pattern.px > FAR
        if which == 0 and state[IS_SURE] == 0 and not settled and is_far:
            displaced = try_displaced(which, cell, tables, pattern, state, displaced_basis, room)
            settled = is_clear(displaced, n)
    return settled, result, displaced


@kernel
def search(
    q: Floats,
    k0: float,
    px: float,
    cell: Cell,
    tables: Tables,
    max_hypotheses: int,
    max_polished: int,
    check_peaks: bool,
    scores: Singles,
    basis: Floats,
) -> tuple[bool, Report]:
    """Search the orientation of the target cell that explains the spots; return whether one is significant, and the report.

    Parameters
    ----------
    q
        (n, 3) scattering vectors, in any order.
    k0
        1 / wavelength.
    px
        What one pixel is in q, at the centre of the detector.
    cell, tables
        The target.
    max_hypotheses, max_polished
        How far to go with pairs of spots before directions are scanned.
    check_peaks
        Whether a fraction of the spots, and a lead over other lattices, are asked for beside the significance.
    scores
        float32 room for as many numbers as there are directions, or MAX_STEPS.
    basis
        Result: the basis (rows) found, zero if none was polished.
    """
    for i in range(9):
        basis[i // 3, i % 3] = 0.0
    spots = prepared(q, px, tables.canonical_length[0])
    n = spots.shape[1]
    found = room_for_bases()
    state = found.state
    if n < MIN_SPOTS:
        return False, Report(no_result(0.0), n, state[N_HYPOTHESES], state[N_POLISHED])
    pattern = pattern_of(spots, k0, px, cell)
    room = Room(np.empty(22), np.empty((3, 3, 3)), scores)
    state[ENOUGH] = enough(n, cell)
    settled, result = from_pairs(cell, tables, pattern, max_hypotheses, max_polished, found, basis, room)
    if not settled:
        displaced_basis = np.zeros((3, 3))
        settled, result, displaced = from_directions(cell, tables, pattern, found, result, basis, displaced_basis, room)
        # few spots hardly mark the direction of a long axis: then pairs are tried at length
        long_way = cell.longest > LARGE_ANGSTROM and 20 < n <= LARGE_MAX_SPOTS and not settled and state[IS_SURE] == 0
        if long_way and not np.any(found.score[: state[N_FOUND]] > pattern.log_trials + 15.0):
            try_pairs(cell, tables, pattern, 10 * max_hypotheses, MAX_SOLUTIONS, found, room)
        if not settled:
            result = contest(cell, pattern, found, result, basis, room)
        if displaced.verdict.score > 0.0:
            result = keep_better(displaced, displaced_basis, result, basis)
    report = Report(result, n, state[N_HYPOTHESES], state[N_POLISHED])
    return bool(result.verdict.score > 0.0 and accept(result, n, check_peaks)), report
