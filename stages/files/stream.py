"""Reading CrystFEL streams back: for comparison, the demo and tests.

Tolerant, as a reader of files that are still being written must be: a chunk without its end is no chunk (`num_cut` counts
them), lines that say nothing known are kept in `keys`, and rows that cannot be read are left out and counted.

Positions stay as they stand in the file: pixels in the data array from the corner of the first pixel.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import UserError
from stages.files.opened import opened
from stages.files.words import number_or_nan
from stages.lattices.cell import Lattice

METHOD_KEY = "streamajig/indexed_by"
"""Key of the line that names an indexing method which CrystFEL does not know."""

MOVED_KEY = "streamajig/detector_moved"
"""Key of the line that says where the detector stands as seen from the stream's geometry, where a run followed it."""

_SEPARATOR = re.compile(" = |: ")
_VERSION = "CrystFEL stream format 2.3"
_BEGIN_CHUNK, _END_CHUNK = "----- Begin chunk -----", "----- End chunk -----"
_BEGIN_CRYSTAL, _END_CRYSTAL = "--- Begin crystal", "--- End crystal"
_BEGIN_PEAKS, _END_PEAKS = "Peaks from peak search", "End of peak list"
_BEGIN_REFLECTIONS, _END_REFLECTIONS = "Reflections measured after indexing", "End of reflections"


@dataclass(frozen=True, eq=False)
class StreamPeaks:
    """The peaks of a chunk: float64 arrays of length n, and the panels' names.

    `inverse_d_per_nm` is the printed 1/d.
    """

    fs: NDArray[np.float64]
    ss: NDArray[np.float64]
    inverse_d_per_nm: NDArray[np.float64]
    intensity: NDArray[np.float64]
    panel: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.panel)


@dataclass(frozen=True, eq=False)
class StreamReflections:
    """The reflections of a crystal: `hkl` int32 (n, 3), float64 arrays of length n in ADU and pixels, panels' names."""

    hkl: NDArray[np.int32]
    intensity: NDArray[np.float64]
    sigma: NDArray[np.float64]
    peak: NDArray[np.float64]
    background: NDArray[np.float64]
    fs: NDArray[np.float64]
    ss: NDArray[np.float64]
    panel: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.panel)


@dataclass(frozen=True, eq=False)
class StreamCrystal:
    """One crystal of a chunk.

    Attributes
    ----------
    reciprocal_per_nm
        float64 (3, 3), rows are a*, b*, c* in 1/nm as printed.
    cell_nm_deg
        The six numbers of the line "Cell parameters": nm and degrees; NaN where there is none.
    reflections
        None where the chunk has no list.
    keys
        All lines ``key = value``, text.
    """

    reciprocal_per_nm: NDArray[np.float64]
    cell_nm_deg: tuple[float, ...]
    lattice: Lattice
    profile_radius_per_nm: float
    resolution_limit_per_nm: float
    det_shift_mm: tuple[float, float]
    reflections: StreamReflections | None
    keys: Mapping[str, str]

    @property
    def real_space_angstrom(self) -> NDArray[np.float64]:
        """float64 (3, 3), rows are a, b, c in Angstrom."""
        return np.asarray(10.0 * np.linalg.inv(self.reciprocal_per_nm).T, np.float64)


@dataclass(frozen=True, eq=False)
class Chunk:
    """One frame of a stream.

    Attributes
    ----------
    indexed_by
        The indexing method, also where it is one that CrystFEL does not know; "none" without crystals.
    peaks
        None where the chunk has no list.
    keys
        All lines ``key = value`` outside crystals, text; among them copied headers (``header/float/NAME``).
    """

    filename: str
    event: str
    serial: int
    hit: bool
    indexed_by: str
    photon_energy_ev: float
    peaks: StreamPeaks | None
    crystals: tuple[StreamCrystal, ...]
    keys: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Stream:
    """A stream.

    Attributes
    ----------
    version, audit
        The first line; what follows before the geometry: program and command line.
    geometry, cell, indexing
        Text of the geometry file, the target cell ("" where there is none), the names after "Indexing methods selected:".
    num_cut
        Chunks that have no end: the last one while it is being written, none otherwise.
    num_unreadable
        Rows of peak and reflection lists that could not be read.
    """

    version: str
    audit: str
    geometry: str
    cell: str
    indexing: str
    chunks: tuple[Chunk, ...]
    num_cut: int = 0
    num_unreadable: int = 0

    def by_event(self) -> dict[str, Chunk]:
        """Return the chunks by event."""
        return {chunk.event: chunk for chunk in self.chunks}


def read_stream(path: Path | str) -> Stream:
    """Read a stream of version 2.3: a file, one that is compressed with gzip, or ``-`` for standard input."""
    with opened(path) as file:
        text = file.read().decode(errors="replace")
    if not text.startswith(_VERSION):
        begins = text[:60].partition("\n")[0]
        raise UserError(
            f"{path} is not a CrystFEL stream: it should begin with {_VERSION!r}, and begins with {begins!r}"
        )
    return parse_stream(text)


def is_stream(path: Path | str) -> bool:
    """Whether a file begins as a stream does."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(_VERSION)).startswith(b"CrystFEL stream format")
    except OSError:
        return False


def walk_stream(path: Path | str) -> tuple[Stream, Iterator[Chunk]]:
    """Return the head of a stream, as a stream without chunks, and its whole chunks one by one, however long it is."""
    lines = _lines(path)
    head = []
    for line in lines:
        if line == _BEGIN_CHUNK:
            break
        head.append(line)
    if not head or head[0] != _VERSION:
        begins = head[0][:60] if head else ""
        raise UserError(
            f"{path} is not a CrystFEL stream: it should begin with {_VERSION!r}, and begins with {begins!r}"
        )
    return parse_stream("\n".join(head)), _walk_chunks(lines)


def _lines(path: Path | str) -> Iterator[str]:
    try:
        with Path(path).open(encoding="utf-8", errors="replace", newline="\n") as file:
            for line in file:
                yield line.rstrip("\r\n")
    except OSError as error:
        raise UserError(f"cannot read stream {path}: {error.strerror}") from error


def _walk_chunks(lines: Iterator[str]) -> Iterator[Chunk]:
    """The chunks of a stream whose first chunk has begun; one that has no end is left out."""
    chunk: list[str] = []
    for line in lines:
        if line == _BEGIN_CHUNK:
            chunk = []
        elif line == _END_CHUNK:
            yield _chunk(chunk, _Count())
            chunk = []
        else:
            chunk.append(line)


def parse_stream(text: str) -> Stream:
    """Make a stream of its text."""
    lines = [line.rstrip("\r") for line in text.split("\n")]
    first_chunk = next((n for n, line in enumerate(lines) if line == _BEGIN_CHUNK), len(lines))
    before = lines[1:first_chunk]
    audit = list(before)
    for begin in ("----- Begin geometry file -----", "----- Begin unit cell -----"):
        if begin in audit:
            del audit[audit.index(begin) :]
    methods = [line.partition(": ")[2] for line in before if line.startswith("Indexing methods selected: ")]
    unreadable = _Count()
    chunks: list[Chunk] = []
    num_cut = 0
    begin_at: int | None = None
    for n in range(first_chunk, len(lines)):
        if lines[n] == _BEGIN_CHUNK:
            num_cut += begin_at is not None
            begin_at = n
        elif lines[n] == _END_CHUNK and begin_at is not None:
            chunks.append(_chunk(lines[begin_at + 1 : n], unreadable))
            begin_at = None
    return Stream(
        version=lines[0],
        audit="\n".join(line for line in audit if not line.startswith("Indexing methods selected: ")),
        geometry=_block(before, "----- Begin geometry file -----", "----- End geometry file -----"),
        cell=_block(before, "----- Begin unit cell -----", "----- End unit cell -----"),
        indexing=methods[0] if methods else "",
        chunks=tuple(chunks),
        num_cut=num_cut + (begin_at is not None),
        num_unreadable=unreadable.n,
    )


@dataclass
class _Count:
    n: int = 0


class _Keys(dict[str, str]):
    """Lines ``key = value`` and ``key: value``, the first of each key."""

    def add(self, line: str) -> None:
        found = _SEPARATOR.search(line)
        if found:
            self.setdefault(line[: found.start()], line[found.end() :])

    def number(self, key: str) -> float:
        """Return the number with which a value begins, NaN where there is none."""
        return number_or_nan(self.get(key, "nan").split(" ")[0])


def _chunk(lines: list[str], unreadable: _Count) -> Chunk:
    keys = _Keys()
    peaks = None
    crystals = []
    rest = iter(lines)
    for line in rest:
        if line == _BEGIN_PEAKS:
            peaks = _peaks(_until(rest, _END_PEAKS), unreadable)
        elif line == _BEGIN_CRYSTAL:
            crystals.append(_crystal(_until(rest, _END_CRYSTAL), unreadable))
        else:
            keys.add(line)
    serial = keys.number("Image serial number")
    return Chunk(
        filename=keys.get("Image filename", ""),
        event=keys.get("Event", ""),
        serial=int(serial) if math.isfinite(serial) else 0,
        hit=keys.get("hit") == "1",
        indexed_by=keys.get(METHOD_KEY, keys.get("indexed_by", "none")),
        photon_energy_ev=keys.number("photon_energy_eV"),
        peaks=peaks,
        crystals=tuple(crystals),
        keys=keys,
    )


def _crystal(lines: list[str], unreadable: _Count) -> StreamCrystal:
    keys = _Keys()
    reflections = None
    cell: tuple[float, ...] = (math.nan,) * 6
    shift = (math.nan, math.nan)
    rest = iter(lines)
    for line in rest:
        if line == _BEGIN_REFLECTIONS:
            reflections = _reflections(_until(rest, _END_REFLECTIONS), unreadable)
        elif line.startswith("Cell parameters "):
            numbers = [number_or_nan(word) for word in line.replace(",", " ").split()]
            cell = tuple(number for number in numbers if math.isfinite(number)) or cell
        elif line.startswith("predict_refine/det_shift "):
            words = line.split()
            shift = (number_or_nan(words[3]), number_or_nan(words[6])) if len(words) > 6 else shift
        else:
            keys.add(line)
    stars = [[number_or_nan(word) for word in keys.get(f"{axis}star", "").split()[:3]] for axis in "abc"]
    return StreamCrystal(
        reciprocal_per_nm=np.array([star if len(star) == 3 else [math.nan] * 3 for star in stars]),
        cell_nm_deg=cell,
        lattice=Lattice(
            keys.get("lattice_type", "triclinic"), keys.get("centering", "P"), keys.get("unique_axis", "*")
        ),
        profile_radius_per_nm=keys.number("profile_radius"),
        resolution_limit_per_nm=keys.number("diffraction_resolution_limit"),
        det_shift_mm=shift,
        reflections=reflections,
        keys=keys,
    )


def _peaks(lines: list[str], unreadable: _Count) -> StreamPeaks:
    columns, panel = _table(lines[1:], 4, unreadable)
    return StreamPeaks(columns[0], columns[1], columns[2], columns[3], panel)


def _reflections(lines: list[str], unreadable: _Count) -> StreamReflections:
    columns, panel = _table(lines[1:], 9, unreadable)
    intensity, sigma, peak, background, fs, ss = columns[3:]
    return StreamReflections(columns[:3].T.astype(np.int32), intensity, sigma, peak, background, fs, ss, panel)


def _table(lines: list[str], numbers: int, unreadable: _Count) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Columns of numbers, and the last column, which is text."""
    rows, panel = [], []
    for line in lines:
        words = line.split()
        try:
            row = [float(word) for word in words[:numbers]]
        except ValueError:
            row = []
        if len(row) == numbers and len(words) > numbers:
            rows.append(row)
            panel.append(words[numbers])
        else:
            unreadable.n += 1
    return np.array(rows, np.float64).reshape(len(rows), numbers).T.copy(), tuple(panel)


def _until(lines: Iterator[str], end: str) -> list[str]:
    taken = []
    for line in lines:
        if line == end:
            break
        taken.append(line)
    return taken


def _block(lines: Iterable[str], begin: str, end: str) -> str:
    rest = iter(lines)
    for line in rest:
        if line == begin:
            return "".join(f"{taken}\n" for taken in _until(rest, end))
    return ""
