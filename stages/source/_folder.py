"""Files that appear in a folder: which of them are complete, and not taken yet."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline import UserError
from stages.files.hdf5_files import stamp_of
from stages.files.image_list import ImageFormat, is_pattern, matching

_TRAILER = b"--CIF-BINARY-FORMAT-SECTION----"
"""The end of a CBF image's pixels, behind which there is little more."""

_TAIL_BYTES = 4096


class Folder:
    """The files of folders, or that match patterns, looked at again and again.

    Parameters
    ----------
    names, kind
        What is watched, and the format by which files are known in a folder.
    settle_s
        A file is complete that has not changed for so long, but for CBF images, whose end can be seen.
    """

    def __init__(self, names: tuple[str, ...], kind: ImageFormat, settle_s: float) -> None:
        self._names, self._kind, self._settle_s = names, kind, settle_s
        self._seen: dict[str, tuple[tuple[int, int, int], float]] = {}
        self._taken: dict[str, int] = {}
        self._taken_as: dict[str, tuple[int, int, int]] = {}
        for name in names:
            if not is_pattern(name) and not Path(name).is_dir():
                raise UserError(f"{name}: there is no such folder to watch")

    @property
    def incomplete(self) -> tuple[str, ...]:
        """Files that were seen, and were not complete the last time."""
        return tuple(name for name in self._seen if name not in self._taken)

    @property
    def num_incomplete(self) -> int:
        """How many they are."""
        return len(self._seen) - len(self._taken)

    @property
    def num_taken(self) -> int:
        """How many files were taken."""
        return len(self._taken)

    def complete(self) -> list[str]:
        """Look, and return the files that are complete and have changed since they were taken; the oldest first."""
        now = time.monotonic()
        ready = sorted((stamp, name) for name, stamp in self._changed() if self._is_complete(name, stamp, now))
        return [name for _, name in ready]

    def taken(self, name: str, events: int) -> int:
        """Say that so many events of a file are taken now; return how many were before."""
        before = self._taken.get(name, 0)
        self._taken[name] = max(before, events)
        self._taken_as[name] = self._seen[name][0]
        return before

    def _changed(self) -> Iterator[tuple[str, tuple[int, int, int]]]:
        for name in dict.fromkeys(file for watched in self._names for file in matching(watched, self._kind)):
            if self._kind == "cbf" and name in self._taken:
                continue
            try:
                stamp = stamp_of(name)
            except OSError:  # it is gone again
                continue
            if self._taken_as.get(name) != stamp:
                yield name, stamp

    def _is_complete(self, name: str, stamp: tuple[int, int, int], now: float) -> bool:
        before, since = self._seen.get(name, (None, now))
        if stamp != before:
            since = now
        self._seen[name] = stamp, since
        has_end = self._kind == "cbf" and name.lower().endswith(".cbf") and _ends_as_cbf(name)
        return has_end or (stamp == before and now - since >= self._settle_s)


def _ends_as_cbf(name: str) -> bool:
    try:
        with open(name, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            return _TRAILER in file.read(_TAIL_BYTES)
    except OSError:
        return False
