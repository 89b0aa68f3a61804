"""Samples: a few pixels of each frame, spread over it, that are looked up again and again."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.peaks._kernels.panels import LARGEST
from stages.pixels.columns import HEIGHT, OFFSET, START, STRIDE_FS, STRIDE_SS, WIDTH

Array = NDArray[Any]


@kernel
def locate_samples(where: Array, flag: Array, sample: Array, slot: Array, masked: int, source: Array, to: Array) -> int:
    """List, for the samples in one array's panels, pixel in the flat array and slot; return how many.

    Those are left out whose `flag`, a map in packed order, says that they are masked.
    """
    n = 0
    for p in range(where.shape[0]):
        begin = where[p, START]
        width = where[p, WIDTH]
        first = np.searchsorted(sample, begin)
        last = np.searchsorted(sample, begin + width * where[p, HEIGHT])
        for k in range(first, last):
            place = sample[k]
            if flag[place] == masked:
                continue
            ss = (place - begin) // width
            fs = (place - begin) - ss * width
            source[n] = where[p, OFFSET] + ss * where[p, STRIDE_SS] + fs * where[p, STRIDE_FS]
            to[n] = slot[k]
            n += 1
    return n


@kernel
def take_samples(flat: Array, source: Array, to: Array, out: Array) -> None:
    """Put samples into their slots of `out`; infinite ones as NaN."""
    for k in range(source.size):
        value = np.float32(flat[np.uint64(source[k])])
        if not abs(value) <= LARGEST:
            value = np.float32(np.nan)
        out[np.uint64(to[k])] = value
