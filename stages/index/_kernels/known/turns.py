"""Turns of the cell about one of its axes, once it is known along which vector that lies."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import carry
from stages.compute.kernel import FAST, kernel
from stages.index._kernels.known.tuples import CAPPED, Tables

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.int64]


MAX_STEPS = 2048


class Laid(NamedTuple):
    """An axis of the target laid onto a vector, and how it may be turned about it.

    Attributes
    ----------
    lab, frame
        (3, 3) the frames to :func:`carry` between, rows; the third is along the vector, and along the axis.
    shape
        The parts b1, b3, c1, c2, c3 of the two next axes along the rows of `frame` (b2 is 0).
    inliers
        Places of the spots that count.
    """

    lab: Floats
    frame: Floats
    shape: Floats
    inliers: Integers


@kernel
def room_for_turns(n: int) -> Laid:
    """Return arrays for so many spots."""
    return Laid(np.empty((3, 3)), np.empty((3, 3)), np.empty(5), np.empty(n, np.int64))


@kernel
def lay(
    target: Floats,
    axis: int,
    v: Floats,
    phase: float,
    spots: Floats,
    lab: Floats,
    frame: Floats,
    shape: Floats,
    inliers: Integers,
) -> tuple[int, int]:
    """Lay the target's row `axis` onto the vector v, and say how to turn it; return the numbers of inliers and of turns.

    The arrays are those of :class:`Laid`, and are filled. `inliers` become the spots within 0.2 of v's planes, which begin at
    `phase`, and of those the ones where a tilt of 0.015 rad still matters less than 0.3 of an index.
    """
    one, two = (axis + 1) % 3, (axis + 2) % 3
    length = np.sqrt(target[axis, 0] ** 2 + target[axis, 1] ** 2 + target[axis, 2] ** 2)
    size = np.sqrt(v[0] ** 2 + v[1] ** 2 + v[2] ** 2)
    # frame: third row along the axis, first row along the part of the next axis that is across it
    for i in range(3):
        frame[2, i] = target[axis, i] / length
        lab[2, i] = v[i] / size
    b3 = target[one, 0] * frame[2, 0] + target[one, 1] * frame[2, 1] + target[one, 2] * frame[2, 2]
    c3 = target[two, 0] * frame[2, 0] + target[two, 1] * frame[2, 1] + target[two, 2] * frame[2, 2]
    b1 = 0.0
    for i in range(3):
        frame[0, i] = target[one, i] - b3 * frame[2, i]
        b1 += frame[0, i] ** 2
    b1 = np.sqrt(b1)
    for i in range(3):
        frame[0, i] /= b1
    flat = 0
    for i in range(3):
        if abs(lab[2, i]) < abs(lab[2, flat]):
            flat = i
    size = np.sqrt(1.0 - lab[2, flat] ** 2)
    for i in range(3):
        lab[0, i] = ((1.0 if i == flat else 0.0) - lab[2, flat] * lab[2, i]) / size
    for f in (frame, lab):
        f[1, 0] = f[2, 1] * f[0, 2] - f[2, 2] * f[0, 1]
        f[1, 1] = f[2, 2] * f[0, 0] - f[2, 0] * f[0, 2]
        f[1, 2] = f[2, 0] * f[0, 1] - f[2, 1] * f[0, 0]
    c1 = target[two, 0] * frame[0, 0] + target[two, 1] * frame[0, 1] + target[two, 2] * frame[0, 2]
    c2 = target[two, 0] * frame[1, 0] + target[two, 1] * frame[1, 1] + target[two, 2] * frame[1, 2]
    shape[0], shape[1], shape[2], shape[3], shape[4] = b1, b3, c1, c2, c3
    across = max(b1, np.sqrt(c1 * c1 + c2 * c2))
    limit = 0.3 / (0.015 * across)
    m = 0
    q_max = 0.0
    for k in range(spots.shape[1]):
        x, y, z = spots[0, k], spots[1, k], spots[2, k]
        r = np.sqrt(x * x + y * y + z * z)
        if r > limit and m >= 20:
            break
        f = v[0] * x + v[1] * y + v[2] * z - phase
        if abs(f - np.rint(f)) < 0.2:
            inliers[m] = k
            m += 1
            q_max = max(q_max, r)
    wanted = 2.0 * np.pi * across * q_max / 0.3
    steps = 64
    while steps < wanted and steps < MAX_STEPS:
        steps *= 2
    return m, steps


@kernel(fastmath=FAST)
def indices_of(k: int, spots: Floats, laid: Laid) -> tuple[np.float32, ...]:
    """Return what a spot's indices along the two next axes are made of, float32: ``bz + bx cos + by sin``, and c likewise."""
    lab, shape = laid.lab, laid.shape
    b1, b3, c1, c2, c3 = shape[0], shape[1], shape[2], shape[3], shape[4]
    x = lab[0, 0] * spots[0, k] + lab[0, 1] * spots[1, k] + lab[0, 2] * spots[2, k]
    y = lab[1, 0] * spots[0, k] + lab[1, 1] * spots[1, k] + lab[1, 2] * spots[2, k]
    z = lab[2, 0] * spots[0, k] + lab[2, 1] * spots[1, k] + lab[2, 2] * spots[2, k]
    return (
        np.float32(b3 * z),
        np.float32(b1 * x),
        np.float32(b1 * y),
        np.float32(c3 * z),
        np.float32(c1 * x + c2 * y),
        np.float32(c1 * y - c2 * x),
    )


@kernel(fastmath=FAST)
def score_turns(spots: Floats, laid: Laid, m: int, steps: int, tables: Tables, scores: Singles) -> None:
    """Score turns of the target about the vector that it is laid on: sum over the m inliers of min(d^2, 0.09).

    Of the two indices d is the larger distance from an integer. Step k is the angle 2 pi k / steps.
    """
    stride = MAX_STEPS // steps
    out = scores[:steps]
    co, si = tables.cosine[::stride], tables.sine[::stride]
    for i in range(steps):
        out[i] = np.float32(0.0)
    for c in range(m):
        bz, bx, by, cz, cx, cy = indices_of(laid.inliers[c], spots, laid)
        for i in range(steps):
            t = bz + co[i] * bx + si[i] * by
            u = cz + co[i] * cx + si[i] * cy
            t -= np.rint(t)
            u -= np.rint(u)
            out[i] += min(max(t * t, u * u), np.float32(CAPPED))


@kernel
def turn_to(k: int, steps: int, tables: Tables, first: Floats, target: Floats, laid: Laid, basis: Floats) -> None:
    """Make the basis of step k of the turns; `first` is the first row of `lab` at step 0."""
    lab = laid.lab
    co, si = tables.cosine[k * (MAX_STEPS // steps)], tables.sine[k * (MAX_STEPS // steps)]
    for i in range(3):
        second = lab[2, (i + 1) % 3] * first[(i + 2) % 3] - lab[2, (i + 2) % 3] * first[(i + 1) % 3]
        lab[0, i] = co * first[i] + si * second
        lab[1, i] = co * second - si * first[i]
    carry(target, laid.frame, lab, basis)


@kernel
def take_lowest(scores: Singles, steps: int) -> int:
    """Return the step with the lowest score, and cross it and its neighbours out (two to either side)."""
    k = 0
    for i in range(1, steps):
        if scores[i] < scores[k]:
            k = i
    for near in range(-2, 3):
        scores[(k + near) % steps] = np.float32(np.inf)
    return k
