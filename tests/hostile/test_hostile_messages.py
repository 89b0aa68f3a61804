"""Whatever is in a message, a decoder takes it or raises RejectFrame, and allocates nothing for what it merely declares."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
import pytest
from hostile_catalogue import BAD, GOOD, GOOD_BODY, STRANGE, Bomb
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline import Context, Message, RejectFrame
from stages.decode.headers_only import HeadersOnly
from stages.decode.msgpack_map import MsgpackMap
from stages.peaks.from_message import FromMessage
from stages.records import DetGeom, Header, Panel
from stages.wire.message import split_maps, split_parts

DECODE = MsgpackMap().open(Context())
HEADERS = HeadersOnly().open(Context())
PEAKS = FromMessage().open(Context())
ZERO = np.zeros((1, 3))
GEOMETRY = DetGeom(
    (Panel("p", max_fs=9, max_ss=9),), ZERO, ZERO, ZERO, 1e4, np.ones(1), (np.zeros((10, 10), "u1"),), peak_list="peak_list"
)  # fmt: skip


def attempt(ask: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    """Return what comes of it, and the text of the rejection if that comes of it; anything else fails the test."""
    try:
        return ask(*arguments), ""
    except RejectFrame as rejected:
        return None, f"{rejected.reason}: {rejected.detail}"


def use(header: Header) -> None:
    """Ask for everything that a header can be asked for."""
    for key in header:
        for ask in (header.number, header.required):
            _, why = attempt(ask, key)
            assert not why or repr(key) in why
    _, why = attempt(PEAKS, header, GEOMETRY)
    assert not why or "'peak_list'" in why


def feed(body: bytes) -> None:
    """Take a message the whole way; nothing but RejectFrame may come of it."""
    for part in split_maps(memoryview(body)):
        for decode in (DECODE, HEADERS):
            decoded, why = attempt(decode, Message(b"", 0, (part,)))
            if decoded is None:
                assert 10 < len(why) < 1000
                continue
            event, header, *images = decoded
            assert event.isprintable()
            use(header)
            for image in images:
                for key in (*image.arrays, *image.broken, *image.others):
                    array, why = attempt(image.array, key)
                    assert repr(key) in why if array is None else array.nbytes <= 2 * len(part)


@pytest.mark.parametrize("decode", [DECODE, HEADERS], ids=["msgpack_map", "headers_only"])
@pytest.mark.parametrize("case", BAD)
def test_a_bad_message_is_rejected_with_what_it_is(case: str, decode: object) -> None:
    body, reason = BAD[case]
    with pytest.raises(RejectFrame) as caught:
        decode(Message(b"", 0, (body,)))
    assert caught.value.reason == reason
    assert 20 < len(caught.value.detail) < 400


@pytest.mark.parametrize("case", [*BAD, *STRANGE])
def test_nothing_is_allocated_for_what_a_message_declares(case: str) -> None:
    body = BAD[case][0] if case in BAD else STRANGE[case]
    feed(body)  # whatever is cached is cached now
    tracemalloc.start()
    try:
        feed(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 * len(body) + 1_000_000


@pytest.mark.parametrize("case", STRANGE)
def test_a_strange_message_is_taken_and_used_without_harm(case: str) -> None:
    _, header, _ = DECODE(Message(b"", 0, (STRANGE[case],)))
    use(header)


def test_no_pickle_is_ever_opened() -> None:
    for body, reason in BAD.values():
        if reason == "pickle":
            feed(body)
    pickled = BAD["pickle 4"][0]
    feed(msgpack.packb({"a": {"nd": True, "type": "O", "kind": "O", "shape": [1, 1], "data": pickled}}))
    feed(msgpack.packb({"a": {"nd": False, "type": "O", "kind": "O", "data": pickled}}))
    assert not Bomb.opened


def test_a_pickle_is_named_with_what_to_do_instead() -> None:
    with pytest.raises(RejectFrame, match=r"Python pickle.*never opened.*--zmq-request=next"):
        DECODE(Message(b"omdata", 0, (BAD["pickle 5"][0],)))


def test_the_limits_are_the_users() -> None:
    deep = msgpack.packb({"a": [[[1]]]})
    HeadersOnly(max_nesting=3).open(Context())(Message(b"", 0, (deep,)))
    with pytest.raises(RejectFrame, match=r"too_deep: .* max_nesting = 2"):
        HeadersOnly(max_nesting=2).open(Context())(Message(b"", 0, (deep,)))
    with pytest.raises(RejectFrame, match=r"too_large: the message has \d+ bytes, and max_message_bytes allows 10"):
        MsgpackMap(max_message_bytes=10).open(Context())(Message(b"", 0, (GOOD_BODY,)))


def test_every_truncation_of_a_good_message_is_rejected() -> None:
    for end in range(len(GOOD_BODY)):
        with pytest.raises(RejectFrame):
            DECODE(Message(b"", 0, (GOOD_BODY[:end],)))


@given(st.binary(max_size=300))
@example(b"\x80\x04.")
@example(b"\x81\xa9peak_list\x83\xa2fs\xc4\x01\x00\xa2ss\x90\xa9intensity\x90")
def test_random_bytes_are_taken_or_rejected(body: bytes) -> None:
    feed(body)


@given(st.sampled_from([b"\x81\xa1a", b"\x8f", b"\xde\x00\x03", b"\x92\x81", b"\xdc\x00\x02"]), st.binary(max_size=300))
def test_random_bytes_that_begin_like_a_message_are_taken_or_rejected(head: bytes, rest: bytes) -> None:
    feed(head + rest)


@given(st.data())
def test_a_good_message_with_bytes_changed_is_taken_or_rejected(data: st.DataObject) -> None:
    pixels = {"nd": True, "type": "<i2", "kind": "", "shape": [3, 4], "data": bytes(24)}
    body = bytearray(msgpack.packb({**GOOD, "detector_data": pixels}))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    feed(bytes(body))


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_any_parts_make_at_least_one_body(parts: list[bytes]) -> None:
    topic, bodies = split_parts([memoryview(part) for part in parts])
    assert bodies
    assert len(topic) <= 256
