"""Arrays in messages: every dtype and spelling, no copies, and what is wrong with the broken ones."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import Context, Message, RejectFrame
from stages.decode.headers_only import HeadersOnly
from stages.decode.msgpack_map import MsgpackMap

DECODE = MsgpackMap().open(Context())
HEADERS = HeadersOnly().open(Context())
PIXELS = np.arange(1, 13).reshape(3, 4)


def encoded(array: np.ndarray, **changes: Any) -> dict[str, Any]:
    made = {"nd": True, "type": array.dtype.str, "kind": "", "shape": list(array.shape), "data": array.tobytes()}
    made.update(changes)
    return {key: value for key, value in made.items() if value is not ...}


def body_with(array: Any, **pack: Any) -> bytes:
    return msgpack.packb({"before": "x", "pixels": array, "after": 5}, **pack)


def image_in(body: bytes | memoryview) -> np.ndarray:
    return DECODE(Message(b"", 0, (body,)))[2].array("pixels")


KINDS = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]


@pytest.mark.parametrize("order", ["<", ">", "|", "=", ""])
@pytest.mark.parametrize("kind", KINDS)
def test_every_dtype_and_byte_order_is_read(kind: str, order: str) -> None:
    array = PIXELS.astype((order if order in "<>=" else "") + kind)
    read = image_in(body_with(encoded(array, type=order + kind)))
    assert np.array_equal(read, PIXELS)
    assert read.dtype == np.dtype("f4" if kind == "f2" else kind)
    assert read.dtype.isnative
    assert not read.flags.writeable


@pytest.mark.parametrize(
    "name", ["uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "double"]
)
def test_numpy_names_are_dtypes_too(name: str) -> None:
    assert np.array_equal(image_in(body_with(encoded(PIXELS.astype(name), type=name))), PIXELS)


@pytest.mark.parametrize("kind", ["<i4", "<f4", "<u2", "|u1", "<f8"])
@pytest.mark.parametrize("legacy", [False, True], ids=["bin", "legacy raw"])
def test_pixels_are_not_copied(kind: str, legacy: bool) -> None:
    array = np.full((40, 50), 0xF0F1F2F3 & 0x7F, kind)
    array.view("u1")[:] = 0xFE  # never UTF-8
    body = body_with(encoded(array, kind=b""), use_bin_type=not legacy)
    read = image_in(body)
    assert np.array_equal(read.view("u1"), array.view("u1"))
    whole = np.frombuffer(body, "u1")
    assert np.shares_memory(read, whole)
    assert whole.ctypes.data < read.ctypes.data < whole.ctypes.data + len(body)


@pytest.mark.parametrize("size", [10, 300, 70000])
@pytest.mark.parametrize("legacy", [False, True], ids=["bin", "legacy raw"])
def test_data_of_every_length_code_is_found(size: int, legacy: bool) -> None:
    array = np.arange(2 * size, dtype="u1").reshape(2, size)
    assert np.array_equal(image_in(body_with(encoded(array), use_bin_type=not legacy)), array)


@pytest.mark.parametrize("keys_as_bytes", [True, False])
@pytest.mark.parametrize("type_as_bytes", [True, False])
@pytest.mark.parametrize("legacy", [True, False])
def test_the_arrays_own_keys_may_be_text_or_bin(keys_as_bytes: bool, type_as_bytes: bool, legacy: bool) -> None:
    array: dict[Any, Any] = encoded(PIXELS.astype("<f4"))
    if type_as_bytes:
        array["type"] = array["type"].encode()
    if keys_as_bytes:
        array = {key.encode(): value for key, value in array.items()}
    assert np.array_equal(image_in(body_with(array, use_bin_type=not legacy)), PIXELS)


def test_the_seeds_three_keys_are_enough() -> None:
    assert np.array_equal(image_in(body_with(encoded(PIXELS.astype("<i4"), nd=..., kind=...))), PIXELS)


def test_three_dimensions_are_read() -> None:
    stack = np.arange(24, dtype="<i2").reshape(2, 3, 4)
    assert np.array_equal(image_in(body_with(encoded(stack))), stack)


def test_not_a_number_passes_through() -> None:
    array = np.array([[np.nan, np.inf], [1, 2]], "<f4")
    assert np.array_equal(image_in(body_with(encoded(array))), array, equal_nan=True)


BROKEN = {
    "complex": (encoded(PIXELS.astype("<c8")), "bad_dtype", "<c8"),
    "bool": (encoded(PIXELS.astype("|b1")), "bad_dtype", r"\|b1"),
    "object": (encoded(PIXELS, type="O", kind="O", data=b"\x80\x04."), "bad_dtype", "never opened"),
    "structured": (encoded(PIXELS, type=[["a", "<i4"]], kind="V"), "bad_dtype", "'a'"),
    "f1": (encoded(PIXELS, type="<f1"), "bad_dtype", "<f1"),
    "sub-array": (encoded(PIXELS, type="1000000000f4"), "bad_dtype", "1000000000f4"),
    "long type": (encoded(PIXELS, type="f4" * 5000), "bad_dtype", "f4f4"),
    "type is a number": (encoded(PIXELS, type=4), "bad_dtype", "type 4"),
    "no type": (encoded(PIXELS, type=...), "bad_dtype", "None"),
    "too little data": (
        encoded(PIXELS.astype("<i4"), data=b"1234"),
        "bad_array_size",
        "4 bytes of data; 48 were wanted",
    ),
    "too much data": (encoded(PIXELS.astype("<i4"), data=b"1" * 49), "bad_array_size", "49 bytes"),
    "no data": (encoded(PIXELS.astype("<i4"), data=b""), "bad_array_size", "0 bytes"),
    "data is a list": (encoded(PIXELS.astype("<i4"), data=[1, 2, 3]), "bad_array", "an array"),
    "data is nil": (encoded(PIXELS.astype("<i4"), data=None), "bad_array", "nil"),
    "negative shape": (encoded(PIXELS.astype("<i4"), shape=[-3, -4]), "bad_shape", "-3"),
    "zero shape": (encoded(PIXELS.astype("<i4"), shape=[0, 4], data=b""), "bad_shape", "0, 4"),
    "float shape": (encoded(PIXELS.astype("<i4"), shape=[3.0, 4.0]), "bad_shape", "3.0"),
    "bool shape": (encoded(PIXELS.astype("<i4"), shape=[True, True], data=b"1234"), "bad_shape", "True"),
    "text shape": (encoded(PIXELS.astype("<i4"), shape="3x4"), "bad_shape", "3x4"),
    "huge shape": (encoded(PIXELS.astype("<i4"), shape=[2**62, 2**62]), "bad_array_size", "48 bytes"),
    "overflowing shape": (encoded(PIXELS.astype("<i4"), shape=[2**32, 2**32, 48 // 4]), "bad_array_size", "48 bytes"),
    "many dimensions": (encoded(PIXELS.astype("<i4"), shape=[1] * 40), "bad_shape", "at most 8"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_array_rejects_whoever_needs_it_and_says_why(case: str) -> None:
    array, reason, text = BROKEN[case]
    body = body_with(array)
    _, header, image = DECODE(Message(b"", 0, (body,)))
    assert header["after"] == 5, "the rest of the message is understood"
    with pytest.raises(RejectFrame, match=f"{reason}: key 'pixels'.*{text}"):
        image.array("pixels")
    assert list(HEADERS(Message(b"", 0, (body,)))[1]) == ["before", "after"], "nobody looks at pixels here"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (5, "an integer"),
        ("text", "text"),
        (None, "nil"),
        ([[1, 2], [3, 4]], "an array"),
        ({"fs": []}, "a map"),
        (encoded(np.arange(5)), "one dimension"),
        (encoded(np.arange(6), shape=...), "without a shape"),
        ({"nd": False, "type": "<f4", "data": b"1234"}, "a single number"),
        (encoded(np.array(1.5)), "a single number"),
    ],
)
def test_what_is_no_image_is_named(value: Any, found: str) -> None:
    _, _, image = DECODE(Message(b"", 0, (body_with(value),)))
    with pytest.raises(RejectFrame, match=f"not_an_image: key 'pixels' holds .*{found}.* an image was wanted"):
        image.array("pixels")


def test_a_missing_image_is_named_with_those_there_are() -> None:
    _, _, image = DECODE(Message(b"", 0, (body_with(encoded(PIXELS.astype("<i4"))),)))
    with pytest.raises(RejectFrame, match=r"missing_key.* no image under key 'detector_data'; its images are: pixels"):
        image.array("detector_data")


def test_an_image_is_no_header_value_and_says_so() -> None:
    body = body_with(encoded(PIXELS.astype("<i4")))
    for header in (DECODE(Message(b"", 0, (body,)))[1], HEADERS(Message(b"", 0, (body,)))[1]):
        with pytest.raises(RejectFrame, match="key 'pixels' holds an image"):
            header.number("pixels")


def test_the_header_does_not_keep_the_pixels_in_memory() -> None:
    body = bytearray(body_with(encoded(np.zeros((300, 300), "<i4"))))
    event, header, image = DECODE(Message(b"", 0, (body,)))
    del event, image
    body.extend(b"free")  # raises BufferError while any view of it is alive
    assert header["after"] == 5


@given(
    st.sampled_from(KINDS),
    st.sampled_from(["<", ">"]),
    st.lists(st.integers(1, 6), min_size=2, max_size=4),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_any_array_comes_through_unchanged(kind: str, order: str, shape: list[int], seed: int, legacy: bool) -> None:
    raw = np.random.default_rng(seed).integers(0, 120, shape)
    array = raw.astype(order + kind)
    assert np.array_equal(image_in(body_with(encoded(array), use_bin_type=not legacy)), array)


@given(
    st.binary(max_size=60), st.sampled_from(["<f4", "|u1", ">i8", "x", ""]), st.lists(st.integers(-3, 70), max_size=4)
)
def test_an_image_is_never_larger_than_its_data(data: bytes, dtype: str, shape: list[int]) -> None:
    body = body_with({"type": dtype, "shape": shape, "data": data})
    _, _, image = DECODE(Message(b"", 0, (body,)))
    for array in image.arrays.values():
        assert array.nbytes == len(data)
