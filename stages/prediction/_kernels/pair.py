"""Which reflection each peak belongs to."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import reciprocal
from stages.compute.kernel import kernel
from stages.compute.rays import FS_STEP, ORIGIN, SS_STEP, place
from stages.prediction._kernels.absences import MAX_INDEX, is_absent, is_centred

Array = NDArray[Any]

ERROR, DFS, DSS, FRACTION, N_NUMBERS = range(5)
"""Rows of the numbers of each peak: excitation error, predicted minus observed place, deviation of A q from integers."""

INDEX_BITS = 10
"""h + MAX_INDEX + 1 lies in 1 ... 1023, so that three indices fit into one key of 30 bits."""


TOLERANCE = 1.0 / 6.0
"""A peak belongs to a reflection that is predicted nearer than this times the shortest reciprocal lattice vector."""


@kernel
def shortest_vector(star: Array, centering: int) -> float:
    """Return the least |g| among the reflections that exist with indices from -1 to 1, with centring from -2 to 2."""
    reach = 2 if is_centred(centering) else 1
    shortest_sq = np.inf
    for h in range(reach + 1):
        for k in range(-reach, reach + 1):
            for ll in range(-reach, reach + 1):
                if (h == 0 and (k < 0 or (k == 0 and ll <= 0))) or is_absent(centering, h, k, ll):
                    continue  # each has a Friedel mate
                length_sq = 0.0
                for j in range(3):
                    g = h * star[0, j] + k * star[1, j] + ll * star[2, j]
                    length_sq += g * g
                shortest_sq = min(shortest_sq, length_sq)
    return math.sqrt(shortest_sq)


@kernel
def nearest_indices(real: Array, qx: float, qy: float, qz: float, hkl: Array) -> float:
    """Round A q to `hkl`; return the largest deviation from integers, NaN and indices zero where one is too large."""
    worst = 0.0
    for j in range(3):
        exact = real[j, 0] * qx + real[j, 1] * qy + real[j, 2] * qz
        whole = np.rint(exact)
        worst = max(worst, abs(exact - whole))
        if not abs(whole) <= MAX_INDEX:
            hkl[0] = hkl[1] = hkl[2] = 0
            return np.nan
        hkl[j] = int(whole)
    return worst


@kernel
def keep_nearest(keys: Array, distance: Array, paired: Array) -> None:
    """Where several peaks claim one reflection (the same key; -1 is none), only the nearest stays paired."""
    order = np.argsort(keys)
    best = -1
    for at in range(keys.size):
        i = order[at]
        if keys[i] < 0:
            continue
        if best >= 0 and keys[best] == keys[i]:
            if distance[i] < distance[best]:
                paired[best] = False
                best = i
            else:
                paired[i] = False
        else:
            best = i


@kernel
def key_of(h: int, k: int, ll: int) -> int:
    """Return one number for three indices."""
    zero = MAX_INDEX + 1
    return ((h + zero) << (2 * INDEX_BITS)) + ((k + zero) << INDEX_BITS) + (ll + zero)


@kernel
def pair(  # noqa: PLR0913 - a tuple of arrays costs microseconds to hand over
    real: Array,
    centering: int,
    k: float,
    shift: Array,
    panels: Array,
    panel: Array,
    fs: Array,
    ss: Array,
    hkl: Array,
    numbers: Array,
    paired: Array,
) -> None:
    """Give each peak the reflection that it would belong to, and say whether it is near enough.

    h = A q is rounded; the excitation error e = k - |k0 + g| and the place (on the peak's own panel, be it beyond its edge)
    of that reflection are compared with the peak. It is paired if the reflection exists, and if the two directions differ by
    no more than TOLERANCE shortest reciprocal vectors times the wavelength. Where two peaks claim one reflection the nearer
    has it.

    Parameters
    ----------
    real, centering
        (3, 3), rows a, b, c; its place in CENTERING_CODES.
    panels
        The table of :mod:`stages.compute.rays`; `shift` moves it along x and y.
    panel, fs, ss
        The n peaks.
    hkl, numbers, paired
        Results: int32 (n, 3), float64 (N_NUMBERS, n), NaN where a number cannot be made, and bool (n,).
    """
    n = fs.size
    star = np.empty((3, 3))
    if reciprocal(real, star) == 0.0:  # no cell, no pairs
        star[:] = np.nan
    tolerance_q = TOLERANCE * shortest_vector(star, centering)
    distance, keys = np.empty(n), np.empty(n, np.int64)
    for i in range(n):
        paired[i] = False
        numbers[ERROR, i] = numbers[DFS, i] = numbers[DSS, i] = numbers[FRACTION, i] = np.nan
        hkl[i, 0] = hkl[i, 1] = hkl[i, 2] = 0
        keys[i] = -1
        distance[i] = np.inf
        own = panels[panel[i]]
        ox, oy, oz = own[ORIGIN] + shift[0], own[ORIGIN + 1] + shift[1], own[ORIGIN + 2]
        x = ox + fs[i] * own[FS_STEP] + ss[i] * own[SS_STEP]
        y = oy + fs[i] * own[FS_STEP + 1] + ss[i] * own[SS_STEP + 1]
        z = oz + fs[i] * own[FS_STEP + 2] + ss[i] * own[SS_STEP + 2]
        length = math.sqrt(x * x + y * y + z * z)
        if not (length > 0.0 and length < np.inf):
            continue
        x, y, z = x / length, y / length, z / length
        numbers[FRACTION, i] = nearest_indices(real, k * x, k * y, k * (z - 1.0), hkl[i])
        if math.isnan(numbers[FRACTION, i]):
            continue
        h, kk, ll = int(hkl[i, 0]), int(hkl[i, 1]), int(hkl[i, 2])
        dx = h * star[0, 0] + kk * star[1, 0] + ll * star[2, 0]
        dy = h * star[0, 1] + kk * star[1, 1] + ll * star[2, 1]
        dz = h * star[0, 2] + kk * star[1, 2] + ll * star[2, 2] + k
        length = math.sqrt(dx * dx + dy * dy + dz * dz)
        numbers[ERROR, i] = k - length
        t, at_fs, at_ss = place(dx, dy, dz, ox, oy, oz, own)
        if not t > 0.0:
            continue
        numbers[DFS, i], numbers[DSS, i] = at_fs - fs[i], at_ss - ss[i]
        if (h == 0 and kk == 0 and ll == 0) or is_absent(centering, h, kk, ll):
            continue
        apart = k * math.sqrt((dx / length - x) ** 2 + (dy / length - y) ** 2 + (dz / length - z) ** 2)
        if not apart <= tolerance_q:
            continue
        paired[i] = True
        distance[i] = apart
        keys[i] = key_of(h, kk, ll)
    keep_nearest(keys, distance, paired)
