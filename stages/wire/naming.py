"""Who a message is: the event's name and the sender's own number, from its header, for decoders of every format."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from pipeline import Event, Message, RejectFrame, SenderNumber
from stages.records.header import Header
from stages.wire.file_frame import file_frame_of, whole_file
from stages.wire.message import body_of, check_body, too_large
from stages.wire.multipart import DEFAULT_MAX_MESSAGE_BYTES


@dataclass(frozen=True)
class Naming:
    """The parameters of every decoder, and what they do."""

    event_keys: tuple[str, ...] = Field(
        default=("event_id", "event"),
        description="Keys that may hold the event's name; the first that is there counts.",
    )
    sequence_keys: tuple[str, ...] = Field(
        default=("sequence_number",),
        description="Keys that may hold the number that goes up by one with each message of the sender, so that gaps are seen; "
        "the first that is there counts. Without one the number at the end of the event's name is taken (file // 12).",
    )
    max_message_bytes: int = Field(
        default=DEFAULT_MAX_MESSAGE_BYTES, ge=1, description="Longer messages are rejected before they are looked at."
    )

    def body(self, message: Message) -> memoryview:
        """Return the body of a message, or the file that it stands for.

        Rejects one that is too long, and what stands for one that was not passed on.
        """
        frame = file_frame_of(message)
        body = body_of(message) if frame is None else whole_file(frame, self.max_message_bytes)
        check_body(body, self.max_message_bytes)
        return body

    def parts(self, message: Message, what: str = "message") -> list[memoryview]:
        """Return all parts of a message, one at least; rejects what is too long, and what stands for one not passed on."""
        parts = [memoryview(part).toreadonly().cast("B") for part in message.parts] or [memoryview(b"")]
        check_body(parts[0], self.max_message_bytes)
        if (size := sum(map(len, parts))) > self.max_message_bytes:
            raise too_large(size, self.max_message_bytes, what)
        return parts

    def named(self, header: Header, message: Message | None = None) -> tuple[Event, Header]:
        """Return the event's name, and the header with the number that the sender has given the message.

        A message that stands for a frame of a file has that frame's name, and no number: lists may leave frames out.
        """
        frame = None if message is None else file_frame_of(message)
        if frame is not None:
            return Event(f"{frame.filename} {frame.event}"), header.of_file(frame.filename, frame.event)
        event = event_of(header, self.event_keys)
        return event, header.numbered(self._number_of(header, event))

    def _number_of(self, header: Header, event: Event) -> SenderNumber | None:
        for key in self.sequence_keys:
            if key in header:
                return number_under(key, header)
        key = next((key for key in self.event_keys if key in header), "")
        return number_in(event, key, counts_messages=False) if "//" in event else None


def number_under(key: str, header: Header) -> SenderNumber | None:
    """Return the number that stands under a key, within its file if the key holds an event's name; None if there is none.

    >>> header = Header({"a": 12, "b": "0012", "c": 12.0, "d": "run 3 // 0012", "e": 12.5, "f": True})
    >>> [number_under(key, header).number for key in "abcd"], number_under("d", header).series
    ([12, 12, 12, 12], 'run 3 // ')
    >>> number_under("e", header), number_under("f", header)
    (None, None)
    """
    try:
        value = header[key]
    except RejectFrame:  # a message without a number is no reason to lose the frame
        return None
    if isinstance(value, str):
        return number_in(value, key, counts_messages=True)
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return None
    return SenderNumber(int(value), key) if float(value).is_integer() else None


def number_in(text: str, key: str, *, counts_messages: bool) -> SenderNumber | None:
    """Return the number that a text is, or that stands at the end of an event's name behind that of its file."""
    found = _NUMBER.fullmatch(text)
    return SenderNumber(int(found[2]), key, counts_messages, found[1] or "") if found else None


_NUMBER = re.compile(r"(.*//\s*)?(\d{1,18})\s*", re.ASCII | re.DOTALL)
"""A number, or one that OM's events end with: ``file // 0012``."""


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
