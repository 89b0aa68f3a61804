"""From the parts of a ZeroMQ message to one Message per frame."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

import zmq

from pipeline import Message
from stages.wire.framing import Framing
from stages.wire.message import stand_in, too_large
from stages.wire.multipart import HARD_CEILING, MAX_PARTS, size_of


def messages_of(
    frames: Sequence[zmq.Frame], max_message_bytes: int, framing: Framing, sender: int = 0
) -> list[Message]:
    """Return a Message for each frame that has come from this sender, slices of the memory that ZeroMQ received them in.

    A message that is too large or has too many parts becomes a stand-in, which the decoder rejects.
    """
    received_ns = time.time_ns()
    if len(frames) > MAX_PARTS:
        detail = f"the message has more than {MAX_PARTS} parts; wanted is what one frame is made of"
        return [Message(b"", received_ns, (stand_in("too_many_parts", detail),))]
    size = size_of(frames)
    if size > max_message_bytes:
        trouble = too_large(size, max_message_bytes)
        return [Message(b"", received_ns, (stand_in(trouble.reason, trouble.detail),))]
    parts = [frame.buffer.toreadonly().cast("B") for frame in frames]
    found = framing.frames_of(parts, received_ns, tuple(frames))
    return [dataclasses.replace(one, sender=sender) for one in found] if sender else found


def refused(max_message_bytes: int) -> Message:
    """Return what stands for a message that libzmq would not take, of which nothing else is known."""
    detail = (
        f"ZeroMQ refused a message, of which a part had more than {HARD_CEILING * max_message_bytes} bytes ({HARD_CEILING} x "
        "max_message_bytes) or which broke its protocol; this ended the connection, and a new one was made"
    )
    return Message(b"", time.time_ns(), (stand_in("refused", detail),))
