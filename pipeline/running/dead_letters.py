"""Frames that were rejected, kept for whoever looks into it: their reasons, and their messages if that is asked for.

A run writes a file of its own, and holds a shared lock on it as long as it lives (the system takes that back however the
process ends). So who clears the folder knows which files still grow: see :mod:`pipeline.running.kept_letters`, which reads
what is written here.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.frame import Preamble
    from pipeline.running.leaves import Arrived

log = logging.getLogger("streamajig.collect")


class DeadLetters:
    """The reasons of rejected frames, one JSON line each, and their raw messages if they are kept.

    The folder and its file are made when the first frame is rejected. What goes beyond the limits is counted in
    `not_kept`, from the first on that does. What cannot be written is counted too: a full disk there is no reason to end
    a run whose outputs have room.
    """

    def __init__(self, folder: Path | None, most: int = 100_000, most_bytes: int = 10_000_000_000) -> None:
        self._folder = folder
        self._most, self._most_bytes = most, most_bytes
        self._kept = self._bytes = self.not_kept = 0
        self._lost = 0
        self._trouble = ""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        self._name = f"{stamp}-{os.getpid()}"
        self._file = -1
        self._is_locked = False
        self._preamble: tuple[int, list[Path]] = (-1, [])
        """Number and files of the last one that was written."""

    def add(self, arrived: Arrived) -> None:
        """Write down one rejected frame."""
        rejected = arrived.rejected
        if self._folder is None or rejected is None:
            return
        letter = {
            "serial": rejected.serial,
            "event": rejected.event,
            "node": rejected.node,
            "reason": rejected.reason,
            "detail": rejected.detail,
            "received": datetime.fromtimestamp(rejected.received_ns / 1e9, UTC).isoformat(),
        }
        said = arrived.preamble.as_bytes() if arrived.preamble is not None else None
        is_new = said is not None and said.number != self._preamble[0]
        size = len(json.dumps(letter)) + sum(map(len, (*arrived.message, *(said.parts if said and is_new else ()))))
        if not self._has_room(size):
            return
        names: list[str] = []
        try:
            file = self._opened(self._folder)
            suffixes = [f".{n}" if len(arrived.message) > 1 else "" for n in range(len(arrived.message))]
            names = [f"{self._name}-{arrived.serial:07d}{suffix}.msgpack" for suffix in suffixes]
            for name, part in zip(names, arrived.message, strict=True):
                (self._folder / name).write_bytes(part)
            if said is not None:
                more = [f"{self._name}-{arrived.serial:07d}.preamble.{n}.msgpack" for n in range(len(said.parts))]
                names += more
                self._add_preamble(said, [self._folder / name for name in more])
            _append_line(file, json.dumps({**letter, "message": names}).encode())
        except OSError as error:
            for name in names:  # no half of a message
                with contextlib.suppress(OSError):
                    (self._folder / name).unlink()
            self._lost += 1
            if not self._trouble:
                self._trouble = error.strerror or str(error)
                log.error("cannot write dead letters to %s: %s; the run goes on", self._folder, self._trouble)

    def _add_preamble(self, preamble: Preamble, files: list[Path]) -> None:
        """Let a letter have what its sender has said once; letters with the same have it in the same place on disk."""
        number, before = self._preamble
        for k, (file, part) in enumerate(zip(files, preamble.parts, strict=True)):
            try:
                if number != preamble.number:
                    raise FileNotFoundError
                os.link(before[k], file)
            except OSError:  # another one, or those files were cleared away, or the file system has no links
                file.write_bytes(part)
        self._preamble = preamble.number, files

    def close(self) -> None:
        """The run adds no more."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _opened(self, folder: Path) -> int:
        """The run's file, with its lock; made, under a name that no other run has, where it is not there (any more)."""
        if self._file >= 0 and not _is_at(folder / f"{self._name}.jsonl", self._file):
            self.close()  # somebody has removed the folder
        if self._file < 0:
            folder.mkdir(parents=True, exist_ok=True)
            self._name, self._file = _made(folder, self._name)
            self._is_locked = False
        if not self._is_locked:  # who looks at the folder has it for a moment; some file systems have no locks
            with contextlib.suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                self._is_locked = True
        return self._file

    def lost(self) -> str:
        """How many could not be written, and why; empty if all were."""
        return f"{self._lost} not written to {self._folder}: {self._trouble}" if self._lost else ""

    def _has_room(self, size: int) -> bool:
        """Whether this many bytes are kept, too; once some are not, none is, so that what is kept has no gap."""
        if not self.not_kept and self._kept < self._most and self._bytes + size <= self._most_bytes:
            self._kept += 1
            self._bytes += size
            return True
        if not self.not_kept:
            log.warning(
                "%d dead letters of %d bytes are in %s; those that follow are counted and not kept "
                "(max_dead_letters = %d, dead_letter_bytes = %d)",
                self._kept, self._bytes, self._folder, self._most, self._most_bytes,
            )  # fmt: skip
        self.not_kept += 1
        return False


def _made(folder: Path, name: str) -> tuple[str, int]:
    """Make a file of this name, or of one that begins so where another run of this process has it; return name and file."""
    for number in itertools.count(1):
        tried = name if number == 1 else f"{name}_{number}"
        with contextlib.suppress(FileExistsError):
            return tried, os.open(folder / f"{tried}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o666)
    raise AssertionError


def _is_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except OSError:
        return False


def _append_line(file: int, line: bytes) -> None:
    """Append a line, or nothing of it."""
    before = os.fstat(file).st_size
    if os.write(file, line + b"\n") <= len(line):
        os.ftruncate(file, before)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
