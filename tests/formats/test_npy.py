"""Arrays as ``numpy.save`` writes them, and as nobody should."""

from __future__ import annotations

import io

import numpy as np
import pytest

from pipeline import Context, Message, RejectFrame
from stages.decode.npy import Npy


def saved(array: np.ndarray, **how: bool) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **how)
    return buffer.getvalue()


def read(body: bytes) -> np.ndarray:
    _, _, image = Npy().open(Context())(Message(b"", 0, (body,)))
    return image.array("any")


def test_pixels_stay_in_the_message() -> None:
    body = saved(np.arange(12, dtype="u2").reshape(3, 4))
    assert np.shares_memory(read(body), np.frombuffer(body, np.uint8))


def test_arrays_in_fortran_order_are_read_the_right_way_round() -> None:
    array = np.asfortranarray(np.arange(12, dtype="i4").reshape(3, 4))
    np.testing.assert_array_equal(read(saved(array)), array)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (saved(np.array([[None, 1]], object), allow_pickle=True), "bad_dtype"),
        (saved(np.zeros((2, 2), "c8")), "bad_dtype"),
        (saved(np.zeros((2, 2), [("a", "i4")])), "bad_dtype"),
        (saved(np.zeros(7, "i4")), "bad_shape"),
        (saved(np.zeros((0, 7), "i4")), "bad_shape"),
        (saved(np.zeros((2, 2), "i4"))[:-1], "bad_array_size"),
        (saved(np.zeros((2, 2), "i4")) + b"more", "bad_array_size"),
        (saved(np.zeros((2, 2), "i4")).replace(b"(2, 2)", b"(9**99)"[:6]), "bad_array"),
        (b"\x93NUMPY\x09\x00v\x00", "bad_array"),
        (b"\x93NUMPY", "bad_array"),
    ],
)
def test_what_is_no_image_is_rejected_and_says_why(body: bytes, reason: str) -> None:
    with pytest.raises(RejectFrame) as rejected:
        read(body)
    assert rejected.value.reason == reason
