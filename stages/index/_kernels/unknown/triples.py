"""Vectors are combined to the lattices, and to the nets of two axes, that explain most spots with a small cell."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.index._kernels.spots import MIN_SPOTS
from stages.index._kernels.unknown.bases import dot
from stages.index._kernels.unknown.tuples import SpotSet, Vectors
from stages.index._kernels.unknown.vectors import divergence

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

TRIPLE_WINDOW_PX, TRIPLE_WINDOW_ALONG = 1.5, 0.0015
"""A spot within so many pixels and 1/Angstrom of a lattice point counts as explained."""
PAIR_WINDOW_PX = 2.5
"""A spot within so many pixels of a row across a net counts as explained."""
MAX_CHANCE = 0.9
"""So much of the space, or of the plane, the windows of all lattice points fill at most."""


@kernel
def ones_in(x: np.uint64) -> int:
    """Number of bits set (Hacker's Delight, 5-1); LLVM makes one instruction of it."""
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return int((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@kernel
def insert(chosen: Integers, values: Floats, have: int, members: tuple[int, int, int], value: float) -> int:
    """Put a combination in its place by value, the highest first; the lowest falls out of a full list; return how many."""
    size, width = chosen.shape
    o = have if have < size else size - 1
    while o > 0 and values[o - 1] < value:
        values[o] = values[o - 1]
        for x in range(width):
            chosen[o, x] = chosen[o - 1, x]
        o -= 1
    values[o] = value
    for x in range(width):
        chosen[o, x] = members[x]
    return int(min(size, have + 1))


@kernel
def is_listed(values: Floats, have: int, value: float, within: float) -> bool:
    """Whether a combination of nearly that value is on the list: the same lattice by other vectors, as a rule."""
    listed = False
    for o in range(have):
        listed = listed or abs(values[o] - value) < within
    return listed


@kernel
def best_triples(vectors: Vectors, spots: SpotSet, chosen: Integers) -> int:
    """Choose the triples of vectors that explain most of the spots with a small cell; best first in `chosen` (m, 3); how many.

    Value: n KL(m/n || window V) - 3 ln V, with m of n spots on the planes of all three, `window` the volume in reciprocal space
    in which a spot counts as explained, V the volume.
    """
    t, masks, number = vectors.t, vectors.masks, vectors.number[0]
    window = 2.0 * np.pi * (TRIPLE_WINDOW_PX * spots.px) ** 2 * TRIPLE_WINDOW_ALONG
    size, n = chosen.shape[0], spots.q.shape[1]
    have, values = 0, np.empty(size)
    lengths = np.empty(number)
    for i in range(number):
        lengths[i] = np.sqrt(dot(t[i], t[i]))
    for i in range(number):
        a = t[i]
        for j in range(i + 1, number):
            b = t[j]
            m0, m1 = masks[i, 0] & masks[j, 0], masks[i, 1] & masks[j, 1]
            pair = ones_in(m0) + ones_in(m1)
            if pair < MIN_SPOTS:
                continue
            cx, cy, cz = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
            area = np.sqrt(cx * cx + cy * cy + cz * cz)
            if area < 0.25 * lengths[i] * lengths[j]:
                continue
            for k in range(j + 1, number):
                m = ones_in(m0 & masks[k, 0]) + ones_in(m1 & masks[k, 1])
                if m < MIN_SPOTS:
                    continue
                c = t[k]
                volume = abs(cx * c[0] + cy * c[1] + cz * c[2])
                if volume < 0.15 * lengths[i] * lengths[j] * lengths[k]:
                    continue
                value = n * divergence(m / n, min(MAX_CHANCE, window * volume)) - 3.0 * np.log(volume)
                if have == size and not (value > values[size - 1]):
                    continue
                if not is_listed(values, have, value, 0.01 * n):
                    have = insert(chosen, values, have, (i, j, k), value)
    return have


@kernel
def best_pairs_of_vectors(vectors: Vectors, spots: SpotSet, chosen: Integers) -> int:
    """Choose the pairs of vectors that explain most of the spots with a small net; best first in `chosen` (m, 2); how many.

    Value: n KL(m/n || window A) - 2 ln A, with m of n spots on the planes of both, `window` the area across the rows in which a
    spot counts as explained, A the area.
    """
    t, masks, number = vectors.t, vectors.masks, vectors.number[0]
    window = np.pi * (PAIR_WINDOW_PX * spots.px) ** 2
    size, n = chosen.shape[0], spots.q.shape[1]
    have, values = 0, np.empty(size)
    for i in range(number):
        a = t[i]
        for j in range(i + 1, number):
            b = t[j]
            m = ones_in(masks[i, 0] & masks[j, 0]) + ones_in(masks[i, 1] & masks[j, 1])
            if m < MIN_SPOTS:
                continue
            cx, cy, cz = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
            area = np.sqrt(cx * cx + cy * cy + cz * cz)
            if area < 0.5 * np.sqrt(dot(a, a) * dot(b, b)):
                continue
            value = n * divergence(m / n, min(MAX_CHANCE, window * area)) - 2.0 * np.log(area)
            if have < size or value > values[size - 1]:
                have = insert(chosen, values, have, (i, j, 0), value)
    return have
