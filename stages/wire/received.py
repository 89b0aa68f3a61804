"""From a message to its header and its event, the part that all decoders of MessagePack maps share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from pipeline import Event, Message, RejectFrame
from stages.records.header import Header
from stages.wire.encoded import decode_value
from stages.wire.message import DEFAULT_MAX_MESSAGE_BYTES, DEFAULT_MAX_NESTING, body_of, read_map

SMALL_BYTES = 65536
"""A header value up to this size is copied out of the message, so that it does not keep the pixels in memory."""


@dataclass(frozen=True)
class MapReader:
    """The parameters of every decoder of messages that hold a MessagePack map, and what they do."""

    event_keys: tuple[str, ...] = Field(
        default=("event_id", "event"),
        description="Keys that may hold the event's name; the first that is there counts.",
    )
    max_nesting: int = Field(
        default=DEFAULT_MAX_NESTING, ge=1, le=256, description="Messages nested more deeply are rejected."
    )
    max_message_bytes: int = Field(
        default=DEFAULT_MAX_MESSAGE_BYTES, ge=1, description="Longer messages are rejected before they are looked at."
    )

    def keys_of(self, message: Message) -> dict[str, memoryview]:
        """Return the still encoded value of each key of a message's map; rejects what holds no such map."""
        return read_map(body_of(message), max_nesting=self.max_nesting, max_message_bytes=self.max_message_bytes)

    def event_of(self, header: Header) -> Event:
        """Return the event's name."""
        return event_of(header, self.event_keys)

    def compile(self) -> None:
        """Read an empty map, so that the kernels are there before the first message."""
        self.keys_of(Message(b"", 0, (b"\x80",)))


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
            return Event(plain.strip())
    return Event("")
