"""From a message to its header and its event, the part that all decoders of MessagePack maps share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline import Event, Message, RejectFrame
from stages.encoded import decode_value
from stages.header import Header
from stages.wire import body_of, read_map

SMALL_BYTES = 65536
"""A header value up to this size is copied out of the message, so that it does not keep the pixels in memory."""

LONGEST_EVENT = 1024
"""Characters of an event's name that are kept."""


def keys_of(message: Message, max_nesting: int, max_message_bytes: int) -> dict[str, memoryview]:
    """Return the still encoded value of each key of a message's map; rejects what holds no such map."""
    return read_map(body_of(message), max_nesting=max_nesting, max_message_bytes=max_message_bytes)


def header_of(values: Mapping[str, memoryview], images: frozenset[str]) -> Header:
    """Make a header of all values but the images."""
    kept = {
        key: bytes(encoded) if len(encoded) <= SMALL_BYTES else encoded
        for key, encoded in values.items()
        if key not in images
    }
    return Header(kept, decode_value, images)


def event_of(header: Header, keys: Sequence[str]) -> Event:
    r"""Return the event's name: the value of the first of the keys that holds text or a number; "" where none does.

    >>> event_of(Header({"event": "run 3 // 12\n"}), ["event_id", "event"])
    'run 3 // 12'
    """
    for key in keys:
        if key not in header:
            continue
        try:
            value = header[key]
        except RejectFrame:  # an event without a name is no reason to lose the frame
            continue
        if isinstance(value, (str, int, float, np.integer, np.floating)) and not isinstance(value, bool):
            text = str(value)
            # line ends and control characters would break the lines of the stream
            plain = text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)
            return Event(plain.strip()[:LONGEST_EVENT])
    return Event("")
