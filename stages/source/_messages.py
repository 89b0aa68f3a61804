"""From the parts of a ZeroMQ message to one Message per map."""

from __future__ import annotations

import time
from collections.abc import Sequence

import zmq

from pipeline import Message
from stages.wire.message import split_maps, split_parts, stand_in

HARD_CEILING = 8
"""How many times `max_message_bytes` a part may have before libzmq refuses it, which costs the connection."""


def messages_of(frames: Sequence[zmq.Frame], max_message_bytes: int, *, first_only: bool) -> list[Message]:
    """Return a Message for each map, slices of the memory that ZeroMQ received them in.

    What holds no map is handed on as one message, so that it is counted and the decoder rejects it; so is a stand-in for a
    message that is too large.
    """
    received_ns = time.time_ns()
    size = sum(len(frame) for frame in frames)
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
