"""What a message says besides its pixels: a map, read key by key when a stage asks.

Keys are matched exactly, whatever they were on the wire (str, bin or legacy raw). Values that arrive as bin or raw text
become ``str``; values encoded by msgpack-numpy become numpy scalars or arrays.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np

from pipeline import RejectFrame, SenderNumber


def _as_it_is(value: Any) -> Any:
    return value


@dataclass(frozen=True, eq=False)
class Header(Mapping[str, Any]):
    """The map of one frame, without its pixels.

    Parameters
    ----------
    raw
        The still encoded (or plain) value of each key.
    decode
        Turns one encoded value into a Python value (str, int, float, bool, None, list, dict or numpy scalar/array). It
        raises :class:`~pipeline.RejectFrame` when the value is broken. A value is decoded when it is first asked for.
    images
        Keys of the message's map under which there are images; they are no header values.
    sender_number
        The number that the sender has given the message, if it has one.
    place
        File name and event, as CrystFEL writes them, of a frame that was read from a file; None for one that was received.

    >>> header = Header({"beam_energy": 9500, "clen": "130.5", "note": None})
    >>> header.number("beam_energy"), header.number("clen")
    (9500.0, 130.5)
    """

    raw: Mapping[str, Any]
    decode: Callable[[Any], Any] = field(default=_as_it_is)
    images: frozenset[str] = frozenset()
    sender_number: SenderNumber | None = None
    _seen: dict[str, Any] = field(default_factory=dict, repr=False)
    place: tuple[str, str] | None = None

    def __getitem__(self, key: str) -> Any:
        if key not in self._seen:
            try:
                self._seen[key] = self.decode(self.raw[key])
            except RejectFrame as broken:
                raise RejectFrame(broken.reason, f"key {key!r}: {broken.detail}") from None
        return self._seen[key]

    def __contains__(self, key: object) -> bool:
        return key in self.raw

    def __iter__(self) -> Iterator[str]:
        return iter(self.raw)

    def __len__(self) -> int:
        return len(self.raw)

    def detached(self) -> Header:
        """Return a header that keeps nothing alive of the message, whose buffer holds the pixels too."""
        own = {key: _own(value) for key, value in self.raw.items()}
        return Header(own, self.decode, sender_number=self.sender_number, place=self.place)

    def numbered(self, number: SenderNumber | None) -> Header:
        """Return the header with the number that the sender has given the message."""
        return Header(self.raw, self.decode, self.images, number, self._seen, self.place)

    def of_file(self, filename: str, event: str) -> Header:
        """Return the header of a frame that was read from a file."""
        return replace(self, place=(filename, event))

    def __reduce__(self) -> Any:
        # memory of the message does not cross to another process
        return Header, (
            {key: _own(value) for key, value in self.raw.items()},
            self.decode,
            self.images,
            self.sender_number,
            {},
            self.place,
        )

    def __repr__(self) -> str:
        more = len(self.raw) - _MOST_KEYS
        keys = [in_short(key).strip("'") for key in list(self.raw)[:_MOST_KEYS]]
        return f"Header({', '.join(keys)}{f' and {more} more' if more > 0 else ''})"

    def required(self, key: str) -> Any:
        """Return the value of `key`, or reject the frame naming the key and the keys that there are."""
        if key not in self.raw:
            if key in self.images:
                raise RejectFrame("not_a_header_value", f"key {key!r} holds an image; a header value was wanted")
            have = ", ".join(sorted(self.raw)) or "none"
            raise RejectFrame("missing_key", f"the message has no key {key!r}; its keys are: {have}")
        return self[key]

    def number(self, key: str, *, positive: bool = True) -> float:
        """Return the value of `key` as a finite float, in whatever unit the sender uses.

        int, float, numeric text and numpy scalars are numbers; nil, bool, lists and maps are not. The frame is rejected
        when the key is missing, when the value is not a finite number, or not above 0 while `positive` is asked for.
        """
        value = self.required(key)
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.reshape(-1)[0]
        number = math.nan
        if isinstance(value, str):
            digits = value.strip()
            number = float(digits) if _NUMBER.fullmatch(digits) else math.nan
        elif isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
            number = float(value)
        if not math.isfinite(number):
            raise RejectFrame("not_a_number", f"key {key!r} should hold a finite number, and holds {in_short(value)}")
        if positive and number <= 0:
            raise RejectFrame("not_positive", f"key {key!r} should hold a number above 0, and holds {in_short(value)}")
        return number


def _own(value: Any) -> Any:
    if hasattr(value, "detached"):
        return value.detached()
    if isinstance(value, msgspec.Raw):
        return value.copy()
    return bytes(value) if isinstance(value, memoryview) else value


_MOST_KEYS = 6
"""So many keys are named where a header is shown."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
"""Numbers as text, in digits; Python's own ``float`` also takes ``1_0`` and other alphabets."""


def in_short(value: object) -> str:
    """Return what a value is for a message to people, cut to 60 characters.

    >>> in_short([1, 2]), len(in_short("x" * 100))
    ('[1, 2]', 60)
    >>> in_short(np.zeros((18, 26)))
    'an array of shape (18, 26) and type float64'
    """
    text = _SHORT.repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class _Short(reprlib.Repr):
    """Looks at no more of a value than its first 60 characters need, however large it is."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlist = self.maxtuple = self.maxdict = 20
        self.maxstring = self.maxother = self.maxlong = 200
        self.maxlevel = 20

    repr_bytes = reprlib.Repr.repr_str

    def repr_ndarray(self, array: np.ndarray[Any, Any], level: int) -> str:
        """numpy would look at a thousand values."""
        if array.size <= self.maxlist:
            return self.repr_instance(array, level)
        return f"an array of shape {array.shape} and type {array.dtype}"


_SHORT = _Short()
