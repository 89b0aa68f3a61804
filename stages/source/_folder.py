"""Files that appear in a folder: which of them are complete, and not taken yet."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline import UserError
from stages.files.hdf5_files import stamp_of
from stages.files.image_list import ImageFormat, is_pattern, matching

_TRAILER = b"--CIF-BINARY-FORMAT-SECTION----"
"""The end of a CBF image's pixels, behind which there is little more."""

_TAIL_BYTES = 4096

_Stamps = tuple[tuple[int, int, int], ...]
"""Of a file, and of those that it leads to."""

_NOT_THERE = (0, 0, 0)


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
        self._seen: dict[str, tuple[_Stamps, float]] = {}
        self._taken: dict[str, Counter[str]] = {}
        self._taken_as: dict[str, _Stamps] = {}
        self._led_to: dict[str, tuple[str, ...]] = {}
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
        ready = sorted((stamps, name) for name, stamps in self._changed() if self._is_complete(name, stamps, now))
        return [name for _, name in ready]

    def leads_to(self, name: str, others: Iterable[str]) -> None:
        """Say that the frames of a file are in others; it has changed when one of these has, or is there now."""
        self._led_to[name] = tuple(dict.fromkeys(others))

    def is_as_seen(self, name: str) -> bool:
        """Whether a file, and those that it leads to, have not changed since `complete` looked at them."""
        return self._stamps(name) == self._seen[name][0]

    def taken(self, name: str, events: Iterable[str]) -> list[str]:
        """Say that these events of a file are taken now; return those of them that were not before.

        What stands before ``//`` names an array, and an array grows at its end; those before it in the file may grow as well.
        """
        before = self._taken.get(name, Counter())
        now: Counter[str] = Counter()
        new = []
        for event in events:
            array = event.partition("//")[0]
            now[array] += 1
            if now[array] > before[array]:
                new.append(event)
        self._taken[name] = before | now
        self._taken_as[name] = self._seen[name][0]
        return new

    @property
    def missing(self) -> tuple[str, ...]:
        """Files that others lead to, and that are not there."""
        led_to = dict.fromkeys(other for others in self._led_to.values() for other in others)
        return tuple(other for other in led_to if not Path(other).exists())

    def _changed(self) -> Iterator[tuple[str, _Stamps]]:
        for name in dict.fromkeys(file for watched in self._names for file in matching(watched, self._kind)):
            if self._kind == "cbf" and name in self._taken:
                continue
            stamps = self._stamps(name)
            if stamps[0] != _NOT_THERE and self._taken_as.get(name) != stamps:
                yield name, stamps

    def _stamps(self, name: str) -> _Stamps:
        """What changes with a file or with one that it leads to."""
        return tuple(map(_stamp_of, (name, *self._led_to.get(name, ()))))

    def _is_complete(self, name: str, stamps: _Stamps, now: float) -> bool:
        before, since = self._seen.get(name, (None, now))
        if stamps != before:
            since = now
        self._seen[name] = stamps, since
        has_end = self._kind == "cbf" and name.lower().endswith(".cbf") and _ends_as_cbf(name)
        return has_end or (stamps == before and now - since >= self._settle_s)


def _stamp_of(name: str) -> tuple[int, int, int]:
    try:
        return stamp_of(name)
    except OSError:  # it is not there yet, or gone again
        return _NOT_THERE


def _ends_as_cbf(name: str) -> bool:
    try:
        with open(name, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            return _TRAILER in file.read(_TAIL_BYTES)
    except OSError:
        return False
