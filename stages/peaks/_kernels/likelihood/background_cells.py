"""Cells of the background: which a tile has, their samples, mean and variance, and what a square of 5 x 5 may hold."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.peaks._kernels.likelihood.tuples import Background, SquareLimits
from stages.peaks._kernels.panels import ANY_ORDER, LARGEST

Array = NDArray[Any]

TILE_SS, TILE_FS = 16, 32
SQUARE = 25.0
"""Pixels of a square of 5 x 5."""
ROUNDS = 3
CLIP = 3.0
ROUNDING = 1e-6
"""Bounds are so much wider, relative to the mean: samples that are one number are all kept, though the mean is rounded."""
SUM_ROUNDING = 1e-5
"""What the sum over a square, taken in float32, may be off by, relative to the background's."""


@kernel
def list_tiles(width: Array, height: Array, start: Array, cell: Array, num_cells: int, first: Array, out: Array) -> int:
    """List the cells of each tile: those of tile t are ``out[first[t]:first[t + 1]]``; returns how many there are in all."""
    stamp = np.full(num_cells, -1, np.int64)
    n = 0
    tile = 0
    for p in range(width.size):
        for top in range(0, height[p], TILE_SS):
            for left in range(0, width[p], TILE_FS):
                first[tile] = n
                for ss in range(top, min(top + TILE_SS, height[p])):
                    for fs in range(left, min(left + TILE_FS, width[p])):
                        c = cell[start[p] + ss * width[p] + fs]
                        if stamp[c] != tile:
                            stamp[c] = tile
                            out[n] = c
                            n += 1
                tile += 1
    first[tile] = n
    return n


@kernel
def choose_samples(cell: Array, bad: Array, width: Array, start: Array, per_cell: int, good: Array, out: Array) -> int:
    """List (packed places, ascending) up to `per_cell` good pixels of each cell, spread evenly; return how many.

    They are taken from every eighth row where that gives enough: so they touch less memory. ``good[c]`` becomes the number
    of good pixels of cell c.
    """
    in_rows = np.zeros(good.size, np.int64)
    good[:] = 0
    for p in range(width.size):
        for i in range(start[p], start[p + 1]):
            if not bad[i]:
                good[cell[i]] += 1
                in_rows[cell[i]] += ((i - start[p]) // width[p]) % 8 == 0
    seen = np.zeros(good.size, np.int64)
    n = 0
    for p in range(width.size):
        for i in range(start[p], start[p + 1]):
            c = cell[i]
            available = good[c]
            if in_rows[c] >= per_cell:
                if ((i - start[p]) // width[p]) % 8 != 0:
                    continue
                available = in_rows[c]
            if bad[i]:
                continue
            k = seen[c]
            seen[c] += 1
            if available <= per_cell or (k * per_cell) // available != ((k + 1) * per_cell) // available:
                out[n] = i
                n += 1
    return n


@kernel(fastmath=ANY_ORDER)
def describe_cells(
    values: Array, first: Array, inner: Array, outer: Array, gain: float, background: Background
) -> None:
    """Find each cell's mean and variance from its samples ``values[first[c]:first[c + 1]]``.

    Samples beyond CLIP standard deviations are left out, ROUNDS times over; above, they are allowed two photons more, so that
    the clipping does not shorten the tail where there are few photons. The result is then averaged with those of the
    cells next to it towards the beam (`inner`) and away from it (`outer`), half as much each; -1 where there is none. A
    cell without good samples gets what its neighbours have.
    """
    mean, variance = background.mean, background.variance
    cells = first.size - 1
    n_of = np.zeros(cells)
    raw_mean = np.zeros(cells)
    raw_variance = np.zeros(cells)
    for c in range(cells):
        low = -np.inf
        high = np.inf
        for _ in range(ROUNDS):
            n = 0.0
            total = 0.0
            total_sq = 0.0
            samples = values[first[c] : first[c + 1]]
            for k in range(np.uint64(samples.size)):
                inside = (samples[k] >= low) & (samples[k] <= high)
                value = np.float64(samples[k]) if inside else 0.0
                n += 1.0 if inside else 0.0
                total += value
                total_sq += value * value
            if n == 0:
                break
            raw_mean[c] = total / n
            raw_variance[c] = max(total_sq / n - raw_mean[c] * raw_mean[c], 0.0)
            reach = CLIP * math.sqrt(raw_variance[c]) + ROUNDING * abs(raw_mean[c])
            if n_of[c] == n:
                break
            n_of[c] = n
            low = raw_mean[c] - reach
            high = raw_mean[c] + reach + 2.0 * gain
    for c in range(cells):
        weight = 2.0 * n_of[c]
        total = weight * raw_mean[c]
        total_sq = weight * raw_variance[c]
        for beside in (inner[c], outer[c]):
            if beside >= 0:
                weight += n_of[beside]
                total += n_of[beside] * raw_mean[beside]
                total_sq += n_of[beside] * raw_variance[beside]
        mean[c] = total / weight if weight > 0 else 0.0
        variance[c] = total_sq / weight if weight > 0 else 0.0


@kernel
def square_thresholds(
    background: Background, gain: float, significance: float, tile_first: Array, tile_cells: Array, limits: SquareLimits
) -> None:
    """Set what a square's sum must exceed in each cell, and the least of it in each tile.

    With M = 25 variance / gain^2 expected photons, a sum of M + d has the significance z where (nearly)
    d = z sqrt(M) + z^2 / 6.
    """
    mean, variance = background.mean, background.variance
    cell_limit, tile_limit = limits.of_cell, limits.of_tile
    for c in range(mean.size):
        expected = SQUARE * variance[c] / (gain * gain)
        excess = significance * math.sqrt(expected) + significance * significance / 6.0
        cell_limit[c] = SQUARE * mean[c] + gain * excess + SUM_ROUNDING * SQUARE * abs(mean[c])
    for t in range(tile_limit.size):
        least = LARGEST
        for k in range(tile_first[t], tile_first[t + 1]):
            least = min(least, cell_limit[tile_cells[k]])
        tile_limit[t] = least
