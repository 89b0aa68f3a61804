"""Frames of a series: what is common to senders that describe a series once, and number its frames."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import Event, Message, Preamble, RejectFrame, SenderNumber
from stages.records.header import Header, in_short
from stages.records.image import PixelMask
from stages.wire.naming import Naming, event_of


@dataclass(frozen=True, eq=False)
class Series:
    """What a series' header says.

    Attributes
    ----------
    name
        Its number; frames say it too.
    values
        What goes into each frame's header.
    mask
        Pixels that are bad in all its images, by channel; "" for all channels.
    error_value
        The value of a pixel that has none; None where the header does not say.
    """

    name: int
    values: Mapping[str, Any]
    mask: Mapping[str, PixelMask]
    error_value: float | None = None


MOST_SERIES = 8
"""Headers that are kept in each replica; a sender has one at a time, and the largest hold a mask of some megabytes."""


class Latest:
    """The series of the frames of late, each read once, so that several senders may send in turn.

    Parameters
    ----------
    read
        Makes a series of the parts of its header; rejects what is none.
    missing
        What is wanted, for the frames of a series whose header has not come.
    """

    def __init__(self, read: Callable[[Preamble], Series], missing: str) -> None:
        self._read = read
        self._missing = missing
        self._known: OrderedDict[int, Series | RejectFrame] = OrderedDict()

    def of(self, message: Message, name: Any) -> Series:
        """Return the series of a frame that says it is of this one; rejects one whose header did not come, or is broken."""
        preamble = message.preamble
        if preamble is None:
            raise RejectFrame(
                "no_series_header",
                f"frame of series {in_short(name)}: no {self._missing} has come before it; start before the detector is "
                "armed, and with one receiver alone, since each message is sent to one",
            )
        series = self._of(preamble)
        if isinstance(series, RejectFrame):
            raise RejectFrame(series.reason, series.detail)
        if series.name != name or isinstance(name, bool):
            raise RejectFrame(
                "another_series",
                f"frame of series {in_short(name)}, and the last {self._missing} was that of series {series.name}",
            )
        return series

    def _of(self, preamble: Preamble) -> Series | RejectFrame:
        """What a header says, or why it cannot be read."""
        known = self._known.get(preamble.number)
        if known is not None:
            self._known.move_to_end(preamble.number)
            return known
        try:
            known = self._read(preamble)
        except RejectFrame as rejection:
            known = RejectFrame("bad_series_header", f"the series' header: {rejection.detail}")
        self._known[preamble.number] = known
        if len(self._known) > MOST_SERIES:
            self._known.popitem(last=False)
        return known


def named_in_series(header: Header, naming: Naming, series: int, frame: int, key: str) -> tuple[Event, Header]:
    """Name a frame ``series // frame``, if no key names it otherwise, and give its header the number of the frame."""
    if any(key in header for key in naming.sequence_keys):
        event, header = naming.named(header)
    else:
        event = event_of(header, naming.event_keys)
        header = header.numbered(SenderNumber(frame, key, True, f"{series} // "))
    return event or Event(f"{series} // {frame}"), header


def scalars(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers, truth values and texts.

    >>> scalars({"a": 1, "b": [1], "c": "d", "e": None})
    {'a': 1, 'c': 'd'}
    """
    return {name: value for name, value in values.items() if isinstance(value, str | int | float)}


def whole_number(values: Mapping[str, Any], key: str) -> int:
    """Return a number from 0 on, or reject the frame."""
    value = values.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise RejectFrame("bad_header", f"{key!r} should be a number from 0 on, and is {in_short(value)}")
    return value


def pixel_mask(array: NDArray[Any]) -> PixelMask:
    """Make a mask of a detector's pixel mask, in which each bit is a reason not to use the pixel."""
    bad = np.ascontiguousarray(array != 0).view(np.uint8)
    bad.flags.writeable = False
    return PixelMask(bad, hashlib.blake2b(bad.data, digest_size=8).hexdigest())
