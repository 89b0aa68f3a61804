"""Reflections as keys of their symmetry equivalents, sums over them, and how many there can be.

A key packs h, k, l into 63 bits; the key of a reflection is the largest among those of its equivalents h R, over the
matrices R of the point group.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel

Index = int | np.int64

BITS = 21
OFFSET = 1 << 20
"""Indices lie in -OFFSET < h < OFFSET."""

LARGEST_INDEX = OFFSET // 4
"""Indices from here on are left out: an index of an equivalent is a sum of up to three indices, and has to fit too."""

LARGEST_INTENSITY = 1e15
"""An intensity beyond this is not a measurement; its square could not be summed."""

LEAST_POLARISATION = 1e-3
"""A reflection of which less is scattered, as it lies along the polarisation, is not measured."""

CENTRINGS = PRIMITIVE, A_CENTRED, B_CENTRED, C_CENTRED, BODY_CENTRED, FACE_CENTRED, OBVERSE = range(7)
"""How lattices are centred: P, A, B, C, I, F, and H, rhombohedral on hexagonal axes."""

_SPREAD = np.int64(0x9E3779B97F4A7C1)
"""2^60 divided by the golden ratio; keys that are near each other, times this, are far apart (Fibonacci hashing)."""


class Sums(NamedTuple):
    """Sums over the crystals, of each half of the data (first index) and each reflection (second); arrays (2, n).

    J is an intensity divided by its scale, w its weight. `num` (int64) is how many there are, and `wj`, `w` and `wjj`
    (float64) are the sums of w J, w and w J^2.
    """

    num: NDArray[np.int64]
    wj: NDArray[np.float64]
    w: NDArray[np.float64]
    wjj: NDArray[np.float64]


@kernel
def pack(h: Index, k: Index, l: Index) -> Index:  # noqa: E741
    """One integer for three indices; larger h, then k, then l gives the larger key."""
    return (((h + OFFSET) << (2 * BITS)) | ((k + OFFSET) << BITS)) | (l + OFFSET)


@kernel
def _equivalent(h: Index, k: Index, l: Index, r: NDArray[np.int64]) -> Index:  # noqa: E741
    """The key of h R."""
    return pack(
        h * r[0, 0] + k * r[1, 0] + l * r[2, 0],
        h * r[0, 1] + k * r[1, 1] + l * r[2, 1],
        h * r[0, 2] + k * r[1, 2] + l * r[2, 2],
    )


@kernel
def key_of(h: Index, k: Index, l: Index, ops: NDArray[np.int64]) -> Index:  # noqa: E741
    """Return the largest key among the equivalents."""
    best: Index = np.int64(-1)
    for n in range(ops.shape[0]):
        key = _equivalent(h, k, l, ops[n])
        if key > best:  # noqa: PLR1730
            best = key
    return best


@kernel
def observe(
    hkl: NDArray[np.int32],
    intensity: NDArray[np.float64],
    star: NDArray[np.float64],
    wavelength: float,
    ops: NDArray[np.int64],
    polarised: float,
    direction: NDArray[np.float64],
    keys: NDArray[np.int64],
    corrected: NDArray[np.float64],
    error: NDArray[np.float64],
) -> tuple[int, bool]:
    """Find keys, polarisation-corrected intensities and excitation errors of a crystal.

    Returns how many reflections were kept, and whether any intensity is not 0. Reflections that are not finite, or whose
    indices do not fit into a key, are left out.

    Parameters
    ----------
    hkl, intensity
        int32 (n, 3) and float64 (n,).
    star
        float64 (3, 3), rows a*, b*, c* in 1/Angstrom.
    wavelength
        In Angstrom; NaN where it is not known (and no correction asked for).
    ops
        int64 (m, 3, 3), the matrices of the point group.
    polarised, direction
        Fraction polarised along the direction, a unit vector (2,) in the x, y plane; negative for no correction.
    keys, corrected, error
        Written: int64 and float64 (n,), the excitation error in 1/Angstrom.
    """
    kept = 0
    any_signal = False
    for n in range(hkl.shape[0]):
        h, k, l = np.int64(hkl[n, 0]), np.int64(hkl[n, 1]), np.int64(hkl[n, 2])  # noqa: E741
        value = intensity[n]
        if not abs(value) < LARGEST_INTENSITY:
            continue
        if max(abs(h), abs(k), abs(l)) >= LARGEST_INDEX or (h == 0 and k == 0 and l == 0):
            continue
        gx = h * star[0, 0] + k * star[1, 0] + l * star[2, 0]
        gy = h * star[0, 1] + k * star[1, 1] + l * star[2, 1]
        if polarised >= 0.0:
            x = wavelength * gx
            y = wavelength * gy
            along = x * direction[0] + y * direction[1]
            across = -x * direction[1] + y * direction[0]
            factor = polarised * (1.0 - along * along) + (1.0 - polarised) * (1.0 - across * across)
            if not factor > LEAST_POLARISATION:
                continue
            value /= factor
        any_signal = any_signal or value != 0.0
        gz = h * star[0, 2] + k * star[1, 2] + l * star[2, 2] + 1.0 / wavelength
        error[kept] = 1.0 / wavelength - np.sqrt(gx * gx + gy * gy + gz * gz)
        keys[kept] = key_of(h, k, l, ops)
        corrected[kept] = value
        kept += 1
    return kept, any_signal


@kernel
def _place(key: Index, slots: NDArray[np.int64], stored: NDArray[np.int64]) -> Index:
    """The slot of a key in an open-addressed table (its own, or the empty one where it belongs)."""
    mask = len(slots) - 1
    at = (key ^ (key >> 17) ^ (key >> 37)) * _SPREAD
    at = (at ^ (at >> 29)) & mask
    while slots[at] >= 0 and stored[slots[at]] != key:
        at = (at + 1) & mask
    return at


@kernel
def number_keys(
    keys: NDArray[np.int64], slots: NDArray[np.int64], stored: NDArray[np.int64], used: int, numbers: NDArray[np.int64]
) -> Index:
    """Give each key its number, new ones the next; `slots` (-1: empty) is at least twice as long as `stored`."""
    for n in range(len(keys)):
        at = _place(keys[n], slots, stored)
        if slots[at] < 0:
            slots[at] = used
            stored[used] = keys[n]
            used += 1
        numbers[n] = slots[at]
    return used


@kernel
def refill(slots: NDArray[np.int64], stored: NDArray[np.int64], used: int) -> None:
    """Put the stored keys into an empty table."""
    for n in range(used):
        slots[_place(stored[n], slots, stored)] = n


@kernel
def add(
    numbers: NDArray[np.int64],
    intensity: NDArray[np.float64],
    scale: NDArray[np.float64],
    weight: NDArray[np.float64],
    half: int,
    sums: Sums,
) -> None:
    """Add a crystal's intensities, with the scale and the weight of each, to the sums of one half of the data."""
    for n in range(len(numbers)):
        at = numbers[n]
        own = intensity[n] / scale[n]
        sums.num[half, at] += 1
        sums.wj[half, at] += weight[n] * own
        sums.w[half, at] += weight[n]
        sums.wjj[half, at] += weight[n] * own * own


@kernel
def scale_against(
    numbers: NDArray[np.int64],
    intensity: NDArray[np.float64],
    partiality: NDArray[np.float64],
    sums: Sums,
    at_least: int,
) -> tuple[float, float, int]:
    """Sum of the intensities and of what they are expected to be, over reflections measured so often; and how many."""
    measured = 0.0
    expected = 0.0
    common = 0
    for n in range(len(numbers)):
        at = numbers[n]
        if sums.num[0, at] + sums.num[1, at] >= at_least:
            measured += intensity[n]
            expected += partiality[n] * (sums.wj[0, at] + sums.wj[1, at]) / (sums.w[0, at] + sums.w[1, at])
            common += 1
    return measured, expected, common


@kernel
def count_unique(
    metric: NDArray[np.float64],
    edges: NDArray[np.float64],
    limits: NDArray[np.int64],
    ops: NDArray[np.int64],
    centring: int,
    counts: NDArray[np.int64],
) -> None:
    """Count the reflections that are not equivalent in each shell.

    Parameters
    ----------
    metric
        float64 (3, 3), a* . b* in 1/Angstrom^2.
    edges
        float64 (m + 1,), limits of the shells as ascending values of (1/d)^2.
    limits
        int64 (3,), the largest h, k and l.
    ops
        int64 (n, 3, 3), the matrices of the point group.
    centring
        One of `CENTRINGS`.
    counts
        int64 (m,), counted up.
    """
    for h in range(-limits[0], limits[0] + 1):
        for k in range(-limits[1], limits[1] + 1):
            for l in range(-limits[2], limits[2] + 1):  # noqa: E741
                s2 = h * (metric[0, 0] * h + 2 * metric[0, 1] * k + 2 * metric[0, 2] * l)
                s2 += k * (metric[1, 1] * k + 2 * metric[1, 2] * l) + metric[2, 2] * l * l
                if s2 < edges[0] or s2 > edges[-1] or (h == 0 and k == 0 and l == 0):
                    continue
                if _is_absent(h, k, l, centring) or not _is_representative(h, k, l, ops):
                    continue
                shell = min(np.searchsorted(edges, s2, side="right") - 1, len(counts) - 1)
                counts[shell] += 1


@kernel
def _is_absent(h: Index, k: Index, l: Index, centring: int) -> bool:  # noqa: E741
    if centring == A_CENTRED:
        return (k + l) % 2 != 0
    if centring == B_CENTRED:
        return (h + l) % 2 != 0
    if centring == C_CENTRED:
        return (h + k) % 2 != 0
    if centring == BODY_CENTRED:
        return (h + k + l) % 2 != 0
    if centring == FACE_CENTRED:
        return (h + k) % 2 != 0 or (k + l) % 2 != 0
    if centring == OBVERSE:
        return (-h + k + l) % 3 != 0
    return False


@kernel
def _is_representative(h: Index, k: Index, l: Index, ops: NDArray[np.int64]) -> bool:  # noqa: E741
    own = pack(h, k, l)
    for n in range(ops.shape[0]):
        key = _equivalent(h, k, l, ops[n])
        if key > own:
            return False
    return True
