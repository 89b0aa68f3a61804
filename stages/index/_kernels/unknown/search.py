"""The search as a whole: transform, combine, complete, decide; and when to stop."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import copy
from stages.compute.kernel import kernel
from stages.index._kernels.spots import MIN_SPOTS
from stages.index._kernels.unknown.bases import allowed, same_basis
from stages.index._kernels.unknown.fit import refine_outwards
from stages.index._kernels.unknown.likelihood import spread
from stages.index._kernels.unknown.neighbours import to_best_neighbour
from stages.index._kernels.unknown.nets import N_NETS, best_net, is_clear, is_significant, net_lead, score_net
from stages.index._kernels.unknown.third_axis import COMPLETED, REFINED_FROM, complete
from stages.index._kernels.unknown.transform import N_COLUMNS, STEP, grid_points, summits, transform
from stages.index._kernels.unknown.triples import best_pairs_of_vectors, best_triples
from stages.index._kernels.unknown.tuples import (
    ACROSS,
    ALONG,
    FRACTION,
    N_FOUND,
    N_SUMMITS,
    SCORE,
    SIGMA_SHIFT_PX,
    Candidate,
    Grid,
    Limits,
    SpotSet,
    Tried,
    Vectors,
    Workspace,
    copy_candidate,
    margin,
    no_candidate,
    note,
    workspace,
)
from stages.index._kernels.unknown.vectors import MASK_SPOTS, refine_vectors

Floats = NDArray[np.float64]

# places in a report, after those of a result
GAP, NET_LEAD, SPOTS, SPREAD, SHIFT_X, SHIFT_Y, REFINED, SIGMA_A, SIGMA_L, N_REPORT = range(3, 13)

AT_FIRST, OF_MANY, FAR, N_ROUNDS = range(4)
"""A search has three rounds: of the lowest spots, of more of them if there are many, and for longer vectors."""
FIRST_SPOTS, MORE_SPOTS, FAR_SPOTS = 40, 200, 60
"""So many of the lowest spots are transformed in each round."""
FEWEST_SPOTS = 18
"""And at least so many."""
MANY_SPOTS = 100
"""A pattern of many spots has so many."""
FIRST_AXIS, FARTHEST = 130.0, 220.0
"""The longest vectors of the first two rounds and of the third, in Angstrom, if the work allows."""
NEAREST, SHRINK, GROW = 25.0, 0.97, 1.03
"""Vectors shorter than the first are always looked for; by the factors their greatest length is fitted to the work."""
LATER_WORK = 3.0
"""The transforms of later rounds may cost so many times what the first may."""

N_VECTORS, N_TRIPLES, N_PAIRS = 28, 64, 24
"""So many vectors, triples and pairs of them are kept. More vectors than those of the highest summits make chance triples."""
N_AGAIN = 4
"""So often a lattice is corrected, its third axis being looked for anew in between."""
PROMISING = -12.0
"""A third axis is worth looking for from this S - lnN on. That of random spots is about -20, with two right axes it is more."""
NET_PROMISING, NET_PER_SPOT = -5.0, -0.12
"""The same of a net, and what each spot adds: of random spots it is -16 (20 spots) to -24 (250), of a true net 10 to 300."""
SAME_NET = 0.1
"""Nets whose S - lnN differ by less are the same one."""
N_TRIED = N_ROUNDS * (N_TRIPLES + (N_AGAIN + 1) * N_NETS * COMPLETED)


class State(NamedTuple):
    """What one search works on.

    Attributes
    ----------
    best
        The best lattice so far.
    tried
        All that were refined.
    vectors
        Those of the present round.
    grid, room
        Arrays that are filled anew and again.
    """

    best: Candidate
    tried: Tried
    vectors: Vectors
    grid: Grid
    room: Workspace


@kernel
def begin(n: int) -> State:
    """Return the state of a search in n spots in which nothing is found yet."""
    return State(
        no_candidate(),
        Tried(np.empty((N_TRIED, 3, 3)), np.empty(N_TRIED), np.zeros(1, np.int64)),
        Vectors(np.empty((N_VECTORS, 4)), np.empty((N_VECTORS, 2), np.uint64), np.zeros(1, np.int64)),
        Grid(np.empty((N_FOUND, N_COLUMNS)), np.empty((N_SUMMITS, 4))),
        workspace(n),
    )


@kernel
def with_rays(q: Floats, k0: float, px: float) -> SpotSet:
    """Return the spots with their rays, k0 being 1 / wavelength."""
    n = q.shape[1]
    rays = np.empty((3, n))
    square = 0.0
    for k in range(n):
        size = np.sqrt(q[0, k] ** 2 + q[1, k] ** 2 + (q[2, k] + k0) ** 2)
        square += q[0, k] * q[0, k] + q[1, k] * q[1, k] + q[2, k] * q[2, k]
        for x in range(3):
            rays[x, k] = (q[x, k] + (k0 if x == 2 else 0.0)) / size
    return SpotSet(q, rays, px, np.sqrt(square / n))


@kernel
def part_of(spots: SpotSet, n: int) -> SpotSet:
    """Return n of the spots, evenly spaced in the order of |q|."""
    n_all = spots.q.shape[1]
    q, rays = np.empty((3, n)), np.empty((3, n))
    for k in range(n):
        for x in range(3):
            q[x, k] = spots.q[x, k * n_all // n]
            rays[x, k] = spots.rays[x, k * n_all // n]
    return SpotSet(q, rays, spots.px, spots.q_rms)


@kernel
def extent(q: Floats, limits: Limits, turn: int) -> tuple[int, float, float, float]:
    """Return how many of the lowest spots a round transforms, the length of its vectors, and the spots' largest q_xy and q_z.

    At first as many as the work allows for vectors of a length that most cells have. Of many spots then more, as there may
    be several lattices. Then those for longer vectors.
    """
    n = q.shape[1]
    radius = min(limits.longest, FIRST_AXIS if turn < FAR else FARTHEST)
    use = min(n, FIRST_SPOTS if turn == AT_FIRST else (MORE_SPOTS if turn == OF_MANY else FAR_SPOTS))
    work = limits.work if turn == AT_FIRST else LATER_WORK * limits.work
    while True:
        q_xy = q_z = 0.0
        for k in range(use):
            q_xy = max(q_xy, np.sqrt(q[0, k] ** 2 + q[1, k] ** 2))
            q_z = max(q_z, abs(q[2, k]))
        if use * grid_points(radius, q_xy, q_z) <= work or use <= FEWEST_SPOTS:
            break
        use -= 1
    while radius > NEAREST and use * grid_points(radius, q_xy, q_z) > work:
        radius *= SHRINK
    farthest = min(limits.longest, FARTHEST)
    while radius < farthest and use * grid_points(min(farthest, GROW * radius), q_xy, q_z) <= work:
        radius = min(farthest, GROW * radius)
    return use, radius, q_xy, q_z


@kernel
def find_vectors(
    q: Floats, reach: tuple[int, float, float, float], part: SpotSet, use: int, limits: Limits, state: State
) -> None:
    """Transform the lowest spots as far as :func:`extent` says; refine the summits from `use` spots of the part outwards."""
    n_lowest, radius, q_xy, q_z = reach
    grid = state.grid
    steps, ends = np.empty(3), np.empty(3)
    steps[0] = steps[1] = STEP / q_xy
    steps[2] = STEP / max(q_z, STEP / radius)
    ends[0] = ends[1] = ends[2] = radius
    sigma_shift = SIGMA_SHIFT_PX * part.px
    n_found = transform(q, n_lowest, steps, ends, 0.0, radius, limits.shortest, sigma_shift, grid.found)
    n_peaks = summits(grid.found, n_found, steps, grid.peaks[:N_VECTORS])
    refine_vectors(grid.peaks, n_peaks, part, use, limits, state.vectors)


@kernel
def combine(spots: SpotSet, use: int, limits: Limits, state: State) -> int:
    """Refine the lattices of the best triples of vectors, from the lowest `use` spots outwards; return how many."""
    best, vectors = state.best, state.vectors
    triples = np.empty((N_TRIPLES, 3), np.int64)
    n_chosen = best_triples(vectors, spots, triples)
    trial = no_candidate()
    refined = 0
    for i in range(n_chosen):
        for r in range(3):
            for x in range(3):
                trial.basis[r, x] = vectors.t[triples[i, r], x]
        trial.shift[0] = trial.shift[1] = 0.0
        value = refine_outwards(trial, spots, min(use, REFINED_FROM), state.room)
        refined += 1
        if value == -np.inf or not allowed(trial.basis, limits):
            continue
        note(trial, value, state.tried)
        if value > margin(best):
            copy_candidate(trial, best)
        if is_significant(margin(best), spots.q.shape[1]):
            break
    return refined


@kernel
def complete_nets(spots: SpotSet, limits: Limits, state: State) -> bool:
    """Look for another third axis to the best nets of the best lattice; whether S - lnN grew."""
    net = np.empty((3, 3))
    for rank in range(N_NETS):
        if not best_net(state.best, spots, rank, net):
            break
        if complete(net, state.best, spots, limits, state.room, state.grid, state.tried):
            return True
    return False


@kernel
def correct(spots: SpotSet, limits: Limits, state: State) -> tuple[int, bool]:
    """Go from the best lattice to its neighbours and to other third axes, while S - lnN grows.

    Return how many lattices were refined, and whether the best one is clear.
    """
    refined, clear = 0, False
    for again in range(N_AGAIN):
        if state.tried.number[0] == 0:
            break
        refined += to_best_neighbour(state.best, spots, limits, state.room)
        clear = is_clear(state.best, spots, state.room)
        if clear or again == N_AGAIN - 1 or margin(state.best) < PROMISING:
            break
        if not complete_nets(spots, limits, state):
            break
    return refined, clear


@kernel
def complete_pairs(spots: SpotSet, limits: Limits, state: State) -> tuple[bool, float]:
    """Look for a third axis to pairs of vectors, none of which may have been long enough to be it.

    Return whether S - lnN of the best lattice grew, and S - lnN of the best pair's net.
    """
    vectors, n = state.vectors, spots.q.shape[1]
    pairs, values = np.empty((N_PAIRS, 2), np.int64), np.empty(N_PAIRS)
    net, no_shift, model = np.zeros((3, 3)), np.zeros(2), np.empty(3)
    n_pairs = best_pairs_of_vectors(vectors, spots, pairs)
    for i in range(n_pairs):
        for r in range(2):
            for x in range(3):
                net[r, x] = vectors.t[pairs[i, r], x]
        model[ACROSS], model[ALONG], model[FRACTION] = spots.px, 0.001, 0.5
        values[i] = score_net(net, no_shift, spots, model, state.room.residuals)
    order = np.argsort(-values[:n_pairs])
    last, num_completed = np.inf, 0
    highest = values[order[0]] if n_pairs > 0 else -np.inf
    for o in order:
        if num_completed == N_NETS or values[o] < NET_PROMISING + NET_PER_SPOT * n:
            break
        if last - values[o] < SAME_NET:
            continue
        last = values[o]
        num_completed += 1
        for r in range(2):
            for x in range(3):
                net[r, x] = vectors.t[pairs[o, r], x]
        if complete(net, state.best, spots, limits, state.room, state.grid, state.tried):
            return True, highest
    return False, highest


@kernel
def decide(spots: SpotSet, part: SpotSet, state: State, report: Floats) -> None:
    """Refine the best lattice by all spots, and report how significant it is beside the others that were tried."""
    best, tried = state.best, state.tried
    score = margin(best)
    n = spots.q.shape[1]
    if n > part.q.shape[1]:
        score = refine_outwards(best, spots, n, state.room)
    other = -np.inf
    for i in range(tried.number[0]):
        if tried.scores[i] > other and not same_basis(tried.bases[i], best.basis, 0.2):
            other = tried.scores[i]
    for i in range(3):
        report[i] = best.result[i]
    report[SHIFT_X], report[SHIFT_Y] = best.shift[0], best.shift[1]
    report[GAP] = score - other
    report[SIGMA_A], report[SIGMA_L] = best.model[ACROSS], best.model[ALONG]
    report[NET_LEAD], _ = net_lead(best, spots, state.room)
    report[SPREAD] = spread(best, spots, state.room.star)


@kernel
def search(q: Floats, k0: float, px: float, limits: Limits, report: Floats, basis: Floats) -> None:
    """Find the lattice of the spots, (3, n), sorted by |q|; fill `basis`, unless nothing was found, and `report`.

    `k0` is 1 / wavelength, `px` what a pixel is in q. Lattices are sought in MASK_SPOTS of the spots; S is that of all.
    """
    n_all = q.shape[1]
    for i in range(N_REPORT):
        report[i] = 0.0
    report[SPOTS] = n_all
    report[SCORE] = -np.inf
    if n_all < MIN_SPOTS:
        return
    spots = with_rays(q, k0, px)
    n = min(n_all, MASK_SPOTS)
    part = part_of(spots, n)
    state = begin(n_all)
    used, reached = 0, 0.0
    for turn in range(N_ROUNDS):
        if turn == OF_MANY and n_all < MANY_SPOTS:
            continue
        reach = extent(q, limits, turn)
        if reach[0] <= used and reach[1] <= 1.05 * reached:
            continue
        used, reached = max(used, reach[0]), max(reached, reach[1])
        use = max(MIN_SPOTS, reach[0] * n // n_all)  # so many of the part lie as low
        find_vectors(q, reach, part, use, limits, state)
        report[REFINED] += combine(part, use, limits, state)
        refined, clear = correct(part, limits, state)
        report[REFINED] += refined
        if not clear:
            improved, net = complete_pairs(part, limits, state)
            if improved:
                report[REFINED] += to_best_neighbour(state.best, part, limits, state.room)
                clear = is_clear(state.best, part, state.room)
            if n_all >= MANY_SPOTS and is_significant(net, n):
                break  # two axes are known: longer vectors, or more spots, will not tell the third
        if clear:
            break
    if state.tried.number[0] > 0:
        decide(spots, part, state, report)
        copy(state.best.basis, basis)
