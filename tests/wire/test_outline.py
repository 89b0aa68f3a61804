"""Messages for people: a tree of keys, types and shapes, however broken."""

from __future__ import annotations

import msgpack
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stages.wire.outline import MOST_ENTRIES, MOST_LEVELS, outline


def lines(body: bytes) -> list[str]:
    return list(outline(memoryview(body)))


PIXELS = np.arange(12, dtype=">u2").reshape(3, 4)
ENCODED = {"type": PIXELS.dtype.str, "shape": PIXELS.shape, "data": PIXELS.tobytes(), "nd": True}
MESSAGE = msgpack.packb({"event\n": "run 1", "data": ENCODED, "peaks": {"fs": [1.5, 2.5]}, "maps": [{"n": None}]})


def test_keys_types_and_shapes_are_shown() -> None:
    assert lines(MESSAGE) == [
        "map of 4",
        r"  event\x0a: text 'run 1'",
        "  data: uint16 3 x 4, 24 bytes",
        "  peaks: map of 1",
        "    fs: array of 2 [1.5, 2.5]",
        "  maps: array of 1",
        "    [0]: map of 1",
        "      n: nil None",
    ]


def test_a_message_that_is_cut_off_is_shown_up_to_there() -> None:
    message = msgpack.packb({"event": "run 1", "peaks": {"fs": [[1.5], [2.5]]}, "maps": [{"n": None}]})
    whole = lines(message)
    for length in range(1, len(message)):
        *shown, last = lines(message[:length])
        assert all(there.startswith(line) for there, line in zip(whole, shown, strict=False))
        assert "cut off: " in last
    assert len(shown) == len(whole) - 1


def test_what_follows_is_shown_and_so_is_an_array_that_is_broken() -> None:
    assert lines(msgpack.packb({"a": 1}) + b"rest")[2:] == [
        "4 further bytes follow:",
        "00000000  72 65 73 74                                      |rest|",
    ]
    broken = lines(msgpack.packb({"data": {**ENCODED, "shape": [3, 5]}, "a": b"\xff"}))
    assert "array of shape (3, 5) and type >u2 has 24 bytes of data; 30 were wanted" in broken[1]
    assert broken[2] == r"  a: binary data b'\xff'"


def test_what_is_no_map_is_named_and_dumped() -> None:
    named, dump = lines(b"no MessagePack")
    assert named.startswith("the message is text")
    assert dump.endswith("|no MessagePack|")
    assert lines(b"") == ["the message is empty; a MessagePack map, or an array of maps, was wanted"]
    assert lines(bytes(1000))[-1] == "... 1000 bytes"


def test_large_and_deep_messages_are_cut() -> None:
    many = lines(msgpack.packb({f"key {n}": {"a": n} for n in range(MOST_ENTRIES + 5)}))
    assert many[-1] == "  ... and 5 more"
    assert len(lines(b"\x81\xa1a" * 100 + b"\xc0")) == MOST_LEVELS + 1
    assert len(lines(b"\x91" * 100_000)) < 100
    assert lines(b"\xdf\xff\xff\xff\xff\xa1a\x01")[0] == "map of 4294967295"
    assert len(lines(msgpack.packb({"text": "x" * 10_000_000}))[1]) < 200


@given(st.binary(max_size=60))
def test_any_bytes_can_be_shown(tail: bytes) -> None:
    for head in (b"", b"\x82\xa1a", b"\x92\x81"):
        assert all(line.isprintable() for line in outline(memoryview(head + tail)))
