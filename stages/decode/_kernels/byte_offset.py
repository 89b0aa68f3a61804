"""CBF's byte offsets: each pixel is its difference from the one before, in as few bytes as it takes.

A byte is the difference; -128 says that it comes in the two bytes that follow, -32768 there in the next four, and -2**31 there
in the next eight, all little-endian. CBFlib manual, section 3.3.3: Bernstein & Ellis, International Tables for
Crystallography G (2005), ch. 5.6, doi:10.1107/97809553602060000755.

>>> out = np.zeros(4, np.int32)
>>> body = np.array([5, 0xFF, 0x80, 0xE8, 0x03, 0x80, 0x00, 0x80, 0xA0, 0x86, 0x01, 0x00], np.uint8)
>>> decode(body, out, -(2**31), 2**31 - 1), out.tolist()
(12, [5, 4, 1004, 101004])
>>> decode(body[:8], out, -(2**31), 2**31 - 1) == TRUNCATED, decode(body, out, 0, 65535) == OUT_OF_RANGE
(True, True)
"""
# mypy: disable-error-code="no-untyped-def"

import numpy as np

from stages.compute.kernel import kernel

TRUNCATED, OUT_OF_RANGE = -1, -2
"""What is returned where the body ends before the pixels do, and where a pixel is not within the limits."""

ESCAPE = 0x80
"""The byte, -128, that is no difference."""

BLOCK = 64
"""Pixels that are looked at together; fewer cost more looks, more are seldom without an escape."""

_REACH = 128 * BLOCK
"""How far from each other pixels of a block can be, where each takes a byte."""


@kernel
def _integer(body, at, width):
    """The signed little-endian integer of so many bytes."""
    value = np.uint64(0)
    for k in range(width):
        value |= np.uint64(body[at + k]) << np.uint64(8 * k)
    shift = np.int64(64 - 8 * width)
    return (np.int64(value) << shift) >> shift


@kernel
def _step(body, at, size):
    """The difference at `at` where it takes more than a byte, and where the next begins; -1 where the body ends too early."""
    if at + 3 > size:
        return np.int64(0), -1
    step = _integer(body, at + 1, 2)
    if step != -32768:
        return step, at + 3
    if at + 7 > size:
        return np.int64(0), -1
    step = _integer(body, at + 3, 4)
    if step != -2147483648:
        return step, at + 7
    if at + 15 > size:
        return np.int64(0), -1
    return _integer(body, at + 7, 8), at + 15


@kernel
def _is_plain(steps):
    """Whether all these bytes are differences themselves."""
    escaped = np.uint8(0)
    for j in range(BLOCK):
        escaped |= np.uint8(steps[j] == ESCAPE)
    return escaped == 0


@kernel
def decode(body, out, least, most):
    """Decode pixels until `out` (int32) is full; return how many bytes they took, or what is wrong.

    Pixels are wanted to be in least ... most; what has more than 32 bits comes out modulo 2**32. Most pixels take a byte, and a
    block of such is added up without looking at each; one that could leave the limits is not.
    """
    at, i, value, outside = 0, 0, np.int64(0), np.int64(0)
    while i < out.size:
        while i + BLOCK <= out.size and at + BLOCK <= body.size and least + _REACH <= value <= most - _REACH:
            steps, pixels = body[at : at + BLOCK], out[i : i + BLOCK]
            if not _is_plain(steps):
                break
            for j in range(BLOCK):
                value += np.int64(np.int8(steps[j]))
                pixels[j] = np.int32(value)
            at, i = at + BLOCK, i + BLOCK
        for k in range(i, min(i + BLOCK, out.size)):
            if at >= body.size:
                return TRUNCATED
            step = np.int64(np.int8(body[at]))
            if step != -128:
                at += 1
            else:
                step, at = _step(body, at, body.size)
                if at < 0:
                    return TRUNCATED
            value += step
            outside |= (value - least) | (most - value)  # negative once it was
            out[k] = np.int32(value)
        i = min(i + BLOCK, out.size)
    return OUT_OF_RANGE if outside < 0 else at
