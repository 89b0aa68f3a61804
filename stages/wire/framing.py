"""How a sender's messages become frames: what a source does with the parts of each message before anybody looks into them.

A source has one of these, and hands it all messages in the order in which they came, so that it may remember what a sender says
once for many frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline import Message
from stages.wire.formats import DataFormat
from stages.wire.looks import shown_by
from stages.wire.message import is_map_or_array, is_well_formed, split_maps, split_parts
from stages.wire.multipart import DEFAULT_MAX_MESSAGE_BYTES
from stages.wire.series_framing import dectris1_framing, dectris2_framing
from stages.wire.train_framing import TrainFraming


class Framing(Protocol):
    """From the parts of messages to frames."""

    def frames_of(self, parts: Sequence[memoryview], received_ns: int, keep_alive: object) -> list[Message]:
        """Return a message for each frame that the parts of one message hold, as slices of them.

        What holds none is handed on as one message, so that it is counted and the decoder says what is wrong with it.
        """
        ...

    def may_be_frame(self, short: memoryview) -> bool:
        """Whether a reply of a few bytes can be a frame; else it is what a server says in place of one."""
        ...


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Framed:
    """The parameters of every source of messages that say how these become frames."""

    data_format: DataFormat = Field(
        default="msgpack",
        description="Format of the data (``--data-format``): how messages become frames. The decoder has to be that format's.",
    )
    first_only: bool = Field(default=False, description="Of an array of maps take the first only, as CrystFEL does.")
    image_source: str = Field(
        default="",
        description="karabo: pattern (*, ?) of the sources that have the images, or of SOURCE/key; all that have image.data or "
        "data.adc where it is empty.",
    )
    pulse_axis: int | None = Field(
        default=None,
        description="karabo: which dimension of the arrays counts pulses; without it this is found by the number of pulse ids.",
    )
    max_message_bytes: int = Field(default=DEFAULT_MAX_MESSAGE_BYTES, ge=1, description="Longer messages are rejected.")

    def framing(self) -> Framing:
        """Return a new framing, for the messages of one sender."""
        return framing_of(
            self.data_format,
            first_only=self.first_only,
            image_source=self.image_source,
            pulse_axis=self.pulse_axis,
        )


def framing_of(
    data_format: str, *, first_only: bool = False, image_source: str = "", pulse_axis: int | None = None
) -> Framing:
    """Return a new framing for a format, which has compiled what it needs.

    `first_only`: of several maps in one message the first alone. `image_source` and `pulse_axis` are of trains: see
    :func:`~stages.wire.trains.frames_of_train`.
    """
    if data_format in _SERIES:
        return _SERIES[data_format]()
    if data_format == "seedee":
        return PairFraming()
    if data_format == "karabo":
        return TrainFraming(image_source, pulse_axis)
    return MapFraming(first_only) if data_format == "msgpack" else WholeFraming()


_SERIES = {"dectris1": dectris1_framing, "dectris2": dectris2_framing}


class MapFraming:
    """Each MessagePack map is a frame: of an array of maps each becomes one."""

    def __init__(self, first_only: bool) -> None:
        self._first_only = first_only
        is_well_formed(memoryview(b"\x80"))  # compiles the kernel

    def frames_of(self, parts: Sequence[memoryview], received_ns: int, keep_alive: object) -> list[Message]:
        """Split bodies into maps."""
        if (other := shown_by(parts, "msgpack")) is not None:
            return [Message(b"", received_ns, (other,), keep_alive)]
        topic, bodies = split_parts(parts)
        return [
            Message(topic, received_ns, (part,), keep_alive)
            for body in bodies
            for part in split_maps(body, first_only=self._first_only)
        ]

    def may_be_frame(self, short: memoryview) -> bool:
        """Maps may be that short."""
        return is_map_or_array(short)


class WholeFraming:
    """A message is a frame: its last part that is not empty, with a tag before it or without.

    >>> message, = WholeFraming().frames_of([memoryview(b"tag"), memoryview(b""), memoryview(b"###CBF: ")], 0, None)
    >>> message.topic, bytes(message.parts[0])
    (b'tag', b'###CBF: ')
    """

    def frames_of(self, parts: Sequence[memoryview], received_ns: int, keep_alive: object) -> list[Message]:
        """Take the body."""
        filled = [part for part in parts if len(part)]
        if (other := shown_by(filled, "")) is not None:
            return [Message(b"", received_ns, (other,), keep_alive)]
        has_tag = len(filled) > 1
        body = filled[-1] if filled else memoryview(b"")
        return [Message(bytes(filled[0][:256]) if has_tag else b"", received_ns, (body,), keep_alive)]

    def may_be_frame(self, short: memoryview) -> bool:
        """No image file is that short."""
        return False


class PairFraming(WholeFraming):
    """A message is a frame: its last two parts that are not empty, with a tag before them or without.

    >>> message, = PairFraming().frames_of([memoryview(b"tag"), memoryview(b"{}"), memoryview(b"pixels")], 0, None)
    >>> message.topic, [bytes(part) for part in message.parts]
    (b'tag', [b'{}', b'pixels'])
    """

    def frames_of(self, parts: Sequence[memoryview], received_ns: int, keep_alive: object) -> list[Message]:
        """Take description and pixels."""
        filled = [part for part in parts if len(part)]
        if (other := shown_by(filled, "seedee")) is not None:
            return [Message(b"", received_ns, (other,), keep_alive)]
        topic = bytes(filled[0][:256]) if len(filled) > 2 else b""
        return [Message(topic, received_ns, tuple(filled[-2:]) or (memoryview(b""),), keep_alive)]
