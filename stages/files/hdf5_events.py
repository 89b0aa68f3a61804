"""Events of HDF5 files, as CrystFEL names them: what stands for each ``%`` in paths and dimensions of the geometry file.

``entry_1//3/5`` is 3 and 5 for the ``%`` among the dimensions, and ``entry_1`` for the one in a path such as ``/%/data``; a
file with one frame has the event ``//``.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
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


def events_of(file: Any, pattern: str, dims: tuple[str | int, ...], *, may_grow: bool = False) -> Iterator[str]:
    """Return the events of an open HDF5 file, in the order of CrystFEL's list_events.

    Parameters
    ----------
    file
        A ``h5py.File``.
    pattern, dims
        Where the first panel's pixels are, as the geometry file says. KeyError or ValueError if they are not there.
    may_grow
        Whether links that lead nowhere may do so later, and nobody has to know that they do not now.
    """
    if "%" not in dims and "%" not in pattern:
        yield "//"
        return
    for names in _names(file, _steps(pattern), logging.DEBUG if may_grow else logging.WARNING):
        path = EventOfFile(names, ()).path(pattern)
        dataset = file[path]
        shape = getattr(dataset, "shape", None)
        if shape is None or len(shape) != len(dims):
            what = "is a group" if shape is None else f"has {len(shape)} dimensions"
            raise ValueError(f"{path} {what}, and the geometry file's dim directives say {', '.join(map(str, dims))}")
        sizes = [range(size) for size, dim in zip(shape, dims, strict=True) if dim == "%"]
        for numbers in itertools.product(*sizes):
            yield f"{'/'.join(names)}//{'/'.join(map(str, numbers))}"


def files_led_to(file: Any, pattern: str) -> Iterator[str]:
    """The files that links on the way to the pixels lead to, whether these are there or not; relative to the working folder."""
    yield from _led_to(file, _steps(pattern))


def _led_to(group: Any, pattern: list[str]) -> Iterator[str]:
    for name in _links(group, pattern[0]) if hasattr(group, "keys") else ():
        filename = getattr(group.get(name, getlink=True), "filename", None)
        if filename is not None:
            folder = Path(group.file.filename).parent
            named = folder / filename  # which is the name alone, if that begins with a slash
            yield str(named if named.parent.is_dir() else folder / named.name)
        with contextlib.suppress(KeyError, OSError):
            yield from _led_to(group[name], pattern[1:]) if pattern[1:] else ()


def _steps(pattern: str) -> list[str]:
    return pattern.strip("/").split("/")


def _links(group: Any, step: str) -> list[str]:
    """The links of a group that one step of a path can be, in order."""
    if "%" not in step:
        return [link for link in group if link == step]  # `in` says no of a link that leads nowhere
    before, _, after = step.partition("%")
    if "%" in after:
        raise ValueError(f"{step!r} has more than one '%' between its slashes")
    return sorted(link for link in group if link.startswith(before) and link.endswith(after) and len(link) >= len(step))


def _names(group: Any, pattern: list[str], level: int) -> Iterator[tuple[str, ...]]:
    """What stands for the ``%`` of a path, for each path that there is; what leads nowhere is logged on this level."""
    if not pattern:
        yield ()
        return
    first, rest = pattern[0], pattern[1:]
    if "%" not in first:
        found = group[first] if hasattr(group, "keys") else None
        if found is None:
            raise KeyError(f"there is no {first!r} in {group.name}, which is no group")
        yield from _names(found, rest, level)
        return
    before, _, after = first.partition("%")
    for link in _links(group, first):
        try:
            child = group[link]
        except (KeyError, OSError):
            where = group.file.filename, link, group.name
            log.log(level, "%s: %s of group %s leads nowhere; its frames are left out", *where)
            continue
        if bool(rest) == hasattr(child, "keys"):
            name = link[len(before) : len(link) - len(after)]
            yield from ((name, *more) for more in _names(child, rest, level))
