"""Where each child process is, on a page of shared memory that its parent can read after whatever has ended the child."""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Sequence
from typing import Any, SupportsIndex

from pipeline.running.backends.crossing import FrameElsewhere
from pipeline.running.guards import At

_SIZE = mmap.PAGESIZE
_SINCE, _SERIAL, _NODE, _BEGUN, _STOPPING = range(5)
"""Cells of 64 bits on the page. One is written at a time, whole: what is half written is seen as being nowhere."""

_NOWHERE = 0
_OUTSIDE = 1
"""A place that is no node, such as the end of a stage; nodes have the numbers that follow."""

_FIRST_NODE = 2

_LOOK_S = 0.05


def make_pages(children: int) -> int:
    """Return the file descriptor of so many pages."""
    fd = os.memfd_create("streamajig-places", os.MFD_CLOEXEC)
    os.ftruncate(fd, children * _SIZE)
    return fd


class Page:
    """The page of one child; both sides have it.

    >>> fd = make_pages(1)
    >>> here, there = Page(fd, 0, ("decode", "count")), Page(fd, 0, ("decode", "count"))
    >>> there.begin(7)
    >>> there.place[0] = ("count", FrameElsewhere(7), 1000)
    >>> here.at(), here.begun
    (('count', FrameElsewhere(serial=7), 1000), 7)
    >>> there.place[0] = None
    >>> here.at(), here.begun
    (None, 7)
    >>> os.close(fd)
    """

    def __init__(self, fd: int, number: int, names: Sequence[str]) -> None:
        self._memory = mmap.mmap(fd, _SIZE, offset=number * _SIZE)
        self._cells = memoryview(self._memory).cast("q")
        self._names = tuple(names)
        self._last: At | None = None
        self.place = SharedPlace(self._cells, self._names)

    def clear(self) -> None:
        """Forget where a child was; its successor has the same page."""
        self.place[0] = None
        self.begin(-1)

    def begin(self, serial: int) -> None:
        """Say that the child begins with a frame."""
        self._cells[_BEGUN] = serial

    @property
    def begun(self) -> int:
        """The serial of the frame with which the child has begun last; -1 before the first."""
        return self._cells[_BEGUN]

    def at(self) -> At | None:
        """Where the child is; the same object as long as it is the same place."""
        try:
            node, since, serial = (self._cells[cell] for cell in (_NODE, _SINCE, _SERIAL))
        except ValueError:  # it is closed, and somebody who watches looks once more
            return None
        if node == _NOWHERE:
            return None
        name = self._names[node - _FIRST_NODE] if node >= _FIRST_NODE else "the end of a stage"
        at = (name, FrameElsewhere(serial) if serial >= 0 else None, since)
        if at != self._last:
            self._last = at
        return self._last

    def close(self) -> None:
        """Give up the memory."""
        self._cells.release()
        self._memory.close()

    def stop(self) -> None:
        """Let the child know that the run is to end."""
        self._cells[_STOPPING] = 1

    @property
    def is_stopping(self) -> bool:
        """Whether the run is to end."""
        return bool(self._cells[_STOPPING])


class SharedPlace(list[At | None]):
    """A replica's place (:data:`pipeline.running.guards.Place`) that writes on the page whatever is put into it."""

    def __init__(self, cells: memoryview, names: Sequence[str]) -> None:
        super().__init__([None])
        self._cells = cells
        self._number = {name: n for n, name in enumerate(names, start=_FIRST_NODE)}

    def __setitem__(self, index: SupportsIndex | slice, at: Any) -> None:
        super().__setitem__(index, at)
        cells = self._cells
        cells[_NODE] = _NOWHERE
        if at is not None:
            node, work, since = at
            cells[_SINCE] = since
            cells[_SERIAL] = getattr(work, "serial", -1)
            cells[_NODE] = self._number.get(node, _OUTSIDE)


class SeenPlace(list[At | None]):
    """The same place as the parent sees it."""

    def __init__(self, page: Page) -> None:
        super().__init__([None])
        self._page = page

    def __getitem__(self, index: Any) -> Any:
        return self._page.at()


class SharedEvent(threading.Event):
    """The end of the run as a child's stages see it: set by the parent, on the page."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self._page = page

    def is_set(self) -> bool:
        """Whether the run is to end."""
        return super().is_set() or self._page.is_stopping

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is, or for so long."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self.is_set():
            left = _LOOK_S if until is None else min(_LOOK_S, until - time.monotonic())
            if left <= 0:
                break
            super().wait(left)
        return self.is_set()
