"""From the parts of a ZeroMQ message to one Message per map."""

from __future__ import annotations

import time
from collections.abc import Sequence

import zmq

from pipeline import Message
from stages.wire.message import split_maps, split_parts, stand_in

HARD_CEILING = 8
"""How many times `max_message_bytes` a part may have before libzmq refuses it, which costs the connection."""

MAX_PARTS = 1024
"""Parts of one message. OM sends two, three with a delimiter; each costs Python a kilobyte, however little it holds."""

_SKIP_S = 0.05
"""How long parts of a message that has too many are skipped before others get their turn."""


class Reader:
    """Takes whole messages off a socket, of each no more parts than `MAX_PARTS`; the others are thrown away one by one."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._is_amid = False

    def take(self) -> list[zmq.Frame]:
        """Return the parts of the next message, of one that has more than `MAX_PARTS` one more than that; never waits.

        Raises zmq.Again where there is none, or none yet.
        """
        until = time.monotonic() + _SKIP_S
        while self._is_amid:
            self._is_amid = self._socket.recv(zmq.NOBLOCK, copy=False).more
            if time.monotonic() > until:
                raise zmq.Again
        parts = [self._socket.recv(zmq.NOBLOCK, copy=False)]
        while parts[-1].more and len(parts) <= MAX_PARTS:
            parts.append(self._socket.recv(zmq.NOBLOCK, copy=False))
        self._is_amid = parts[-1].more
        return parts


def messages_of(frames: Sequence[zmq.Frame], max_message_bytes: int, *, first_only: bool) -> list[Message]:
    """Return a Message for each map, slices of the memory that ZeroMQ received them in.

    What holds no map is handed on as one message, so that it is counted and the decoder rejects it; so is a stand-in for a
    message that is too large or has too many parts.
    """
    received_ns = time.time_ns()
    if len(frames) > MAX_PARTS:
        detail = f"the message has more than {MAX_PARTS} parts; wanted are a tag and a body"
        return [Message(b"", received_ns, (stand_in("too_many_parts", detail),))]
    size = size_of(frames)
    if size > max_message_bytes:
        detail = f"the message has {size} bytes, and max_message_bytes allows {max_message_bytes}"
        return [Message(b"", received_ns, (stand_in("too_large", detail),))]
    topic, bodies = split_parts([frame.buffer.toreadonly().cast("B") for frame in frames])
    keep_alive = tuple(frames)
    return [
        Message(topic, received_ns, (part,), keep_alive)
        for body in bodies
        for part in split_maps(body, first_only=first_only)
    ]


def refused(max_message_bytes: int) -> Message:
    """Return what stands for a message that libzmq would not take, of which nothing else is known."""
    detail = (
        f"ZeroMQ refused a message, of which a part had more than {HARD_CEILING * max_message_bytes} bytes ({HARD_CEILING} x "
        "max_message_bytes) or which broke its protocol; this ended the connection, and a new one was made"
    )
    return Message(b"", time.time_ns(), (stand_in("refused", detail),))


def size_of(frames: Sequence[zmq.Frame]) -> int:
    """The bytes of a message."""
    return sum(len(frame) for frame in frames)
