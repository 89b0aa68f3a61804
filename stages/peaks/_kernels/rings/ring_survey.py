"""One pass over the frame: each block's highest pixel, and the samples.

Which blocks have a pixel above a threshold can be told from their highest ones as soon as the thresholds are known; and these
follow from the samples. So the pixels are read from memory once, the few blocks that matter a second time.
"""

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.peaks._kernels.panels import ArrayPixels
from stages.peaks._kernels.rings.ring_blocks import BLOCK, LEVEL, MASKED
from stages.peaks._kernels.rings.ring_tuples import Blocks
from stages.peaks._kernels.samples import Located, take_samples
from stages.pixels.columns import HEIGHT, OFFSET, START, STRIDE_FS, STRIDE_SS, WIDTH

Array = NDArray[Any]


def highest_of(pixels: Array) -> np.float32:
    """Return the highest pixel; NaN perhaps if there is one among them."""
    return np.float32(pixels.max())


@overload(highest_of)
def highest_of_compiled(pixels: Any) -> Any:
    """Compare integers, which processors do many at a time; positive floats are in the order of their bits."""
    if isinstance(pixels.dtype, types.Integer):

        def integers(pixels: Any) -> Any:
            highest = pixels[0]
            for x in range(np.uint64(pixels.size)):
                highest = pixels[x] if pixels[x] > highest else highest
            return np.float32(highest)

        return integers

    def floats(pixels: Any) -> Any:
        bits = pixels.view(np.int32)
        most = bits[0]
        for x in range(np.uint64(bits.size)):
            most = bits[x] if bits[x] > most else most
        if most >= 0:
            return np.int32(most).view(np.float32)
        highest = pixels[0]
        for x in range(np.uint64(pixels.size)):
            highest = highest if pixels[x] < highest else pixels[x]
        return highest

    return floats


@kernel
def highest_good(pixels: Array, rings: Array, masked: np.uint16) -> np.float32:
    """Return the highest pixel that is not masked, NaN left out; minus infinity if there is none."""
    highest = np.float32(-np.inf)
    for x in range(np.uint64(pixels.size)):
        v = np.float32(pixels[x])
        highest = v if (v > highest) & (rings[x] != masked) else highest
    return highest


@kernel
def survey(
    pixels: ArrayPixels, ring: Array, masked: int, blocks: Blocks, located: Located, highest: Array, out: Array
) -> None:
    """Set ``highest[b]``, float32, to the highest good pixel of each block b, and put the samples into their slots of `out`.

    Blocks of which all pixels are masked are left alone.
    """
    flat, where = pixels.flat, pixels.where
    table, first_block = blocks.table, blocks.first
    source, to, first_in_row = located.source, located.to, located.first_in_row
    buffer = np.empty(BLOCK, flat.dtype)
    n = 0
    for p in range(where.shape[0]):
        width = where[p, WIDTH]
        step = where[p, STRIDE_FS]
        b = first_block[p] - 1
        for ss in range(where[p, HEIGHT]):
            begin = where[p, START] + ss * width
            row = where[p, OFFSET] + ss * where[p, STRIDE_SS]
            for x0 in range(0, width, BLOCK):
                b += 1
                if table[b, LEVEL] < 0:
                    continue
                x1 = min(x0 + BLOCK, width)
                if step == 1:  # as in pixels_of, whose call for every block would cost a tenth of the time
                    some = flat[row + x0 : row + x1]
                else:
                    some = buffer[: x1 - x0]
                    for x in range(x0, x1):
                        buffer[x - x0] = flat[row + x * step]
                if table[b, MASKED]:
                    highest[b] = highest_good(some, ring[begin + x0 : begin + x1], np.uint16(masked))
                else:
                    highest[b] = highest_of(some)
            take_samples(flat, source, to, first_in_row[n], first_in_row[n + 1], out)
            n += 1
