"""Writes a recording: files of bounded size in a folder, with the geometry file and its masks beside them."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline import UserError
from pipeline.amounts import several
from pipeline.amounts import size as in_words
from stages.wire.recording.layout import MARK_BYTES, SUFFIX, About, files_of, record_of, start_of_file
from stages.wire.recording.masks import clear_masks, lay_masks_beside, masks_of
from stages.wire.recording.reading import geometry_of

log = logging.getLogger("streamajig.record")

FILE_SIZE = 2 * 10**9
KEEP_FREE = 10**9

_MOST_BUFFERS = min(1024, os.sysconf("SC_IOV_MAX"))


@dataclass(frozen=True)
class Limits:
    """What a recording may take of a disk.

    Attributes
    ----------
    file_size
        A file that would become larger is followed by another one; a message that is larger has a file of its own.
    max_size
        Bytes of all files.
    keep_free
        Bytes that are left to others on the disk.
    """

    file_size: int = FILE_SIZE
    max_size: int | None = None
    keep_free: int = KEEP_FREE


class RecordingEndedError(Exception):
    """No more can be written; what has been is whole. `is_wanted` where a limit on the recording's size says so."""

    def __init__(self, why: str, *, is_wanted: bool = False) -> None:
        super().__init__(why)
        self.is_wanted = is_wanted


class RecordingWriter:
    """A recording that is being written.

    UserError where the folder has one already, or nothing can be written there.

    Attributes
    ----------
    folder
        Where it is.
    files, num_bytes
        What has been written by now.
    """

    def __init__(self, folder: Path, about: About, geometry: Path | None = None, limits: Limits | None = None) -> None:
        self.folder = folder
        self.files = self.num_bytes = 0
        self._limits = limits or Limits()
        self._file = -1
        self._in_file = 0
        self._has_records = False
        self._about = replace(
            about,
            mark=secrets.token_bytes(MARK_BYTES),
            began_ns=time.time_ns(),
            geometry=geometry.name if geometry is not None else "",
        )
        try:
            content = geometry.read_bytes() if geometry is not None else b""
            masks = masks_of(geometry, content) if geometry is not None else {}
            folder.mkdir(parents=True, exist_ok=True)
            self._refuse_another()
            if geometry is not None:
                _lay_beside(folder / geometry.name, content)
                lay_masks_beside(folder / geometry.name, content, masks)
            self._next_file(0)
        except OSError as error:
            self.close()
            raise UserError(
                f"nothing can be recorded in {folder}: {error.filename or folder}: {error.strerror}"
            ) from None
        except RecordingEndedError as error:
            self.close()
            raise UserError(f"nothing can be recorded in {folder}: {error}") from None

    def write(self, received_ns: int, parts: Sequence[memoryview], sender: int = 0) -> int:
        """Write one message, and return the bytes that it takes; RecordingEndedError if it is not written."""
        pieces = record_of(self._about.mark, received_ns, sender, parts)
        size = sum(len(piece) for piece in pieces)
        try:
            if self._has_records and self._in_file + size > self._limits.file_size:
                self._next_file(size)
            self._append(pieces, size)
        except OSError as error:
            raise RecordingEndedError(self._trouble(error)) from None
        self._has_records = True
        return size

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._file >= 0:
            file, self._file = self._file, -1
            os.close(file)

    def _refuse_another(self) -> None:
        there = files_of(self.folder)
        if there:
            raise UserError(
                f"{self.folder} holds a recording already, of {several(len(there), 'file')}: record into another folder, or "
                "delete it"
            )

    def _next_file(self, size: int) -> None:
        """Begin another file for a record of this size."""
        start = start_of_file(replace(self._about, number=self.files))
        self._check_room(len(start) + size)
        self.close()
        path = self.folder / f"{self.files:06d}{SUFFIX}"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self.files += 1
        self._in_file = 0
        self._has_records = False
        self._append([start], len(start))

    def _append(self, pieces: list[bytes | memoryview], size: int) -> None:
        """Write all of it, or nothing."""
        self._check_room(size)
        try:
            _write_all(self._file, pieces)
        except OSError:
            with contextlib.suppress(OSError):  # else it ends amid a record, which readers skip
                os.ftruncate(self._file, self._in_file)
            raise
        self._in_file += size
        self.num_bytes += size

    def _check_room(self, size: int) -> None:
        limits = self._limits
        if limits.max_size is not None and self.num_bytes + size > limits.max_size:
            raise RecordingEndedError(
                f"it has {in_words(self.num_bytes)}, and would exceed the {in_words(limits.max_size)} that it may have",
                is_wanted=True,
            )
        disk = os.statvfs(self.folder)
        free = disk.f_bavail * disk.f_frsize
        if free - size < limits.keep_free:
            raise RecordingEndedError(
                f"{in_words(free)} are free on the disk, and {in_words(limits.keep_free)} are kept so"
            )

    def _trouble(self, error: OSError) -> str:
        what = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "it cannot be written"
        return f"{what} ({error.strerror})"


def clear(folder: Path) -> None:
    """Delete a recording, and the geometry file and masks that came with it; UserError if that fails."""
    try:
        geometry = geometry_of(folder)
    except UserError:  # it is damaged, which is no reason to keep it
        geometry = None
    try:
        for file in files_of(folder):
            file.unlink()
        if geometry is not None:
            geometry.unlink(missing_ok=True)
            clear_masks(geometry)
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be deleted: {error.strerror}") from None


def _lay_beside(target: Path, content: bytes) -> None:
    """Write the geometry file; UserError if another one of this name is there."""
    try:
        with target.open("xb") as file:
            file.write(content)
    except FileExistsError:
        if target.read_bytes() != content:
            raise UserError(
                f"{target} is there already, and is not the geometry file of this recording: record into another folder"
            ) from None


def _write_all(file: int, pieces: list[bytes | memoryview]) -> None:
    """Write buffers one behind the other, however often the system takes only some of it."""
    at = 0
    while at < len(pieces):
        written = os.writev(file, pieces[at : at + _MOST_BUFFERS])
        while at < len(pieces) and written >= len(pieces[at]):
            written -= len(pieces[at])
            at += 1
        if written:
            pieces[at] = memoryview(pieces[at])[written:]
