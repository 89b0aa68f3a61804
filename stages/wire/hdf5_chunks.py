"""Chunks of HDF5 data sets, decompressed from the message's own memory, past HDF5.

HDF5 has one lock for everything, which it holds while it decompresses; zlib and dectris-compression hold none, so that threads
work side by side. And HDF5 believes a chunk's size: one of fewer than four bytes behind a checksum ends the process. What HDF5
has to be asked is where each chunk lies in the file.
"""

from __future__ import annotations

import itertools
import math
import struct
import zlib
from collections.abc import Sequence
from typing import Any, Literal, TypeGuard

import numpy as np
from numpy.typing import NDArray

from pipeline import RejectFrame
from stages.wire import hdf5_filters as known
from stages.wire.compressed import MOST_EXPANSION, Codec, Decompressor
from stages.wire.hdf5_filters import Filters

MOST_CHUNKS = 4096
"""Chunks of one array that are read one by one; each costs some ten microseconds."""

_TOO_MANY_CHUNKS = 1 << 18
"""More are no image."""

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


Step = Codec | Literal["shuffle", "deflate", "fletcher32"]


def steps_of(filters: Filters, itemsize: int) -> list[Step] | None:
    """Return how a chunk that went through these filters is read, from what is in the file on; None where HDF5 has to.

    >>> steps_of(((2, (4,)), (1, (9,)), (3, ())), 4), steps_of(((32008, (0, 4, 2, 0, 2)),), 2), steps_of(((32013, ()),), 4)
    (['fletcher32', 'deflate', 'shuffle'], ['bslz4'], None)
    """
    steps: list[Step] = []
    for number, parameters in reversed(filters):
        match number:
            case known.FLETCHER32:
                steps.append("fletcher32")
            case known.DEFLATE:
                steps.append("deflate")
            case known.SHUFFLE if parameters == (itemsize,):
                steps.append("shuffle")
            case known.LZ4 if number == filters[0][0]:
                steps.append("lz4")
            case known.BITSHUFFLE if number == filters[0][0] and parameters[2:3] == (itemsize,):
                codec = _bitshuffle_codec(parameters)
                if codec is None:
                    return None
                steps.append(codec)
            case _:
                return None
    return steps


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
                steps = steps_of([f for n, f in enumerate(filters) if not place.filter_mask >> n & 1], dtype.itemsize)
                if not can_be_undone(steps, self._decompressor):
                    return None
                piece = undone(self.bytes_of(place), steps, chunk, dtype, self._decompressor)
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

    def check(self, dataset: Any, shape: tuple[int, ...], chunk: tuple[int, ...]) -> None:
        """Reject a data set with a chunk that is not in the file, or with too many, before HDF5 reads it."""
        corners = [range(0, size, step) for size, step in zip(shape, chunk, strict=True)]
        if math.prod(map(len, corners)) > _TOO_MANY_CHUNKS:
            raise RejectFrame("bad_shape", f"the HDF5 file's array of shape {shape} is in chunks of {chunk}")
        for corner in itertools.product(*corners):
            place = dataset.get_chunk_info_by_coord(corner)
            if place.byte_offset is not None:
                self.bytes_of(place)

    def bytes_of(self, place: Any) -> memoryview:
        """Return what is stored of a chunk (h5py's StoreInfo); rejects one that is not in the file."""
        stored = self._body[place.byte_offset : place.byte_offset + place.size]
        if len(stored) != place.size:
            raise RejectFrame("truncated", f"the HDF5 file ends before a chunk of {place.size} bytes does")
        return stored


def can_be_undone(steps: Sequence[Step] | None, decompressor: Decompressor | None) -> TypeGuard[Sequence[Step]]:
    """Whether these steps can be taken here; else HDF5 has to."""
    return steps is not None and (decompressor is not None or not _NEED_DECOMPRESSOR.intersection(steps))


_NEED_DECOMPRESSOR = frozenset({"bslz4", "bszstd", "lz4"})


def undone(
    stored: memoryview,
    steps: Sequence[Step],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    decompressor: Decompressor | None,
) -> NDArray[Any]:
    """Return the array that is stored as a chunk, read-only; rejects what holds more, or less, or is damaged.

    Whoever calls has seen that the array is not too large, and that the steps :func:`can_be_undone`.
    """
    size = math.prod(shape) * dtype.itemsize
    raw: Any = stored
    for n, step in enumerate(steps):
        match step:
            case "fletcher32":
                raw = checked(memoryview(raw))
            case "deflate":
                # a checksum that was made before comes out with it
                raw = inflated(memoryview(raw), size + 4 * steps[n:].count("fletcher32"))
            case "shuffle":
                if len(raw) != size:
                    break
                raw = unshuffled(raw, dtype.itemsize)
            case _:
                assert decompressor is not None
                return decompressor.array(memoryview(raw), step, shape, dtype, size)
    if len(raw) != size:
        raise RejectFrame("bad_array_size", f"a chunk of the HDF5 file has {len(raw)} bytes; {size} were wanted")
    pixels = np.frombuffer(raw, dtype).reshape(shape)
    pixels.flags.writeable = False
    return pixels


def unshuffled(octets: Any, itemsize: int) -> NDArray[np.uint8]:
    """Return the bytes of numbers one after the other, of which all first bytes come first, then all second ones.

    >>> unshuffled(b"aAbBcC", 3).tobytes()
    b'abcABC'
    """
    columns = np.frombuffer(octets, np.uint8).reshape(itemsize, -1)
    numbers = np.empty((columns.shape[1], itemsize), np.uint8)
    for k, column in enumerate(columns):  # many times faster than to transpose at once
        numbers[:, k] = column
    return numbers.reshape(-1)


def checked(stored: memoryview) -> memoryview:
    """Return bytes without the checksum of four bytes behind them; rejects them if it is not theirs.

    Fletcher's checksum, with words of 16 bits, the high byte first: the sum of the words, and the sum of those sums, each
    modulo 2^16 - 1, where 0 stands for nothing but zeros. https://en.wikipedia.org/wiki/Fletcher%27s_checksum
    """
    body, digest = stored[:-4], bytes(stored[-4:])
    words = np.frombuffer(bytes(body) + bytes(len(body) % 2), ">u2").astype(np.uint64)
    weights = np.arange(len(words), 0, -1, dtype=np.uint64) % _MODULUS
    sums = [int(words.sum()), int((words * weights).sum())]
    low, high = (total % _MODULUS or (_MODULUS if total else 0) for total in sums)
    if len(digest) != 4 or digest not in (struct.pack("<HH", low, high), struct.pack(">HH", low, high)):
        raise RejectFrame("wrong_checksum", "a chunk of the HDF5 file is not what its checksum (fletcher32) says")
    return body


_MODULUS = (1 << 16) - 1


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
