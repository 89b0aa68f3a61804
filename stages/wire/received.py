"""From a message to its header, the part that all decoders of MessagePack maps share."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field
from pydantic.dataclasses import dataclass

from pipeline import Message
from stages.records.header import Header
from stages.wire.encoded import decode_value
from stages.wire.message import DEFAULT_MAX_NESTING, body_of, read_map
from stages.wire.naming import Naming

SMALL_BYTES = 65536
"""A header value up to this size is copied out of the message, so that it does not keep the pixels in memory."""


@dataclass(frozen=True)
class MapReader(Naming):
    """The parameters of every decoder of messages that hold a MessagePack map, and what they do."""

    max_nesting: int = Field(
        default=DEFAULT_MAX_NESTING, ge=1, le=256, description="Messages nested more deeply are rejected."
    )

    def keys_of(self, message: Message) -> dict[str, memoryview]:
        """Return the still encoded value of each key of a message's map; rejects what holds no such map."""
        return read_map(body_of(message), max_nesting=self.max_nesting, max_message_bytes=self.max_message_bytes)

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
