"""The stream that was merged, with each crystal in the setting that was chosen for it: what partialator goes on with."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pipeline import UserError
from stages.files.opened import STDIN, Bytes, opened
from stages.files.stream_lines import cell_line, star_line
from stages.files.words import number_or_nan
from stages.lattices.cell import UnitCell

Operations = Mapping[int, NDArray[np.int64]]
"""For each crystal that is to be written, by its place among all crystals of all streams, the operation into its setting."""

_BEGIN_CHUNK, _END_CHUNK = b"----- Begin chunk -----\n", b"----- End chunk -----\n"
_BEGIN_CRYSTAL, _END_CRYSTAL = b"--- Begin crystal\n", b"--- End crystal\n"
_BEGIN_ROWS, _END_ROWS = b"Reflections measured after indexing\n", b"End of reflections\n"
_STARS = (b"astar = ", b"bstar = ", b"cstar = ")
_CELL = b"Cell parameters "
_HKL = re.compile(rb" *(-?\d+) +(-?\d+) +(-?\d+)(?= )")
_BLOCK_BYTES = 1 << 20


def write_reindexed(streams: Sequence[Path], output: Path, operations: Operations) -> int:
    """Write the chunks of some streams behind the head of the first; return how many crystals were written.

    Crystals without an operation are left out. Of the others the cell and the indices of reflections change; all else stays,
    byte for byte. A reflection hkl, a row, becomes ``hkl @ operation``, so that ``hkl . (a*, b*, c*)`` stays where it was.

    Raises
    ------
    UserError
        Standard input, which is read only once; an output that cannot be written.
    """
    if STDIN in streams:
        raise UserError("a stream that comes on standard input cannot be written re-indexed: it is read twice for that")
    first, written = 0, 0
    try:
        with output.open("wb") as file:
            for n, path in enumerate(streams):
                with opened(path) as read:
                    seen, of_this = _copy(_lines(read), file, operations, first, with_head=n == 0)
                first, written = first + seen, written + of_this
    except OSError as error:
        raise UserError(f"cannot write the re-indexed stream to {output}: {error.strerror or error}") from error
    return written


def _lines(file: Bytes) -> Iterator[bytes]:
    rest = b""
    while block := file.read(_BLOCK_BYTES):
        lines = (rest + block).splitlines(keepends=True)
        rest = lines.pop() if not lines[-1].endswith(b"\n") else b""
        yield from lines
    if rest:
        yield rest


def _copy(
    lines: Iterable[bytes], file: BinaryIO, operations: Operations, first: int, *, with_head: bool
) -> tuple[int, int]:
    """Copy whole chunks; return how many crystals were read, and how many written."""
    chunk: list[bytes] | None = None
    seen = written = 0
    for line in lines:
        if line == _BEGIN_CHUNK:
            chunk = [line]
        elif chunk is None:
            if with_head:
                file.write(line)
        else:
            chunk.append(line)
            if line == _END_CHUNK:
                of_chunk, kept, text = _chunk(chunk, operations, first + seen)
                file.writelines(text)
                seen, written = seen + of_chunk, written + kept
                chunk, with_head = None, False
    return seen, written


def _chunk(lines: list[bytes], operations: Operations, first: int) -> tuple[int, int, list[bytes]]:
    """Return how many crystals a chunk has, how many of them are kept, and its lines."""
    text: list[bytes] = []
    begin = -1
    seen = kept = 0
    for n, line in enumerate(lines):
        if line == _BEGIN_CRYSTAL:
            begin = n
        elif begin < 0:
            text.append(line)
        elif line == _END_CRYSTAL:
            operation = operations.get(first + seen)
            if operation is not None:
                text += lines[begin : n + 1] if _is_identity(operation) else _turned(lines[begin : n + 1], operation)
                kept += 1
            seen, begin = seen + 1, -1
    if seen and not kept:
        text = [b"indexed_by = none\n" if line.startswith(b"indexed_by = ") else line for line in text]
    return seen, kept, text


def _is_identity(operation: NDArray[np.int64]) -> bool:
    return bool(np.array_equal(operation, np.eye(3)))


def _turned(lines: list[bytes], operation: NDArray[np.int64]) -> list[bytes]:
    """The lines of a crystal in another setting."""
    stars = np.array([_three(line) for key in _STARS for line in lines if line.startswith(key)])
    if stars.shape != (3, 3) or not np.isfinite(stars).all():
        return lines
    turned = np.linalg.solve(operation.astype(np.float64), stars)
    text: list[bytes] = []
    in_rows = False
    for line in lines:
        if line == _END_ROWS:
            in_rows = False
        if in_rows:
            text.append(_row(line, operation))
        elif line.startswith(_STARS):
            n = b"abc".index(line[0])
            text.append(f"{star_line('abc'[n], turned[n])}\n".encode())
        elif line.startswith(_CELL):
            text.append(f"{_cell(turned)}\n".encode())
        else:
            text.append(line)
        if line == _BEGIN_ROWS:
            in_rows = True
    return text


def _three(line: bytes) -> list[float]:
    numbers = [number_or_nan(word) for word in line.split()[2:5]]
    return numbers + [math.nan] * (3 - len(numbers))


def _row(line: bytes, operation: NDArray[np.int64]) -> bytes:
    """A row of the reflection list; the line with the columns' names, and what cannot be read, as it is."""
    found = _HKL.match(line)
    if found is None:
        return line
    hkl = np.array([int(word) for word in found.groups()]) @ operation
    return b"%4i %4i %4i" % tuple(hkl.tolist()) + line[found.end() :]


def _cell(stars_per_nm: NDArray[np.float64]) -> str:
    cell = UnitCell.from_vectors(np.asarray(np.linalg.inv(stars_per_nm).T, np.float64))
    return cell_line(cell.parameters[:3], np.degrees(cell.parameters[3:]))
