"""Kernels of the gradient peak search: plain loops over one panel's pixels, which are taken as float32, whatever their type."""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.peaks._kernels.circles import FS, GOOD, SS, Acceptance, Circles, Detection, accept, measure
from stages.peaks._kernels.panels import PanelPixels
from stages.pixels.columns import HEIGHT, OFFSET, START, STRIDE_FS, STRIDE_SS, WIDTH

Array = NDArray[Any]

BLOCK = 256
"""Pixels that are looked at together for one that reaches the threshold."""
PART = 32
"""Pixels of such a block that are looked at together for one that is good as well."""


class Foot(NamedTuple):
    """What a pixel needs so that the search climbs from it: value (ADU) and squared gradient (ADU squared)."""

    threshold: float
    min_sq_gradient: float


@kernel
def summit(flat: Array, where: Array, fs: int, ss: int, inner: float) -> tuple[int, int]:
    """Climb from a pixel to the highest one of its neighbourhood, again and again; return where that ends.

    The neighbourhood is a square of half-width `inner` that moves along with the highest pixel while it is searched, as
    in CrystFEL. The climb is given up when it leads further than `inner` from the start (and so is where it ends then).
    """
    origin, stride_ss, stride_fs = where[OFFSET], where[STRIDE_SS], where[STRIDE_FS]
    width, height = where[WIDTH], where[HEIGHT]
    top_fs = fs
    top_ss = ss
    moved = True
    while moved:
        highest = np.float32(flat[origin + top_ss * stride_ss + top_fs * stride_fs])
        moved = False
        y = int(max(top_ss - inner, 0.0))
        while y <= min(top_ss + inner, height - 1.0):
            x = int(max(top_fs - inner, 0.0))
            while x <= min(top_fs + inner, width - 1.0):
                value = np.float32(flat[origin + y * stride_ss + x * stride_fs])
                if value > highest:
                    highest = value
                    top_fs = x
                    top_ss = y
                    moved = True
                x += 1
            y += 1
        if math.hypot(top_fs - fs, top_ss - ss) > inner:
            break
    return top_fs, top_ss


def any_reaches(pixels: Array, limit: np.float32) -> bool:
    """Return whether a pixel is at the limit or above. (``any_above`` of the rings with the next smaller limit is slower.)"""
    return bool((pixels.astype(np.float32) >= limit).any())


@overload(any_reaches)
def any_reaches_compiled(pixels: Any, limit: np.float32) -> Any:  # noqa: ARG001
    """Give integers a maximum in their own type, which takes half the time; NaN would spoil that of floats."""
    if isinstance(pixels.dtype, types.Integer):

        def integers(pixels: Any, limit: np.float32) -> Any:
            highest = pixels[0]
            for x in range(np.uint64(pixels.size)):
                highest = pixels[x] if pixels[x] > highest else highest
            return bool(np.float32(highest) >= limit)

        return integers

    def floats(pixels: Any, limit: np.float32) -> Any:
        reaches = False
        for x in range(np.uint64(pixels.size)):
            reaches |= bool(np.float32(pixels[x]) >= limit)
        return reaches

    return floats


@kernel
def any_good_reaches(pixels: Array, bad: Array, limit: np.float32) -> bool:
    """Return whether a pixel that is not bad is at the limit or above."""
    reaches = False
    for x in range(np.uint64(pixels.size)):
        reaches |= (np.float32(pixels[x]) >= limit) & (bad[x] == 0)
    return reaches


@kernel
def climb(
    panel: PanelPixels, fs: int, ss: int, circles: Circles, acceptance: Acceptance, detection: Detection, row: Array
) -> bool:
    """Climb from a foot point, and measure the peak at the summit; fill `row` and return whether it is accepted."""
    where = panel.where
    top_fs, top_ss = summit(panel.flat, where, fs, ss, circles.inner)
    if math.hypot(top_fs - fs, top_ss - ss) > circles.inner:
        return False
    peak = measure(panel, top_fs, top_ss, circles, detection)
    if peak.outcome != GOOD or peak.fs < 0 or peak.fs > where[WIDTH] or peak.ss < 0 or peak.ss > where[HEIGHT]:
        return False
    row[FS] = peak.fs
    row[SS] = peak.ss
    return accept(peak, acceptance, row)


@kernel
def is_near(found: Array, n: int, distance: float) -> bool:
    """Return whether peak number `n` is nearer than `distance` to one of those before."""
    k = 0
    while k < n and not math.hypot(found[k, FS] - found[n, FS], found[k, SS] - found[n, SS]) < distance:
        k += 1
    return k < n


@kernel
def search(
    flat: Array,
    where: Array,
    mask: Array,
    foot: Foot,
    circles: Circles,
    acceptance: Acceptance,
    detection: Detection,
    found: Array,
) -> int:
    """Search one panel; fill rows of `found` (n, N_COLUMNS) and return how many.

    Stops when `found` is full. The arrays come by themselves: out of a tuple, each block would count references to them.
    """
    origin, stride_ss, stride_fs = where[OFFSET], where[STRIDE_SS], where[STRIDE_FS]
    width, height = where[WIDTH], where[HEIGHT]
    limit, min_sq_gradient = np.float32(foot.threshold), foot.min_sq_gradient
    use_saturated, max_adu = acceptance.use_saturated, detection.max_adu
    n = 0
    for ss in range(1, height - 1):
        row = origin + ss * stride_ss
        bad = mask[where[START] + ss * width : where[START] + (ss + 1) * width]
        for first in range(1, width - 1, BLOCK):
            if stride_fs == 1 and not any_reaches(flat[row + first : row + min(first + BLOCK, width - 1)], limit):
                continue
            for begin in range(first, min(first + BLOCK, width - 1), PART):
                end = min(begin + PART, width - 1)
                if stride_fs == 1 and not any_good_reaches(flat[row + begin : row + end], bad[begin:end], limit):
                    continue
                for fs in range(begin, end):
                    here = row + fs * stride_fs
                    value = np.float32(flat[here])
                    if not value >= limit or (not use_saturated and value > max_adu):
                        continue
                    if bad[fs]:
                        continue  # the peak would be measured with this pixel in its inner circle, and rejected
                    # CrystFEL's form: the second direction is the diagonal on one side
                    right = np.float64(value - np.float32(flat[here + stride_fs]))
                    left = np.float64(np.float32(flat[here - stride_fs]) - value)
                    below = np.float64(value - np.float32(flat[here + stride_ss + stride_fs]))
                    over = np.float64(np.float32(flat[here - stride_ss]) - value)
                    if (right * right + left * left) / 2 + (below * below + over * over) / 2 < min_sq_gradient:
                        continue
                    if not climb(PanelPixels(flat, where, mask), fs, ss, circles, acceptance, detection, found[n]):
                        continue
                    if is_near(found, n, 2 * circles.inner):
                        continue
                    n += 1
                    if n == found.shape[0]:
                        return n
    return n
