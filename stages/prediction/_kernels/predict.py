"""Which reflections a crystal shows, and where.

Vectors are in the laboratory frame, metres for the detector and 1/Angstrom for reciprocal space. The beam's wave vector is
(0, 0, k), k = 1 / wavelength.

Instead of trying the whole box of indices, each line p + l c* (p = h a* + k b* + k0) is cut with the shell between the spheres
of radius k - w and k + w, w being the largest excitation error that a predicted reflection can have:

    |p|^2 + 2 l p.c* + l^2 |c*|^2 = r^2

has two roots for each radius, so there are at most two short intervals of l. The axis of most orders plays the part of c*.
Every candidate is then tested exactly, also for the resolution sphere |g| <= q_max.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import reciprocal
from stages.compute.kernel import kernel
from stages.compute.rays import USABLE
from stages.prediction._kernels.absences import MAX_INDEX, is_absent
from stages.prediction._kernels.grid import cells_of
from stages.prediction._kernels.meet import meet, planes_of
from stages.prediction._kernels.partiality import Beam, partiality_of, widest_error

Array = NDArray[Any]

FS, SS, ERROR, PARTIALITY, N_NUMBERS = range(5)
"""Rows of the numbers that are predicted of each reflection."""

EDGE = 1e-9
"""An index on the very edge of an interval belongs to it whatever the rounding."""


class Sought(NamedTuple):
    """Which reflections are wanted, and in which beam.

    Attributes
    ----------
    k
        1 / wavelength, 1/Angstrom.
    bandwidth, divergence
        Standard deviation of dk / k; full angle in radians.
    radius
        The profile radius, 1/Angstrom.
    min_partiality
        Reflections of a lower one are left out.
    q_max, detector_q_max
        Largest |g| wanted; largest |q| that reaches the detector. 1/Angstrom.
    """

    k: float
    bandwidth: float
    divergence: float
    radius: float
    min_partiality: float
    q_max: float
    detector_q_max: float


class Axes(NamedTuple):
    """The reciprocal axes in the order of the search.

    Attributes
    ----------
    star
        float64 (3, 3): the axis of the outer loop, that of the lines' starts, and that along the lines.
    inner
        Which of h, k, l counts along the lines; the other two follow cyclically.
    most
        Largest index to try along each, in the order of `star`.
    """

    star: Array
    inner: int
    most: tuple[int, int, int]


class Criteria(NamedTuple):
    """What candidates are tested with.

    Attributes
    ----------
    beam, radius, min_partiality
        As in :class:`Sought`.
    limit_sq
        The square of the largest |g|.
    centering
        Its place in CENTERING_CODES.
    panels, planes, bounds, lists, cells
        The detector: see :mod:`stages.compute.rays`, ``meet`` and ``grid``.
    """

    beam: Beam
    radius: float
    min_partiality: float
    limit_sq: float
    centering: int
    panels: Array
    planes: Array
    bounds: Array
    lists: Array
    cells: int


class Found(NamedTuple):
    """Room for what is predicted: int32 (n, 3) indices, int32 (n,) panels, float64 (N_NUMBERS, n); more is not stored."""

    hkl: Array
    panel: Array
    numbers: Array


@kernel
def axes_of(real: Array, limit: float) -> Axes:
    """Choose the order of the search for a crystal with the rows a, b, c: |h| <= |a| |g|, the axis of most orders inside."""
    orders = np.empty(3, np.int64)
    for i in range(3):
        length = math.sqrt(real[i, 0] ** 2 + real[i, 1] ** 2 + real[i, 2] ** 2)
        orders[i] = int(min(float(MAX_INDEX), limit * length))
    inner = 2
    for i in range(2):
        if orders[i] > orders[inner]:
            inner = i
    star, in_order = np.empty((3, 3)), np.empty((3, 3))
    if reciprocal(real, star) == 0.0:  # no cell, no reflections
        star[:] = np.nan
    for i in range(3):
        for j in range(3):
            in_order[i, j] = star[(inner + 1 + i) % 3, j]
    return Axes(in_order, inner, (orders[(inner + 1) % 3], orders[(inner + 2) % 3], orders[inner]))


@kernel
def indices_of(inner: int, first: int, second: int, along: int) -> tuple[int, int, int]:
    """Return h, k, l of what is counted in the order of the search; see :class:`Axes`."""
    if inner == 2:
        return first, second, along
    if inner == 1:
        return second, along, first
    return along, first, second


@kernel
def heights(limit: float, w: float, k: float) -> tuple[float, float]:
    """Return between which z all g with |g| <= `limit` lie whose |k0 + g| is within `w` of k.

    2 k z = |k0 + g|^2 - k^2 - |g|^2.
    """
    lowest = max(-limit, -w - limit * limit / (2.0 * k)) if w < k else -limit
    return lowest - EDGE, w + w * w / (2.0 * k) + EDGE


@kernel
def lines_of_layer(first: int, limit_sq: float, lowest: float, highest: float, axes: Axes) -> tuple[int, int]:
    """Return the first index, and how many, of the lines of a layer that come within the resolution sphere and between two z.

    Across the lines' direction c*, h a* + k b* has the length that decides: a quadratic in k. The z of the point of a line that
    is nearest to the origin is linear in k; along the line, within the sphere, z differs from that by a limited amount.
    """
    a0, a1, a2 = axes.star[0, 0], axes.star[0, 1], axes.star[0, 2]
    b0, b1, b2 = axes.star[1, 0], axes.star[1, 1], axes.star[1, 2]
    c0, c1, c2 = axes.star[2, 0], axes.star[2, 1], axes.star[2, 2]
    cc = c0 * c0 + c1 * c1 + c2 * c2
    ac, bc = a0 * c0 + a1 * c1 + a2 * c2, b0 * c0 + b1 * c1 + b2 * c2
    across_aa = a0 * a0 + a1 * a1 + a2 * a2 - ac * ac / cc
    across_ab = a0 * b0 + a1 * b1 + a2 * b2 - ac * bc / cc
    across_bb = b0 * b0 + b1 * b1 + b2 * b2 - bc * bc / cc
    half = (first * across_ab) ** 2 - across_bb * (first * first * across_aa - limit_sq)
    if not half >= 0.0:
        return 0, 0
    along = abs(c2) * math.sqrt(
        half / across_bb / cc
    )  # the longest half of a line of the layer within the sphere, in z
    half = math.sqrt(half) / across_bb
    middle = -first * across_ab / across_bb
    begin, end = max(middle - half, -axes.most[1]), min(middle + half, axes.most[1])
    at_first, step = first * (a2 - c2 * ac / cc), b2 - c2 * bc / cc
    low, high = lowest - along - at_first, highest + along - at_first
    if step != 0.0:
        begin, end = max(begin, min(low / step, high / step)), min(end, max(low / step, high / step))
    elif low > 0.0 or high < 0.0:
        return 0, 0
    if not begin <= end + 2.0 * EDGE:
        return 0, 0
    line = math.ceil(begin - EDGE)
    return line, math.floor(end + EDGE) - line + 1


@kernel
def cut_lines(
    px: float, py: float, pz: float, star: Array, outer_sq: float, inner_sq: float, steps: Array, ends: Array
) -> None:
    """Cut lines p + l c, p = (px, py, pz) + i b for i = 0, 1, ..., with the shell between two spheres about the origin.

    b and c are the second and the third row of `star`. `ends` (4, lines) receives first and last whole l of each line's two
    intervals; the last is below the first where there is none. A line that misses a sphere is treated as if it touched it:
    what lies on an interval's very edge is for the caller to test exactly. No branches, so that the loop is vectorised.
    """
    b0, b1, b2 = star[1, 0], star[1, 1], star[1, 2]
    c0, c1, c2 = star[2, 0], star[2, 1], star[2, 2]
    cc = c0 * c0 + c1 * c1 + c2 * c2
    one_by_cc = 1.0 / cc
    first_from, first_to, second_from, second_to = ends[0], ends[1], ends[2], ends[3]
    for i in range(first_from.size):
        x, y, z = px + steps[i] * b0, py + steps[i] * b1, pz + steps[i] * b2
        pc = x * c0 + y * c1 + z * c2
        pp = x * x + y * y + z * z
        outside = math.sqrt(max(pc * pc - cc * (pp - outer_sq), 0.0))
        inside = math.sqrt(max(pc * pc - cc * (pp - inner_sq), 0.0))
        first_from[i] = np.ceil((-pc - outside) * one_by_cc - EDGE)
        first_to[i] = np.floor((-pc - inside) * one_by_cc + EDGE)
        second_from[i] = np.ceil((-pc + inside) * one_by_cc - EDGE)
        second_to[i] = np.floor((-pc + outside) * one_by_cc + EDGE)


@kernel
def test_layer(first: int, begin: int, ends: Array, axes: Axes, criteria: Criteria, found: int, out: Found) -> int:
    """Test the candidates of a layer, whose lines start with the index `begin`; return how many reflections there are by now.

    `ends` comes from :func:`cut_lines`, `found` is how many there were before.
    """
    # what is looked at for every candidate stands in variables: each access to an array in a tuple counts references
    star, (hkl, panel, numbers) = axes.star, out
    beam, radius, min_partiality, limit_sq, centering, panels, planes, bounds, lists, cells = criteria
    a0, a1, a2 = star[0, 0], star[0, 1], star[0, 2]
    b0, b1, b2 = star[1, 0], star[1, 1], star[1, 2]
    c0, c1, c2 = star[2, 0], star[2, 1], star[2, 2]
    for line in range(ends.shape[1]):
        if not (ends[1, line] >= ends[0, line] or ends[3, line] >= ends[2, line]):
            continue
        second = begin + line
        gx, gy, gz = first * a0 + second * b0, first * a1 + second * b1, first * a2 + second * b2
        last_done = -MAX_INDEX - 1
        for part in range(2):
            from_l = max(int(ends[2 * part, line]), -MAX_INDEX, last_done + 1)
            to_l = min(int(ends[2 * part + 1, line]), MAX_INDEX)
            for along in range(from_l, to_l + 1):
                last_done = along
                x, y, z = gx + along * c0, gy + along * c1, gz + along * c2
                if x * x + y * y + z * z > limit_sq or (first == 0 and second == 0 and along == 0):
                    continue
                h, k, ll = indices_of(axes.inner, first, second, along)
                if is_absent(centering, h, k, ll):
                    continue
                partiality, error, k_recorded = partiality_of(x, y, z, radius, beam)
                if not partiality >= min_partiality:
                    continue
                p, fs, ss = meet(x, y, z + k_recorded, planes, bounds, lists, cells)
                if p < 0 or panels[p, USABLE] == 0.0:
                    continue
                if found < hkl.shape[0]:
                    hkl[found, 0], hkl[found, 1], hkl[found, 2] = h, k, ll
                    panel[found] = p
                    numbers[FS, found], numbers[SS, found] = fs, ss
                    numbers[ERROR, found], numbers[PARTIALITY, found] = error, min(1.0, partiality)
                found += 1
    return found


@kernel
def predict(
    real: Array,
    centering: int,
    shift: Array,
    sought: Sought,
    panels: Array,
    bounds: Array,
    lists: Array,
    hkl: Array,
    panel: Array,
    numbers: Array,
) -> int:
    """Predict all reflections of a crystal on the detector; return how many there are.

    Parameters
    ----------
    real, centering
        (3, 3), rows a, b, c; its place in CENTERING_CODES.
    shift
        (2,), the detector's along x and y, metres.
    panels, bounds, lists
        The detector, prepared: see :mod:`stages.compute.rays` and ``grid``.
    hkl, panel, numbers
        Results; see :class:`Found`. What does not fit is counted, not stored.
    """
    beam = Beam(sought.k, sought.bandwidth, sought.divergence)
    radius, min_partiality, q_max, detector_q_max = (
        sought.radius,
        sought.min_partiality,
        sought.q_max,
        sought.detector_q_max,
    )
    w = widest_error(radius, min_partiality, min(detector_q_max, q_max), beam)
    limit = min(detector_q_max + w, q_max)
    axes = axes_of(real, limit)
    star, most = axes.star, axes.most
    outer_sq, inner_sq = (beam.k + w) ** 2, max(0.0, beam.k - w) ** 2
    lowest, highest = heights(limit, w, beam.k)
    criteria = Criteria(
        beam,
        radius,
        min_partiality,
        limit * limit,
        centering,
        panels,
        planes_of(shift, panels),
        bounds,
        lists,
        cells_of(lists),
    )
    out = Found(hkl, panel, numbers)
    steps = np.arange(2 * most[1] + 1) * 1.0
    room = np.empty((4, 2 * most[1] + 1))
    found = 0
    for first in range(-most[0], most[0] + 1):
        begin, num_lines = lines_of_layer(first, criteria.limit_sq, lowest, highest, axes)
        if num_lines < 1:
            continue
        gx, gy = first * star[0, 0] + begin * star[1, 0], first * star[0, 1] + begin * star[1, 1]
        gz = first * star[0, 2] + begin * star[1, 2]
        ends = room[:, :num_lines]
        cut_lines(gx, gy, gz + beam.k, star, outer_sq, inner_sq, steps, ends)
        found = test_layer(first, begin, ends, axes, criteria, found, out)
    return found
