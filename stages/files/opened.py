"""Streams as they are kept: plain, compressed with gzip, with the line ends of another system, or on standard input."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from pipeline import UserError

STDIN = Path("-")
_GZIP = b"\x1f\x8b"


class Bytes(Protocol):
    """What can be read block by block."""

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, at most `size` of them (all without it); none at the end."""
        ...


class _WithUnixLineEnds:
    """Turns carriage return and line feed into a line feed."""

    def __init__(self, file: BinaryIO | Bytes) -> None:
        self._file = file

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes; some more where a block would end between the two."""
        block = self._file.read(size)
        while block.endswith(b"\r"):
            more = self._file.read(1)
            if not more:
                break
            block += more
        return block.replace(b"\r\n", b"\n")


@contextmanager
def opened(path: Path | str) -> Iterator[Bytes]:
    """Open a stream for reading; ``-`` is standard input. UserError if it cannot be read.

    Whether it is compressed is told from its first two bytes, not from its name.
    """
    path = Path(path)
    try:
        if path == STDIN:
            yield _WithUnixLineEnds(_unpacked(sys.stdin.buffer))
            return
        with path.open("rb") as file:
            yield _WithUnixLineEnds(_unpacked(file))
    except (gzip.BadGzipFile, EOFError) as error:
        raise UserError(f"cannot read stream {path}: its compression is broken or cut off ({error})") from error
    except OSError as error:
        raise UserError(f"cannot read stream {path}: {error.strerror or error}") from error


def _unpacked(file: BinaryIO) -> Bytes:
    import io

    buffered = file if isinstance(file, io.BufferedReader) else io.BufferedReader(file)  # type: ignore[type-var]
    if buffered.peek(2)[:2] == _GZIP:
        return gzip.GzipFile(fileobj=buffered, mode="rb")
    return buffered
