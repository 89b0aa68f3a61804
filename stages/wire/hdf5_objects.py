"""Headers of objects in HDF5 files, read before HDF5 opens the object: where its data are kept, and the heaps that it leads to.

To open a data set whose values are in other files HDF5 reads their names from a heap of the message, and from some that are
broken it never comes back. https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t4.html (IV.A. Object Headers)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_FIRST = struct.Struct("<BxHII4x")
"""Of an object's header, version 1: version, number of messages, count of references, size."""

_MESSAGE = struct.Struct("<HH4x")
"""Type and size of a message, version 1."""

_MESSAGE_2 = struct.Struct("<BHx")
"""The same, version 2; two bytes more where messages are numbered."""

_SIGNATURE, _CONTINUES = b"OHDR", b"OCHK"
_HAS_TIMES, _HAS_PHASES, _IS_NUMBERED = 0x20, 0x10, 0x04

EXTERNAL, LAYOUT, CONTINUED, SYMBOL_TABLE = 0x07, 0x08, 0x10, 0x11
"""Messages: where external storage is; how values lie; where more messages are, and how long they are; where a group's tree and
heap are."""

TWO = struct.Struct("<QQ")
"""Two addresses or sizes."""

_VIRTUAL = 3
"""The class of a layout, its second byte from version 3 on."""

_MOST_MESSAGES = 1024


def kept_elsewhere(body: memoryview, address: int) -> str:
    """Say what an object with its header at an address is, if its values are in other files; else ""."""
    try:
        for kind, at, size in messages_of(body, address):
            if kind == EXTERNAL:
                return "in external storage"
            if kind == LAYOUT and size >= 2 and body[at] >= 3 and body[at + 1] == _VIRTUAL:
                return "a virtual data set"
    except (struct.error, IndexError, OverflowError):  # outside of the file, where HDF5 gives up too
        pass
    return ""


def messages_of(body: memoryview, address: int) -> Iterator[tuple[int, int, int]]:
    """Yield type, place and size of each message of an object's header; struct.error where it leads out of the file."""
    is_second = bytes(body[address : address + 4]) == _SIGNATURE
    is_numbered = False
    if is_second:
        flags = body[address + 5]
        is_numbered = bool(flags & _IS_NUMBERED)
        at = address + 6 + (16 if flags & _HAS_TIMES else 0) + (4 if flags & _HAS_PHASES else 0)
        width = 1 << (flags & 3)
        blocks = [(at + width, int.from_bytes(body[at : at + width], "little"))]
    else:
        version, _, _, size = _FIRST.unpack_from(body, address)
        blocks = [(address + _FIRST.size, size)] if version == 1 else []
    form = _MESSAGE_2 if is_second else _MESSAGE
    left = _MOST_MESSAGES
    while blocks:
        at, size = blocks.pop()
        end = at + size
        while at + form.size <= end and left:
            left -= 1
            kind, length = form.unpack_from(body, at)
            at += form.size + (2 if is_numbered else 0)
            if kind == CONTINUED:
                first, second = TWO.unpack_from(body, at)
                # in version 2 there are a signature before the messages and a checksum behind them
                blocks.append((first + 4, second - 8) if is_second else (first, second))
            else:
                yield kind, at, length
            at += length
