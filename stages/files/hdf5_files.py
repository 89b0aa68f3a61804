"""HDF5 files of one's own: opened by name, kept open while their frames are read, opened anew when they have changed."""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict
from typing import Any

from pipeline import UserError

TROUBLE = (OSError, KeyError, ValueError, RuntimeError, TypeError, IndexError)
"""What h5py raises, of files that are broken, cut off, being written, or packed with a filter that is not there."""


def load_h5py() -> Any:
    """Return h5py, with the filters of hdf5plugin if that is installed; UserError that says what to install."""
    try:
        import h5py
    except ImportError:
        raise UserError(
            "HDF5 files are read with h5py, which is not installed: pip install 'streamajig[hdf5]'"
        ) from None
    with contextlib.suppress(ImportError):
        import hdf5plugin  # noqa: F401
    return h5py


def open_to_read(filename: str) -> Any:
    """Open a file, also one to which a writer still adds frames (SWMR); OSError if it cannot be read, or not yet."""
    h5py = load_h5py()
    try:
        return h5py.File(filename, "r")
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            return h5py.File(filename, "r", libver="latest", swmr=True)
        raise


class OpenFile:
    """A file, and its data sets by path, each opened once."""

    def __init__(self, filename: str) -> None:
        self.stamp = stamp_of(filename)
        self.file = open_to_read(filename)
        self._found: dict[str, Any] = {}

    def get(self, path: str) -> Any:
        """Return the data set or group under a path; KeyError if there is none."""
        found = self._found.get(path)
        if found is None:
            found = self._found[path] = self.file[path]
        return found

    def close(self) -> None:
        """Close it, and what was opened in it."""
        self._found.clear()
        with contextlib.suppress(*TROUBLE):
            self.file.close()


def why_unreadable(error: Exception) -> str:
    """Say why a file cannot be read, of what opening or reading it has raised; HDF5's own words tell of its arguments.

    >>> why_unreadable(FileNotFoundError(2, "Unable to open file (name = 'a.h5', errno = 2, flags = 0)"))
    'No such file or directory'
    """
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else str(error)


def stamp_of(filename: str) -> tuple[int, int, int]:
    """What changes with a file: when it was written, its length, and which file it is. OSError if there is none."""
    found = os.stat(filename)
    return found.st_mtime_ns, found.st_size, found.st_ino


class OpenFiles:
    """The files that were read last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._files: OrderedDict[str, OpenFile] = OrderedDict()

    def get(self, filename: str) -> OpenFile:
        """Return a file, open as it is now; OSError if it cannot be read."""
        found = self._files.get(filename)
        if found is not None and found.stamp != stamp_of(filename):
            self._files.pop(filename).close()
            found = None
        if found is None:
            found = self._files[filename] = OpenFile(filename)
            if len(self._files) > self._most:
                self._files.popitem(last=False)[1].close()
        self._files.move_to_end(filename)
        return found

    def close(self) -> None:
        """Close them all."""
        while self._files:
            self._files.popitem()[1].close()
