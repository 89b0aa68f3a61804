"""Reads a recording, whatever has become of it: what is damaged is passed over and said, all else comes as it was recorded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pipeline import UserError
from pipeline.amounts import several, size
from stages.wire.multipart import DEFAULT_MAX_MESSAGE_BYTES
from stages.wire.recording.layout import (
    HEAD_BYTES,
    MOST_ABOUT_BYTES,
    SUFFIX,
    About,
    begins_with,
    content_of,
    files_of,
    length_of,
    read_start,
)

_SEARCHED_BYTES = 1 << 20

_ROOM_FOR_HEADS = 1 << 20
"""What a record may have besides its parts: the heads of as many parts as it can have are shorter."""

_MOST_READ_AT_ONCE = 1 << 30


class Recorded(NamedTuple):
    """A message as it was recorded: when it came, from which of the senders, and its parts."""

    about: About
    received_ns: int
    sender: int
    parts: tuple[memoryview, ...]


class Damaged(NamedTuple):
    """A place where there is no message that can be read."""

    reason: str
    detail: str


@dataclass
class Passed:
    """What has been passed over: places that are damaged or too large, and files that end amid a record.

    >>> passed = Passed()
    >>> passed.damaged += 1
    >>> passed.cut.append(Path("r/000002.rec"))
    >>> print(passed.text())
    1 damaged place of the recording skipped
    r/000002.rec ends amid a message, which is left out
    """

    damaged: int = 0
    cut: list[Path] = field(default_factory=list)

    def text(self) -> str:
        """Say so; "" if there was nothing."""
        lines = [f"{several(self.damaged, 'damaged place')} of the recording skipped"] if self.damaged else []
        return "\n".join([*lines, *(f"{file} ends amid a message, which is left out" for file in self.cut)])


def is_recording(path: Path) -> bool:
    """Whether this is a file of a recording, or a folder that holds some."""
    return path.suffix == SUFFIX if not path.is_dir() else bool(files_of(path))


def about(path: Path) -> About:
    """Return what is recorded in a folder or in a file; UserError if no file says it."""
    files = files_of(path) if path.is_dir() else [path]
    for file in files:
        with _Opened(file) as opened:
            if opened.about is not None:
                return opened.about
    raise UserError(f"{path}: the headers of the recording are damaged, all of them: nothing can be read")


def geometry_of(path: Path) -> Path | None:
    """Return the geometry file of a recording, None if it has none."""
    name = Path(about(path).geometry).name  # no other folder is meant, whatever a file says
    return (path if path.is_dir() else path.parent) / name if name else None


def read_records(
    files: Iterable[Path], passed: Passed, max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES
) -> Iterator[Recorded | Damaged]:
    """Yield the messages of one file after the other, and at each damaged place what is wrong with it.

    `passed` counts what is passed over. A file whose header is damaged is read by that of one before it, or of another one that
    lies beside it. UserError for a file that is none of a recording.
    """
    last: About | None = None
    for file in files:
        with _Opened(file) as opened:
            said = opened.about or last or about(file.parent)
            last = said
            for found in opened.records(said, passed, max_message_bytes):
                if isinstance(found, Damaged):
                    passed.damaged += 1
                yield found


class _Opened:
    """One file; UserError if it cannot be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from None
        self._size = os.fstat(self._file).st_size
        try:
            self.about, self._start = read_start(self._read(0, MOST_ABOUT_BYTES + 2 * HEAD_BYTES))
        except UserError as error:
            os.close(self._file)
            raise UserError(f"{path}: {error}") from None

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def records(self, said: About, passed: Passed, max_message_bytes: int) -> Iterator[Recorded | Damaged]:
        begin = begins_with(said.mark)
        at = self._start if self.about is not None else self._find(begin, self._start)
        while at < self._size:
            head = self._read(at, HEAD_BYTES)
            is_record = len(head) == HEAD_BYTES and head.startswith(begin)
            end = at + length_of(head) if is_record else self._size + 1
            if end <= self._size:
                is_too_large = end - at > max_message_bytes + _ROOM_FOR_HEADS
                if is_too_large and (end == self._size or self._read(end, len(begin)) == begin):
                    yield self._too_large(at, end, max_message_bytes)
                    at = end
                    continue
                content = None if is_too_large else content_of(memoryview(self._read(at, end - at)))
                if content is not None:
                    yield Recorded(said, *content)
                    at = end
                    continue
            following = self._find(begin, at + 1)
            if following == self._size and (is_record or begin.startswith(head[: len(begin)])) and end > self._size:
                passed.cut.append(self._path)
            else:
                yield self._damaged(at, following)
            at = following

    def _too_large(self, at: int, end: int, max_message_bytes: int) -> Damaged:
        return Damaged(
            "too_large",
            f"{self._path}: the message at byte {at} has {size(end - at)}, and max_message_bytes allows {max_message_bytes}",
        )

    def _damaged(self, at: int, end: int) -> Damaged:
        return Damaged(
            "damaged_recording", f"{self._path}: bytes {at} to {end} are not what was recorded; read on at {end}"
        )

    def _find(self, begin: bytes, at: int) -> int:
        """Where the next record begins, the file's end if there is none."""
        while at < self._size:
            piece = self._read(at, _SEARCHED_BYTES)
            found = piece.find(begin)
            if found >= 0:
                return at + found
            if len(piece) < _SEARCHED_BYTES:
                break
            at += _SEARCHED_BYTES - len(begin) + 1
        return self._size

    def _read(self, at: int, count: int) -> bytes:
        """Read so many bytes, fewer at the end of the file."""
        count = max(0, min(count, self._size - at))
        try:
            content = os.pread(self._file, min(count, _MOST_READ_AT_ONCE), at)
            if len(content) == count:
                return content
            pieces = [content]
            while content and sum(map(len, pieces)) < count:
                content = os.pread(self._file, min(count, _MOST_READ_AT_ONCE), at + sum(map(len, pieces)))
                pieces.append(content)
        except OSError as error:
            raise UserError(f"{self._path}: cannot be read: {error.strerror}") from None
        return b"".join(pieces)[:count]
