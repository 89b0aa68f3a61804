"""Pixels of any type through one compiled kernel.

They come as bytes (`raw`, uint8) and the number of their type in ``PIXEL_TYPES`` (`kind`): only :func:`copy_as` is compiled for
each of them.
"""

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from stages.compute.kernel import kernel

Array = NDArray[Any]

INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64, FLOAT32, FLOAT64 = range(10)
"""Kinds of pixels, in the order of ``PIXEL_TYPES``."""


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
