"""Where the maps of a message are: parts and tags, one map or an array of them, keys of every kind."""

from __future__ import annotations

from typing import Any

import msgpack
import msgpack_numpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import Context, Message, RejectFrame
from stages.decode.headers_only import HeadersOnly
from stages.decode.msgpack_map import MsgpackMap
from stages.records.told import PixelsDecoded
from stages.wire.encoded import decode_value
from stages.wire.message import read_map, split_maps, split_parts, stand_in

DECODE = MsgpackMap().open(Context())
HEADERS = HeadersOnly().open(Context())


def message(body: bytes | memoryview) -> Message:
    return Message(b"", 0, (body,))


def views(*parts: bytes) -> list[memoryview]:
    return [memoryview(part) for part in parts]


MAP = msgpack.packb({"a": 1})
OTHER = msgpack.packb({"b": 2})


@pytest.mark.parametrize(
    ("parts", "topic", "bodies"),
    [
        ((MAP,), b"", [MAP]),
        ((b"ondaframedata", MAP), b"ondaframedata", [MAP]),
        ((b"x" * 200, MAP), b"x" * 200, [MAP]),  # a tag longer than the body
        ((b"t", b"", MAP), b"t", [MAP]),
        ((b"", MAP), b"", [MAP]),  # the envelope of a reply
        ((b"", b"tag", MAP), b"tag", [MAP]),
        ((MAP, b""), b"", [MAP]),
        ((b"tag", b'{"info": 1}', MAP), b"tag", [MAP]),
        ((b"tag", MAP, OTHER), b"tag", [MAP, OTHER]),
        ((b"tag", b""), b"tag", [b""]),
        ((b"",), b"", [b""]),
        ((b"tag", b"no map", b"neither"), b"tag", [b"neither"]),
    ],
)
def test_tag_and_bodies_are_told_apart_by_position(parts: tuple[bytes, ...], topic: bytes, bodies: list[bytes]) -> None:
    found, rest = split_parts(views(*parts))
    assert found == topic
    assert [bytes(body) for body in rest] == bodies


def test_every_map_of_an_array_becomes_a_slice_of_the_same_memory() -> None:
    body = memoryview(msgpack.packb([{"n": n} for n in range(3)]))
    parts = split_maps(body)
    assert [decode_value(part) for part in parts] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert all(np.shares_memory(np.frombuffer(part, "u1"), np.frombuffer(body, "u1")) for part in parts)


def test_only_the_first_map_is_taken_when_asked_for() -> None:
    parts = split_maps(memoryview(msgpack.packb([{"n": 0}, {"n": 1}])), first_only=True)
    assert [decode_value(part) for part in parts] == [{"n": 0}]


@pytest.mark.parametrize("size", [1, 15, 16, 70000 // 8])
def test_arrays_of_any_length_code_are_split(size: int) -> None:
    assert len(split_maps(memoryview(msgpack.packb([{"n": n} for n in range(size)])))) == size


def test_an_element_that_is_no_map_is_split_off_for_the_decoder_to_reject() -> None:
    good, bad, last = split_maps(memoryview(msgpack.packb([{"n": 0}, 7, {"n": 2}])))
    assert [decode_value(good), decode_value(last)] == [{"n": 0}, {"n": 2}]
    with pytest.raises(RejectFrame, match="not_a_map: the message is an integer"):
        DECODE(message(bad))


@pytest.mark.parametrize("values", [[], [1, 2], [[{"a": 1}]]])
def test_an_array_without_a_map_stays_whole_and_is_rejected(values: list[Any]) -> None:
    body = msgpack.packb(values)
    assert [bytes(part) for part in split_maps(memoryview(body))] == [body]
    with pytest.raises(RejectFrame, match=r"empty_array|not_a_map"):
        DECODE(message(body))


def test_a_truncated_array_of_maps_stays_whole_and_is_rejected_as_truncated() -> None:
    body = msgpack.packb([{"n": 0}, {"n": 1}])[:-1]
    assert len(split_maps(memoryview(body))) == 1
    with pytest.raises(RejectFrame, match="truncated"):
        DECODE(message(body))


def test_an_array_of_one_map_is_decoded_as_that_map() -> None:
    for body in (msgpack.packb([{"a": 5}]), b"\xdc\x00\x01" + MAP, b"\xdd\x00\x00\x00\x01" + MAP):
        _, header, _ = DECODE(message(body))
        assert list(header) == ["a"]


def test_an_array_of_several_maps_is_not_for_the_decoder() -> None:
    with pytest.raises(RejectFrame, match=r"several_maps.* array of 3 maps; the source splits"):
        DECODE(message(msgpack.packb([{}, {}, {}])))


@pytest.mark.parametrize("use_bin_type", [True, False], ids=["bin", "legacy raw"])
@pytest.mark.parametrize("as_bytes", [True, False], ids=["bytes", "text"])
def test_keys_and_texts_are_found_whatever_their_type(use_bin_type: bool, as_bytes: bool) -> None:
    def kind(text: str) -> str | bytes:
        return text.encode() if as_bytes else text

    body = msgpack.packb({kind("beam_energy"): kind("9500"), kind("ähm"): kind("µm")}, use_bin_type=use_bin_type)
    _, header, _ = DECODE(message(body))
    assert header.number("beam_energy") == 9500.0
    assert header["ähm"] == "µm"


def test_a_key_is_matched_exactly_and_not_by_its_beginning() -> None:
    _, header, _ = DECODE(message(msgpack.packb({"b": 1, "beam_energy_2": 3})))
    with pytest.raises(RejectFrame, match=r"missing_key.* no key 'beam_energy'; its keys are: b, beam_energy_2"):
        header.number("beam_energy")


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (10000, 10000.0),
        (9.5, 9.5),
        ("130.25", 130.25),
        (b" 1e4\n", 10000.0),
        ({"nd": False, "type": "<f8", "data": np.float64(120.5).tobytes()}, 120.5),
        ({b"nd": False, b"type": b"<i2", b"data": np.int16(7).tobytes()}, 7.0),
        ({"nd": True, "type": ">f4", "kind": "", "shape": [1], "data": np.array([3.0], ">f4").tobytes()}, 3.0),
        (2**64 - 1, float(2**64 - 1)),
    ],
)
def test_numbers_are_read_from_every_form_they_come_in(value: Any, number: float) -> None:
    _, header, _ = DECODE(message(msgpack.packb({"clen": value})))
    assert header.number("clen") == number


@pytest.mark.parametrize("decode", [DECODE, HEADERS])
@pytest.mark.parametrize("kind", ["f8", ">f4", "f2", "i8", "u2"])
def test_numbers_are_read_as_msgpack_numpy_writes_scalars_and_arrays_without_dimensions(kind: str, decode: Any) -> None:
    values = {"scalar": np.dtype(kind).type(120), "array": np.array(120, kind), "of_one": np.array([120], kind)}
    header = decode(message(msgpack.packb(values, default=msgpack_numpy.encode)))[1]
    assert [header.number(key) for key in values] == [120.0] * 3
    assert np.ndim(header["array"]) == 0
    assert not header.images


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        [120],
        {"mm": 120},
        "far",
        "",
        "12_0",
        "nan",
        float("nan"),
        float("inf"),
        "1e999",
        b"\xff",
        msgpack.ExtType(5, b"abc"),
    ],
)
def test_what_is_no_finite_number_is_rejected_with_the_name_of_its_key(value: Any) -> None:
    _, header, _ = DECODE(message(msgpack.packb({"clen": value})))
    with pytest.raises(RejectFrame, match="not_a_number: key 'clen'"):
        header.number("clen")


@pytest.mark.parametrize("value", [0, -1.5, "-3"])
def test_a_number_that_should_be_positive_and_is_not_is_rejected(value: Any) -> None:
    _, header, _ = DECODE(message(msgpack.packb({"clen": value})))
    with pytest.raises(RejectFrame, match="not_positive: key 'clen'"):
        header.number("clen")
    assert header.number("clen", positive=False) == float(value)


def test_the_event_is_the_messages_own_name() -> None:
    event, _, _ = DECODE(message(msgpack.packb({"event": "second", "event_id": "run 1 // 0004"})))
    assert event == "run 1 // 0004"
    assert HEADERS(message(msgpack.packb({"event": 17})))[0] == "17"
    assert HEADERS(message(MAP))[0] == ""
    assert (
        MsgpackMap(event_keys=("shot",)).open(Context())(message(msgpack.packb({"shot": "s1", "event_id": "x"})))[0]
        == "s1"
    )


@pytest.mark.parametrize("name", ["a\nEvent: //7", "a\r----- End chunk -----", "a\x00b", "a\u2028b"])
def test_an_event_cannot_break_the_lines_of_the_stream(name: str) -> None:
    event, _, _ = DECODE(message(msgpack.packb({"event_id": name})))
    assert len(event.splitlines()) == 1
    assert event.isprintable()
    assert event[0] == "a"


@pytest.mark.parametrize("value", [["a"], None, {"nd": False, "type": "O", "data": b"x"}])
def test_an_event_that_is_no_name_leaves_the_frame_without_one(value: Any) -> None:
    assert DECODE(message(msgpack.packb({"event_id": value})))[0] == ""


def test_decoders_say_whether_there_are_images() -> None:
    context = Context()
    MsgpackMap().open(context)
    assert context.published[PixelsDecoded].wanted is True
    HeadersOnly().open(context)
    assert context.published[PixelsDecoded].wanted is False


def test_a_stand_in_is_rejected_with_its_reason() -> None:
    with pytest.raises(RejectFrame) as caught:
        read_map(memoryview(stand_in("too_large", "the message has 5 GB")))
    assert (caught.value.reason, caught.value.detail) == ("too_large", "the message has 5 GB")


def test_a_value_is_decoded_only_when_it_is_asked_for() -> None:
    body = msgpack.packb({"good": 1, "text": b"\xff\xfe"}) + b""
    broken = b"\x83" + body[1:] + msgpack.packb("scalar") + msgpack.packb({"nd": False, "type": "<f8", "data": b"123"})
    _, header, _ = DECODE(message(broken))
    assert header["good"] == 1
    assert header["text"] == b"\xff\xfe"
    with pytest.raises(RejectFrame, match=r"bad_array_size: key 'scalar': .* 3 bytes of data; 8 were wanted"):
        header["scalar"]


JSON_LIKE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=20) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=40,
)


@settings(max_examples=40)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON_LIKE), st.booleans())
def test_any_json_like_map_is_read_with_the_same_values(values: dict[str, Any], use_bin_type: bool) -> None:
    _, header, _ = DECODE(message(msgpack.packb(values, use_bin_type=use_bin_type)))
    assert dict(header) == values
    assert dict(HEADERS(message(msgpack.packb(values)))[1]) == values


@given(st.lists(st.dictionaries(st.text(max_size=5), st.integers(0, 9)), min_size=1, max_size=40), st.data())
def test_splitting_an_array_of_maps_loses_and_adds_nothing(maps: list[dict[str, int]], data: st.DataObject) -> None:
    body = msgpack.packb([{k.encode("utf-8", "replace"): v for k, v in one.items()} for one in maps])
    parts = split_maps(memoryview(body))
    assert b"".join(bytes(part) for part in parts) == body[1 if len(maps) < 16 else 3 :]
    cut = data.draw(st.integers(1, len(body) - 1))
    assert [bytes(part) for part in split_maps(memoryview(body[:cut]))] == [body[:cut]]
