"""The messages of the monitor: what is written is read again, and what is no message is refused as such."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from stages.monitor.blob import DTYPES, Malformed, decode, encode

PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
ARRAYS = st.sampled_from(sorted(DTYPES)).flatmap(
    lambda dtype: arrays_of.arrays(dtype, arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
VALUES = st.recursive(
    PLAIN | ARRAYS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
MESSAGES = st.dictionaries(st.text(max_size=5), VALUES, max_size=5)


def assert_same(one: Any, other: Any) -> None:
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for mine, its in zip(one, other, strict=True):
            assert_same(mine, its)
    else:
        assert one == other


@given(MESSAGES)
def test_what_is_written_is_read_again(message: dict[str, Any]) -> None:
    assert_same(decode(encode(message)), message)


@given(MESSAGES, st.data())
def test_a_message_with_any_byte_changed_is_read_or_refused_as_malformed(
    message: dict[str, Any], data: st.DataObject
) -> None:
    changed = encode(message)
    at = data.draw(st.integers(0, len(changed) - 1))
    changed[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Malformed):
        decode(changed)


@pytest.mark.parametrize("message", [b"", b"abc", b"\xff\xff\xff\xff{}", b"\x02\0\0\0[]", b"\x02\0\0\0{{"])
def test_what_is_no_message_is_refused(message: bytes) -> None:
    with pytest.raises(Malformed):
        decode(message)


def test_an_array_that_lies_outside_the_message_is_refused() -> None:
    message = encode({"a": np.zeros(100)})
    with pytest.raises(Malformed, match="outside"):
        decode(message[:-8])


def test_numbers_that_are_not_finite_are_null() -> None:
    assert decode(encode({"rate": math.nan, "limit": np.float64("inf")})) == {"rate": None, "limit": None}


def test_arrays_start_where_a_typed_array_can() -> None:
    message = encode({"odd": np.zeros(3, "u1"), "then": np.arange(5.0)})
    read = decode(message)["then"]
    assert (read.ctypes.data - np.frombuffer(message, "u1").ctypes.data) % 8 == 0


def test_what_a_browser_has_no_array_for_is_refused() -> None:
    with pytest.raises(TypeError, match="complex128"):
        encode({"a": np.zeros(2, complex)})
