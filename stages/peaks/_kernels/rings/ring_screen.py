"""The pixels above their ring's threshold."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.peaks._kernels.panels import LARGEST, ArrayPixels
from stages.peaks._kernels.rings.ring_blocks import BLOCK, FIRST_RING, LAST_RING, LEVEL, PART, lowest_of, pixels_of
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
    pixels: ArrayPixels,
    ring: Array,
    upper: Array,
    uppers: Array,
    blocks: Blocks,
    highest: Array,
    n: int,
    listed: Listed,
) -> int:
    """List all pixels above their ring's threshold `upper`, from number `n` on; `uppers` is its range table.

    ``highest[b]`` is the highest good pixel of block b (see ``ring_survey``). Returns how many are listed now; `listed` may
    hold only the first of them.
    """
    flat, where = pixels.flat, pixels.where
    table, first_block = blocks.table, blocks.first
    place, value = listed  # taken apart here, because every block with a high pixel needs them
    least = upper.min()
    buffer = np.empty(BLOCK, flat.dtype)
    for p in range(where.shape[0]):
        width = where[p, WIDTH]
        step = where[p, STRIDE_FS]
        b = first_block[p] - 1
        for ss in range(where[p, HEIGHT]):
            for x0 in range(0, width, BLOCK):
                b += 1
                if highest[b] <= least:  # NaN is not
                    continue
                limit = lowest_of(uppers, table[b, LEVEL], table[b, FIRST_RING], table[b, LAST_RING])
                if highest[b] <= limit:
                    continue
                x1 = min(x0 + BLOCK, width)
                begin = where[p, START] + ss * width + x0
                row = where[p, OFFSET] + ss * where[p, STRIDE_SS] + x0 * step
                some = pixels_of(flat, row, step, x1 - x0, buffer)
                n = list_above(some, ring[begin : begin + x1 - x0], upper, limit, begin, n, place, value)
    return n
