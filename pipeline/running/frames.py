"""The frames of a run, one after the other, for a loop: none is lost, and whoever takes his time holds the source back."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pipeline.frame import Frame, Outcome
from pipeline.running.hand_over import HandOver, Receiver, with_leaf
from pipeline.running.handle import Handle
from pipeline.running.report import Report, nothing_received

if TYPE_CHECKING:
    from pipeline.composing.graph import Graph

_LOOK_S = 0.5


class Queue(Receiver):
    """Outcomes that wait to be taken; while there are many the run receives no more."""

    def __init__(self) -> None:
        self._waiting: deque[Outcome] = deque()
        self._closed = False
        self._changed = threading.Condition()

    def write(self, encoded: Outcome) -> None:
        """Take one outcome."""
        with self._changed:
            if not self._closed:
                self._waiting.append(encoded)
                self._changed.notify()

    def backlog(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def take(self) -> Outcome | None:
        """Wait for the next outcome, and return it; None when there will be none."""
        with self._changed:
            while not (self._waiting or self._closed):
                self._changed.wait(_LOOK_S)
            taken = self._waiting.popleft() if self._waiting else None
        self.on_taken()
        return taken

    def forget(self) -> None:
        """Take nothing more, and let go of what waits: nobody will ask for it."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
        self.on_taken()

    def close(self) -> None:
        """Nothing more will come; what waits can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Frames(Iterator[Frame]):
    """Iterates over the finished frames of a run, which begins with the first one that is asked for.

    Leaving the loop stops the run; so does :meth:`close`, and leaving it as a context manager. Frames that were rejected are
    passed over and stand in :attr:`report`. An output that fails or a source that breaks off, which would end a run with
    ``report.failure``, is raised when the last frame has been taken.
    """

    def __init__(self, graph: Graph, after: str | None, keep_image: bool) -> None:
        self._queue = Queue()
        self._graph, self._leaf = with_leaf(graph, HandOver(self._queue, keep_image=keep_image), after)
        self._started: list[Handle] = []
        self._frames = _iterate(self._graph, self._queue, self._leaf, self._started)

    @property
    def report(self) -> Report:
        """What was counted so far; after the loop, all of it."""
        return self._started[0].report if self._started else nothing_received(self._graph)

    def __next__(self) -> Frame:
        return next(self._frames)

    def close(self) -> None:
        """Stop the run, if it goes on, and wait until everything is closed."""
        self._frames.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _iterate(graph: Graph, queue: Queue, leaf: str, started: list[Handle]) -> Generator[Frame]:
    """Run the graph; `started` gets the handle. It is a generator, so that Python closes it when the loop is left."""
    handle = Handle(graph, queue, leaf)
    started.append(handle)
    try:
        while (outcome := queue.take()) is not None:
            if isinstance(outcome, Frame):
                yield outcome
    finally:
        queue.forget()
        handle.close()
    failure = handle.wait().failure
    if failure is not None:
        raise failure
