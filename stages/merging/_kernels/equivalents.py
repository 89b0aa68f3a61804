"""Reflections as keys of their symmetry equivalents, sums over them, and how many there can be.

A key packs h, k, l into 63 bits; the key of a reflection is the largest among those of its equivalents h R, over the
matrices R of the point group.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel

Index = int | np.int64

BITS = 21
OFFSET = 1 << 20
"""Indices lie in -OFFSET < h < OFFSET."""

LARGEST = 1e15
"""An intensity beyond this is not a measurement; its square could not be summed."""


@kernel
def pack(h: Index, k: Index, l: Index) -> Index:  # noqa: E741
    """One integer for three indices; larger h, then k, then l gives the larger key."""
    return (((h + OFFSET) << (2 * BITS)) | ((k + OFFSET) << BITS)) | (l + OFFSET)


@kernel
def key_of(h: Index, k: Index, l: Index, ops: NDArray[np.int64]) -> Index:  # noqa: E741
    """Return the largest key among the equivalents."""
    best: Index = np.int64(-1)
    for n in range(ops.shape[0]):
        r = ops[n]
        key = pack(
            h * r[0, 0] + k * r[1, 0] + l * r[2, 0],
            h * r[0, 1] + k * r[1, 1] + l * r[2, 1],
            h * r[0, 2] + k * r[1, 2] + l * r[2, 2],
        )
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
    """Keys, polarisation-corrected intensities and excitation errors of a crystal; returns how many were kept, if any is not 0.

    star: rows a*, b*, c* in 1/Angstrom; wavelength in Angstrom, NaN where it is not known (and no correction asked for).
    polarised: fraction along `direction` (unit vector in the x, y plane); negative for no correction. Reflections that are not
    finite, or whose indices do not fit into a key, are left out.
    """
    kept = 0
    any_signal = False
    for n in range(hkl.shape[0]):
        h, k, l = np.int64(hkl[n, 0]), np.int64(hkl[n, 1]), np.int64(hkl[n, 2])  # noqa: E741
        value = intensity[n]
        if not abs(value) < LARGEST:
            continue
        if max(abs(h), abs(k), abs(l)) >= OFFSET // 4 or (h == 0 and k == 0 and l == 0):
            continue
        if polarised >= 0.0:
            x = wavelength * (h * star[0, 0] + k * star[1, 0] + l * star[2, 0])
            y = wavelength * (h * star[0, 1] + k * star[1, 1] + l * star[2, 1])
            along = x * direction[0] + y * direction[1]
            across = -x * direction[1] + y * direction[0]
            factor = polarised * (1.0 - along * along) + (1.0 - polarised) * (1.0 - across * across)
            if not factor > 1e-3:
                continue
            value /= factor
        any_signal = any_signal or value != 0.0
        gx = h * star[0, 0] + k * star[1, 0] + l * star[2, 0]
        gy = h * star[0, 1] + k * star[1, 1] + l * star[2, 1]
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
    at = (key ^ (key >> 17) ^ (key >> 37)) * np.int64(0x9E3779B97F4A7C1)
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
    counts: NDArray[np.int64],
    sum_i: NDArray[np.float64],
    sum_w: NDArray[np.float64],
    sum_sq: NDArray[np.float64],
) -> None:
    """Add a crystal's intensities to the sums of one half of the data: those of w J, w and w J^2, with J = I / scale."""
    for n in range(len(numbers)):
        at = numbers[n]
        own = intensity[n] / scale[n]
        counts[at] += 1
        sum_i[at] += weight[n] * own
        sum_w[at] += weight[n]
        sum_sq[at] += weight[n] * own * own


@kernel
def scale_against(
    numbers: NDArray[np.int64],
    intensity: NDArray[np.float64],
    partiality: NDArray[np.float64],
    counts: NDArray[np.int64],
    sum_i: NDArray[np.float64],
    sum_w: NDArray[np.float64],
    at_least: int,
) -> tuple[float, float, int]:
    """Sum of the intensities and of what they are expected to be, over reflections measured so often; and how many."""
    measured = 0.0
    expected = 0.0
    common = 0
    for n in range(len(numbers)):
        at = numbers[n]
        if counts[0, at] + counts[1, at] >= at_least:
            measured += intensity[n]
            expected += partiality[n] * (sum_i[0, at] + sum_i[1, at]) / (sum_w[0, at] + sum_w[1, at])
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
    """Count the reflections that are not equivalent in each shell; edges are ascending values of (1/d)^2.

    centring: 0 P, 1 A, 2 B, 3 C, 4 I, 5 F, 6 H (obverse).
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
    if centring == 1:
        return (k + l) % 2 != 0
    if centring == 2:
        return (h + l) % 2 != 0
    if centring == 3:
        return (h + k) % 2 != 0
    if centring == 4:
        return (h + k + l) % 2 != 0
    if centring == 5:
        return (h + k) % 2 != 0 or (k + l) % 2 != 0
    if centring == 6:
        return (-h + k + l) % 3 != 0
    return False


@kernel
def _is_representative(h: Index, k: Index, l: Index, ops: NDArray[np.int64]) -> bool:  # noqa: E741
    own = pack(h, k, l)
    for n in range(ops.shape[0]):
        r = ops[n]
        key = pack(
            h * r[0, 0] + k * r[1, 0] + l * r[2, 0],
            h * r[0, 1] + k * r[1, 1] + l * r[2, 1],
            h * r[0, 2] + k * r[1, 2] + l * r[2, 2],
        )
        if key > own:
            return False
    return True
