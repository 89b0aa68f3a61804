"""Pixels of any type through one compiled kernel.

They come as bytes (`raw`, uint8) and the number of their type in ``PIXEL_TYPES`` (`kind`): only :func:`copy_as` is compiled for
each of them.
"""

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.compute.pixel_types import PIXEL_TYPES

Array = NDArray[Any]

FIRST_FLOAT = PIXEL_TYPES.index(np.float32)
"""Kinds from here on may be infinite or not a number."""
LAST = len(PIXEL_TYPES) - 1


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


def copy_if(raw: Array, kind: int, origin: int, out: Array, number: int) -> None:
    """In kernels: :func:`copy_as` with the type of that kind, if its number is `number` or more."""


@overload(copy_if)
def copy_if_compiled(raw: Any, kind: Any, origin: Any, out: Any, number: Any) -> Any:  # noqa: ARG001
    """Try one type after the other: each number is a function of its own, which calls that of the next."""
    if not isinstance(number, types.IntegerLiteral):
        return None
    this = number.literal_value
    dtype, following = PIXEL_TYPES[this], this + 1

    def last(raw: Any, kind: Any, origin: Any, out: Any, number: Any) -> Any:  # noqa: ARG001
        copy_as(raw, origin, dtype, out)

    def choose(raw: Any, kind: Any, origin: Any, out: Any, number: Any) -> Any:  # noqa: ARG001
        if kind == this:
            copy_as(raw, origin, dtype, out)
        else:
            copy_if(raw, kind, origin, out, following)

    return last if this == LAST else choose


@kernel
def copy_pixels(raw: Array, kind: int, origin: int, out: Array) -> None:
    """Copy neighbouring pixels, from number `origin` on, to the float32 `out`."""
    copy_if(raw, kind, origin, out, 0)


def pixel_if(raw: Array, kind: int, i: int, number: int) -> np.float32:  # noqa: ARG001
    """In kernels: pixel number i as one of that kind, if its number is `number` or more."""
    return np.float32(np.nan)


@overload(pixel_if)
def pixel_if_compiled(raw: Any, kind: Any, i: Any, number: Any) -> Any:  # noqa: ARG001
    """Try one type after the other, as :func:`copy_if_compiled` does."""
    if not isinstance(number, types.IntegerLiteral):
        return None
    this = number.literal_value
    dtype, following = PIXEL_TYPES[this], this + 1

    def last(raw: Any, kind: Any, i: Any, number: Any) -> Any:  # noqa: ARG001
        return np.float32(number_at(raw, i, dtype))

    def choose(raw: Any, kind: Any, i: Any, number: Any) -> Any:  # noqa: ARG001
        if kind == this:
            return np.float32(number_at(raw, i, dtype))
        return pixel_if(raw, kind, i, following)

    return last if this == LAST else choose


@kernel
def pixel(raw: Array, kind: int, i: int) -> np.float32:
    """Return one pixel, number i of its array."""
    return pixel_if(raw, kind, i, 0)
