"""Files of recorded messages: one message's body, or several one behind the other, compressed or not."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

from pipeline import UserError
from stages.wire.message import is_map_or_array, length_of_first
from stages.wire.multipart import DEFAULT_MAX_MESSAGE_BYTES

SUFFIXES = (".msgpack", ".bin", ".msgpack.gz", ".bin.gz", ".rec")

_PREAMBLE = ".preamble"

_PIECE_BYTES = 1 << 24


def expand(files: Iterable[Path]) -> list[Path]:
    """Return the files, with folders replaced by the recorded messages in them in the order of their names.

    Raises UserError for what is not there, or for a folder without any.
    """
    found: list[Path] = []
    for path in files:
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.name.endswith(SUFFIXES) and file.is_file())
            if not inside:
                raise UserError(
                    f"{path}: this folder has neither images nor recorded messages, which are files named "
                    f"*{', *'.join(SUFFIXES)}"
                )
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise UserError(f"{path}: no such file; wanted is a recorded message, or a folder of them")
    return found


def read_messages(file: Path, max_bytes: int = DEFAULT_MAX_MESSAGE_BYTES) -> Iterator[memoryview]:
    """Yield the bodies in a file: that of its one message, or of each of several that were written one behind the other.

    Where a MessagePack map or array ends and another begins, a message ends. What is neither stays together with what comes
    before it, for the decoder to say what is wrong with it. UserError if the file cannot be read, or a message has more than
    `max_bytes`.
    """
    buffer, start, is_all = b"", 0, False
    try:
        with _opened(file) as opened:
            while True:
                rest = memoryview(buffer)[start:]
                length = length_of_first(rest)
                if length and is_map_or_array(rest[length : length + 1]):
                    yield rest[:length]
                    start += length
                    continue
                if is_all:
                    yield rest
                    return
                if len(rest) > max_bytes:
                    raise UserError(f"{file}: holds more than {max_bytes} bytes, and max_message_bytes allows no more")
                piece = opened.read(max(_PIECE_BYTES, len(rest)))
                buffer, start, is_all = bytes(rest) + piece, 0, not piece
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{file}: cannot be read: {error}") from None


def read_whole(file: Path, max_bytes: int = DEFAULT_MAX_MESSAGE_BYTES) -> memoryview:
    """Return all of a file, for whoever knows that it is one part of one message; UserError as for `read_messages`."""
    try:
        with _opened(file) as opened:
            content = opened.read(max_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{file}: cannot be read: {error}") from None
    if len(content) > max_bytes:
        raise UserError(f"{file}: holds more than {max_bytes} bytes, and max_message_bytes allows no more")
    return memoryview(content)


def parts_together(files: Iterable[Path], *, numbered: bool = True) -> list[tuple[Path, ...]]:
    """Put files that follow each other and are the parts of one message together, as runs name the parts of dead letters.

    What the sender has said once is named so, and comes with it, at the end. Without `numbered` it is all that does.

    >>> [len(parts) for parts in parts_together(map(Path, ["a.msgpack", "b.0.msgpack", "b.1.msgpack", "c.0.msgpack"]))]
    [1, 2, 1]
    >>> [len(parts) for parts in parts_together(map(Path, ["a.bin", "a.preamble.0.bin", "b.0.bin", "b.1.bin"]), numbered=False)]
    [2, 1, 1]
    """
    together: list[list[_Part]] = []
    for file in files:
        part = _Part.of(file)
        first = together[-1][0] if together else part
        belongs = part.is_preamble or (numbered and bool(part.number) and first.number is not None)
        if together and belongs and part.message == first.message:
            together[-1].append(part)
        else:
            together.append([part])
    return [tuple(part.file for part in sorted(parts, key=_Part.place)) for parts in together]


class _Part(NamedTuple):
    """What the name of a file says: part `number` of a message, or of what was said before it; None: all of a message."""

    file: Path
    message: Path
    is_preamble: bool
    number: int | None

    @staticmethod
    def of(file: Path) -> _Part:
        suffix = max((suffix for suffix in SUFFIXES if file.name.endswith(suffix)), key=len, default="")
        name = file.name.removesuffix(suffix)
        whole, _, number = name.rpartition(".")
        if not number.isdecimal():
            return _Part(file, file, False, None)
        message = whole.removesuffix(_PREAMBLE)
        return _Part(file, file.with_name(message + suffix), message != whole, int(number))

    def place(self) -> tuple[bool, int]:
        return self.is_preamble, self.number or 0


def is_preamble(file: Path) -> bool:
    """Whether a part of a dead letter is what its sender has said once, for other messages as well."""
    return _Part.of(file).is_preamble


def _opened(file: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(file, "rb")) if file.suffix == ".gz" else file.open("rb")
