"""Changes of bytes, whatever they mean: cut off, turned over, and whole numbers written over them."""

from __future__ import annotations

import random
import re

HUGE = (
    0, 1, 2, 255, 256, 65535, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 40, (1 << 63) - 1, 1 << 63,
    (1 << 64) - 1,
)  # fmt: skip


def truncated(body: bytes, rng: random.Random) -> bytes:
    return body[: rng.randrange(len(body) + 1)]


def flipped(body: bytes, begin: int, end: int, rng: random.Random) -> bytes:
    """Some bits of a stretch of bytes turned over; never none."""
    changed = bytearray(body)
    if begin < end:
        for at in {rng.randrange(begin, end) for _ in range(rng.choice((1, 1, 2, 3, 8)))}:
            changed[at] ^= rng.choice((1 << rng.randrange(8), rng.randrange(1, 256)))
    return bytes(changed)


def with_numbers(body: bytes, rng: random.Random) -> bytes:
    """Whole numbers written over what stands somewhere, in text too."""
    changed = bytearray(body)
    for _ in range(rng.choice((1, 1, 2, 4))):
        found = [match.span() for match in re.finditer(rb"\d+", bytes(changed[:4096]))]
        if found and rng.random() < 0.4:
            begin, end = rng.choice(found)
            changed[begin:end] = str(rng.choice((*HUGE, -1, -(1 << 63)))).encode()
            continue
        width = rng.choice((1, 2, 4, 8))
        at = rng.randrange(len(changed) + 1)
        at = at - at % width if rng.random() < 0.7 else at
        value = rng.choice(HUGE) & ((1 << (8 * width)) - 1)
        changed[at : at + width] = value.to_bytes(width, rng.choice(("little", "big")))
    return bytes(changed)
