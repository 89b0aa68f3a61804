"""Compressed pixels as detectors and HDF5 files have them: bitshuffle with LZ4 or zstd, and LZ4.

All but a bare block of LZ4 are what an HDF5 filter writes: a header of 12 bytes, big-endian, which says how many bytes there
are once decompressed and in blocks of how many, and then the blocks. dectris-compression decodes them. It believes the header,
and what it is told of the size of an element; so both are held against what is wanted before it is asked, and the number of
bytes after. Formats: https://github.com/kiyo-masui/bitshuffle, https://support.hdfgroup.org/documentation/HDF5_LZ4.pdf,
https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline import RejectFrame, UserError

Codec = Literal["raw", "bslz4", "bszstd", "lz4", "lz4_block"]
"""How pixels are compressed: not at all; as the HDF5 filters 32008 (LZ4 or zstd within) and 32004 do; one bare block of LZ4."""

_HEADER = struct.Struct(">QI")
_BARE_HEADER = struct.Struct(">QII")
"""The header before a single block, with that block's own size."""

MOST_EXPANSION = 255
"""LZ4 makes no more bytes of one: https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md (a length's further bytes)."""

_EIGHT_MORE = bytes([0x13, 0x00, 0x01, 0x00])
"""A sequence of LZ4 that writes eight zeros: one literal, then seven times the byte before."""


class Decompressor:
    """Decompresses pixels.

    Parameters
    ----------
    stage, extra
        Which stage wants it, and the extra that installs it, for the sentence of whoever lacks dectris-compression.
    """

    def __init__(self, stage: str, extra: str = "dectris") -> None:
        try:
            from dectris.compression import decompress
        except ImportError as error:
            raise UserError(
                f"{stage} decompresses pixels with dectris-compression, which cannot be imported ({error}); "
                f"pip install 'streamajig[{extra}]'"
            ) from None
        self._decompress: Callable[..., bytes] = decompress

    def array(
        self, body: memoryview, codec: Codec, shape: tuple[int, ...], dtype: np.dtype[Any], most_bytes: int
    ) -> NDArray[Any]:
        """Return the array that the body holds, read-only and in our byte order.

        Parameters
        ----------
        body
            The compressed bytes, all of them.
        shape, dtype
            What the sender says that the array is.
        most_bytes
            A larger array is rejected.

        Nothing is allocated before the body's header has been found to say what shape and dtype say. A changed byte within the
        blocks may pass: none of the codecs has a checksum.
        """
        size = math.prod(shape) * dtype.itemsize
        if not size:
            raise RejectFrame("bad_shape", f"the image has shape {shape}; sizes above 0 were wanted")
        if size > most_bytes:
            raise RejectFrame(
                "too_large",
                f"the image of shape {shape} and type {dtype.str} has {size} bytes; {most_bytes} are allowed",
            )
        if codec == "raw":
            pixels: Any = body
        else:
            _check_size(body, codec, size)
            pixels = self._block(body, size) if codec == "lz4_block" else self._whole(body, codec, dtype.itemsize)
        if len(pixels) != size:
            raise RejectFrame(
                "bad_array_size",
                f"image of shape {shape} and type {dtype.str} has {len(pixels)} bytes; {size} were wanted",
            )
        return in_our_order(np.frombuffer(pixels, dtype).reshape(shape))

    def _whole(self, body: memoryview | bytes, codec: str, itemsize: int) -> bytes:
        try:
            return self._decompress(body, codec, elem_size=itemsize)
        except (RuntimeError, MemoryError, ValueError, OverflowError) as error:
            raise RejectFrame(
                "bad_compression",
                f"the pixels' {len(body)} bytes are no whole {codec}: {str(error) or type(error).__name__}",
            ) from None

    def _block(self, body: memoryview, size: int) -> bytes | memoryview:
        """Decompress a bare block of LZ4, as a file of that one block.

        A block that is as long as what is in it counts as one that is not compressed; then it is made another one, by eight
        zeros in front.
        """
        if len(body) != size:
            return self._whole(_BARE_HEADER.pack(size, size, len(body)) + body, "lz4", 1)
        longer, taken = size + 8, len(body) + len(_EIGHT_MORE)
        return memoryview(self._whole(_BARE_HEADER.pack(longer, longer, taken) + _EIGHT_MORE + body, "lz4", 1))[8:]


def _check_size(body: memoryview, codec: Codec, size: int) -> None:
    """Reject a body that does not hold as many bytes as are wanted, by what is to be seen from outside."""
    if codec == "lz4_block":
        if size > np.iinfo(np.int32).max - 8:
            raise RejectFrame("too_large", f"the image has {size} bytes; one block of LZ4 has no more than 2 GB")
    else:
        if len(body) < _HEADER.size:
            raise RejectFrame("truncated", f"the compressed pixels have {len(body)} bytes, less than their header")
        declared, _ = _HEADER.unpack_from(body)
        if declared != size:
            raise RejectFrame(
                "bad_array_size",
                f"the compressed pixels say that they are {declared} bytes, and shape and type that they are {size}",
            )
    if codec != "bszstd" and size > MOST_EXPANSION * len(body):
        raise RejectFrame("truncated", f"the compressed pixels' {len(body)} bytes cannot hold {size} bytes")


def in_our_order(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array that numba's kernels take, read-only: in our byte order, and float16 as float32; else the same."""
    if array.dtype.type == np.float16:
        array = array.astype(np.float32)
    elif not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    array.flags.writeable = False
    return array
