"""Events of HDF5 files, as CrystFEL names them: what stands for each ``%`` in paths and dimensions of the geometry file.

``entry_1//3/5`` is 3 and 5 for the ``%`` among the dimensions, and ``entry_1`` for the one in a path such as ``/%/data``; a
file with one frame has the event ``//``.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline import RejectFrame

log = logging.getLogger("streamajig.files")


@dataclass(frozen=True)
class EventOfFile:
    """An event, read.

    >>> EventOfFile.parse("entry_1/b//3/5")
    EventOfFile(names=('entry_1', 'b'), numbers=(3, 5))
    >>> EventOfFile.parse("//")
    EventOfFile(names=(), numbers=())
    """

    names: tuple[str, ...]
    numbers: tuple[int, ...]

    @staticmethod
    def parse(event: str) -> EventOfFile:
        """Read an event; rejects what is none."""
        names, slashes, numbers = event.partition("//")
        words = numbers.split("/") if numbers else []
        if not slashes or not all(word.isascii() and word.isdigit() for word in words):
            raise RejectFrame(
                "bad_event", f"event {event!r}: wanted is // with a number for each '%' among the dimensions: //3"
            )
        return EventOfFile(tuple(names.split("/")) if names else (), tuple(map(int, words)))

    def path(self, pattern: str, *, may_have_more: bool = False) -> str:
        """Return a path with its ``%`` replaced; rejects the frame if their numbers differ.

        >>> EventOfFile(("a", "b"), ()).path("/data/%/image_%/pixels")
        '/data/a/image_b/pixels'
        """
        wanted = pattern.count("%")
        if wanted > len(self.names) or (wanted < len(self.names) and not may_have_more):
            raise RejectFrame(
                "bad_event",
                f"the event has {len(self.names)} names before //, and {pattern!r} has {wanted} '%' for them",
            )
        parts = pattern.split("%")
        return parts[0] + "".join(name + rest for name, rest in zip(self.names, parts[1:], strict=False))


def events_of(file: Any, pattern: str, dims: tuple[str | int, ...]) -> Iterator[str]:
    """Return the events of an open HDF5 file, in the order of CrystFEL's list_events.

    Parameters
    ----------
    file
        A ``h5py.File``.
    pattern, dims
        Where the first panel's pixels are, as the geometry file says. KeyError or ValueError if they are not there.
    """
    if "%" not in dims and "%" not in pattern:
        yield "//"
        return
    for names in _names(file, pattern.strip("/").split("/")):
        path = EventOfFile(names, ()).path(pattern)
        dataset = file[path]
        shape = getattr(dataset, "shape", None)
        if shape is None or len(shape) != len(dims):
            what = "is a group" if shape is None else f"has {len(shape)} dimensions"
            raise ValueError(f"{path} {what}, and the geometry file's dim directives say {', '.join(map(str, dims))}")
        sizes = [range(size) for size, dim in zip(shape, dims, strict=True) if dim == "%"]
        for numbers in itertools.product(*sizes):
            yield f"{'/'.join(names)}//{'/'.join(map(str, numbers))}"


def _names(group: Any, pattern: list[str]) -> Iterator[tuple[str, ...]]:
    """What stands for the ``%`` of a path, for each path that there is."""
    if not pattern:
        yield ()
        return
    first, rest = pattern[0], pattern[1:]
    if "%" not in first:
        found = group[first] if hasattr(group, "keys") else None
        if found is None:
            raise KeyError(f"there is no {first!r} in {group.name}, which is no group")
        yield from _names(found, rest)
        return
    before, _, after = first.partition("%")
    if "%" in after:
        raise ValueError(f"{first!r} has more than one '%' between its slashes")
    for link in sorted(group):
        if not (link.startswith(before) and link.endswith(after) and len(link) >= len(first)):
            continue
        try:
            child = group[link]
        except (KeyError, OSError):
            log.warning(
                "%s: %s of group %s leads nowhere; its frames are left out", group.file.filename, link, group.name
            )
            continue
        if bool(rest) == hasattr(child, "keys"):
            name = link[len(before) : len(link) - len(after)]
            yield from ((name, *more) for more in _names(child, rest))
