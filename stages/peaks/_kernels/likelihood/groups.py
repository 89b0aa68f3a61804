"""Candidates that touch are one group, unless there is a dip between them."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.peaks._kernels.likelihood.tuples import Background, Candidates
from stages.pixels.columns import HEIGHT, START, WIDTH

Array = NDArray[Any]

DIP = 2.5
NOISE = 2.0 / (4.0 * math.pi)
"""Variance of a difference of two levels, in units of a pixel's: each is smoothed with a Gaussian g of one pixel, and the
integral of g^2 is 1 / 4 pi."""
MANY = 20000
"""Candidates from which an ordinary sort is as fast, and safe."""


@kernel
def root_of(parent: Array, k: int) -> int:
    """Return the summit of the mountain to which candidate k belongs."""
    while parent[k] != k:
        parent[k] = parent[parent[k]]
        k = parent[k]
    return k


@kernel
def from_highest(level: Array, order: Array) -> None:
    """Fill `order` with the candidates' numbers, the highest first.

    The upper half of a float32's bits, made to fall with its value, tells it to 1 % and is counted; what is that close
    together is put in order by insertion.
    """
    key = np.empty(level.size, np.uint16)
    bits = level.astype(np.float32).view(np.uint32)
    start = np.zeros(1 << 16, np.int32)
    for k in range(level.size):
        upper = bits[k] >> 16
        key[k] = upper if upper & 0x8000 else 0x7FFF - upper
        start[key[k]] += 1
    before = 0
    for i in range(start.size):
        before, start[i] = before + start[i], before
    for k in range(level.size):
        order[start[key[k]]] = k
        start[key[k]] += 1
    for i in range(1, order.size):
        one = order[i]
        j = i
        while j > 0 and level[order[j - 1]] < level[one]:
            order[j] = order[j - 1]
            j -= 1
        order[j] = one


@kernel
def join(where: Array, background: Background, gain: float, candidates: Candidates) -> None:
    """Put candidates together that belong to one peak: `parent` leads each to the highest of its peak.

    The level is lowered from the highest candidate down. Where it uncovers the pass between two mountains, the lower one is a
    peak of its own only if its summit stands above the pass by more than DIP standard deviations of that difference (the
    summit's persistence); else it becomes a part of the higher one. `label` is all 0 before.
    """
    candidate, level, panel, parent, label = candidates
    cell, variance = background.cell, background.variance
    if candidate.size < MANY:
        order = np.empty(candidate.size, np.int64)
        from_highest(level, order)
    else:
        order = np.argsort(-level)
    for i in range(order.size):
        k = int(order[i])
        parent[k] = k
        place = candidate[k]
        width, height, start = where[panel[k], WIDTH], where[panel[k], HEIGHT], where[panel[k], START]
        ss = (place - start) // width
        fs = (place - start) - ss * width
        label[place] = k + 1
        mine = -1
        for y in range(max(ss - 1, 0), min(ss + 2, height)):
            for x in range(max(fs - 1, 0), min(fs + 2, width)):
                other = label[start + y * width + x] - 1
                if other < 0 or other == k:
                    continue
                summit = root_of(parent, other)
                if mine < 0:
                    mine = summit
                elif summit != mine:
                    high, low = (mine, summit) if level[mine] >= level[summit] else (summit, mine)
                    scatter = NOISE * (variance[cell[candidate[low]]] + gain * max(level[low], 0.0))
                    if level[low] - level[k] <= DIP * math.sqrt(scatter):
                        parent[low] = high
                        mine = high
                    else:
                        mine = high
        if mine >= 0:
            parent[k] = mine
    for k in range(candidate.size):
        parent[k] = root_of(parent, k)
