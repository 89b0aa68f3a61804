"""How the monitor's messages are written: one piece of bytes, of JSON and the numbers' arrays as they are in memory.

A message goes from the run to the monitor over ZeroMQ, and from there to browsers over a WebSocket, as it is. Its layout::

    uint32   N, the length of the JSON, little-endian
    N bytes  JSON in UTF-8; blanks at its end fill it up so that what follows starts at a multiple of 8
    bytes    the arrays, each in C order and little-endian, each from a multiple of 8 on (counted from the start of the message)

In the JSON an array is ``{"__array__": [dtype, shape, offset]}``, dtype as numpy writes it (``"<f4"``), offset in bytes from
the start of the message. Numbers that are not finite are null. There is nothing in a message that could be run.

>>> decode(encode({"kind": "run", "cell": np.array([78.1, 38.2], "f4"), "rate": math.nan}))
{'kind': 'run', 'cell': array([78.1, 38.2], dtype=float32), 'rate': None}
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

ARRAY = "__array__"
"""The key that marks an array in the JSON."""

_ALIGNED = 8

DTYPES = frozenset({"|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<f4", "<f8"})
"""What arrays may be of: what a browser has typed arrays for."""


class Malformed(ValueError):
    """What was received is no message of a monitor."""


def encode(value: Mapping[str, Any]) -> bytearray:
    """Write a message; arrays may stand anywhere in `value`. Raises TypeError for what JSON cannot hold."""
    arrays: list[np.ndarray[Any, Any]] = []
    described: list[list[Any]] = []
    written = _plain(value, arrays, described)
    head = _text(written)
    start = _aligned(4 + len(head) + 24 * len(arrays))  # room for what the offsets are longer than a nought
    end = start
    for array, one in zip(arrays, described, strict=True):
        one[-1] = end
        end = _aligned(end + array.nbytes)
    head = _text(written)
    message = bytearray(end)
    struct.pack_into("<I", message, 0, start - 4)
    message[4 : 4 + len(head)] = head
    message[4 + len(head) : start] = b" " * (start - 4 - len(head))
    for array, one in zip(arrays, described, strict=True):
        np.frombuffer(message, array.dtype, array.size, one[-1]).reshape(array.shape)[...] = array
    return message


def decode(message: bytes | bytearray | memoryview) -> dict[str, Any]:
    """Read a message; its arrays are views of it. Raises `Malformed` for anything else, and never anything but that."""
    view = memoryview(message).cast("B")
    if len(view) < 4:
        raise Malformed("it is too short")
    (size,) = struct.unpack_from("<I", view)
    if 4 + size > len(view):
        raise Malformed("it is cut off")
    try:
        value = json.loads(bytes(view[4 : 4 + size]))
        found = _with_arrays(value, view)
    except (ValueError, TypeError, RecursionError) as error:
        raise Malformed(f"it cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise Malformed("it is no map")
    return found


def _aligned(number: int) -> int:
    return -(-number // _ALIGNED) * _ALIGNED


def _plain(one: Any, arrays: list[np.ndarray[Any, Any]], described: list[list[Any]]) -> Any:
    """What JSON writes of a value; its arrays, and how each of them is described there, go into the lists."""
    if isinstance(one, np.ndarray):
        array = one.astype(one.dtype.newbyteorder("<"), copy=False)
        if array.dtype.str not in DTYPES:
            raise TypeError(f"arrays of {one.dtype} cannot be sent")
        arrays.append(array)
        described.append([array.dtype.str, list(array.shape), 0])
        return {ARRAY: described[-1]}
    if isinstance(one, Mapping):
        return {str(key): _plain(item, arrays, described) for key, item in one.items()}
    if isinstance(one, list | tuple):
        is_text = all(type(item) is str for item in one)  # columns of names, which are long
        return one if is_text else [_plain(item, arrays, described) for item in one]
    if isinstance(one, np.generic):
        one = one.item()
    if isinstance(one, float) and not math.isfinite(one):
        return None
    return one


def _text(plain: Any) -> bytes:
    return json.dumps(plain, separators=(",", ":"), allow_nan=False).encode()


def _with_arrays(value: Any, view: memoryview) -> Any:
    if isinstance(value, dict):
        if value.keys() == {ARRAY}:
            return _array(value[ARRAY], view)
        return {key: _with_arrays(item, view) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_arrays(item, view) for item in value]
    return value


def _array(described: Any, view: memoryview) -> np.ndarray[Any, Any]:
    dtype, shape, offset = described
    if dtype not in DTYPES:
        raise ValueError(f"an array of {dtype!r}")
    if not all(type(n) is int and n >= 0 for n in (*shape, offset)):
        raise ValueError("an array's shape or place is no number")
    num = math.prod(shape)
    if offset + num * np.dtype(dtype).itemsize > len(view):
        raise ValueError("an array lies outside the message")
    return np.frombuffer(view, dtype, num, offset).reshape(shape)
