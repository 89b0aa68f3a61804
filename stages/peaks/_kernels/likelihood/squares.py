"""Candidates: pixels around which a square of 5 x 5 pixels holds more than chance explains."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.peaks._kernels.likelihood.background_cells import TILE_FS, TILE_SS
from stages.peaks._kernels.likelihood.pixels import FIRST_FLOAT, copy_pixels, pixel
from stages.peaks._kernels.likelihood.tuples import Background, BadPixels, Candidates, RawPixels, SquareLimits
from stages.peaks._kernels.panels import LARGEST
from stages.pixels.columns import HEIGHT, OFFSET, START, STRIDE_FS, STRIDE_SS, WIDTH

Array = NDArray[Any]

WIDE = 4 * TILE_FS
"""Squares that are compared together, each with the limit of its tile."""
N_LINES = 7
"""Lines of the buffer of :func:`screen`: two rows of pixels, the sums over a square's columns, three sums of pairs, limits."""


@kernel
def load_row(  # noqa: PLR0913 - called for every row, where to take tuples apart costs time
    raw: Array, kind: int, origin: int, step: int, begin: int, width: int, bad_place: Array, bad_cell: Array, k: int,
    cell: Array, mean: Array, out: Array,
) -> int:  # fmt: skip
    """Copy one row of pixels to ``out[2:width + 2]`` with the cell's mean for those that are bad or not finite.

    The two places at either end repeat what is next to them. `k` is where the row's bad pixels begin in their list; returns
    where they end.
    """
    row = out[2 : width + 2]
    if step == 1:
        copy_pixels(raw, kind, origin, row)
    else:
        for x in range(width):
            row[x] = pixel(raw, kind, origin + x * step)
    finite = True
    if kind >= FIRST_FLOAT:
        for x in range(np.uint64(row.size)):
            finite &= abs(row[x]) <= LARGEST
    while k < bad_place.size and bad_place[k] < begin + width:
        row[bad_place[k] - begin] = mean[bad_cell[k]]
        k += 1
    if not finite:
        for x in range(width):
            if not abs(row[x]) <= LARGEST:
                row[x] = mean[cell[begin + x]]
    out[0] = out[1] = row[0]
    out[width + 2] = out[width + 3] = row[width - 1]
    return k


@kernel
def any_square_above(columns: Array, limits: Array) -> bool:
    """Return whether five neighbouring sums of columns exceed their limit together; there are four more columns than limits."""
    one, two, three, four = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
    above = False
    for x in range(np.uint64(limits.size)):
        total = (columns[x] + columns[x + four]) + (columns[x + one] + columns[x + three]) + columns[x + two]
        above |= total > limits[x]
    return above


@kernel
def screen(  # long: in functions of their own, the loops over a row take a twentieth longer
    pixels: RawPixels, bad: BadPixels, background: Background, square_limits: SquareLimits, lines: Array, out: Array
) -> int:
    """List the candidates of one array's panels (packed places), panel by panel; return how many, also if `out` holds fewer.

    A square's sum over five rows and five columns is made anew for each second row, so that no rounding error is carried on;
    the pixel below a candidate is one, too. Rows come in pairs, whose sums serve several squares: with the sums P of the
    pairs and the first row A of each, the columns' sums of pair j are ``P[j - 1] + P[j] + A[j + 1]``.

    `lines` (N_LINES (widest + 4), float32) is a buffer.
    """
    raw, kind, where, is_bad = pixels
    bad_place, bad_cell = bad
    cell, mean, _ = background
    cell_limit, tile_limit, first_tile = square_limits
    n = 0
    for p in range(where.shape[0]):
        width, height, start, step = where[p, WIDTH], where[p, HEIGHT], where[p, START], where[p, STRIDE_FS]
        tiles_across = (width + TILE_FS - 1) // TILE_FS
        k = np.searchsorted(bad_place, start)
        room = width + 4
        upper = lines[:room]
        lower = lines[room : 2 * room]
        columns = lines[2 * room : 3 * room]
        limits = lines[6 * room : 6 * room + width]
        for ss in range(-2, height, 2):
            # the next pair: of rows that there are not, the last one is taken again
            for row in (ss + 2, ss + 3):
                line = upper if row == ss + 2 else lower
                if row < height:
                    origin, begin = where[p, OFFSET] + row * where[p, STRIDE_SS], start + row * width
                    k = load_row(raw, kind, origin, step, begin, width, bad_place, bad_cell, k, cell, mean, line)
                elif row == ss + 2:
                    line[:] = lower
                else:
                    line[:] = upper
            # three sums of pairs go round
            begin = (3 + (ss // 2 + 1) % 3) * room
            here = lines[begin : begin + room]
            begin = (3 + (ss // 2 + 2) % 3) * room
            below = lines[begin : begin + room]
            begin = (3 + (ss // 2 + 3) % 3) * room
            over = lines[begin : begin + room]
            # in loops of their own: with more arrays in one, the compiler gives up proving that they do not overlap
            for x in range(np.uint64(room)):
                below[x] = upper[x] + lower[x]
            if ss < 0:
                for x in range(np.uint64(room)):
                    here[x] = upper[x] + upper[x]
                continue
            for x in range(np.uint64(room)):
                columns[x] = (over[x] + here[x]) + upper[x]
            if ss % TILE_SS == 0:
                tile = first_tile[p] + (ss // TILE_SS) * tiles_across
                for left in range(0, width, TILE_FS):
                    limits[left : min(left + TILE_FS, width)] = tile_limit[tile]
                    tile += 1
            for left in range(0, width, WIDE):
                right = min(left + WIDE, width)
                if not any_square_above(columns[left : right + 4], limits[left:right]):
                    continue
                for part in range(left, right, TILE_FS):
                    end = min(part + TILE_FS, right)
                    if not any_square_above(columns[part : end + 4], limits[part:end]):
                        continue
                    for x in range(part, end):
                        total = (columns[x] + columns[x + 4]) + (columns[x + 1] + columns[x + 3]) + columns[x + 2]
                        place = start + ss * width + x
                        if total > limits[x] and total > cell_limit[cell[place]]:
                            for down in range(min(2, height - ss)):
                                if not is_bad[place + down * width]:
                                    if n < out.size:
                                        out[n] = place + down * width
                                    n += 1
    return n


@kernel
def smooth(pixels: RawPixels, background: Background, candidates: Candidates) -> None:
    """Set each candidate's panel and its level: the height of the smoothed image above the background.

    Smoothed with a Gaussian of one pixel over the good pixels of a square of 5 x 5.
    """
    raw, kind, where, is_bad = pixels
    cell, mean = background.cell, background.mean
    candidate, level, panel = candidates.place, candidates.level, candidates.panel
    weight = np.empty(5)
    all_weights = 0.0
    for i in range(5):
        weight[i] = math.exp(-0.5 * (i - 2) * (i - 2))
        all_weights += weight[i]
    p = 0
    for k in range(candidate.size):
        place = candidate[k]
        while place >= where[p, START] + where[p, WIDTH] * where[p, HEIGHT]:
            p += 1
        width, height, start = where[p, WIDTH], where[p, HEIGHT], where[p, START]
        ss = (place - start) // width
        fs = (place - start) - ss * width
        panel[k] = p
        total = 0.0
        if 2 <= ss < height - 2 and 2 <= fs < width - 2:
            step = where[p, STRIDE_FS]
            any_bad = 0
            for y in range(ss - 2, ss + 3):
                first = where[p, OFFSET] + y * where[p, STRIDE_SS] + (fs - 2) * step
                corner = start + y * width + fs - 2
                across = 0.0
                for x in range(5):
                    any_bad |= is_bad[corner + x]
                    across += weight[x] * np.float64(pixel(raw, kind, first + x * step))
                total += weight[y - ss + 2] * across
            if not any_bad and math.isfinite(total):
                level[k] = total / (all_weights * all_weights) - mean[cell[place]]
                continue
            total = 0.0
        norm = 0.0
        for y in range(max(ss - 2, 0), min(ss + 3, height)):
            for x in range(max(fs - 2, 0), min(fs + 3, width)):
                if is_bad[start + y * width + x]:
                    continue
                value = pixel(raw, kind, where[p, OFFSET] + y * where[p, STRIDE_SS] + x * where[p, STRIDE_FS])
                if abs(value) <= LARGEST:
                    w = weight[y - ss + 2] * weight[x - fs + 2]
                    total += w * np.float64(value)
                    norm += w
        level[k] = total / norm - mean[cell[place]] if norm > 0 else -np.inf
