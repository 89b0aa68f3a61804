"""The search as a whole: what is transformed, which lattices are tried, and when to stop."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import copy
from stages.compute.kernel import kernel
from stages.index._kernels.spots import MIN_SPOTS
from stages.index._kernels.unknown.bases import allowed, dot, same_basis
from stages.index._kernels.unknown.fit import ACROSS, ALONG, FRACTION, SIGMA_SHIFT_PX, Room, polish, spread
from stages.index._kernels.unknown.neighbours import settle
from stages.index._kernels.unknown.nets import (
    CLEAR,
    CLEAR_PER_SPOT,
    COMPLETED,
    N_AGAIN,
    N_NETS,
    N_PAIRS,
    N_TRIPLES,
    N_VECTORS,
    POLISHED_FROM,
    Grid,
    Tried,
    add,
    best_net,
    complete,
    is_clear,
    net_lead,
    score_net,
)
from stages.index._kernels.unknown.transform import grid_points, summits, transform
from stages.index._kernels.unknown.triples import best_pairs, best_triples
from stages.index._kernels.unknown.vectors import MASK_SPOTS, refine_vectors

Floats = NDArray[np.float64]

# how many of the lowest spots are transformed: at first, of many spots, for long axes; at least; what many are
FIRST_SPOTS, MORE_SPOTS, FAR_SPOTS, FEWEST_SPOTS, MANY_SPOTS = 40, 200, 60, 18, 100
FIRST_AXIS, FARTHEST = 130.0, 220.0
PROMISING = -12.0  # S - lnN of the best lattice in random spots is about -20; with two axes of three right it is more
# that of the best net is -16 in 20 random spots, -24 in 250; of a true one 10 to 300
NET_PROMISING, NET_PER_SPOT = -5.0, -0.12
N_TRIED = 3 * (N_TRIPLES + (N_AGAIN + 1) * N_NETS * COMPLETED)
SCORE, LOG_TRIALS, GAP, NET_LEAD, SPOTS, EXPLAINED, SPREAD = range(7)  # places in a report
SHIFT_X, SHIFT_Y, POLISHED, SIGMA_A, SIGMA_L, N_REPORT = range(7, 13)


@kernel
def search(
    spots: Floats, k0: float, px: float, shortest: float, longest: float, work: float, report: Floats, basis: Floats
) -> None:
    """Find the lattice of the spots, sorted by |q|; fill `basis` and `report`."""
    n_all = spots.shape[0]
    for i in range(N_REPORT):
        report[i] = 0.0
    report[SPOTS] = n_all
    report[SCORE] = -np.inf
    if n_all < MIN_SPOTS:
        return
    # --- spots: rays, and of many spots a part, evenly spaced in |q|
    n = min(n_all, MASK_SPOTS)
    part, rays, all_rays = np.empty((n, 3)), np.empty((n, 3)), np.empty((n_all, 3))
    square = 0.0
    for k in range(n_all):
        size = np.sqrt(spots[k, 0] ** 2 + spots[k, 1] ** 2 + (spots[k, 2] + k0) ** 2)
        square += dot(spots[k], spots[k])
        for x in range(3):
            all_rays[k, x] = (spots[k, x] + (k0 if x == 2 else 0.0)) / size
    for k in range(n):
        for x in range(3):
            part[k, x] = spots[k * n_all // n, x]
            rays[k, x] = all_rays[k * n_all // n, x]
    q_rms = np.sqrt(square / n_all)
    shift_limit = SIGMA_SHIFT_PX * px
    window = 2.0 * np.pi * (1.5 * px) ** 2 * 0.0015
    # --- room
    room = Room(np.empty((12, 12)), np.empty(12), np.empty((3, 3)), np.empty((n_all, 3)))
    model, best_model = np.empty(3), np.empty(3)
    found, peaks = np.empty((4096, 5)), np.empty((32, 4))
    vectors, values, masks = np.empty((N_VECTORS, 4)), np.empty(N_VECTORS), np.empty((N_VECTORS, 2), np.uint64)
    triples, triple_values = np.empty((N_TRIPLES, 3), np.int64), np.empty(N_TRIPLES)
    trial, shift, result = np.empty((3, 3)), np.empty(2), np.empty(3)
    tried = Tried(np.empty((N_TRIED, 3, 3)), np.empty(N_TRIED), np.zeros(1, np.int64))
    best_shift, best_result = np.zeros(2), np.array([-np.inf, 0.0, 0.0])
    grid, steps, ends = Grid(found, peaks, np.empty((4, 4)), np.empty(4)), np.empty(3), np.empty(3)
    pairs, pair_values = np.empty((N_PAIRS, 2), np.int64), np.empty(N_PAIRS)
    net_model, no_shift = np.empty(3), np.zeros(2)
    best = -np.inf
    used, reached = 0, 0.0
    for stage in range(3):
        # --- as many of the lowest spots as the work allows: for vectors of a length that most cells have; of many spots more,
        # as there may be several lattices; for longer vectors
        if stage == 1 and n_all < MANY_SPOTS:
            continue
        radius = min(longest, FIRST_AXIS if stage < 2 else FARTHEST)
        use = min(n_all, FIRST_SPOTS if stage == 0 else (MORE_SPOTS if stage == 1 else FAR_SPOTS))
        limit = work if stage == 0 else 3.0 * work
        q_xy = q_z = 0.0
        while use > 0:
            q_xy = q_z = 0.0
            for k in range(use):
                q_xy = max(q_xy, np.sqrt(spots[k, 0] ** 2 + spots[k, 1] ** 2))
                q_z = max(q_z, abs(spots[k, 2]))
            if use * grid_points(radius, q_xy, q_z) <= limit or use <= FEWEST_SPOTS:
                break
            use -= 1
        if use < MIN_SPOTS:
            break
        while radius > 25.0 and use * grid_points(radius, q_xy, q_z) > limit:
            radius *= 0.97
        farthest = min(longest, FARTHEST)
        while radius < farthest and use * grid_points(min(farthest, 1.03 * radius), q_xy, q_z) <= limit:
            radius = min(farthest, 1.03 * radius)
        if use <= used and radius <= 1.05 * reached:
            continue
        used, reached = max(used, use), max(reached, radius)
        steps[0] = steps[1] = 0.3 / q_xy
        steps[2] = 0.3 / max(q_z, 0.3 / radius)
        ends[0] = ends[1] = ends[2] = radius
        n_found = transform(spots, use, steps, ends, 0.0, radius, shortest, shift_limit, found)
        n_peaks = summits(found, n_found, steps, peaks[:N_VECTORS])
        use = max(MIN_SPOTS, use * n // n_all)  # so many of the part lie as low
        n_kept = refine_vectors(
            peaks, n_peaks, part, use, n, shortest, longest, px, shift_limit, vectors, values, masks
        )
        n_chosen = best_triples(vectors, n_kept, masks, n, window, triples, triple_values)
        # --- lattices
        for i in range(n_chosen):
            for r in range(3):
                for x in range(3):
                    trial[r, x] = vectors[triples[i, r], x]
            shift[0] = shift[1] = 0.0
            value = polish(trial, shift, part, rays, min(use, POLISHED_FROM), n, px, q_rms, model, room, result)
            report[POLISHED] += 1
            if value == -np.inf or not allowed(trial, shortest, longest):
                continue
            add(trial, value, tried)
            if value > best:
                best = value
                copy(trial, basis)
                best_shift[0], best_shift[1] = shift[0], shift[1]
                for r in range(3):
                    best_result[r], best_model[r] = result[r], model[r]
            if best > CLEAR + CLEAR_PER_SPOT * n:
                break
        # --- its third axis anew, by its nets of two
        clear = False
        for again in range(N_AGAIN):
            if tried.number[0] == 0:
                break
            report[POLISHED] += settle(
                basis, best_shift, part, rays, n, px, q_rms, shortest, longest, best_model, room, best_result
            )
            best = best_result[0] - best_result[1]
            lead, most = net_lead(basis, best_shift, part, rays, n, px, q_rms, best_model, room, best_result)
            clear = is_clear(best, lead, most, best_result[2], n)
            if clear or again == N_AGAIN - 1 or best < PROMISING:
                break
            improved = False
            for rank in range(N_NETS):
                if not best_net(basis, best_shift, part, n, px, rank, trial):
                    break
                improved = complete(
                    trial,
                    best_shift,
                    part,
                    rays,
                    n,
                    px,
                    q_rms,
                    shortest,
                    longest,
                    0.3 * work,
                    best_model,
                    room,
                    best_result,
                    grid,
                    tried,
                )
                if improved:
                    copy(trial, basis)
                    break
            if not improved:
                break
        # --- and by the pairs of vectors: none may have been long enough to be the third
        if not clear:
            n_pairs = best_pairs(vectors, n_kept, masks, n, px, pairs)
            for i in range(n_pairs):
                for x in range(3):
                    trial[0, x], trial[1, x], trial[2, x] = vectors[pairs[i, 0], x], vectors[pairs[i, 1], x], 0.0
                net_model[ACROSS], net_model[ALONG], net_model[FRACTION] = px, 0.001, 0.5
                pair_values[i] = score_net(trial, no_shift, part, rays, n, px, q_rms, net_model, room.residuals)
            order = np.argsort(-pair_values[:n_pairs])
            improved, last, num_completed = False, np.inf, 0
            net = pair_values[order[0]] if n_pairs > 0 else -np.inf
            for o in order:
                if num_completed == N_NETS or pair_values[o] < NET_PROMISING + NET_PER_SPOT * n:
                    break
                if last - pair_values[o] < 0.1:
                    continue
                last = pair_values[o]
                num_completed += 1
                for x in range(3):
                    trial[0, x], trial[1, x] = vectors[pairs[o, 0], x], vectors[pairs[o, 1], x]
                    trial[2, x] = 0.0
                improved = complete(
                    trial,
                    best_shift,
                    part,
                    rays,
                    n,
                    px,
                    q_rms,
                    shortest,
                    longest,
                    0.3 * work,
                    best_model,
                    room,
                    best_result,
                    grid,
                    tried,
                )
                if improved:
                    copy(trial, basis)
                    break
            if improved:
                report[POLISHED] += settle(
                    basis, best_shift, part, rays, n, px, q_rms, shortest, longest, best_model, room, best_result
                )
                best = best_result[0] - best_result[1]
                lead, most = net_lead(basis, best_shift, part, rays, n, px, q_rms, best_model, room, best_result)
                clear = is_clear(best, lead, most, best_result[2], n)
            if n_all >= MANY_SPOTS and net > CLEAR + CLEAR_PER_SPOT * n:
                break  # two axes are known: longer vectors, or more spots, will not tell the third
        if clear:
            break
    if tried.number[0] == 0:
        return
    # --- on all spots
    n = n_all
    if n > part.shape[0]:
        best = polish(basis, best_shift, spots, all_rays, n, n, px, q_rms, best_model, room, best_result)
    other = -np.inf
    for i in range(tried.number[0]):
        if tried.scores[i] > other and not same_basis(tried.bases[i], basis, 0.2):
            other = tried.scores[i]
    report[SCORE], report[LOG_TRIALS], report[EXPLAINED] = best_result[0], best_result[1], best_result[2]
    report[SHIFT_X], report[SHIFT_Y] = best_shift[0], best_shift[1]
    report[GAP] = best - other
    report[SIGMA_A], report[SIGMA_L] = best_model[ACROSS], best_model[ALONG]
    report[NET_LEAD], _ = net_lead(basis, best_shift, spots, all_rays, n, px, q_rms, best_model, room, best_result)
    report[SPREAD] = spread(basis, best_shift, spots, n, room.star)
