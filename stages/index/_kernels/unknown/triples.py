"""Vectors are combined to the lattices that explain most spots with a small cell."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.index._kernels.spots import MIN_SPOTS
from stages.index._kernels.unknown.bases import dot
from stages.index._kernels.unknown.vectors import divergence

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Words = NDArray[np.uint64]


@kernel
def ones_in(x: np.uint64) -> int:
    """Number of bits set (Hacker's Delight, 5-1); LLVM makes one instruction of it."""
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return int((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@kernel
def best_triples(
    vectors: Floats, n_vectors: int, masks: Words, n: int, window: float, chosen: Integers, values: Floats
) -> int:
    """Choose the triples of vectors that explain most spots with a small cell; best first in `chosen` (m, 3); how many.

    Value: n KL(m/n || window V) - 3 ln V, with m the spots on the planes of all three, `window` the volume in reciprocal space
    in which a spot counts as explained, V the volume.
    """
    size = chosen.shape[0]
    have = 0
    lengths = np.empty(n_vectors)
    for i in range(n_vectors):
        lengths[i] = np.sqrt(dot(vectors[i], vectors[i]))
    for i in range(n_vectors):
        a = vectors[i]
        for j in range(i + 1, n_vectors):
            b = vectors[j]
            m0, m1 = masks[i, 0] & masks[j, 0], masks[i, 1] & masks[j, 1]
            pair = ones_in(m0) + ones_in(m1)
            if pair < MIN_SPOTS:
                continue
            cx, cy, cz = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
            area = np.sqrt(cx * cx + cy * cy + cz * cz)
            if area < 0.25 * lengths[i] * lengths[j]:
                continue
            for k in range(j + 1, n_vectors):
                m = ones_in(m0 & masks[k, 0]) + ones_in(m1 & masks[k, 1])
                if m < MIN_SPOTS:
                    continue
                c = vectors[k]
                volume = abs(cx * c[0] + cy * c[1] + cz * c[2])
                if volume < 0.15 * lengths[i] * lengths[j] * lengths[k]:
                    continue
                value = n * divergence(m / n, min(0.9, window * volume)) - 3.0 * np.log(volume)
                if have == size and not (value > values[size - 1]):
                    continue
                twin = False
                for o in range(have):
                    if abs(values[o] - value) < 0.01 * n:
                        twin = True
                        break
                if twin:
                    continue
                o = have if have < size else size - 1
                while o > 0 and values[o - 1] < value:
                    values[o] = values[o - 1]
                    for x in range(3):
                        chosen[o, x] = chosen[o - 1, x]
                    o -= 1
                values[o] = value
                chosen[o, 0], chosen[o, 1], chosen[o, 2] = i, j, k
                have = min(size, have + 1)
    return have


@kernel
def best_pairs(vectors: Floats, n_vectors: int, masks: Words, n: int, px: float, chosen: Integers) -> int:
    """Choose the pairs of vectors that explain most spots with a small net; best first in `chosen` (m, 2); how many.

    Value: n KL(m/n || window A) - 2 ln A, with m the spots on the planes of both, `window` the area across the rows in which a
    spot counts as explained, A the area.
    """
    size, have = chosen.shape[0], 0
    values = np.empty(size)
    window = np.pi * (2.5 * px) ** 2
    for i in range(n_vectors):
        a = vectors[i]
        for j in range(i + 1, n_vectors):
            b = vectors[j]
            m = ones_in(masks[i, 0] & masks[j, 0]) + ones_in(masks[i, 1] & masks[j, 1])
            if m < MIN_SPOTS:
                continue
            cx, cy, cz = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
            area = np.sqrt(cx * cx + cy * cy + cz * cz)
            if area < 0.5 * np.sqrt(dot(a, a) * dot(b, b)):
                continue
            value = n * divergence(m / n, min(0.9, window * area)) - 2.0 * np.log(area)
            if have == size and not (value > values[size - 1]):
                continue
            o = have if have < size else size - 1
            while o > 0 and values[o - 1] < value:
                values[o] = values[o - 1]
                chosen[o, 0], chosen[o, 1] = chosen[o - 1, 0], chosen[o - 1, 1]
                o -= 1
            values[o] = value
            chosen[o, 0], chosen[o, 1] = i, j
            have = min(size, have + 1)
    return have
