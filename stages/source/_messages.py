"""From the parts of a ZeroMQ message to one Message per map."""

from __future__ import annotations

import time
from collections.abc import Sequence

import zmq

from pipeline import Message
from stages.wire.message import split_maps, split_parts, stand_in
from stages.wire.multipart import HARD_CEILING, MAX_PARTS, size_of


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
