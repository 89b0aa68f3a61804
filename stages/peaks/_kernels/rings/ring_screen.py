"""The pixels above their ring's threshold."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.peaks._kernels.panels import LARGEST, ArrayPixels
from stages.peaks._kernels.rings.ring_blocks import BLOCK, FIRST_RING, LAST_RING, LEVEL, PART, lowest_of
from stages.peaks._kernels.rings.ring_tuples import Blocks, Listed
from stages.peaks._kernels.screening import any_above
from stages.pixels.columns import HEIGHT, OFFSET, START, STRIDE_FS, STRIDE_SS, WIDTH

Array = NDArray[Any]


@kernel
def pick(ring: Array, upper: Array, listed: Listed, out: Array) -> int:
    """Choose from the listed pixels those above their ring's threshold (their places); return how many."""
    place, value = listed.place, listed.value
    n = 0
    for k in range(place.size):
        if value[k] > upper[ring[place[k]]] and value[k] <= LARGEST:
            out[n] = place[k]
            n += 1
    return n


@kernel
def any_good_above(pixels: Array, rings: Array, limit: np.float32, masked: np.uint16) -> bool:
    """Return whether a pixel that is not masked is above the limit."""
    above = False
    for x in range(np.uint64(pixels.size)):
        above |= (np.float32(pixels[x]) > limit) & (rings[x] != masked)
    return above


@kernel
def list_above(
    pixels: Array, rings: Array, upper: Array, limit: np.float32, begin: int, n: int, place: Array, value: Array
) -> int:
    """List a block's pixels above their ring's threshold, from number `n` on; return how many are listed now.

    No ring of the block has a threshold below `limit`; `begin` is the block's first packed place.
    """
    size = np.uint64(pixels.size)
    for part in range(np.uint64(0), size, np.uint64(PART)):
        if not any_above(pixels[part : part + PART], limit):
            continue
        for x in range(part, min(part + np.uint64(PART), size)):
            v = np.float32(pixels[x])
            if v > upper[rings[x]] and v <= LARGEST:
                if n < place.size:
                    place[n] = begin + x
                    value[n] = v
                n += 1
    return n


@kernel
def screen(
    pixels: ArrayPixels, ring: Array, upper: Array, uppers: Array, blocks: Blocks, n: int, listed: Listed
) -> int:
    """List all pixels above their ring's threshold `upper`, from number `n` on; `uppers` is its range table.

    Returns how many are listed now; `listed` may hold only the first of them.
    """
    flat, where = pixels.flat, pixels.where
    table, first_block = blocks.table, blocks.first
    place, value = listed  # taken apart here, because every block with a high pixel needs them
    masked = np.uint16(upper.size - 1)
    buffer = np.empty(BLOCK, flat.dtype)
    for p in range(where.shape[0]):
        width = where[p, WIDTH]
        step = where[p, STRIDE_FS]
        b = first_block[p] - 1
        for ss in range(where[p, HEIGHT]):
            begin = where[p, START] + ss * width
            row = where[p, OFFSET] + ss * where[p, STRIDE_SS]
            for x0 in range(0, width, BLOCK):
                b += 1
                level = table[b, LEVEL]
                if level < 0:
                    continue
                x1 = min(x0 + BLOCK, width)
                rings = ring[begin + x0 : begin + x1]
                if step == 1:  # as in pixels_of, whose call for every block would cost a tenth of the time
                    some = flat[row + x0 : row + x1]
                else:
                    some = buffer[: x1 - x0]
                    for x in range(x0, x1):
                        buffer[x - x0] = flat[row + x * step]
                limit = lowest_of(uppers, level, table[b, FIRST_RING], table[b, LAST_RING])
                if any_above(some, limit) and any_good_above(some, rings, limit, masked):
                    n = list_above(some, rings, upper, limit, begin + x0, n, place, value)
    return n
