"""Encoded values: one MessagePack value to a Python value, and maps that stand for numpy arrays to views of their data.

Text, keys and binary data may each be MessagePack ``str``, ``bin`` or the ``raw`` of before 2013 (msgpack-python before 1.0
still writes it): ``raw`` has the code of ``str`` and may hold bytes that are no UTF-8, so pixels are taken out by
their position instead of being decoded, and they stay where they are.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from pipeline import RejectFrame
from pipeline.texts import LONGEST_NAME, one_line
from stages.compute.pixel_types import PIXEL_TYPES
from stages.records.header import in_short
from stages.wire._kernels import msgpack as kernel

MAX_VALUES = 500_000
"""Numbers, texts and so on in one header value; they become Python objects of some 32 bytes each."""

LONGEST_KEY = 1024
"""Characters of a message's key."""

MAX_NESTING = 512
"""Deeper values are never walked, whatever is asked for."""


def octets(encoded: memoryview) -> NDArray[np.uint8]:
    """Return the bytes as an array for the kernels."""
    return np.frombuffer(encoded, np.uint8)


def is_map(encoded: memoryview) -> bool:
    """Whether the first byte is that of a map."""
    return len(encoded) > 0 and encoded[0] in MAPS


MAPS = frozenset((*range(0x80, 0x90), 0xDE, 0xDF))
"""The first bytes of maps."""


def is_array(encoded: memoryview) -> bool:
    """Whether the first byte is that of an array."""
    return len(encoded) > 0 and (0x90 <= encoded[0] <= 0x9F or encoded[0] in (0xDC, 0xDD))


def declared_length(encoded: memoryview) -> int:
    """How many entries a map or array says it has."""
    byte = encoded[0]
    if byte < 0xA0:
        return byte & 0x0F
    width = 2 if byte in (0xDC, 0xDE) else 4
    return int.from_bytes(encoded[1 : 1 + width], "big")


def kind_of(encoded: memoryview) -> str:
    """Name the kind of one encoded value, for people: ``a map``, ``text``, ``nil``..."""
    return KINDS[encoded[0]] if len(encoded) else "nothing"


_HIGHEST = (  # the highest first byte of each kind
    (0x7F, "an integer"),
    (0x8F, "a map"),
    (0x9F, "an array"),
    (0xBF, "text"),
    (0xC0, "nil"),
    (0xC1, "a byte that is not MessagePack"),
    (0xC3, "a bool"),
    (0xC6, "binary data"),
    (0xC9, "an extension type"),
    (0xCB, "a number"),
    (0xD3, "an integer"),
    (0xD8, "an extension type"),
    (0xDB, "text"),
    (0xDD, "an array"),
    (0xDF, "a map"),
    (0xFF, "an integer"),
)
KINDS = tuple(next(name for last, name in _HIGHEST if byte <= last) for byte in range(256))
"""What a value is, by its first byte."""


def decode_value(encoded: memoryview | bytes) -> Any:
    """Make a Python value of one encoded header value.

    Text and binary data that is UTF-8 become ``str``, encoded numpy scalars and arrays become those, keys become ``str``. A
    map that names a dtype under ``type`` keeps its binary values as ``bytes``.
    """
    encoded = memoryview(encoded)
    if is_map(encoded):
        array = encoded_array(encoded)
        if array is not None:
            return array.view()
    if len(encoded) > MAX_VALUES:  # each takes a byte at least
        _, values, status = kernel.skip(octets(encoded), 0, len(encoded), MAX_NESTING)
        if status == kernel.OK and values > MAX_VALUES:
            raise RejectFrame("too_large", f"it holds {values} values, and at most {MAX_VALUES} are taken")
    try:
        value = msgpack.unpackb(
            encoded, raw=False, unicode_errors="surrogateescape", strict_map_key=False, use_list=True
        )
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise RejectFrame("not_msgpack", f"cannot be decoded: {type(error).__name__}: {error}") from None
    return _tidy(value)


def _tidy(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        return value if value.isascii() else _plain_text(value)
    if kind is bytes:
        return _as_text(value)
    if kind is list:
        return [_tidy(item) for item in value] if not _PLAIN.issuperset(map(type, value)) else value
    if kind is dict:
        return _tidy_map(value)
    return value


_PLAIN = frozenset((int, float, bool, type(None)))


def _tidy_map(value: dict[Any, Any]) -> Any:
    named = {_key_text(key): item for key, item in value.items()}
    array = _array_from(named)
    if array is not None:
        return array.view()
    if dtype_of(named.get("type")) is not None:  # the map's binary values are numbers of this type
        return {key: item if isinstance(item, bytes) else _tidy(item) for key, item in named.items()}
    return {key: _tidy(item) for key, item in named.items()}


def _as_text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _plain_text(value: str) -> str | bytes:
    """Return text; legacy raw that is not UTF-8 was binary data, and becomes bytes again."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape")
    return value


def as_bytes(value: Any) -> bytes:
    """Return the bytes of binary data, in whichever of its forms it came."""
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value)


def _key_text(key: Any) -> str:
    if isinstance(key, bytes):
        return key.decode("utf-8", "backslashreplace")
    if isinstance(key, str):
        return key if key.isascii() else key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return str(key)


def key_text(encoded: memoryview) -> str:
    """Return a map's key as text: from str, bin and legacy raw; integers as their digits.

    A key is what it is, control characters included; one that is longer than `LONGEST_KEY` is no name of anything, and is known
    by its two ends, so that nothing that names it is as long.
    """
    content = content_of(encoded)
    if content is not None:
        text = str(content, "utf-8", "backslashreplace")
        return text if len(text) <= LONGEST_KEY else one_line(text, LONGEST_NAME)
    if 0x80 <= encoded[0] <= 0x9F or 0xDC <= encoded[0] <= 0xDF:
        raise RejectFrame("bad_key", f"a key of the message's map is {kind_of(encoded)}; text was wanted")
    return str(decode_value(encoded))


SHORT_KEY = 64
"""Bytes up to which what a key is called is kept in mind."""


@lru_cache(maxsize=4096)
def short_key_text(encoded: bytes) -> str:
    """Return the same of a key of `SHORT_KEY` bytes at most; each frame of a sender has the same ones."""
    return key_text(memoryview(encoded))


def content_of(encoded: memoryview) -> memoryview | None:
    """Return the bytes of an encoded str, bin or legacy raw, without copying; None for every other kind."""
    byte = encoded[0]
    at = _CONTENT_AT.get(byte)
    return None if at is None else encoded[at:]


_CONTENT_AT = dict.fromkeys(range(0xA0, 0xC0), 1) | {0xC4: 2, 0xC5: 3, 0xC6: 5, 0xD9: 2, 0xDA: 3, 0xDB: 5}


_ON_THE_WIRE = tuple(np.dtype(kind) for kind in (*PIXEL_TYPES, np.float16))
_NAMES = {dtype.name: dtype for dtype in _ON_THE_WIRE} | {
    other: np.dtype(name) for other, name in {"half": "f2", "single": "f4", "double": "f8", "float": "f8"}.items()
}
_CODE = re.compile(rf"[<>|=]?(?:{'|'.join(dtype.str[1:] for dtype in _ON_THE_WIRE)})")


def dtype_of(name: Any) -> np.dtype[Any] | None:
    """Return the dtype of a name such as ``<i4``, ``|u1`` or ``float32``; None if it is none that pixels may have.

    >>> dtype_of(">u2"), dtype_of(b"float32"), dtype_of("<c8"), dtype_of("O")
    (dtype('>u2'), dtype('float32'), None, None)
    """
    if isinstance(name, (bytes, bytearray, memoryview)):
        name = str(name, "ascii", "replace")
    if not isinstance(name, str):
        return None
    if name in _NAMES:
        return _NAMES[name]
    return np.dtype(name) if _CODE.fullmatch(name) else None


@dataclass(frozen=True)
class EncodedArray:
    """A numpy array or scalar as msgpack-numpy writes it: a map with ``type``, ``data`` and, for an array, ``shape``.

    Attributes
    ----------
    dtype, shape, data
        As they came, still undecoded and unchecked; `shape` is None where there is none.
    is_scalar
        ``nd`` is false, or there are no dimensions: ``shape`` is empty.
    """

    dtype: Any
    shape: Any
    data: Any
    is_scalar: bool

    @property
    def is_image(self) -> bool:
        """Whether it means to be an array of two or more dimensions (a shape that is no shape is no other thing)."""
        one_dimensional = isinstance(self.shape, (list, np.ndarray)) and np.size(np.array(self.shape, object)) == 1
        return not (self.is_scalar or self.shape is None or one_dimensional)

    def view(self) -> Any:
        """Return the array, read-only and without copying where the byte order is ours; raises RejectFrame if broken.

        Other byte orders are converted and float16 becomes float32.
        """
        dtype, shape = self.checked()
        array = np.frombuffer(self.data, dtype).reshape(shape)
        if dtype.kind == "f" and dtype.itemsize == 2:
            array = array.astype(np.float32)
        elif not dtype.isnative:
            array = array.astype(dtype.newbyteorder("="))
        array.flags.writeable = False
        return array[()] if self.is_scalar else array

    def checked(self) -> tuple[np.dtype[Any], tuple[int, ...]]:
        """Return dtype and shape of the array, whose data has just that size; raises RejectFrame if something is broken."""
        dtype = dtype_of(self.dtype)
        if dtype is None:
            wanted = (
                "one of u1 i1 u2 i2 u4 i4 u8 i8 f2 f4 f8 with <, > or |, or a numpy name such as float32, was wanted"
            )
            raise RejectFrame("bad_dtype", f"array of type {in_short(self.dtype)}; {wanted}")
        if not isinstance(self.data, (bytes, bytearray, memoryview)):
            found = self.data if isinstance(self.data, _NotBinary) else in_short(self.data)
            raise RejectFrame("bad_array", f"array whose data is {found}; binary data was wanted")
        size = len(self.data)
        shape = self._checked_shape(size, dtype)
        if math.prod(shape) * dtype.itemsize != size:
            raise RejectFrame(
                "bad_array_size",
                f"array of shape {shape} and type {dtype.str} has {size} bytes of data; "
                f"{math.prod(shape) * dtype.itemsize} were wanted",
            )
        return dtype, shape

    def _checked_shape(self, size: int, dtype: np.dtype[Any]) -> tuple[int, ...]:
        if self.is_scalar:
            return ()
        if self.shape is None:
            return (size // dtype.itemsize,)
        shape = self.shape
        if isinstance(shape, np.ndarray) and shape.ndim == 1 and shape.dtype.kind in "iu":
            shape = shape.tolist()
        plain = isinstance(shape, (list, tuple)) and all(isinstance(n, int) and not isinstance(n, bool) for n in shape)
        if not plain or not 1 <= len(shape) <= 8 or min(shape) < (0 if len(shape) == 1 else 1):
            raise RejectFrame(
                "bad_shape", f"array of shape {in_short(self.shape)}; a list of at most 8 positive sizes was wanted"
            )
        return tuple(shape)


class _NotBinary(str):
    """What stands where an array's data should be."""


_UNREADABLE = "what cannot be read"
"""Stands for an array's type or shape that is none."""

_MOST_VALUES = 64
"""So many values an array's shape may have, to be looked at."""


def encoded_array(encoded: memoryview) -> EncodedArray | None:
    """Return the array that an encoded map stands for, without touching its data; None if the map is no array."""
    rows = np.empty((16, kernel.COLUMNS), np.int64)
    if declared_length(encoded) > len(rows):
        return None
    count, _, status = kernel.entries(octets(encoded), 0, len(encoded), MAX_NESTING, True, rows)
    if status != kernel.OK:
        return None
    named: dict[str, Any] = {}
    for key, value, end, values in rows[:count].tolist():
        content = content_of(encoded[key:value])
        name = bytes(content) if content is not None and len(content) <= 8 else b""
        if name == b"data":
            data = content_of(encoded[value:end])
            named["data"] = data if data is not None else _NotBinary(kind_of(encoded[value:end]))
        elif name in (b"type", b"shape", b"nd", b"kind"):
            named[name.decode()] = _UNREADABLE
            if values <= _MOST_VALUES:
                with contextlib.suppress(RejectFrame):  # it is the array that is broken, and not the message
                    named[name.decode()] = decode_value(encoded[value:end])
    return _array_from(named)


def _array_from(named: Mapping[str, Any]) -> EncodedArray | None:
    """Return the array that a map stands for: it has ``data``, and ``type``, ``shape`` or ``nd`` with it."""
    if "data" not in named or not ("type" in named or "shape" in named):
        return None
    dtype, data = named.get("type"), named["data"]
    shape = named.get("shape")
    is_scalar = named.get("nd") is False or (isinstance(shape, list) and not shape)
    if "shape" not in named and not is_scalar and dtype_of(dtype) is None:
        return None  # some other map that has a "type" and "data"
    if isinstance(named.get("kind"), (str, bytes)) and named["kind"] in ("O", b"O"):
        dtype = "object (a pickle inside, which is never opened)"
    if isinstance(data, str) and not isinstance(data, _NotBinary):
        data = as_bytes(data)
    return EncodedArray(dtype, shape, data, is_scalar)
