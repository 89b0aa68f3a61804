"""Walk over MessagePack without making anything of it: where each value begins and ends.

Nothing is allocated for what a message declares, so a message of ten bytes that declares four thousand million elements
costs no more than its ten bytes. Format: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel

OK, TRUNCATED, TOO_DEEP, RESERVED, TOO_MANY = range(5)
"""How a walk ends: well; the message declares more than it has; nested too deeply; a byte that MessagePack never uses; more
entries than there is room for."""

KEY, VALUE, END, NUM_VALUES = range(4)
"""Columns of :func:`entries`: where a key begins, where its value begins and ends, and how many values are in the value."""

COLUMNS = 4
"""How many columns that are."""


@kernel
def _big_endian(buffer: NDArray[np.uint8], pos: int, width: int) -> int:
    value = 0
    for k in range(width):
        value = value * 256 + buffer[pos + k]
    return value


@kernel
def _token(buffer: NDArray[np.uint8], pos: int, end: int) -> tuple[int, int, int]:
    """Return (where the token's payload ends, how many values follow as its children, status) of the token at `pos`."""
    if pos >= end:
        return pos, 0, TRUNCATED
    byte = buffer[pos]
    if byte <= 0x7F or byte >= 0xE0:  # small integers
        return pos + 1, 0, OK
    if byte <= 0x8F:  # fixmap
        return pos + 1, 2 * (byte & 0x0F), OK
    if byte <= 0x9F:  # fixarray
        return pos + 1, byte & 0x0F, OK
    if byte <= 0xBF:  # fixstr
        after = pos + 1 + (byte & 0x1F)
        return after, 0, (OK if after <= end else TRUNCATED)
    if byte == 0xC1:
        return pos, 0, RESERVED
    if byte == 0xC0 or 0xC2 <= byte <= 0xC3:  # nil, false, true
        return pos + 1, 0, OK
    width = 0  # of the length field
    extra = 0  # bytes besides the declared length (the type of an ext)
    fixed = 0  # payload of the types of one size
    container = 0
    if 0xC4 <= byte <= 0xC6:  # bin
        width = 1 << (byte - 0xC4)
    elif 0xC7 <= byte <= 0xC9:  # ext
        width = 1 << (byte - 0xC7)
        extra = 1
    elif byte == 0xCA:
        fixed = 4
    elif byte == 0xCB:
        fixed = 8
    elif byte <= 0xCF:  # unsigned
        fixed = 1 << (byte - 0xCC)
    elif byte <= 0xD3:  # signed
        fixed = 1 << (byte - 0xD0)
    elif byte <= 0xD8:  # fixext
        fixed = 1 + (1 << (byte - 0xD4))
    elif byte <= 0xDB:  # str
        width = 1 << (byte - 0xD9)
    elif byte <= 0xDD:  # array
        width = 2 << (byte - 0xDC)
        container = 1
    else:  # map
        width = 2 << (byte - 0xDE)
        container = 2
    after = pos + 1 + width + fixed
    if after > end:
        return pos, 0, TRUNCATED
    declared = _big_endian(buffer, pos + 1, width)
    if container > 0:
        return after, container * declared, OK
    after += declared + extra
    return after, 0, (OK if after <= end else TRUNCATED)


@kernel
def skip(buffer: NDArray[np.uint8], pos: int, end: int, max_nesting: int) -> tuple[int, int, int]:
    """Return (position after the value at `pos`, number of values in it, status)."""
    left = np.zeros(max_nesting + 1, np.int64)  # children that are still to come, by level
    level = 0
    left[0] = 1
    values = 0
    while True:
        while left[level] == 0:
            if level == 0:
                return pos, values, OK
            level -= 1
        left[level] -= 1
        after, children, status = _token(buffer, pos, end)
        if status != OK:
            return pos, values, status
        if children > end - after:  # every child takes at least a byte
            return pos, values, TRUNCATED
        pos = after
        values += 1
        if children > 0:
            if level == max_nesting:
                return pos, values, TOO_DEEP
            level += 1
            left[level] = children


@kernel
def entries(
    buffer: NDArray[np.uint8], pos: int, end: int, max_nesting: int, is_map: bool, out: NDArray[np.int64]
) -> tuple[int, int, int]:
    """Find the entries of the map or array whose header token is at `pos`.

    Fills rows of `out`, int64 (n, `COLUMNS`); in an array, key and value begin at the same place. Returns (number of entries,
    position after the last, status); where the status is not OK, the position is that of the trouble.
    """
    pos, children, status = _token(buffer, pos, end)
    if status != OK:
        return 0, pos, status
    if children > end - pos:
        return 0, pos, TRUNCATED
    count = children // 2 if is_map else children
    if count > out.shape[0]:
        return count, pos, TOO_MANY
    for k in range(count):
        out[k, KEY] = pos
        if is_map:
            pos, _, status = skip(buffer, pos, end, max_nesting)
            if status != OK:
                return k, pos, status
        out[k, VALUE] = pos
        pos, values, status = skip(buffer, pos, end, max_nesting)
        if status != OK:
            return k, pos, status
        out[k, END] = pos
        out[k, NUM_VALUES] = values
    return count, pos, OK
