"""A third axis to two that may be right: it is looked for in the spots on the planes of the two."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import copy
from stages.compute.kernel import kernel
from stages.index._kernels.spots import MIN_SPOTS
from stages.index._kernels.unknown.bases import allowed, dot, same_basis
from stages.index._kernels.unknown.fit import FIRST_ERROR, FIRST_FRACTION, refine
from stages.index._kernels.unknown.likelihood import limit_model
from stages.index._kernels.unknown.residuals import centre
from stages.index._kernels.unknown.transform import STEP, summits, transform
from stages.index._kernels.unknown.tuples import (
    ACROSS,
    ALONG,
    FRACTION,
    Candidate,
    Grid,
    Limits,
    PlaneFit,
    SpotSet,
    Tried,
    Workspace,
    copy_candidate,
    margin,
    no_candidate,
    note,
    plane_fit,
)
from stages.index._kernels.unknown.vectors import fit_growing, plane_tolerance

Floats = NDArray[np.float64]

REFINED_FROM = 12
"""A refinement begins with so many of the lowest spots."""
COMPLETED = 5
"""So many of the axes that complete a net best are refined."""
PART_OF_WORK = 0.3
"""A transform for a third axis may cost that part of the first transform of a frame."""
FEWEST_SPOTS = 10
"""Of so few spots on the net none is left out of the transform."""
MIN_SINE = 0.2
"""Two axes span a net if the sine of their angle is larger."""
SAME_VALUE = 0.02
"""Third axes whose values differ by less are the same, modulo the net."""
MIN_GAIN = 0.5
"""S - lnN must grow by that."""


@kernel
def straighten(net: Floats, centred: Floats, fit: PlaneFit) -> None:
    """Refine the first two axes of a net, which a wrong third axis has turned a little, by all spots."""
    v = np.empty(4)
    for i in range(2):
        v[0], v[1], v[2], v[3] = net[i, 0], net[i, 1], net[i, 2], 0.0
        fit_growing(v, centred, REFINED_FROM, centred.shape[1], 0.0, fit)
        for x in range(3):
            net[i, x] = v[x]


@kernel
def normal_of(net: Floats, normal: Floats) -> bool:
    """Fill `normal` with the unit vector across a net; False if its axes are nearly parallel."""
    a, b = net[0], net[1]
    for x in range(3):
        normal[x] = a[(x + 1) % 3] * b[(x + 2) % 3] - a[(x + 2) % 3] * b[(x + 1) % 3]
    area = np.sqrt(dot(normal, normal))
    if not (area > MIN_SINE * np.sqrt(dot(a, a) * dot(b, b))):
        return False
    for x in range(3):
        normal[x] /= area
    return True


@kernel
def keep_on_net(net: Floats, normal: Floats, px: float, spots: Floats, coordinates: Floats) -> int:
    """Keep the spots on the planes of both axes, in place; fill `coordinates` with h, k and n.q of them; return how many."""
    a, b = net[0], net[1]
    tolerance_a, tolerance_b = plane_tolerance(a, px), plane_tolerance(b, px)
    m = 0
    for k in range(spots.shape[1]):
        x, y, z = spots[0, k], spots[1, k], spots[2, k]
        fa, fb = a[0] * x + a[1] * y + a[2] * z, b[0] * x + b[1] * y + b[2] * z
        if abs(fa - np.rint(fa)) < tolerance_a and abs(fb - np.rint(fb)) < tolerance_b:
            coordinates[0, m], coordinates[1, m] = np.rint(fa), np.rint(fb)
            coordinates[2, m] = normal[0] * x + normal[1] * y + normal[2] * z
            spots[0, m], spots[1, m], spots[2, m] = x, y, z
            m += 1
    return m


@kernel
def lay_grid(coordinates: Floats, m: int, limits: Limits, steps: Floats, ends: Floats) -> int:
    """Set steps and ends of a grid for the lowest of m spots, as many as the work allows; return how many these are."""
    work = PART_OF_WORK * limits.work
    use = m
    while True:
        points = 1.0
        for x in range(3):
            most = 1e-9
            for k in range(use):
                most = max(most, abs(coordinates[x, k]))
            ends[x] = 0.5 if x < 2 else limits.longest
            steps[x] = min(STEP / most, ends[x])
            points *= (2.0 if x == 1 else 1.0) * (ends[x] / steps[x] + 1.0)
        if points * use < work or use <= FEWEST_SPOTS:
            break
        use -= 1 + use // 16
    if points * use > 2.0 * work:
        ends[2] *= 2.0 * work / (points * use)
    return int(use)


@kernel
def fit_third_axes(
    peaks: Floats,
    values: Floats,
    net: Floats,
    normal: Floats,
    on_net: Floats,
    use: int,
    m: int,
    px: float,
    fit: PlaneFit,
) -> None:
    """Turn summits, in u, v and w, into vectors and refine them by the m spots on the net, from the lowest `use` outwards.

    `values` become their ln of the likelihood ratio less the logarithm of their height above the net.
    """
    for i in range(values.size):
        u0, u1, u2 = peaks[i, 0], peaks[i, 1], peaks[i, 2]
        v = peaks[i]
        for x in range(3):
            v[x] = u0 * net[0, x] + u1 * net[1, x] + u2 * normal[x]
        v[3] = 0.0
        value = fit_growing(v, on_net, use, m, 0.5 * px, fit)
        height = abs(v[0] * normal[0] + v[1] * normal[1] + v[2] * normal[2])
        values[i] = value - np.log(max(1.0, height))


@kernel
def refine_completed(
    net: Floats, axis: Floats, shift: Floats, spots: SpotSet, room: Workspace, trial: Candidate
) -> float:
    """Fill `trial` with the lattice of a net and another third axis, refined; return its S - lnN, -inf if there is none."""
    basis, model = trial.basis, trial.model
    copy(net, basis)
    for x in range(3):
        basis[2, x] = axis[x]
    if same_basis(basis, net, 0.1):
        return -np.inf
    trial.shift[0], trial.shift[1] = shift[0], shift[1]
    longest_axis = np.sqrt(max(dot(basis[0], basis[0]), dot(basis[1], basis[1]), dot(basis[2], basis[2])))
    model[ACROSS] = model[ALONG] = FIRST_ERROR / longest_axis
    model[FRACTION] = FIRST_FRACTION
    limit_model(model, spots.px)
    return refine(trial, spots, room)


@kernel
def complete(
    net: Floats, best: Candidate, spots: SpotSet, limits: Limits, room: Workspace, grid: Grid, tried: Tried
) -> bool:
    """Look for a better third axis to the first two of `net`; take over into `best` what raises S - lnN; whether it did.

    Only spots on the planes of both axes count, and the third axis is looked for modulo the two, ``u a + v b + w n`` with n the
    unit normal, |u|, |v| <= 1/2: a small part of the ball, and hardly a spurious spot. The shift is first that of `best`.
    """
    fit = plane_fit()
    coordinates, on_net = np.empty(spots.q.shape), np.empty(spots.q.shape)
    normal, steps, ends = np.empty(3), np.empty(3), np.empty(3)
    centre(spots.q, best.shift, on_net)
    straighten(net, on_net, fit)
    if not normal_of(net, normal):
        return False
    m = keep_on_net(net, normal, spots.px, on_net, coordinates)
    if m < MIN_SPOTS:
        return False
    use = lay_grid(coordinates, m, limits, steps, ends)
    first_z = max(limits.shortest, steps[2])
    n_found = transform(coordinates, use, steps, ends, first_z, 1e9, 0.0, 0.0, grid.found)
    n_peaks = summits(grid.found, n_found, steps, grid.peaks)
    values = np.empty(n_peaks)
    fit_third_axes(grid.peaks, values, net, normal, on_net, use, m, spots.px, fit)
    trial, shift = no_candidate(), np.empty(2)
    shift[0], shift[1] = best.shift[0], best.shift[1]
    improved, num_refined, last = False, 0, np.inf
    for i in np.argsort(-values):
        if num_refined == COMPLETED:
            break
        if last - values[i] < SAME_VALUE:
            continue
        last = values[i]
        num_refined += 1
        value = refine_completed(net, grid.peaks[i], shift, spots, room, trial)
        if value == -np.inf or not allowed(trial.basis, limits):
            continue
        note(trial, value, tried)
        if value > margin(best) + MIN_GAIN:
            improved = True
            copy_candidate(trial, best)
    return improved
