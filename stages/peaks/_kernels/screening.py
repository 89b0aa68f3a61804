"""Is any of these pixels beyond a limit? Asked of many pixels at once, before they are looked at one by one."""

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


def any_not_between(pixels: Array, below: np.float32, above: np.float32) -> bool:
    """Return whether a pixel is not between the bounds, exclusive (NaN is not)."""
    values = pixels.astype(np.float32)
    return not bool(((values > below) & (values < above)).all())


@overload(any_not_between)
def any_not_between_compiled(pixels: Any, below: np.float32, above: np.float32) -> Any:  # noqa: ARG001
    """Give integers a minimum and a maximum in their own type, as in `any_above`."""
    if isinstance(pixels.dtype, types.Integer):

        def integers(pixels: Any, below: np.float32, above: np.float32) -> Any:
            lowest = pixels[0]
            highest = pixels[0]
            for x in range(np.uint64(pixels.size)):
                lowest = pixels[x] if pixels[x] < lowest else lowest
                highest = pixels[x] if pixels[x] > highest else highest
            return not (np.float32(lowest) > below and np.float32(highest) < above)

        return integers

    def floats(pixels: Any, below: np.float32, above: np.float32) -> Any:
        outside = False
        for x in range(np.uint64(pixels.size)):
            outside |= not ((np.float32(pixels[x]) > below) & (np.float32(pixels[x]) < above))
        return outside

    return floats
