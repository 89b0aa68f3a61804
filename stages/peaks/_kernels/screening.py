"""Is any of these pixels above a limit? Asked of many pixels at once, before they are looked at one by one."""

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

Array = NDArray[Any]


def any_above(pixels: Array, limit: np.float32) -> bool:
    """Return whether a pixel is above the limit."""
    return bool((pixels.astype(np.float32) > limit).any())


@overload(any_above)
def any_above_compiled(pixels: Any, limit: np.float32) -> Any:  # noqa: ARG001
    """Give integers a maximum in their own type, which is faster than to compare each; NaN would spoil that of floats."""
    if isinstance(pixels.dtype, types.Integer):

        def integers(pixels: Any, limit: np.float32) -> Any:
            highest = pixels[0]
            for x in range(np.uint64(pixels.size)):
                highest = pixels[x] if pixels[x] > highest else highest
            return bool(np.float32(highest) > limit)

        return integers

    def floats(pixels: Any, limit: np.float32) -> Any:
        above = False
        for x in range(np.uint64(pixels.size)):
            above |= bool(np.float32(pixels[x]) > limit)
        return above

    return floats
