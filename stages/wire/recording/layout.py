"""What stands in the files of a recording: MessagePack, one value behind the other, so that any program can read it.

A file begins with its header, ``["streamajig recording", 1, about, crc]``: the version, what is recorded as a packed map
(:class:`About`) in a ``bin``, and the CRC-32 of that. Then one array for each message,
``[mark, size, received_ns, sender, [part, ...], crc]``:

``mark``
    16 random bytes, the same in all of a recording, as in Avro's object container files: where a length is damaged, the next
    record is found by them (https://avro.apache.org/docs/1.12.0/specification/#object-container-files).
``size``
    how many bytes of the record follow it.
``received_ns``
    nanoseconds since 1970 at which the last part arrived.
``sender``
    its number among those that were listened to, from 0: what a sender says once holds for its own messages alone.
``[part, ...]``
    the parts of the message, a ``bin`` each, tags, delimiters and empty ones too.
``crc``
    CRC-32 (that of zlib) of all between the mark and itself.

Numbers have their widest form, so that each stands at a place of its own.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import msgpack
from pydantic.dataclasses import dataclass

from pipeline import UserError

SUFFIX = ".rec"
"""How the name of a recording's file ends."""

NAME = "streamajig recording"
VERSION = 1

MARK_BYTES = 16
MOST_PARTS = 0xFFFF
MOST_PART_BYTES = 0xFFFF_FFFF

_ARRAY_OF_4, _ARRAY_OF_6 = 0x94, 0x96
_BIN_8, _BIN_32 = 0xC4, 0xC6
_UINT_16, _UINT_32, _UINT_64 = 0xCD, 0xCE, 0xCF
_ARRAY_16 = 0xDC
_STR_5_BITS = 0xA0

_FILE_HEAD = struct.Struct(f">BB{len(NAME)}sBBI")
_RECORD_HEAD = struct.Struct(f">BBB{MARK_BYTES}sBQBQBHBH")
_PART_HEAD = struct.Struct(">BI")
_CRC = struct.Struct(">BI")

_BEFORE_SIZE = 3 + MARK_BYTES
"""Bytes of a record that its checksum does not cover: they are the same in each."""

_TO_SIZE = _BEFORE_SIZE + 9
"""Where that ends which `size` does not count."""

HEAD_BYTES = _RECORD_HEAD.size
MOST_ABOUT_BYTES = 1 << 20


@dataclass(frozen=True)
class About:
    """What is recorded.

    Attributes
    ----------
    socket
        Kind of the socket that received: SUB, PULL, or REQ, whose messages begin with the empty part of a reply.
    data_format
        As ``--data-format`` has it.
    addresses, asked_for
        Of the senders; the tags subscribed to, or the request.
    geometry
        Name of the geometry file that lies beside, "" if there is none.
    began_ns
        When the recording was begun, in nanoseconds since 1970.
    number
        Of this file, from 0.
    mark
        Begins each record.
    """

    socket: str
    data_format: str = "msgpack"
    addresses: tuple[str, ...] = ()
    asked_for: tuple[str, ...] = ()
    geometry: str = ""
    began_ns: int = 0
    number: int = 0
    mark: bytes = b""


def files_of(folder: Path) -> list[Path]:
    """The files of a recording, in their order."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def start_of_file(about: About) -> bytes:
    """Return a file's header."""
    packed = msgpack.packb(asdict(about))
    head = _FILE_HEAD.pack(_ARRAY_OF_4, _STR_5_BITS | len(NAME), NAME.encode(), VERSION, _BIN_32, len(packed))
    return b"".join((head, packed, _CRC.pack(_UINT_32, zlib.crc32(packed))))


def read_start(start: bytes) -> tuple[About | None, int]:
    """Return what a file says of itself, None if that is damaged, and where its records begin.

    UserError for what is no recording, or one that this version cannot read.
    """
    if start[2 : 2 + len(NAME)] != NAME.encode() or len(start) < _FILE_HEAD.size:
        raise UserError("this is no recording of streamajig")
    *_, version, _, size = _FILE_HEAD.unpack_from(start)
    end = _FILE_HEAD.size + size + _CRC.size
    packed = start[_FILE_HEAD.size : _FILE_HEAD.size + size]
    if size > MOST_ABOUT_BYTES or len(start) < end or _CRC.unpack_from(start, end - _CRC.size)[1] != zlib.crc32(packed):
        return None, _FILE_HEAD.size
    if version != VERSION:
        raise UserError(f"this recording is of version {version}, and version {VERSION} is read here")
    return _about(packed), end


def _about(packed: bytes) -> About:
    known = {field.name for field in fields(About)}
    try:
        said: dict[str, Any] = msgpack.unpackb(packed)
        about = About(**{name: value for name, value in said.items() if name in known})
    except (ValueError, AttributeError, TypeError) as error:  # pydantic's and msgpack's errors are ValueErrors
        raise UserError(f"the header of this recording says what none says: {error}") from None
    if len(about.mark) != MARK_BYTES:
        raise UserError(
            f"the header of this recording has a mark of {len(about.mark)} bytes, and wanted are {MARK_BYTES}"
        )
    return about


def record_of(mark: bytes, received_ns: int, sender: int, parts: Sequence[memoryview]) -> list[bytes | memoryview]:
    """Return what is to be written of one message; parts are handed on and not copied.

    >>> record = b"".join(record_of(bytes(16), 5, 2, [memoryview(b"tag"), memoryview(b"")]))
    >>> msgpack.unpackb(record)[1:], len(record)
    ([33, 5, 2, [b'tag', b''], 211372642], 61)
    """
    size = _RECORD_HEAD.size - _TO_SIZE + sum(_PART_HEAD.size + len(part) for part in parts) + _CRC.size
    head = _RECORD_HEAD.pack(
        _ARRAY_OF_6,
        _BIN_8,
        MARK_BYTES,
        mark,
        _UINT_64,
        size,
        _UINT_64,
        received_ns,
        _UINT_16,
        sender,
        _ARRAY_16,
        len(parts),
    )
    crc = zlib.crc32(head[_BEFORE_SIZE:])
    pieces: list[bytes | memoryview] = [head]
    for part in parts:
        before = _PART_HEAD.pack(_BIN_32, len(part))
        crc = zlib.crc32(part, zlib.crc32(before, crc))
        pieces += (before, part)
    return [*pieces, _CRC.pack(_UINT_32, crc)]


def begins_with(mark: bytes) -> bytes:
    """The bytes with which each record begins."""
    return bytes((_ARRAY_OF_6, _BIN_8, MARK_BYTES)) + mark


def length_of(head: bytes) -> int:
    """How long a record is, from its first `HEAD_BYTES`."""
    return _TO_SIZE + int(_RECORD_HEAD.unpack_from(head)[5])


def content_of(record: memoryview) -> tuple[int, int, tuple[memoryview, ...]] | None:
    """Return when a message was received, from which sender, and its parts as slices of the record; None if it is damaged."""
    end = len(record) - _CRC.size
    if end < _RECORD_HEAD.size or _CRC.unpack_from(record, end) != (_UINT_32, zlib.crc32(record[_BEFORE_SIZE:end])):
        return None
    *_, received_ns, _, sender, _, count = _RECORD_HEAD.unpack_from(record)
    parts = []
    at = _RECORD_HEAD.size
    for _ in range(count):
        if at + _PART_HEAD.size > end:
            return None
        start = at + _PART_HEAD.size
        at = start + int(_PART_HEAD.unpack_from(record, at)[1])
        parts.append(record[start:at])
    return (received_ns, sender, tuple(parts)) if at == end else None
