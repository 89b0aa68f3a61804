"""What came over a socket crosses to another process: as a copy, since the memory behind it does not."""

from __future__ import annotations

import pickle

import msgpack
import numpy as np
import pytest

from pipeline import Context, Message, RejectFrame, SenderNumber
from stages.decode.msgpack_map import MsgpackMap
from stages.records import Header
from stages.wire.message import stand_in
from stages.wire.received import SMALL_BYTES


def crossed(value: object) -> object:
    return pickle.loads(pickle.dumps(value))


def test_a_message_has_memory_of_its_own_where_it_comes_to() -> None:
    memory = bytearray(b"pixels")
    message = Message(b"tag", 3, (memoryview(memory)[1:], b"whole"), keep_alive=memory)
    there = crossed(message)
    memory[:] = b"others"
    assert there == Message(b"tag", 3, (b"ixels", b"whole"))


def test_what_stands_for_a_message_is_rejected_there_for_the_same_reason() -> None:
    message = crossed(Message(b"", 0, (stand_in("too_large", "it has more than was allowed"),)))
    with pytest.raises(RejectFrame, match="too_large: it has more than was allowed"):
        MsgpackMap().open(Context())(message)


def test_a_header_takes_its_large_values_along() -> None:
    large, image = bytes(SMALL_BYTES + 1), {"type": "|u1", "shape": [2, 2], "data": bytes(4)}
    body = memoryview(msgpack.packb({"large": large, "small": 3, "image": image, "sequence_number": 12}))
    _, header, pixels = MsgpackMap().open(Context())(Message(b"", 0, (body,)))
    there = crossed(header)
    assert isinstance(there, Header)
    assert (there["large"], there["small"]) == (large.decode(), 3)
    assert there.sender_number == header.sender_number == SenderNumber(12, "sequence_number")
    with pytest.raises(RejectFrame, match="'image' holds an image"):
        there.required("image")
    assert np.array_equal(crossed(pixels).array("image"), np.zeros((2, 2)))
