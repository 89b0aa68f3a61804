"""Compressed pixels: what HDF5's own filters write is read, and nothing is believed before it is checked."""

from __future__ import annotations

import struct
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from writers import as_hdf5_chunk

from pipeline import RejectFrame, UserError
from stages.wire.compressed import Codec, Decompressor

CODECS: tuple[Codec, ...] = ("bslz4", "bszstd", "lz4")
each_codec = pytest.mark.parametrize("codec", CODECS)
MOST = 1 << 20
SHAPE = (37, 53)
PIXELS = np.random.default_rng(3).poisson(2.0, SHAPE)


def read(body: bytes, codec: Codec, shape: tuple[int, ...] = SHAPE, dtype: str = "u2", most: int = MOST) -> Any:
    return Decompressor("decode/x").array(memoryview(body), codec, shape, np.dtype(dtype), most)


@each_codec
@pytest.mark.parametrize("dtype", ["u1", "i2", ">u2", "u4", ">i4", "f4", "f8"])
def test_what_hdf5_filters_write_is_read(codec: Codec, dtype: str) -> None:
    array = read(as_hdf5_chunk(PIXELS.astype(dtype), codec), codec, dtype=dtype)
    np.testing.assert_array_equal(array, PIXELS)
    assert array.dtype == np.dtype(dtype).newbyteorder("=")
    assert not array.flags.writeable


def bare(array: Any) -> bytes:
    """One bare block of LZ4: what the HDF5 filter writes, if it may make one block of all, without its header."""
    return as_hdf5_chunk(array, "lz4", block=array.nbytes)[16:]


def test_a_bare_block_of_lz4_is_read() -> None:
    np.testing.assert_array_equal(read(bare(PIXELS.astype("u2")), "lz4_block"), PIXELS)


def test_a_bare_block_that_is_as_long_as_its_pixels_is_decompressed_too() -> None:
    """An "a" and four more of it, then twelve letters: 17 bytes, which would be taken for the pixels."""
    block = bytes([0x10]) + b"a" + bytes([1, 0, 0xC0]) + b"bcdefghijklm"
    assert bytes(read(block, "lz4_block", (17, 1), "u1").tobytes()) == b"aaaaabcdefghijklm"


@pytest.mark.parametrize("codec", [*CODECS, "lz4_block", "raw"])
@pytest.mark.parametrize(
    ("shape", "dtype"), [((37, 54), "u2"), ((36, 53), "u2"), ((37, 53), "u4"), ((37, 53), "u1"), ((0, 53), "u2")]
)
def test_other_sizes_than_are_there_are_rejected(codec: Codec, shape: tuple[int, int], dtype: str) -> None:
    pixels = PIXELS.astype("u2")
    body = {"raw": pixels.tobytes(), "lz4_block": bare(pixels)}.get(codec) or as_hdf5_chunk(pixels, codec)
    with pytest.raises(RejectFrame):
        read(body, codec, shape, dtype)


@each_codec
def test_what_would_be_too_large_is_rejected_before_it_is_decompressed(codec: Codec) -> None:
    body = as_hdf5_chunk(PIXELS.astype("u2"), codec)
    with pytest.raises(RejectFrame, match="3922 bytes; 3921 are allowed"):
        read(body, codec, most=3921)
    huge = struct.pack(">QI", 2**40, 8192) + body[12:]
    with pytest.raises(RejectFrame):
        read(huge, codec, (2**20, 2**20), "u1", most=2**60)


def test_a_body_that_cannot_hold_so_much_is_rejected() -> None:
    with pytest.raises(RejectFrame, match="16 bytes cannot hold 1000000 bytes"):
        read(struct.pack(">QII", 1_000_000, 8192, 5), "bslz4", (1000, 1000), "u1")


@each_codec
@pytest.mark.parametrize("body", [b"", b"\0" * 5, b"\0" * 1000, b"\xff" * 1000])
def test_bodies_that_are_none_are_rejected(codec: Codec, body: bytes) -> None:
    with pytest.raises(RejectFrame):
        read(body, codec)


@given(data=st.data())
def test_whatever_is_done_to_a_body_it_is_read_or_rejected(data: st.DataObject) -> None:
    codec = data.draw(st.sampled_from([*CODECS, "lz4_block"]))
    pixels = PIXELS.astype("u2")
    body = bytearray(bare(pixels) if codec == "lz4_block" else as_hdf5_chunk(pixels, codec))
    for at in data.draw(st.lists(st.integers(0, len(body) - 1), max_size=4)):
        body[at] = data.draw(st.integers(0, 255))
    del body[data.draw(st.integers(0, len(body))) :]
    try:
        array = read(bytes(body), codec)
    except RejectFrame:
        return
    assert array.shape == SHAPE


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dectris.compression", None)
    with pytest.raises(UserError, match=r"decode/hdf5 .*pip install 'streamajig\[hdf5\]'"):
        Decompressor("decode/hdf5", "hdf5")
