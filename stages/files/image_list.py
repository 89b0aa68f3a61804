"""CrystFEL's lists of image files: a line is a file's name, or its name and an event (``run7.cxi //3``)."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline import UserError

ImageFormat = Literal["cbf", "hdf5"]

SUFFIXES: dict[str, tuple[str, ...]] = {
    "cbf": (".cbf", ".cbf.gz"),
    "hdf5": (".h5", ".cxi", ".nxs", ".hdf5", ".hdf", ".nexus"),
}
"""How the names of image files end, by their format."""

_WILDCARDS = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Listed:
    """A line of a list: a file, and one of its events; None for all of them."""

    filename: str
    event: str | None = None


def parse_line(line: str) -> Listed:
    """Read a line of a list: what follows the last space is an event if there is ``//`` in it, as for CrystFEL.

    >>> parse_line("run 7.cxi //3"), parse_line("a.h5 entry_1//")
    (Listed(filename='run 7.cxi', event='//3'), Listed(filename='a.h5', event='entry_1//'))
    >>> parse_line("my frame.cbf"), parse_line("https://a.cbf")
    (Listed(filename='my frame.cbf', event=None), Listed(filename='https://a.cbf', event=None))
    """
    line = line.strip()
    name, space, event = line.rpartition(" ")
    return Listed(name.rstrip(), event) if space and "//" in event else Listed(line)


@dataclass(frozen=True)
class Prefixed:
    """How the names in a list become those of files.

    Attributes
    ----------
    prefix
        Comes before each name, as it is.
    basename
        Whether the folders are taken off each name before.
    """

    prefix: str = ""
    basename: bool = False

    @staticmethod
    def checked(prefix: str, basename: bool) -> Prefixed:
        """Add the slash that a prefix lacks which is a folder."""
        is_folder = bool(prefix) and not prefix.endswith("/") and Path(prefix).is_dir()
        return Prefixed(f"{prefix}/" if is_folder else prefix, basename)

    def __call__(self, listed: Listed) -> Listed:
        """Return the line with the file's name.

        >>> Prefixed("/data/run7/", basename=True)(Listed("elsewhere/a.cbf")).filename
        '/data/run7/a.cbf'
        """
        name = listed.filename.rpartition("/")[2] if self.basename else listed.filename
        return Listed(f"{self.prefix}{name}", listed.event)


def format_of(name: str) -> ImageFormat | None:
    """Return the format of an image file, by the end of its name; None if it is none.

    >>> format_of("a.cbf.gz"), format_of("run7.CXI"), format_of("run7.lst")
    ('cbf', 'hdf5', None)
    """
    return next((kind for kind in _FORMATS if name.lower().endswith(SUFFIXES[kind])), None)


_FORMATS: tuple[ImageFormat, ...] = ("cbf", "hdf5")


def listed_in(names: tuple[str, ...], kind: ImageFormat, prefixed: Prefixed) -> Iterator[Listed]:
    """Return what is named: image files, with or without an event, patterns and folders of them, and what stands in lists.

    Only names in lists get the prefix. UserError for a list that cannot be read, or for a folder or pattern without any.
    """
    for name in names:
        named = parse_line(name)
        if named.event is not None or (format_of(name) and not is_pattern(name)):
            yield named
        elif is_pattern(name) or Path(name).is_dir():
            found = matching(name, kind)
            if not found:
                raise UserError(f"{name}: there is no image file; wanted are files named *{', *'.join(SUFFIXES[kind])}")
            yield from map(Listed, found)
        else:
            yield from map(prefixed, lines_of(name))


def lines_of(name: str) -> Iterator[Listed]:
    """Read a list line by line; empty ones are passed over. UserError if it cannot be read."""
    try:
        with Path(name).open(encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                if line.strip():
                    yield parse_line(line)
    except OSError as error:
        raise UserError(f"cannot read {name}: {error.strerror}") from None


def is_pattern(name: str) -> bool:
    """Whether this is a pattern of names, and no name of a file."""
    return bool(_WILDCARDS.search(name)) and not Path(name).exists()


def matching(name: str, kind: ImageFormat) -> list[str]:
    """Return the image files that are now in a folder, or match a pattern, in the order of their names."""
    if is_pattern(name):
        return sorted(found for found in glob.iglob(name, recursive=True) if Path(found).is_file())
    folder = Path(name)
    try:
        return sorted(str(file) for file in folder.iterdir() if file.name.lower().endswith(SUFFIXES[kind]))
    except OSError as error:
        raise UserError(f"cannot read {name}: {error.strerror}") from None
