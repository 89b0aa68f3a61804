"""A message for people: its keys, and of each value the type, shape and beginning, as a tree.

What is broken is shown as far as it goes: the walk is that of the decoder, which makes nothing of what a message only declares.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator

from pipeline import RejectFrame
from pipeline.texts import LONGEST_NAME, escaped, one_line
from stages.records.header import in_short
from stages.wire._kernels import msgpack as kernel
from stages.wire.encoded import (
    MAX_NESTING,
    EncodedArray,
    declared_length,
    decode_value,
    encoded_array,
    is_array,
    is_map,
    key_text,
    kind_of,
    octets,
)
from stages.wire.message import is_map_or_array, looks_like_pickle, what_it_is

MOST_ENTRIES = 100
"""So many entries of a map are shown, and of an array that holds maps."""

MOST_LEVELS = 8
"""Maps and arrays further inside are named and not opened."""

_MOST_LEVELS_OF_BROKEN = 4 * MOST_LEVELS

DUMPED_BYTES = 128
"""So much is shown of what is no MessagePack."""

_DECODED_BYTES = 65536
"""Longer values are not decoded to be shown."""

_INDENT = "  "


def outline(body: memoryview) -> Iterator[str]:
    """Say what a message holds, a line for each value; of what holds no map or array, what it looks like, and how it begins.

    >>> print(*outline(memoryview(bytes.fromhex("83 a162 92c3c0 a474696d65 cb3ff8000000000000 a161 a5"))), sep="\\n")
    map of 3
      b: array of 2 [True, None]
      time: number 1.5
      a: cut off: text begins at byte 22 and goes on behind byte 23, where the message ends
    """
    if not is_map_or_array(body) or looks_like_pickle(body):
        yield what_it_is(body).detail
        yield from dumped(body)
        return
    try:
        end = yield from _shown(body, 0, "", 0)
    except _EndsHereError:
        return
    if end < len(body):
        yield f"{len(body) - end} further bytes follow:"
        yield from dumped(body[end:])


def dumped(body: memoryview) -> Iterator[str]:
    """Show how bytes begin, in hexadecimal and as text, 16 a line.

    >>> print(*dumped(memoryview(b"no MessagePack")))
    00000000  6e 6f 20 4d 65 73 73 61 67 65 50 61 63 6b        |no MessagePack|
    """
    for first in range(0, min(len(body), DUMPED_BYTES), 16):
        row = bytes(body[first : first + 16])
        text = re.sub(rb"[^ -~]", b".", row).decode()
        yield f"{first:08x}  {row.hex(' '):47}  |{text}|"
    if len(body) > DUMPED_BYTES:
        yield f"... {len(body)} bytes"


class _EndsHereError(Exception):
    """Nothing behind this can be read."""


def _shown(body: memoryview, pos: int, name: str, level: int) -> Generator[str, None, int]:
    """Show the value at `pos` and what is in it; return where it ends."""
    after, values, status = kernel.skip(octets(body), pos, len(body), MAX_NESTING)
    is_whole = status == kernel.OK
    margin = _INDENT * level + (f"{name}: " if name else "")
    encoded = body[pos : after if is_whole else len(body)]
    if is_whole and (text := _on_one_line(encoded, values)):
        yield margin + text
        return int(after)
    if not is_map_or_array(encoded) or level >= _MOST_LEVELS_OF_BROKEN:
        yield margin + _why(body, pos, status)
        raise _EndsHereError
    has_keys, declared = is_map(encoded), declared_length(encoded)
    yield f"{margin}{_kind(encoded)} of {declared}"
    if is_whole and level == MOST_LEVELS:
        return int(after)
    pos += 1 if encoded[0] < 0xA0 else 3 if encoded[0] in (0xDC, 0xDE) else 5
    for number in range(declared):
        if is_whole and number == MOST_ENTRIES:
            yield f"{_INDENT * (level + 1)}... and {declared - number} more"
            return int(after)
        key = f"[{number}]"
        if has_keys:
            first = pos
            pos, _, status = kernel.skip(octets(body), first, len(body), MAX_NESTING)
            if status != kernel.OK:
                yield _INDENT * (level + 1) + _why(body, first, status)
                raise _EndsHereError
            key = _key(body[first:pos])
        pos = yield from _shown(body, pos, key, level + 1)
    return pos


def _key(encoded: memoryview) -> str:
    try:
        return one_line(key_text(encoded), LONGEST_NAME)
    except RejectFrame as broken:
        return f"({broken.detail})"


def _kind(encoded: memoryview) -> str:
    return kind_of(encoded).removeprefix("an ").removeprefix("a ")


def _on_one_line(encoded: memoryview, values: int) -> str:
    """Say what a value is that has none within that would need a line of its own; "" for others."""
    if is_map(encoded):
        array = encoded_array(encoded)
        return _of_array(array) if array is not None else ""
    kind = _kind(encoded)
    if is_array(encoded):
        if values > 1 + declared_length(encoded):
            return ""
        kind += f" of {declared_length(encoded)}"
    if len(encoded) > _DECODED_BYTES:
        return f"{kind}, {len(encoded)} bytes"
    try:
        return f"{kind} {escaped(in_short(decode_value(encoded)))}"
    except RejectFrame as broken:
        return f"{kind}: {broken.detail}"


def _of_array(array: EncodedArray) -> str:
    try:
        pixels = array.view()
    except RejectFrame as broken:
        return broken.detail
    if not pixels.shape:
        return f"{pixels.dtype} {pixels}"
    return f"{pixels.dtype} {' x '.join(map(str, pixels.shape))}, {pixels.nbytes} bytes"


def _why(body: memoryview, pos: int, status: int) -> str:
    if status == kernel.RESERVED:
        return "broken: here stands the byte 0xc1, which MessagePack never uses"
    if status == kernel.TOO_DEEP:
        return f"nested deeper than {MAX_NESTING} levels"
    what = f"{kind_of(body[pos:])} begins at byte {pos} and" if pos < len(body) else "it"
    return f"cut off: {what} goes on behind byte {len(body)}, where the message ends"
