"""Kernels of peaks/likelihood, in the order in which a frame passes them.

The file is longer than most because numba caches a kernel safely only together with all that it calls.

Words: a *cell* is a small piece of a ring around the beam, over which the background hardly changes; `cell` is an int32 map
in packed order (see ``stages/tables.py``). A *tile* is a rectangle of a panel, TILE_SS by TILE_FS pixels. A *candidate* is a
pixel around which a square of 5 x 5 pixels holds more than chance explains. Pixels are taken as float32.

The pixels come as bytes (`raw`, uint8) and the number of their type in ``PIXEL_TYPES`` (`kind`), so that one compiled kernel
serves all types: only :func:`copy_as` is compiled for each of them.
"""

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from stages.kernel import kernel

OFFSET, STRIDE_SS, STRIDE_FS, WIDTH, HEIGHT, START = range(6)
TILE_SS, TILE_FS = 16, 32
WIDE = 4 * TILE_FS
"""Squares that are compared together, each with the limit of its tile."""
SQUARE = 25.0
LARGEST = np.float32(np.finfo(np.float32).max)
ROUNDS = 3
CLIP = 3.0
NEAR, FAR = 5, 9
"""Background of a peak is measured further than NEAR from it and no further than FAR, pixels."""
ANNULUS = (2 * FAR + 1) ** 2
REACH_NEAR = tuple(math.isqrt(NEAR * NEAR - y * y) if y <= NEAR else -1 for y in range(FAR + 1))
REACH_FAR = tuple(math.isqrt(FAR * FAR - y * y) for y in range(FAR + 1))
"""How far the circles of NEAR and FAR reach along a row, by the row's distance from the centre; -1: not at all."""
FEWEST_AROUND = 40
RADII_SQ = (2, 5, 10, 21)
"""Squares of the radii of the circles in which a peak is looked for: 9, 21, 37 and 69 pixels."""
WINDOW = 6
SEEN_AROUND = WINDOW + 1
"""Of the square around a summit that is looked at; the peak's centre may be 3 pixels from it, and circles reach 4 further."""
STEPS = 8
DIP = 2.5
OFF_CENTRE = 1.0
"""By how much a summit may be less significant than the peak's centre."""

FS, SS, SIGMA, SIGNIFICANCE, BACKGROUND, VARIANCE, AROUND, INTENSITY, SNR, HIGHEST, NUM_PIXELS, COMPACT, SEEN = range(
    13
)
"""Columns of the table of peaks: position (pixel centres are whole numbers), width, Li and Ma's significance, mean,
variance and number of background pixels, then what :func:`measure` finds."""

MANY = 20000
"""Candidates from which an ordinary sort is as fast, and safe."""
ANY_ORDER = {"reassoc", "nsz", "contract"}
"""Sums may be taken in any order; NaN stays NaN."""

INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64, FLOAT32, FLOAT64 = range(10)
"""Kinds of pixels, in the order of ``PIXEL_TYPES``."""

Array = NDArray[Any]


def _number_at(typing: Any, raw: Any, i: Any, dtype: Any) -> Any:  # noqa: ARG001
    """Return the i-th number of that type in an array of bytes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        numbers = builder.bitcast(data, context.get_value_type(signature.return_type).as_pointer())
        number = builder.load(builder.gep(numbers, [arguments[1]]))
        number.align = 1
        return number

    return dtype.dtype(raw, types.intp, dtype), generate


number_at: Any = intrinsic(_number_at)
"""In kernels: ``number_at(raw, i, dtype)``."""


@kernel
def copy_as(raw: Array, origin: int, dtype: Any, out: Array) -> None:
    """Copy neighbouring pixels of that type, from number `origin` on, to the float32 `out`."""
    for x in range(np.uint64(out.size)):
        out[x] = np.float32(number_at(raw, origin + np.int64(x), dtype))


@kernel
def copy_pixels(raw: Array, kind: int, origin: int, out: Array) -> None:
    """Copy neighbouring pixels, from number `origin` on, to the float32 `out`."""
    if kind == INT8:
        copy_as(raw, origin, np.int8, out)
    elif kind == INT16:
        copy_as(raw, origin, np.int16, out)
    elif kind == INT32:
        copy_as(raw, origin, np.int32, out)
    elif kind == INT64:
        copy_as(raw, origin, np.int64, out)
    elif kind == UINT8:
        copy_as(raw, origin, np.uint8, out)
    elif kind == UINT16:
        copy_as(raw, origin, np.uint16, out)
    elif kind == UINT32:
        copy_as(raw, origin, np.uint32, out)
    elif kind == UINT64:
        copy_as(raw, origin, np.uint64, out)
    elif kind == FLOAT32:
        copy_as(raw, origin, np.float32, out)
    else:
        copy_as(raw, origin, np.float64, out)


@kernel
def pixel(raw: Array, kind: int, i: int) -> np.float32:
    """Return one pixel, number i of its array."""
    if kind == INT8:
        return np.float32(number_at(raw, i, np.int8))
    if kind == INT16:
        return np.float32(number_at(raw, i, np.int16))
    if kind == INT32:
        return np.float32(number_at(raw, i, np.int32))
    if kind == INT64:
        return np.float32(number_at(raw, i, np.int64))
    if kind == UINT8:
        return np.float32(number_at(raw, i, np.uint8))
    if kind == UINT16:
        return np.float32(number_at(raw, i, np.uint16))
    if kind == UINT32:
        return np.float32(number_at(raw, i, np.uint32))
    if kind == UINT64:
        return np.float32(number_at(raw, i, np.uint64))
    if kind == FLOAT32:
        return np.float32(number_at(raw, i, np.float32))
    return np.float32(number_at(raw, i, np.float64))


@kernel
def list_tiles(width: Array, height: Array, start: Array, cell: Array, num_cells: int, first: Array, out: Array) -> int:
    """List the cells of each tile: those of tile t are ``out[first[t]:first[t + 1]]``; returns how many there are in all.

    With an `out` that is too short only the counts are right.
    """
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
                            if n < out.size:
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
    values: Array, first: Array, inner: Array, outer: Array, gain: float, mean: Array, variance: Array
) -> None:
    """Find each cell's mean and variance from its samples ``values[first[c]:first[c + 1]]``.

    Samples beyond CLIP standard deviations are left out, ROUNDS times over; above, they are allowed two photons more, so that
    the clipping does not shorten the tail where there are few photons. The result is then averaged with those of the
    cells next to it towards the beam (`inner`) and away from it (`outer`), half as much each; -1 where there is none. A
    cell without good samples gets what its neighbours have.
    """
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
            reach = CLIP * math.sqrt(raw_variance[c]) + 1e-6 * abs(raw_mean[c])
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
    mean: Array, variance: Array, gain: float, significance: float, tile_first: Array, tile_cells: Array, cell_limit: Array,
    tile_limit: Array,
) -> None:  # fmt: skip
    """Set what a square's sum must exceed in each cell, and the least of it in each tile.

    With M = 25 variance / gain^2 expected photons, a sum of M + d has the significance z where (nearly)
    d = z sqrt(M) + z^2 / 6.
    """
    for c in range(mean.size):
        expected = SQUARE * variance[c] / (gain * gain)
        excess = significance * math.sqrt(expected) + significance * significance / 6.0
        cell_limit[c] = SQUARE * mean[c] + gain * excess + 1e-5 * SQUARE * abs(mean[c])
    for t in range(tile_limit.size):
        least = LARGEST
        for k in range(tile_first[t], tile_first[t + 1]):
            least = min(least, cell_limit[tile_cells[k]])
        tile_limit[t] = least


@kernel
def load_row(
    raw: Array, kind: int, origin: int, step: int, begin: int, width: int, bad: Array, bad_cell: Array, k: int,
    cell: Array, mean: Array, out: Array,
) -> int:  # fmt: skip
    """Copy one row of pixels to ``out[2:width + 2]`` with the cell's mean for those that are bad or not finite.

    The two places at either end repeat what is next to them. `k` is where the row's bad pixels begin in the list `bad` of
    packed places (their cells: `bad_cell`); returns where they end.
    """
    row = out[2 : width + 2]
    if step == 1:
        copy_pixels(raw, kind, origin, row)
    else:
        for x in range(width):
            row[x] = pixel(raw, kind, origin + x * step)
    finite = True
    if kind >= FLOAT32:
        for x in range(np.uint64(row.size)):
            finite &= abs(row[x]) <= LARGEST
    while k < bad.size and bad[k] < begin + width:
        row[bad[k] - begin] = mean[bad_cell[k]]
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
def screen(
    raw: Array,
    kind: int,
    where: Array,
    first_tile: Array,
    bad: Array,
    bad_cell: Array,
    is_bad: Array,
    cell: Array,
    mean: Array,
    cell_limit: Array,
    tile_limit: Array,
    rows: Array,
    out: Array,
) -> int:
    """List the candidates of one array's panels (packed places), panel by panel; return how many, also if `out` holds fewer.

    A square's sum over five rows and five columns is made anew for each second row, so that no rounding error is carried on;
    the pixel below a candidate is one, too. Rows come in pairs, whose sums serve several squares: with the sums P of the
    pairs and the first row A of each, the columns' sums of pair j are ``P[j - 1] + P[j] + A[j + 1]``.

    `rows` (7 (widest + 4), float32) is a buffer.
    """
    n = 0
    for p in range(where.shape[0]):
        width, height, start = where[p, WIDTH], where[p, HEIGHT], where[p, START]
        tiles_across = (width + TILE_FS - 1) // TILE_FS
        k = np.searchsorted(bad, start)
        room = width + 4
        upper = rows[:room]
        lower = rows[room : 2 * room]
        columns = rows[2 * room : 3 * room]
        limits = rows[6 * room : 6 * room + width]
        for ss in range(-2, height, 2):
            # the next pair: of rows that there are not, the last one is taken again
            for row in (ss + 2, ss + 3):
                line = upper if row == ss + 2 else lower
                if row < height:
                    k = load_row(
                        raw,
                        kind,
                        where[p, OFFSET] + row * where[p, STRIDE_SS],
                        where[p, STRIDE_FS],
                        start + row * width,
                        width,
                        bad,
                        bad_cell,
                        k,
                        cell,
                        mean,
                        line,
                    )
                elif row == ss + 2:
                    line[:] = lower
                else:
                    line[:] = upper
            # three sums of pairs go round
            begin = (3 + (ss // 2 + 1) % 3) * room
            here = rows[begin : begin + room]
            begin = (3 + (ss // 2 + 2) % 3) * room
            below = rows[begin : begin + room]
            begin = (3 + (ss // 2 + 3) % 3) * room
            over = rows[begin : begin + room]
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
def smooth(
    raw: Array,
    kind: int,
    where: Array,
    is_bad: Array,
    cell: Array,
    mean: Array,
    candidate: Array,
    level: Array,
    panel: Array,
) -> None:
    """Find the height of the smoothed image above the background at each candidate, and its row of `where`.

    Smoothed with a Gaussian of one pixel over the good pixels of a square of 5 x 5.
    """
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
def join(
    where: Array, cell: Array, variance: Array, gain: float, candidate: Array, level: Array, panel: Array, label: Array,
    parent: Array,
) -> None:  # fmt: skip
    """Put candidates together that belong to one peak: ``parent`` leads each to the highest of its peak.

    The level is lowered from the highest candidate down. Where it uncovers the pass between two mountains, the lower one is a
    peak of its own only if its summit stands above the pass by more than DIP standard deviations of that difference (the
    summit's persistence); else it becomes a part of the higher one. `label` is a map in packed order, all 0; it is left with
    1 + the candidate's number at each candidate.
    """
    noise = 2.0 / (4.0 * math.pi)  # of a difference of two levels, in units of a pixel's variance
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
                    scatter = noise * (variance[cell[candidate[low]]] + gain * max(level[low], 0.0))
                    if level[low] - level[k] <= DIP * math.sqrt(scatter):
                        parent[low] = high
                        mine = high
                    else:
                        mine = high
        if mine >= 0:
            parent[k] = mine
    for k in range(candidate.size):
        parent[k] = root_of(parent, k)


@kernel
def value_at(
    raw: Array, kind: int, where: Array, is_bad: Array, label: Array, parent: Array, summit: int, fs: int, ss: int
) -> float:
    """Return a pixel's value; NaN if it is off the panel, bad, not finite or part of another peak."""
    if fs < 0 or ss < 0 or fs >= where[WIDTH] or ss >= where[HEIGHT]:
        return np.nan
    place = where[START] + ss * where[WIDTH] + fs
    if is_bad[place]:
        return np.nan
    if label[place] > 0 and parent[label[place] - 1] != summit:
        return np.nan
    value = pixel(raw, kind, where[OFFSET] + ss * where[STRIDE_SS] + fs * where[STRIDE_FS])
    return np.float64(value) if abs(value) <= LARGEST else np.nan


@kernel
def background_around(
    raw: Array,
    kind: int,
    where: Array,
    is_bad: Array,
    label: Array,
    fs: int,
    ss: int,
    gain: float,
    mean: float,
    variance: float,
) -> tuple[float, float, float]:  # fmt: skip
    """Return mean, variance and number of background pixels around (fs, ss): good ones that are no candidates.

    Pixels that stand out are left out once. Fewer than FEWEST_AROUND are made up with the cell's own `mean` and `variance`.
    """
    listed = np.empty(ANNULUS)
    found = 0
    for y in range(max(ss - FAR, 0), min(ss + FAR + 1, where[HEIGHT])):
        row = where[START] + y * where[WIDTH]
        origin = where[OFFSET] + y * where[STRIDE_SS]
        near, far = REACH_NEAR[abs(y - ss)], REACH_FAR[abs(y - ss)]
        # left and right of the gap in the middle of the row
        for side in range(2):
            begin, end = (fs - far, min(fs - near, fs)) if side == 0 else (fs + near + 1, fs + far + 1)
            for x in range(max(begin, 0), min(end, where[WIDTH])):
                if is_bad[row + x] or label[row + x] > 0:
                    continue
                value = pixel(raw, kind, origin + x * where[STRIDE_FS])
                if abs(value) <= LARGEST:
                    # from the cell's mean, so that squares lose nothing where the mean is large
                    listed[found] = np.float64(value) - mean
                    found += 1
    n = 0
    around = 0.0
    spread = 0.0
    reach = np.inf
    for _ in range(2):
        n = 0
        total = 0.0
        total_sq = 0.0
        for k in range(found):
            if abs(listed[k] - around) <= reach:
                n += 1
                total += listed[k]
                total_sq += listed[k] * listed[k]
        if n == 0:
            break
        around = total / n
        spread = max(total_sq / n - around * around, 0.0)
        reach = 5.0 * math.sqrt(spread) + 3.0 * gain
    missing = max(FEWEST_AROUND - n, 0)
    used = n + missing
    around = n * around / used
    spread = (n * spread + missing * variance) / used
    return mean + around, max(spread, gain * gain / used), float(used)


@kernel
def significance_of(on: float, off: float, ratio: float) -> float:
    """Return Li and Ma's significance of `on` photons where a background `off` was counted elsewhere, `ratio` times as long.

    Their equation 17 (doi:10.1086/161295), the likelihood ratio of two Poisson means; 0 where there is no excess.
    """
    if on <= ratio * off:
        return 0.0
    both = on + off
    log_on = on * math.log((1.0 + ratio) / ratio * on / both)
    log_off = off * math.log((1.0 + ratio) * off / both) if off > 0 else 0.0
    return math.sqrt(2.0 * max(log_on + log_off, 0.0))


@kernel
def look_around(
    raw: Array, kind: int, where: Array, is_bad: Array, label: Array, parent: Array, summit: int, fs: int, ss: int,
    background: float, out: Array,
) -> None:  # fmt: skip
    """Fill the square `out` around (fs, ss) with what is above the background; NaN where :func:`value_at` says so."""
    for y in range(out.shape[0]):
        row = ss - SEEN_AROUND + y
        if row < 0 or row >= where[HEIGHT]:
            out[y] = np.nan
            continue
        place = where[START] + row * where[WIDTH]
        origin = where[OFFSET] + row * where[STRIDE_SS]
        for x in range(out.shape[1]):
            column = fs - SEEN_AROUND + x
            out[y, x] = np.nan
            if column < 0 or column >= where[WIDTH] or is_bad[place + column]:
                continue
            other = label[place + column]
            if other > 0 and parent[other - 1] != summit:
                continue
            value = pixel(raw, kind, origin + column * where[STRIDE_FS])
            if abs(value) <= LARGEST:
                out[y, x] = np.float64(value) - background


@kernel
def best_significance(seen: Array, fs: int, ss: int, gain: float, variance: float, around: float) -> float:
    """Return the significance of what is above the background around (fs, ss), in the circle where it is greatest.

    `seen` is what :func:`look_around` found; fs and ss are counted in it.
    """
    count = np.zeros(len(RADII_SQ))
    excess = np.zeros(len(RADII_SQ))
    for y in range(max(ss - 4, 0), min(ss + 5, seen.shape[0])):
        for x in range(max(fs - 4, 0), min(fs + 5, seen.shape[1])):
            distance_sq = (x - fs) * (x - fs) + (y - ss) * (y - ss)
            if distance_sq > RADII_SQ[3] or math.isnan(seen[y, x]):
                continue
            i = 3
            while i > 0 and distance_sq <= RADII_SQ[i - 1]:
                i -= 1
            count[i] += 1.0
            excess[i] += seen[y, x]
    best = 0.0
    expected = variance / (gain * gain)
    for i in range(len(RADII_SQ)):
        if i > 0:
            count[i] += count[i - 1]
            excess[i] += excess[i - 1]
        on = max(count[i] * expected + excess[i] / gain, 0.0)
        best = max(best, significance_of(on, around * expected, count[i] / around))
    return best


@kernel
def locate(seen: Array, fs: int, ss: int, widest: float, row: Array) -> bool:
    """Find a peak's centre and width with a Gaussian window that moves and grows to fit it; False if there is none.

    `seen` is what :func:`look_around` found around (fs, ss). A window exp(-r^2 / 2 w^2) sees a Gaussian peak of width s as one
    of width s w / sqrt(s^2 + w^2) and makes a step towards it too short by w^2 / (s^2 + w^2), so each step is made longer
    accordingly (SExtractor's windowed centroid).
    """
    size = 2 * WINDOW + 1
    above = np.empty((size, size))
    for y in range(size):
        for x in range(size):
            value = seen[y + SEEN_AROUND - WINDOW, x + SEEN_AROUND - WINDOW]
            above[y, x] = 0.0 if math.isnan(value) else value
    along = np.empty(size)
    column = np.empty(size)
    column_first = np.empty(size)
    column_second = np.empty(size)
    window = 1.5
    at_fs = 0.0
    at_ss = 0.0
    sigma = window
    for _ in range(STEPS):
        total = 0.0
        sum_fs = 0.0
        sum_ss = 0.0
        sum_sq = 0.0
        for x in range(size):
            along[x] = math.exp(-0.5 * ((x - WINDOW - at_fs) / window) ** 2)
        # moments of the columns first: many columns at a time
        column[:] = 0.0
        column_first[:] = 0.0
        column_second[:] = 0.0
        for y in range(size):
            from_ss = y - WINDOW - at_ss
            across = math.exp(-0.5 * (from_ss / window) ** 2)
            for x in range(size):
                weighted = across * above[y, x]
                column[x] += weighted
                column_first[x] += weighted * from_ss
                column_second[x] += weighted * (from_ss * from_ss)
        for x in range(size):
            from_fs = x - WINDOW - at_fs
            total += along[x] * column[x]
            sum_fs += along[x] * column[x] * from_fs
            sum_ss += along[x] * column_first[x]
            sum_sq += along[x] * (column[x] * (from_fs * from_fs) + column_second[x])
        if total <= 0:
            return False
        spread = max(0.5 * sum_sq / total, 0.01)
        sigma = math.sqrt(1.0 / max(1.0 / spread - 1.0 / (window * window), 1e-4))
        stretch = min(1.0 + (sigma / window) ** 2, 2.5)
        at_fs += stretch * sum_fs / total
        at_ss += stretch * sum_ss / total
        if abs(at_fs) > 3.0 or abs(at_ss) > 3.0:
            return False
        before, window = window, min(max(sigma, 0.8), widest)
        if abs(window - before) < 0.05 and sum_fs * sum_fs + sum_ss * sum_ss < 4e-4 * total * total:
            break
    row[FS] = fs + at_fs
    row[SS] = ss + at_ss
    row[SIGMA] = sigma
    return True


@kernel
def examine(
    raw: Array,
    kind: int,
    where: Array,
    is_bad: Array,
    cell: Array,
    mean: Array,
    variance: Array,
    gain: Array,
    candidate: Array,
    panel: Array,
    label: Array,
    parent: Array,
    least_significance: float,
    widest: float,
    out: Array,
    summit_of: Array,
) -> int:
    """Look at each summit among the candidates: background, position, width, significance; list those that are peaks.

    Fills rows of `out` and the summits' numbers; returns how many.
    """
    seen = np.empty((2 * SEEN_AROUND + 1, 2 * SEEN_AROUND + 1))
    n = 0
    for k in range(candidate.size):
        if parent[k] != k:
            continue
        here = where[panel[k]]
        g = gain[panel[k]]
        ss = (candidate[k] - here[START]) // here[WIDTH]
        fs = (candidate[k] - here[START]) - ss * here[WIDTH]
        c = cell[candidate[k]]
        b, v, around = background_around(raw, kind, here, is_bad, label, fs, ss, g, mean[c], variance[c])
        look_around(raw, kind, here, is_bad, label, parent, k, fs, ss, b, seen)
        if best_significance(seen, SEEN_AROUND, SEEN_AROUND, g, v, around) < least_significance - OFF_CENTRE:
            continue
        row = out[n]
        if not locate(seen, fs, ss, widest, row):
            continue
        shift_fs, shift_ss = int(np.rint(row[FS])) - fs, int(np.rint(row[SS])) - ss
        best = best_significance(seen, SEEN_AROUND + shift_fs, SEEN_AROUND + shift_ss, g, v, around)
        if best < least_significance:
            continue
        row[SIGNIFICANCE] = best
        row[BACKGROUND] = b
        row[VARIANCE] = v
        row[AROUND] = around
        summit_of[n] = k
        n += 1
        if n == out.shape[0]:
            break
    return n


@kernel
def measure(
    raw: Array, kind: int, where: Array, is_bad: Array, gain: Array, panel: Array, label: Array, parent: Array,
    summit_of: Array, usual: float, narrowest: float, widest: float, out: Array,
) -> None:  # fmt: skip
    """Measure the intensity of each peak in a circle of twice its width, made up for what lies outside or cannot be seen.

    The width is the peak's own, drawn towards the frame's `usual` one the more the weaker the peak is (NaN: own alone).
    A Gaussian tells which part of the peak the circle's good pixels see (SEEN). COMPACT says by how many standard
    deviations the highest pixel exceeds what the narrowest peak would have in one pixel: above 0 for a defective pixel.
    """
    in_centre = math.erf(0.5 / (math.sqrt(2.0) * narrowest)) ** 2
    for i in range(summit_of.size):
        row = out[i]
        k = summit_of[i]
        here = where[panel[k]]
        g = gain[panel[k]]
        own = row[SIGNIFICANCE] ** 2
        sigma = row[SIGMA]
        if not math.isnan(usual):
            sigma = math.exp((own * math.log(sigma) + 400.0 * math.log(usual)) / (own + 400.0))
        sigma = min(max(sigma, narrowest), widest)
        reach = max(2.0 * sigma, 1.5)
        total = 0.0
        seen = 0.0
        pixels = 0
        highest = -np.inf
        centre_fs = int(np.rint(row[FS]))
        centre_ss = int(np.rint(row[SS]))
        half = math.ceil(reach) + 1
        scale = 1.0 / (math.sqrt(2.0) * sigma)
        for y in range(centre_ss - half, centre_ss + half + 1):
            for x in range(centre_fs - half, centre_fs + half + 1):
                if (x - row[FS]) ** 2 + (y - row[SS]) ** 2 > reach * reach:
                    continue
                value = value_at(raw, kind, here, is_bad, label, parent, k, x, y)
                if math.isnan(value):
                    continue
                part_fs = math.erf((x + 0.5 - row[FS]) * scale) - math.erf((x - 0.5 - row[FS]) * scale)
                part_ss = math.erf((y + 0.5 - row[SS]) * scale) - math.erf((y - 0.5 - row[SS]) * scale)
                seen += 0.25 * part_fs * part_ss
                total += value - row[BACKGROUND]
                pixels += 1
                highest = max(highest, value)
        scatter = g * max(total, 0.0) + pixels * row[VARIANCE] * (1.0 + pixels / row[AROUND])
        above = highest - row[BACKGROUND]
        row[INTENSITY] = total / seen if seen > 0 else 0.0
        row[SNR] = total / math.sqrt(scatter) if scatter > 0 else 0.0
        row[HIGHEST] = highest
        row[NUM_PIXELS] = pixels
        row[SEEN] = seen
        row[COMPACT] = (above - in_centre * total) / math.sqrt(g * max(above, 0.0) + row[VARIANCE]) - 2.0


@kernel
def wipe(candidate: Array, label: Array) -> None:
    """Clear the map of candidates."""
    for k in range(candidate.size):
        label[candidate[k]] = 0
