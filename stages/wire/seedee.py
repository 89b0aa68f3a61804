"""What a Seedee array is, as its sender describes it in JSON.

Seedee's own library is not asked: it believes the description, and a wrong one ends the process. What it writes is what an
HDF5 filter writes. https://pypi.org/project/seedee/
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np

from pipeline import RejectFrame
from stages.records.header import in_short
from stages.wire.encoded import dtype_of
from stages.wire.hdf5_filters import BITSHUFFLE, DEFLATE, LZ4

UNDER = "_data_format"
"""The key under which a description stands among other things that are said of a frame, as with ASAP::O."""

_ORDERS = {ord("<"): "<", ord(">"): ">", ord("|"): "|", ord("="): "<"}

_BITSHUFFLE_LZ4 = 2
"""The second option of bitshuffle."""


class _Array(msgspec.Struct):
    byteorder: int
    datatype: int
    itemsize: int
    shape: list[int]
    size: int
    stride: list[int] | None = None


class _Description(msgspec.Struct):
    array: _Array
    compression: int
    protocol: Literal["seedee"]
    data_format: Literal["hdf5_chunk"]
    version_major: Literal[1]
    compression_opts: list[int] | None = None


@dataclass(frozen=True)
class SeedeeArray:
    """How an array is.

    Attributes
    ----------
    shape, dtype
        Of the array; the byte order is the sender's.
    codec
        How it is compressed.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    codec: Literal["raw", "deflate", "lz4", "bslz4"]


def described(said: Mapping[str, Any]) -> SeedeeArray:
    """Read a description; rejects one that is broken, or of an array that cannot be pixels."""
    try:
        description = msgspec.convert(said, _Description)
    except msgspec.ValidationError as error:
        raise RejectFrame("bad_description", f"the message's description is none of a Seedee array: {error}") from None
    array = description.array
    dtype = None
    if array.byteorder in _ORDERS and 32 < array.datatype < 127:
        dtype = dtype_of(f"{_ORDERS[array.byteorder]}{chr(array.datatype)}{array.itemsize}")
    if dtype is None:
        code = f"byte order {array.byteorder}, type {array.datatype}, size {array.itemsize}"
        raise RejectFrame("bad_dtype", f"the Seedee array has {code}; integers or real numbers were wanted")
    shape = tuple(array.shape)
    if not 2 <= len(shape) <= 8 or min(shape) < 1:
        raise RejectFrame("bad_shape", f"the Seedee array has shape {shape}; two dimensions or more were wanted")
    if array.size != math.prod(shape) * dtype.itemsize:
        raise RejectFrame(
            "bad_array_size",
            f"the Seedee array of shape {shape} and type {dtype.str} says that it has {array.size} bytes",
        )
    if array.stride is not None and array.stride != _strides(shape, dtype.itemsize):
        raise RejectFrame("bad_shape", f"the Seedee array has strides {array.stride}; one without gaps was wanted")
    return SeedeeArray(shape, dtype, _codec_of(description))


def _strides(shape: tuple[int, ...], itemsize: int) -> list[int]:
    return [itemsize * math.prod(shape[n + 1 :]) for n in range(len(shape))]


def _codec_of(description: _Description) -> Literal["raw", "deflate", "lz4", "bslz4"]:
    options = description.compression_opts or []
    match description.compression:
        case 0:
            return "raw"
        case number if number == DEFLATE:
            return "deflate"
        case number if number == LZ4:
            return "lz4"
        case number if number == BITSHUFFLE and options[1:2] in ([], [_BITSHUFFLE_LZ4]):
            return "bslz4"
    raise RejectFrame(
        "other_compression",
        f"the Seedee array is compressed with HDF5 filter {description.compression}, options {in_short(options)}; none, "
        "deflate, LZ4 or bitshuffle with LZ4 were wanted",
    )


def description_in(said: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the description of the array, and what else is said of the frame.

    >>> description_in({"array": 1}), description_in({"_data_format": '{"array": 1}', "energy": 9500})
    (({'array': 1}, {}), ({'array': 1}, {'energy': 9500}))
    """
    if UNDER not in said:
        return said, {}
    inner = said[UNDER]
    if isinstance(inner, str):
        try:
            inner = json.loads(inner)
        except (ValueError, RecursionError):
            inner = None
    return inner, {key: value for key, value in said.items() if key != UNDER}
