"""From the trains of a karabo bridge to frames: what the source does with each message."""

from __future__ import annotations

from collections.abc import Sequence

import msgpack

from pipeline import Message, RejectFrame
from stages.wire.encoded import is_map
from stages.wire.karabo import train_of
from stages.wire.looks import magic_of, shown_by
from stages.wire.trains import BROKEN, FRAME, MOST_FRAMES, MOST_TRAIN_ID, frames_of_train


class TrainFraming:
    """A train becomes a frame for each pulse; what is none is handed on as it came.

    Parameters
    ----------
    image_source, pulse_axis
        As in :func:`~stages.wire.trains.frames_of_train`.
    """

    def __init__(self, image_source: str, pulse_axis: int | None) -> None:
        self._image_source, self._pulse_axis = image_source, pulse_axis
        self._latest: tuple[int, int, int] | None = None
        train_of([memoryview(b"\x81\xa1a\x80")])  # compiles the kernel

    def frames_of(self, parts: Sequence[memoryview], received_ns: int, keep_alive: object) -> list[Message]:
        """Take a train apart."""
        parts = parts[1:] if parts and not len(parts[0]) else parts  # the envelope of a reply
        if (other := shown_by(parts, "karabo")) is not None:
            return [Message(b"", received_ns, (other,), keep_alive)]
        topic = b""
        if len(parts) > 1 and not is_map(parts[0]):
            topic, parts = bytes(parts[0][:256]), parts[1:]
        if parts and bytes(parts[0][: len(BROKEN)]) == BROKEN:  # it was rejected before, and is sent again
            parts = parts[1:]
        whole = Message(topic, received_ns, tuple(parts) or (memoryview(b""),), keep_alive)
        if parts and (bytes(parts[0][: len(FRAME)]) == FRAME or magic_of(parts[0])[1] not in ("", "karabo")):
            return [whole]
        try:
            train = train_of(parts)
            if train is None:
                return [whole]
            return frames_of_train(
                train,
                received_ns,
                topic=topic,
                keep_alive=keep_alive,
                image_source=self._image_source,
                pulse_axis=self._pulse_axis,
                first_number=self._first_number,
            )
        except RejectFrame as broken:
            why = BROKEN + msgpack.packb([broken.reason, broken.detail])
            return [Message(topic, received_ns, (why, *parts), keep_alive)]

    def _first_number(self, train_id: int, count: int) -> int:
        """The number of a train's first frame: trains that did not come are taken to have as many frames as the one before.

        While all trains have equally many, it is the same wherever a train is received.
        """
        if self._latest is None:
            number = train_id * count
        else:
            before, count_before, number_before = self._latest
            number = number_before + (train_id - before) * count_before
        if not 0 <= number < MOST_TRAIN_ID * MOST_FRAMES:
            number = train_id * count
        self._latest = (train_id, count, number)
        return number

    def may_be_frame(self, short: memoryview) -> bool:
        """A server that is asked for something else answers with text."""
        return is_map(short)
