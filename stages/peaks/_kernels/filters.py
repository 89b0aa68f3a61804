"""Kernels of the filters that may stand before a peak search; each works on one panel, (height, width)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel

LARGEST = np.float32(np.finfo(np.float32).max)
TILE_SS, TILE_FS = 32, 256
MOST_LEVELS = 128
"""Levels to either side at which values are counted; what lies beyond is selected from all values."""
MOST_WHOLE = 2.0**22
"""Up to here whole numbers and their sums are exact in float32."""
SAMPLE = 512

Array = NDArray[Any]


@kernel
def load(pixels: Array, bad: Array, top: int, left: int, out: Array) -> bool:
    """Fill `out` with the pixels from (top, left) on, infinity where there is none or a bad one; are all whole numbers?"""
    whole = True
    for y in range(out.shape[0]):
        ss = top + y
        row = out[y]
        if ss < 0 or ss >= pixels.shape[0]:
            row[:] = np.inf
            continue
        begin = max(-left, 0)
        end = min(pixels.shape[1] - left, row.size)
        row[:begin] = np.inf
        row[end:] = np.inf
        inside = row[begin:end]
        values = pixels[ss, left + begin : left + end]
        masked = bad[ss, left + begin : left + end]
        for x in range(np.uint64(inside.size)):
            value = values[x]
            good = (abs(value) <= LARGEST) & (masked[x] == 0)
            inside[x] = value if good else np.float32(np.inf)
            whole &= (np.rint(value) == value) | (not good)
    return whole


@kernel
def levels_of(values: Array, whole: bool) -> tuple[Any, Any]:
    """Choose where to begin, about the median of all values, and in which steps to go: twelve from quartile to quartile.

    In whole numbers unless they are spread too far for that: steps of one need no selection at the end.
    """
    some = np.empty(SAMPLE, np.float32)
    flat = values.reshape(-1)
    n = 0
    for i in range(0, flat.size, max(flat.size // SAMPLE, 1)):
        if flat[i] <= LARGEST and n < SAMPLE:
            some[n] = flat[i]
            n += 1
    if n == 0:
        return np.float32(0.0), np.float32(1.0)
    ordered = np.sort(some[:n])
    middle = ordered[n // 2]
    between = ordered[3 * n // 4] - ordered[n // 4]
    step = between / 12.0
    if whole and abs(middle) < MOST_WHOLE:
        step = 1.0 if step < 9.0 else np.rint(step)
    return middle, np.float32(max(step, 1e-6 * abs(middle))) if step > 0 else np.float32(1.0)


@kernel
def count_beside(
    values: Array, limit: np.float32, radius: int, half: Array, upwards: bool, index: Array, column: Array, line: Array
) -> int:
    """Compare the number of values up to the limit in each pixel's square with `half`, and count `index` up or down.

    Upwards, by one where there are no more than half: the median lies above. Downwards, where there are more. Returns how many
    pixels were counted. ``half`` is -1 for a pixel without values.
    """
    height, width = half.shape
    changed = 0
    for ss in range(height):
        if ss == 0:
            column[:] = 0
            for k in range(2 * radius + 1):
                row = values[k]
                for x in range(np.uint64(column.size)):
                    column[x] += np.int16(row[x] <= limit)
        else:
            enters = values[ss + 2 * radius]
            leaves = values[ss - 1]
            for x in range(np.uint64(column.size)):
                column[x] += np.int16(enters[x] <= limit) - np.int16(leaves[x] <= limit)
        if radius <= 8:
            line[:] = 0
            for k in range(2 * radius + 1):
                part = column[k : k + width]
                for x in range(np.uint64(line.size)):
                    line[x] += part[x]
        else:
            total = np.int16(0)
            for x in range(2 * radius):
                total += column[x]
            for x in range(width):
                total += column[x + 2 * radius]
                line[x] = total
                total -= column[x]
        level = index[ss]
        least = half[ss]
        if upwards:
            for x in range(np.uint64(line.size)):
                more = np.int16(line[x] <= least[x])
                level[x] += more
                changed += int(more)
        else:
            for x in range(np.uint64(line.size)):
                more = np.int16((line[x] > least[x]) & (least[x] >= 0))
                level[x] -= more
                changed += int(more)
    return changed


@kernel
def halve(values: Array, radius: int, half: Array, column: Array, line: Array) -> None:
    """Set `half` to half of the number of values in each pixel's square, rounded down; -1 where there is none."""
    for y in range(half.shape[0]):
        column[:] = 0
        for k in range(2 * radius + 1):
            row = values[y + k]
            for x in range(np.uint64(column.size)):
                column[x] += np.int16(row[x] <= LARGEST)
        line[:] = 0
        for k in range(2 * radius + 1):
            part = column[k : k + line.size]
            for x in range(np.uint64(line.size)):
                line[x] += part[x]
        for x in range(line.size):
            half[y, x] = line[x] // 2 if line[x] > 0 else -1


@kernel
def select(values: Array, ss: int, fs: int, radius: int, half: int, above: Any, up_to: Any, some: Array) -> Any:
    """Return the median of a pixel's square, which lies above `above` and is not more than `up_to`."""
    below = 0
    n = 0
    for y in range(ss, ss + 2 * radius + 1):
        row = values[y, fs : fs + 2 * radius + 1]
        for x in range(np.uint64(row.size)):
            value = row[x]
            some[n] = value
            below += int(value <= above)
            n += int((value > above) & (value <= up_to))
    wanted = half - below
    if n > 64:
        return np.sort(some[:n])[wanted]
    for i in range(1, n):
        value = some[i]
        k = i
        while k > 0 and some[k - 1] > value:
            some[k] = some[k - 1]
            k -= 1
        some[k] = value
    return some[wanted]


@kernel
def subtract_median(pixels: Array, bad: Array, radius: int, out: Array) -> None:
    """Subtract from each pixel the median of the good ones in the square around it, as far as that lies on the panel.

    Of an even number it is the upper of the two in the middle. In a tile of the panel medians differ by little. So the values
    up to a level are counted in all squares at once (:func:`count_beside`: sums over columns, then rows, many pixels at a
    time), level after level, from the tile's median upwards until each square has more than half of its values below,
    and downwards until none has. If levels are all the whole numbers, and so are the pixels, that is the median already;
    else it is selected from the few values between the last two levels.

    `pixels` and `out` are float32.
    """
    height, width = pixels.shape
    side = 2 * radius + 1
    columns = min(TILE_FS, width)
    buffer = np.empty((min(TILE_SS, height) + 2 * radius) * (columns + 2 * radius), np.float32)
    index_buffer = np.empty(TILE_SS * TILE_FS, np.int16)
    half_buffer = np.empty(TILE_SS * TILE_FS, np.int16)
    column_buffer = np.empty(columns + 2 * radius, np.int16)
    line_buffer = np.empty(columns, np.int16)
    some = np.empty(side * side + 1, np.float32)
    for top in range(0, height, TILE_SS):
        high = min(TILE_SS, height - top)
        for left in range(0, width, TILE_FS):
            wide = min(TILE_FS, width - left)
            values = buffer[: (high + 2 * radius) * (wide + 2 * radius)].reshape(high + 2 * radius, wide + 2 * radius)
            whole = load(pixels, bad, top - radius, left - radius, values)
            first, step = levels_of(values, whole)
            index = index_buffer[: high * wide].reshape(high, wide)
            half = half_buffer[: high * wide].reshape(high, wide)
            column = column_buffer[: wide + 2 * radius]
            line = line_buffer[:wide]
            halve(values, radius, half, column, line)
            index[:] = 0
            for k in range(MOST_LEVELS):
                limit = np.float32(first + k * step)
                if count_beside(values, limit, radius, half, True, index, column, line) == 0:
                    break
            for k in range(1, MOST_LEVELS + 1):
                limit = np.float32(first - k * step)
                if count_beside(values, limit, radius, half, False, index, column, line) == 0:
                    break
            exact = whole and step == 1.0 and abs(first) < MOST_WHOLE
            for y in range(high):
                for x in range(wide):
                    i = int(index[y, x])
                    median = np.float32(first + i * step)
                    if half[y, x] < 0:
                        median = np.float32(0.0)
                    elif not exact or abs(i) == MOST_LEVELS:
                        above = np.float32(first + (i - 1) * step) if i > -MOST_LEVELS else np.float32(-np.inf)
                        up_to = median if i < MOST_LEVELS else LARGEST
                        median = select(values, y, x, radius, half[y, x], above, up_to, some)
                    out[top + y, left + x] = pixels[top + y, left + x] - median


@kernel
def clear_noise(pixels: Array, out: Array) -> None:
    """Set each pixel to zero if one of the nine in the square around it is negative; at the border, if it is itself."""
    height, width = pixels.shape
    negative = np.empty(width, np.uint8)
    for ss in range(height):
        here = pixels[ss]
        row = out[ss]
        for x in range(np.uint64(width)):
            row[x] = np.float32(0.0) if here[x] < 0 else here[x]
        if ss in (0, height - 1):
            continue
        over = pixels[ss - 1]
        under = pixels[ss + 1]
        for x in range(np.uint64(width)):
            negative[x] = (here[x] < 0) | (over[x] < 0) | (under[x] < 0)
        left = negative[:-2]
        middle = negative[1:-1]
        right = negative[2:]
        inner = row[1:-1]
        for x in range(np.uint64(inner.size)):
            inner[x] = np.float32(0.0) if (left[x] | middle[x] | right[x]) else inner[x]


@kernel
def average_blocks(pixels: Array, bad: Array, size: int, out: Array) -> None:
    """Average the good pixels of each block of `size` x `size`; NaN where there are none."""
    width = out.shape[1] * size
    total = np.empty(width)
    number = np.empty(width, np.int32)
    for ss in range(out.shape[0]):
        total[:] = 0.0
        number[:] = 0
        for y in range(ss * size, (ss + 1) * size):
            row = pixels[y, :width]
            masked = bad[y, :width]
            for x in range(np.uint64(width)):
                good = (abs(row[x]) <= LARGEST) & (masked[x] == 0)
                total[x] += np.float64(row[x]) if good else 0.0
                number[x] += np.int32(good)
        line = out[ss]
        for fs in range(line.size):
            n = 0
            sum_of_block = 0.0
            for x in range(fs * size, (fs + 1) * size):
                n += number[x]
                sum_of_block += total[x]
            line[fs] = sum_of_block / n if n else np.nan
