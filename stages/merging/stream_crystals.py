"""The crystals of a stream, as merging needs them; a stream that is being written can be read too."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import UserError
from stages.files.opened import Bytes, opened
from stages.files.words import number_or_nan
from stages.merging._kernels import parse as kernel

_VERSION = b"CrystFEL stream format 2."
_END_CHUNK = b"\n----- End chunk -----\n"
_BEGIN_CHUNK = b"----- Begin chunk -----\n"
_BEGIN_CRYSTAL, _END_CRYSTAL = b"\n--- Begin crystal\n", b"\n--- End crystal\n"
_BEGIN_ROWS, _END_ROWS = b"\nReflections measured after indexing\n", b"\nEnd of reflections\n"
_BLOCK_BYTES = 16 << 20


@dataclass(frozen=True, eq=False)
class StreamedCrystal:
    """One crystal.

    Attributes
    ----------
    hkl, intensity
        int32 (n, 3) and float64 (n,), NaN where the stream has no number.
    reciprocal_per_angstrom
        float64 (3, 3), rows a*, b*, c*.
    frame
        File name and event of the frame, which tell it apart.
    """

    hkl: NDArray[np.int32]
    intensity: NDArray[np.float64]
    reciprocal_per_angstrom: NDArray[np.float64]
    centring: str
    photon_energy_ev: float
    frame: str = ""


class StreamCrystals:
    """Iterates over the crystals of a stream, in its order.

    Attributes
    ----------
    num_chunks, num_hits, num_unreadable
        Chunks read so far, those that are hits, and rows of reflection lists that could not be read.
    is_cut
        Whether something followed the last whole chunk: the chunk that is being written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.num_chunks = 0
        self.num_hits = 0
        self.num_unreadable = 0
        self.is_cut = False

    def __iter__(self) -> Iterator[StreamedCrystal]:
        with opened(self._path) as file:
            yield from self._crystals(file)

    def _crystals(self, file: Bytes) -> Iterator[StreamedCrystal]:
        text = file.read(_BLOCK_BYTES)
        if not text.startswith(_VERSION):
            raise UserError(
                f"{self._path} is not a CrystFEL stream: it should begin with {_VERSION.decode()!r}, and begins with "
                f"{text[:60].partition(bytes([10]))[0].decode(errors='replace')!r}"
            )
        while True:
            cut = text.rfind(_END_CHUNK)
            if cut >= 0:
                cut += len(_END_CHUNK)
                yield from self._whole_chunks(text[:cut])
                text = text[cut:]
            more = file.read(_BLOCK_BYTES)
            if not more:
                self.is_cut = _BEGIN_CHUNK in text
                return
            text += more

    def _whole_chunks(self, text: bytes) -> Iterator[StreamedCrystal]:
        as_bytes = np.frombuffer(text, np.uint8)
        at = text.find(_BEGIN_CHUNK)
        while at >= 0:
            end = text.find(_END_CHUNK, at)
            if end < 0:
                return
            again = text.rfind(_BEGIN_CHUNK, at + 1, end)  # a chunk without end, left by a run that was killed
            at = max(at, again)
            self.num_chunks += 1
            first = text.find(_BEGIN_CRYSTAL, at, end)
            head = text[at : first if first >= 0 else end]
            self.num_hits += b"\nhit = 1\n" in head
            if first >= 0:
                energy_ev = number_or_nan(_word_after(head, b"\nphoton_energy_eV = "))
                frame = f"{_line_after(head, b'Image filename: ')} {_line_after(head, b'Event: ')}"
                yield from self._of_chunk(text, as_bytes, first, end + 1, (energy_ev, frame))
            at = text.find(_BEGIN_CHUNK, end)

    def _of_chunk(
        self, text: bytes, as_bytes: NDArray[np.uint8], at: int, end: int, of_frame: tuple[float, str]
    ) -> Iterator[StreamedCrystal]:
        while 0 <= at < end:
            last = text.find(_END_CRYSTAL, at, end)
            if last < 0:
                return
            rows = text.find(_BEGIN_ROWS, at, last)
            head = text[at : rows if rows >= 0 else last]
            hkl, intensity = np.zeros((0, 3), np.int32), np.zeros(0)
            if rows >= 0:
                rows = text.find(b"\n", rows + len(_BEGIN_ROWS), last) + 1  # behind the line with the columns' names
                stop = text.find(_END_ROWS, rows - 1, last + 1)
                if rows > 0 and stop >= rows:
                    hkl, intensity = self._rows(text, as_bytes, rows, stop + 1)
            yield StreamedCrystal(hkl, intensity, _stars(head), _word_after(head, b"\ncentering = ", "P"), *of_frame)
            at = text.find(_BEGIN_CRYSTAL, last, end)

    def _rows(
        self, text: bytes, as_bytes: NDArray[np.uint8], begin: int, end: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        room = text.count(b"\n", begin, end)
        hkl, intensity = np.empty((room, 3), np.int32), np.empty(room)
        rows, unreadable = kernel.parse_rows(as_bytes, begin, end, hkl, intensity)
        self.num_unreadable += unreadable
        return hkl[:rows], intensity[:rows]


def warm_up() -> None:
    """Compile the kernel."""
    row = np.frombuffer(b"1 2 3 4.0 \n", np.uint8)
    kernel.parse_rows(row, 0, len(row), np.empty((1, 3), np.int32), np.empty(1))


def _words_after(text: bytes, key: bytes) -> list[bytes]:
    """The words between a key and the end of its line; none where there is no such key."""
    at = text.find(key)
    if at < 0:
        return []
    at += len(key)
    end = text.find(b"\n", at)
    return text[at : end if end >= 0 else len(text)].split()


def _word_after(text: bytes, key: bytes, default: str = "") -> str:
    words = _words_after(text, key)
    return words[0].decode(errors="replace") if words else default


def _line_after(text: bytes, key: bytes) -> str:
    """The rest of the line that begins so."""
    at = text.find(b"\n" + key)
    if at < 0:
        return ""
    at += len(key) + 1
    end = text.find(b"\n", at)
    return text[at : end if end >= 0 else len(text)].decode(errors="replace").strip()


def _stars(head: bytes) -> NDArray[np.float64]:
    """Rows a*, b*, c* in 1/Angstrom; NaN where the stream has no three numbers."""
    stars = np.full((3, 3), math.nan)
    for n, key in enumerate((b"\nastar = ", b"\nbstar = ", b"\ncstar = ")):
        numbers = [number_or_nan(word) for word in _words_after(head, key)[:3]]
        if len(numbers) == 3:
            stars[n] = numbers
    return stars * 0.1
