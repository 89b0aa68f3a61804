"""The search as a whole: pairs, directions, the contest, and when to stop."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.index._kernels.known.contest import (
    EXPLAINED_015,
    HYPOTHESES,
    LARGE_ANGSTROM,
    LARGE_MAX_SPOTS,
    LOG_TRIALS,
    N_REPORT,
    POLISHED,
    SCORE,
    SPOTS,
    accept,
    clear,
    contest,
    keep_better,
    worth_a_contest,
)
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
    Pattern,
    Room,
    Tables,
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
    return Pattern(spots, length, np.ones(n), subset, n_start, sample, k0, px, q_rms, log_trials, 0.0)


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
    report: Floats,
    basis: Floats,
) -> bool:
    """Search the orientation of the target cell that explains the spots; return whether one is significant.

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
    report, basis
        Results: see the constants SCORE ... of :mod:`.contest`; the basis (rows) found, zero if none was polished.
    """
    for i in range(report.size):
        report[i] = 0.0
    for i in range(9):
        basis[i // 3, i % 3] = 0.0
    shortest = tables.canonical_length[0]
    prepared = np.empty((3, q.shape[0]))
    n = prepare(q, shortest, min(2.0 * px, 0.15 * shortest), prepared)
    report[SPOTS] = n
    if n < MIN_SPOTS:
        return False
    spots = np.empty((3, n))
    for k in range(n):
        for x in range(3):
            spots[x, k] = prepared[x, k]
    pattern = pattern_of(spots, k0, px, cell)
    log_trials = pattern.log_trials
    report[LOG_TRIALS] = log_trials
    room = Room(np.empty(22), np.empty((3, 3, 3)), scores)
    found = room_for_bases()
    state = found.state
    # a twin explains most of few spots, too (22 of 30 of a rhombohedral lattice), and more of a lattice that is nearly of
    # higher symmetry
    state[ENOUGH] = 95 if n < 25 else (90 if n < 60 or cell.variants.shape[0] > 1 else 70)
    try_pairs(cell, tables, pattern, max_hypotheses, max_polished, found, room)
    settled = False
    displaced_report, displaced_basis = np.zeros(N_REPORT), np.zeros((3, 3))
    if state[IS_SURE] == 2:
        contest(cell, pattern, found, report, basis, room)
        settled = 100.0 * report[EXPLAINED_015] >= state[ENOUGH] * n
        if not settled:  # sharpened it explains less: look for what it may be a twin of
            state[IS_SURE], state[ENOUGH] = 0, 101
            try_pairs(cell, tables, pattern, min(60, max_hypotheses), max_polished, found, room)
    if not settled and state[IS_SURE] == 0 and worth_a_contest(found, log_trials):
        contest(cell, pattern, found, report, basis, room)
        settled = clear(report)
    for which in range(tables.axes.size):
        if state[IS_SURE] == 0 and not settled:
            try_directions(which, cell, tables, pattern, found, room)
            if which + 1 < tables.axes.size and state[IS_SURE] == 0 and worth_a_contest(found, log_trials):
                contest(cell, pattern, found, report, basis, room)
                settled = clear(report)
            if which == 0 and state[IS_SURE] == 0 and not settled and cell.longest * FAR_PX * px > FAR:
                try_displaced(which, cell, tables, pattern, state, displaced_report, displaced_basis, room)
                settled = clear(displaced_report)
    # few spots hardly mark the direction of a long axis: then pairs are tried at length
    long_way = cell.longest > LARGE_ANGSTROM and 20 < n <= LARGE_MAX_SPOTS and not settled and state[IS_SURE] == 0
    if long_way and not np.any(found.score[: state[N_FOUND]] > log_trials + 15.0):
        try_pairs(cell, tables, pattern, 10 * max_hypotheses, MAX_SOLUTIONS, found, room)
    if not settled:
        contest(cell, pattern, found, report, basis, room)
    if displaced_report[SCORE] > 0.0:
        keep_better(displaced_report, displaced_basis, report, basis)
    report[HYPOTHESES] = state[N_HYPOTHESES]
    report[POLISHED] = state[N_POLISHED]
    return report[SCORE] > 0.0 and accept(report, check_peaks)
