"""What a message says, read slowly and from the formats' specifications alone: the judge of what the stages accept.

MessagePack: https://github.com/msgpack/msgpack/blob/master/spec.md; arrays in it as https://github.com/lebedov/msgpack-numpy
writes them. Nothing of the project is used here, and of numpy nothing that reads bytes.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

DEEPEST = 200
"""Deeper messages have to be refused by everybody."""


class Malformed(Exception):
    """These bytes are no MessagePack value."""


class Raw(bytes):
    """Text, or what writers of before 2013 wrote in its place."""


class Binary(bytes):
    """Binary data."""


class Pairs(list[tuple[Any, Any]]):
    """A map, as it came: keys may come twice."""


@dataclass(frozen=True)
class Extension:
    """A value of an extension type."""

    code: int
    data: bytes


_FIXED = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_SIZED = {
    0xC4: ("bin", ">B"), 0xC5: ("bin", ">H"), 0xC6: ("bin", ">I"),
    0xC7: ("ext", ">B"), 0xC8: ("ext", ">H"), 0xC9: ("ext", ">I"),
    0xD9: ("raw", ">B"), 0xDA: ("raw", ">H"), 0xDB: ("raw", ">I"), 0xDC: ("array", ">H"), 0xDD: ("array", ">I"),
    0xDE: ("map", ">H"), 0xDF: ("map", ">I"),
}  # fmt: skip
_CONSTANT = {0xC0: None, 0xC2: False, 0xC3: True}


class Reader:
    """Reads one value after the other."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.at = 0

    def take(self, size: int) -> bytes:
        if self.at + size > len(self._body):
            raise Malformed("it declares more than it has")
        self.at += size
        return self._body[self.at - size : self.at]

    def value(self, depth: int = 0) -> Any:
        if depth > DEEPEST:
            raise Malformed("too deep")
        (byte,) = self.take(1)
        if byte <= 0x7F:
            return byte
        if 0xA0 <= byte <= 0xBF:
            return Raw(self.take(byte & 31))
        if byte <= 0x8F:
            return Pairs([(self.value(depth + 1), self.value(depth + 1)) for _ in range(byte & 15)])
        if byte <= 0x9F:
            return [self.value(depth + 1) for _ in range(byte & 15)]
        if byte >= 0xE0:
            return byte - 256
        if byte in _CONSTANT:
            return _CONSTANT[byte]
        if byte in _FIXED:
            return struct.unpack(_FIXED[byte], self.take(struct.calcsize(_FIXED[byte])))[0]
        if 0xD4 <= byte <= 0xD8:
            return Extension(self.take(1)[0], self.take(1 << (byte - 0xD4)))
        if byte not in _SIZED:
            raise Malformed("0xc1 is never used")
        kind, code = _SIZED[byte]
        (size,) = struct.unpack(code, self.take(struct.calcsize(code)))
        return self._of_size(kind, size, depth)

    def _of_size(self, kind: str, size: int, depth: int) -> Any:
        match kind:
            case "raw":
                return Raw(self.take(size))
            case "bin":
                return Binary(self.take(size))
            case "ext":
                return Extension(self.take(1)[0], self.take(size))
            case "array":
                return [self.value(depth + 1) for _ in range(size)]
        return Pairs((self.value(depth + 1), self.value(depth + 1)) for _ in range(size))


def read(body: bytes) -> Any:
    """The one value that these bytes are."""
    reader = Reader(body)
    value = reader.value()
    if reader.at != len(body):
        raise Malformed("there is something behind it")
    return value


def depth_of(value: Any) -> int:
    """How many arrays and maps lie in each other."""
    if isinstance(value, Pairs):
        return 1 + max((depth_of(each) for pair in value for each in pair), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


def frames_of(body: bytes) -> list[tuple[bytes, Any]]:
    """The frames of a message, each with what it says, or with :class:`Malformed`.

    They are the message itself, or the elements of an array in which there is a map; a map alone in an array counts as the map.
    """
    try:
        value = read(body)
    except Malformed as error:
        return [(body, error)]
    if type(value) is not list or not any(isinstance(each, Pairs) for each in value):
        return [(body, value)]
    reader = Reader(body)
    reader.at = 1 if body[0] <= 0x9F else 3 if body[0] == 0xDC else 5
    parts = []
    for each in value:
        begin = reader.at
        reader.value()
        alone = type(each) is list and len(each) == 1
        parts.append((body[begin : reader.at], each[0] if alone else each))
    return parts


def name_of(key: Any) -> str | None:
    """A key as text; None for one of a kind that is not judged."""
    if isinstance(key, (Raw, Binary)):
        text = str(bytes(key), "utf-8", "backslashreplace")
        return text if len(text) <= 1000 else None
    return None if isinstance(key, (Extension, float, list)) else str(key)


def named(pairs: Pairs) -> dict[str, Any]:
    """A map by its keys' names; the last one of a name counts."""
    return {name: value for key, value in pairs if (name := name_of(key)) is not None}


_CODES = {
    "u1": "B",
    "i1": "b",
    "u2": "H",
    "i2": "h",
    "u4": "I",
    "i4": "i",
    "u8": "Q",
    "i8": "q",
    "f2": "e",
    "f4": "f",
    "f8": "d",
}
_NAMES = {
    "uint8": "u1", "int8": "i1", "uint16": "u2", "int16": "i2", "uint32": "u4", "int32": "i4", "uint64": "u8", "int64": "i8",
    "float16": "f2", "float32": "f4", "float64": "f8", "half": "f2", "single": "f4", "double": "f8", "float": "f8",
}  # fmt: skip


def type_of(value: Any) -> tuple[str, str] | None:
    """Byte order and code of :mod:`struct` for the name of a type of pixels."""
    if not isinstance(value, (Raw, Binary)):
        return None
    found = re.fullmatch(rb"([<>|=]?)([uif][1248])", bytes(value))
    name = _NAMES.get(bytes(value).decode("ascii", "replace"))
    code = found[2].decode() if found else name
    if code not in _CODES:
        return None
    return (">" if found and found[1] == b">" else "<"), _CODES[code]


def numbers(kind: tuple[str, str], data: bytes) -> list[Any] | None:
    """Binary data as numbers; None if they are no whole number of them."""
    size = struct.calcsize(kind[1])
    return list(struct.unpack(f"{kind[0]}{len(data) // size}{kind[1]}", data)) if len(data) % size == 0 else None


def array_of(value: Any) -> np.ndarray | None:
    """The array that a map stands for, of plain numbers; None if it is no array, or a broken one."""
    if not isinstance(value, Pairs):
        return None
    parts = named(value)
    kind, data, shape = type_of(parts.get("type")), parts.get("data"), parts.get("shape")
    if kind is None or not isinstance(data, (Raw, Binary)) or parts.get("kind") == b"O":
        return None
    values = numbers(kind, bytes(data))
    if values is None:
        return None
    if parts.get("nd") is False:
        return np.array(values[0], object) if len(values) == 1 else None
    if shape is None:
        return np.array(values, object)
    if isinstance(shape, Pairs):
        inner = array_of(shape)
        shape = inner.tolist() if inner is not None and inner.ndim == 1 else None
    if type(shape) is not list or not 1 <= len(shape) <= 8 or any(type(n) is not int for n in shape):
        return None
    if any(n < 0 for n in shape) or (0 in shape and len(shape) > 1) or math.prod(shape) != len(values):
        return None
    return np.array(values, object).reshape(shape)


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def number_of(value: Any) -> float | None:
    """The finite number that a header value is; None if it is none."""
    if isinstance(value, Pairs):
        array = array_of(value)
        value = array.reshape(-1)[0] if array is not None and array.size == 1 and array.ndim < 2 else None
    if isinstance(value, (Raw, Binary)):
        text = bytes(value).decode("utf-8", "replace").strip()
        value = float(text) if _NUMBER.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def column_of(found: dict[str, Any], name: str) -> list[float] | None:
    """One list of a peak list; None if it is none."""
    values = found.get(name)
    if type(values) is list:
        plain = [number if number is not None else value for value in values for number in [_scalar(value)]]
        return [float(n) for n in plain] if all(type(n) in (int, float) for n in plain) else None
    kind = type_of(found.get("type"))
    if isinstance(values, (Raw, Binary)) and kind is not None:
        numeric = numbers(kind, bytes(values))
        return None if numeric is None else [float(n) for n in numeric]
    array = array_of(values)
    return [float(n) for n in array.tolist()] if array is not None and array.ndim == 1 else None


def _scalar(value: Any) -> float | None:
    array = array_of(value)
    return array[()] if array is not None and array.ndim == 0 else None
