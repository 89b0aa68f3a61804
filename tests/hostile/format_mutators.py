"""Hostile messages of each data format: cut, flipped, of huge sizes and wrong types; each from its seed and number alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import mutators as maps
import numpy as np
from byte_mutators import flipped, truncated, with_numbers
from format_messages import GOOD, Good
from hdf5_mutators import restructured_hdf5
from structure_mutators import (
    restructured_cbf,
    restructured_cbf_gz,
    restructured_cbor,
    restructured_json,
    restructured_npy,
    restructured_trains,
)
from writers import Parts

KINDS = {
    "none": 4, "pixels": 16, "bytes": 22, "numbers": 14, "truncation": 10, "splice": 6, "parts": 5, "structure": 23,
}  # fmt: skip
"""Of a hundred messages so many are changed in this way: bytes of the pixels alone, or of anything; whole numbers written over
something; cut off; half of one and half of another; parts more or less; what the message says of itself."""

STRUCTURES: dict[str, Callable[[Good, random.Random], list[Parts]]] = {
    "hdf5": restructured_hdf5, "cbf": restructured_cbf, "cbf.gz": restructured_cbf_gz, "npy": restructured_npy,
    "seedee": restructured_json, "dectris1": restructured_json, "dectris2": restructured_cbor,
    "karabo-2.2": restructured_trains, "karabo-1.0": restructured_trains,
}  # fmt: skip
"""How what a message says of itself is changed, by format."""

BASES = 48
"""Good messages of each format that others are made of."""


@dataclass(frozen=True)
class Hostile:
    """A message, and what it was made of.

    Attributes
    ----------
    name
        Of the format, as `GOOD` has it.
    kind
        How it was changed, one of `KINDS`.
    messages
        All that the sender sends.
    good
        What it was before.
    """

    name: str
    kind: str
    messages: list[Parts]
    good: Good


class FormatMutator:
    """Makes message after message of one format."""

    def __init__(self, name: str, seed: int) -> None:
        self._name, self._seed = name, seed
        rng = np.random.default_rng(seed)
        self._good = [GOOD[name](rng) for _ in range(BASES)]
        self._restructure = STRUCTURES[name]

    def message(self, number: int) -> tuple[str, Hostile]:
        """How message `number` was made, and the message."""
        rng = random.Random((self._seed << 48) | number)
        (kind,) = rng.choices(list(KINDS), list(KINDS.values()))
        good = rng.choice(self._good)
        messages = [list(parts) for parts in good.messages]
        if kind == "structure":
            messages = self._restructure(good, rng)
            if rng.random() < 0.2:
                _change_a_part(messages, rng, maps.change_bytes)
        elif kind == "pixels":
            begin, end = good.covered or (0, len(messages[-1][-1]))
            messages[-1][-1] = flipped(messages[-1][-1], begin, end, rng)
        elif kind == "parts":
            change_parts(messages, rng)
        elif kind == "splice":
            other = rng.choice(self._good).messages
            _change_a_part(messages, rng, lambda part, rng: maps.spliced(part, rng.choice(rng.choice(other)), rng))
        elif kind != "none":
            _change_a_part(messages, rng, _OF_BYTES[kind])
        return kind, Hostile(self._name, kind, messages, good)


def _change_a_part(messages: list[Parts], rng: random.Random, change: Callable[[bytes, random.Random], bytes]) -> None:
    """Of several messages the last, mostly, which is the frame."""
    parts = messages[-1] if rng.random() < 0.75 else rng.choice(messages)
    n = rng.randrange(len(parts)) if parts else None
    if n is not None:
        parts[n] = change(parts[n], rng)


_OF_BYTES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bytes": maps.change_bytes, "numbers": with_numbers, "truncation": truncated,
}  # fmt: skip


def change_parts(messages: list[Parts], rng: random.Random) -> None:
    """Parts that are missing, come twice, or in another order; messages that do not come at all."""
    parts = rng.choice(messages)
    n = rng.randrange(len(parts))
    match rng.randrange(6):
        case 0:
            del parts[n]
        case 1:
            parts.insert(rng.randrange(len(parts) + 1), parts[n])
        case 2:
            parts.insert(rng.randrange(len(parts) + 1), rng.choice((b"", b"tag", b"{}", b"\x80", b"\xd9\xd9\xf7\xa0")))
        case 3:
            rng.shuffle(parts)
        case 4:
            parts[n] = b""
        case _:
            rng.shuffle(messages) if rng.random() < 0.5 else messages.remove(parts)
    if not messages:
        messages.append([b""])
