"""Samples: a few pixels of each frame, spread over it, that are looked up again and again."""

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.peaks._kernels.panels import LARGEST
from stages.pixels.columns import HEIGHT, OFFSET, START, STRIDE_FS, STRIDE_SS, WIDTH

Array = NDArray[Any]


class Located(NamedTuple):
    """Where the samples of one array are, in the order of its rows.

    Attributes
    ----------
    source, to
        int32: pixels in the flat array, and slots.
    first_in_row
        int64 (rows + 1,): which samples are in each row of the panels, one panel after the other.
    """

    source: Array
    to: Array
    first_in_row: Array


def finite(pixel: Any) -> np.float32:
    """Return the pixel as float32; NaN for infinity."""
    value = np.float32(pixel)
    return value if abs(value) <= LARGEST else np.float32(np.nan)


@overload(finite)
def finite_compiled(pixel: Any) -> Any:
    """Give integers no test; they are the greater part of the work."""
    if isinstance(pixel, types.Integer):

        def integers(pixel: Any) -> Any:
            return np.float32(pixel)

        return integers

    def floats(pixel: Any) -> Any:
        value = np.float32(pixel)
        return value if abs(value) <= LARGEST else np.float32(np.nan)

    return floats


@kernel
def locate_samples(where: Array, flag: Array, sample: Array, slot: Array, masked: int, located: Located) -> int:
    """Locate the samples in one array's panels; return how many there are.

    Those are left out whose `flag`, a map in packed order, says that they are masked.
    """
    source, to, first_in_row = located
    n = 0
    row = 0
    for p in range(where.shape[0]):
        begin = where[p, START]
        width = where[p, WIDTH]
        k = np.searchsorted(sample, begin)
        for ss in range(where[p, HEIGHT]):
            first_in_row[row] = n
            row += 1
            while k < sample.size and sample[k] < begin + width * (ss + 1):
                place = sample[k]
                if flag[place] != masked:
                    fs = (place - begin) - ss * width
                    source[n] = where[p, OFFSET] + ss * where[p, STRIDE_SS] + fs * where[p, STRIDE_FS]
                    to[n] = slot[k]
                    n += 1
                k += 1
    first_in_row[row] = n
    return n


@kernel
def take_samples(flat: Array, source: Array, to: Array, first: int, last: int, out: Array) -> None:
    """Put the samples from number `first` to before `last` into their slots of `out`; infinite ones as NaN."""
    for k in range(np.uint64(first), np.uint64(last)):
        out[np.uint64(to[k])] = finite(flat[np.uint64(source[k])])
