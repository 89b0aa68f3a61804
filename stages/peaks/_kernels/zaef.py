"""Kernels of the gradient peak search and of peak validation: plain loops over one panel's pixels.

Both measure a peak with three circles around a pixel: the sum inside the inner one, above the mean of the ring between the
middle and the outer one. Pixel values are taken as float32, whatever their type on the wire; sums are float64.

``flat, where, mask`` are a flat array, one row of a panel table (see ``stages/pixels/tables.py``) and the bad pixels in packed
order.
"""

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.pixels.columns import HEIGHT, OFFSET, START, STRIDE_FS, STRIDE_SS, WIDTH

GOOD, LEAVES_PANEL, BAD_PIXEL, NO_BACKGROUND, NO_SIGNAL, BAD_VARIANCE = range(6)
"""What came of a measurement."""

Array = NDArray[Any]

BLOCK = 256
"""Pixels that are looked at together for one that reaches the threshold."""
PART = 32
"""Pixels of such a block that are looked at together for one that is good as well."""


@kernel
def measure(
    flat: Array,
    where: Array,
    mask: Array,
    fs: int,
    ss: int,
    inner: float,
    middle: float,
    outer: float,
    adu_per_photon: float,
    max_adu: float,
) -> tuple[int, float, float, float, float, float, bool]:
    """Measure the peak around pixel (fs, ss).

    With S pixels v_i in the inner circle and background mean b and variance s^2 in the ring::

        I = sum(v_i - b)         sigma^2 = S s^2 + adu_per_photon I         centre = sum((v_i - b) x_i) / I + 1/2

    Returns (outcome, centre fs, centre ss, I, sigma, highest pixel, saturated). The outcome is not GOOD if the circles
    leave the panel, touch a bad or non-finite pixel, or sigma^2 < 0 or I = 0.
    """
    origin, stride_ss, stride_fs = where[OFFSET], where[STRIDE_SS], where[STRIDE_FS]
    width, height, start = where[WIDTH], where[HEIGHT], where[START]
    nothing = (0.0, 0.0, 0.0, 0.0, 0.0, False)
    total = 0.0
    total_sq = 0.0
    count = 0
    saturated = False
    reach = int(outer)
    for dss in range(-reach, reach + 1):
        for dfs in range(-reach, reach + 1):
            distance_sq = dfs * dfs + dss * dss
            if distance_sq > outer * outer or distance_sq < middle * middle:
                continue
            x = fs + dfs
            y = ss + dss
            if x < 0 or x >= width or y < 0 or y >= height:
                return (LEAVES_PANEL, *nothing)
            value = np.float64(np.float32(flat[origin + y * stride_ss + x * stride_fs]))
            if mask[start + y * width + x] or not math.isfinite(value):
                return (BAD_PIXEL, *nothing)
            if value > max_adu:
                saturated = True
            total += value
            total_sq += value * value
            count += 1
    if count == 0:
        return (NO_BACKGROUND, *nothing)
    background = total / count
    background_var = total_sq / count - background * background

    intensity = 0.0
    highest = -np.inf
    sum_fs = 0.0
    sum_ss = 0.0
    count = 0
    reach = int(inner)
    for dss in range(-reach, reach + 1):
        for dfs in range(-reach, reach + 1):
            if dfs * dfs + dss * dss > inner * inner:
                continue
            x = fs + dfs
            y = ss + dss
            if x < 0 or x >= width or y < 0 or y >= height:
                return (LEAVES_PANEL, *nothing)
            value = np.float64(np.float32(flat[origin + y * stride_ss + x * stride_fs]))
            if mask[start + y * width + x] or not math.isfinite(value):
                return (BAD_PIXEL, *nothing)
            if value > max_adu:
                saturated = True
            highest = max(highest, value)
            value -= background
            intensity += value
            sum_fs += value * dfs
            sum_ss += value * dss
            count += 1
    if intensity == 0.0:
        return (NO_SIGNAL, *nothing)
    variance = count * background_var + adu_per_photon * intensity
    if variance < 0.0:
        return (BAD_VARIANCE, *nothing)
    centre_fs = fs + sum_fs / intensity + 0.5
    centre_ss = ss + sum_ss / intensity + 0.5
    return (GOOD, centre_fs, centre_ss, intensity, math.sqrt(variance), highest, saturated)


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
    """Return whether a pixel is at the limit or above."""
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
def search(
    flat: Array,
    where: Array,
    mask: Array,
    threshold: float,
    min_sq_gradient: float,
    min_snr: float,
    inner: float,
    middle: float,
    outer: float,
    use_saturated: bool,
    adu_per_photon: float,
    max_adu: float,
    found: Array,
) -> int:
    """Search one panel; fill rows of `found` (n, 6) with fs, ss, intensity, snr, highest pixel; return how many.

    Stops when `found` is full.
    """
    origin, stride_ss, stride_fs = where[OFFSET], where[STRIDE_SS], where[STRIDE_FS]
    width, height = where[WIDTH], where[HEIGHT]
    limit = np.float32(threshold)
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
                    right = np.float64(value - np.float32(flat[here + stride_fs]))
                    left = np.float64(np.float32(flat[here - stride_fs]) - value)
                    below = np.float64(value - np.float32(flat[here + stride_ss + stride_fs]))
                    over = np.float64(np.float32(flat[here - stride_ss]) - value)
                    gradient_sq = (right * right + left * left) / 2 + (below * below + over * over) / 2
                    if gradient_sq < min_sq_gradient:
                        continue
                    top_fs, top_ss = summit(flat, where, fs, ss, inner)
                    if math.hypot(top_fs - fs, top_ss - ss) > inner:
                        continue
                    outcome, x, y, intensity, sigma, highest, saturated = measure(
                        flat, where, mask, top_fs, top_ss, inner, middle, outer, adu_per_photon, max_adu
                    )
                    if outcome != GOOD or x < 0 or x > width or y < 0 or y > height:
                        continue
                    snr = abs(intensity) / sigma if sigma > 0 else np.inf
                    if snr < min_snr or (saturated and not use_saturated):
                        continue
                    near = False
                    for k in range(n):
                        if math.hypot(found[k, 0] - x, found[k, 1] - y) < 2 * inner:
                            near = True
                            break
                    if near:
                        continue
                    found[n, 0] = x
                    found[n, 1] = y
                    found[n, 2] = intensity
                    found[n, 3] = snr
                    found[n, 4] = highest
                    n += 1
                    if n == found.shape[0]:
                        return n
    return n


@kernel
def validate(
    flat: Array,
    where: Array,
    mask: Array,
    peak_fs: Array,
    peak_ss: Array,
    inner: float,
    middle: float,
    outer: float,
    min_snr: float,
    use_saturated: bool,
    adu_per_photon: float,
    max_adu: float,
    out: Array,
) -> None:
    """Measure each peak of one panel; fill rows of `out` (n, 3) with intensity, snr, highest pixel; NaN if rejected."""
    for i in range(peak_fs.size):
        outcome, _, _, intensity, sigma, highest, saturated = measure(
            flat, where, mask, int(peak_fs[i]), int(peak_ss[i]), inner, middle, outer, adu_per_photon, max_adu
        )
        snr = abs(intensity) / sigma if sigma > 0 else np.inf
        if outcome != GOOD or snr < min_snr or (saturated and not use_saturated):
            out[i, 0] = np.nan
        else:
            out[i, 0] = intensity
            out[i, 1] = snr
            out[i, 2] = highest
