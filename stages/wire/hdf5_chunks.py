"""Pixels of HDF5 data sets, decompressed from the message's own memory, past HDF5.

HDF5 has one lock for everything, which it holds while it decompresses; zlib and dectris-compression hold none, so that threads
work side by side. What HDF5 has to be asked is where each chunk lies in the file.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline import RejectFrame
from stages.wire import hdf5_filters as known
from stages.wire.compressed import MOST_EXPANSION, Codec, Decompressor

Filters = Sequence[tuple[int, tuple[int, ...]]]

MOST_CHUNKS = 4096
"""Chunks of one array that are read one by one; each costs some ten microseconds."""

_BITSHUFFLE_CODECS: dict[int, Codec] = {2: "bslz4", 3: "bszstd"}
"""What the fifth parameter of bitshuffle stands for."""

_EXPANSIONS = {known.DEFLATE: 1032, known.SHUFFLE: 1, known.FLETCHER32: 1, known.LZ4: MOST_EXPANSION}
"""The most bytes that each filter can make of one: https://zlib.net/zlib_tech.html"""

_ANY_EXPANSION = 1 << 15
"""That of a filter that is not among them; zstd and bzip2 write a run as a few bytes, in blocks of some hundred thousand."""


def most_expansion(filters: Filters) -> int:
    """Return how many bytes the filters can make of one.

    >>> most_expansion(()), most_expansion(((2, (4,)), (1, (9,))))
    (1, 1032)
    """
    return math.prod(
        MOST_EXPANSION
        if number == known.BITSHUFFLE and _bitshuffle_codec(parameters) == "bslz4"
        else _EXPANSIONS.get(number, _ANY_EXPANSION)
        for number, parameters in filters
    )


def _bitshuffle_codec(parameters: tuple[int, ...]) -> Codec | None:
    return _BITSHUFFLE_CODECS.get(parameters[4]) if len(parameters) > 4 else None


Way = Codec | Literal["shuffle", "deflate", "shuffle+deflate"]


def way_of(filters: Filters, itemsize: int) -> Way | None:
    """Return how a chunk that went through these filters is decompressed; None for one that HDF5 has to read.

    >>> way_of((), 4), way_of(((32008, (0, 4, 2, 0, 2)),), 2), way_of(((32013, ()),), 4)
    ('raw', 'bslz4', None)
    """
    match [number for number, _ in filters]:
        case []:
            return "raw"
        case [known.BITSHUFFLE] if filters[0][1][2:3] == (itemsize,):
            return _bitshuffle_codec(filters[0][1])
        case [known.LZ4]:
            return "lz4"
        case [known.DEFLATE]:
            return "deflate"
        case [known.SHUFFLE] if filters[0][1] == (itemsize,):
            return "shuffle"
        case [known.SHUFFLE, known.DEFLATE] if filters[0][1] == (itemsize,):
            return "shuffle+deflate"
    return None


class Chunks:
    """Reads the chunks of data sets in a message.

    Parameters
    ----------
    body
        The whole file.
    decompressor
        For LZ4 and bitshuffle; without one, HDF5 has to read what they compress.
    """

    def __init__(self, body: memoryview, decompressor: Decompressor | None) -> None:
        self._body = body
        self._decompressor = decompressor

    def array(
        self, dataset: Any, shape: tuple[int, ...], chunk: tuple[int, ...], dtype: np.dtype[Any], filters: Filters
    ) -> NDArray[Any] | None:
        """Return the array of a data set (h5py's DatasetID), read-only; None for one that HDF5 has to read.

        Whoever calls has checked that array and chunk are not too large. What is stored nowhere has the fill value.
        """
        corners = [range(0, size, step) for size, step in zip(shape, chunk, strict=True)]
        if math.prod(map(len, corners)) > MOST_CHUNKS:
            return None
        whole: NDArray[Any] | None = None
        for corner in itertools.product(*corners):
            place = dataset.get_chunk_info_by_coord(corner)
            piece: NDArray[Any] | None = None
            if place.byte_offset is not None and place.size:
                way = way_of([f for n, f in enumerate(filters) if not place.filter_mask >> n & 1], dtype.itemsize)
                if way is None or (way in ("bslz4", "bszstd", "lz4") and self._decompressor is None):
                    return None
                piece = self._piece(place, way, chunk, dtype)
                if chunk == shape:
                    return piece
            if whole is None:
                whole = np.full(shape, _fill_value(dataset, dtype), dtype)
            if piece is not None:
                there = tuple(
                    slice(at, min(at + step, size)) for at, step, size in zip(corner, chunk, shape, strict=True)
                )
                whole[there] = piece[tuple(slice(0, part.stop - part.start) for part in there)]
        if whole is not None:
            whole.flags.writeable = False
        return whole

    def _piece(self, place: Any, way: Way, chunk: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        compressed = self._body[place.byte_offset : place.byte_offset + place.size]
        if len(compressed) != place.size:
            raise RejectFrame("truncated", f"the HDF5 file ends before a chunk of {place.size} bytes does")
        size = math.prod(chunk) * dtype.itemsize
        if way in ("bslz4", "bszstd", "lz4"):
            assert self._decompressor is not None
            return self._decompressor.array(compressed, way, chunk, dtype, size)
        raw = inflated(compressed, size) if way.endswith("deflate") else compressed
        if len(raw) != size:
            raise RejectFrame("bad_array_size", f"a chunk of the HDF5 file has {len(raw)} bytes; {size} were wanted")
        octets = np.frombuffer(raw, np.uint8)
        if way.startswith("shuffle"):
            octets = np.ascontiguousarray(octets.reshape(dtype.itemsize, -1).T)
        pixels = octets.reshape(-1).view(dtype).reshape(chunk)
        pixels.flags.writeable = False
        return pixels


def inflated(compressed: memoryview, size: int) -> bytes:
    """Undo zlib's compression of so many bytes; rejects what holds more, or less, or is none."""
    reader = zlib.decompressobj()
    try:
        raw = reader.decompress(compressed, size)
        more = reader.decompress(reader.unconsumed_tail, 1)
    except zlib.error as error:
        raise RejectFrame(
            "bad_compression", f"the pixels' {len(compressed)} bytes are no whole zlib: {error}"
        ) from None
    if more or not reader.eof or len(raw) != size:
        raise RejectFrame(
            "bad_array_size",
            f"the pixels' {len(compressed)} bytes of zlib are not the {size} bytes that were wanted",
        )
    return raw


def _fill_value(dataset: Any, dtype: np.dtype[Any]) -> Any:
    fill = np.zeros((), dtype)
    dataset.get_create_plist().get_fill_value(fill)
    return fill
