"""A run as an object: it goes on in a thread of its own, and can be looked at, waited for and stopped.

Nothing here is called by :func:`pipeline.run`, so that a run that nobody looks at costs nothing.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar, overload

from pipeline.frame import Frame, Outcome
from pipeline.running.follow import Follower
from pipeline.running.hand_over import HandOver, Receiver, with_leaf, without_leaf
from pipeline.running.job import Job, run
from pipeline.running.report import Report, nothing_received
from pipeline.watching import Progress

if TYPE_CHECKING:
    from pipeline.composing.graph import Graph
    from pipeline.running.streams import Stream

log = logging.getLogger("streamajig.run")

T = TypeVar("T")

ABANDON_S = 5.0
"""A run that an exception has left, or whose interpreter ends, has so long to finish what it received."""

_LAST_S = 5.0
"""An abandoned run has so long to close its outputs."""

_SLICE_S = 3600.0
"""Waits are cut into pieces that every platform's clock can take."""


class Latest(Receiver):
    """Keeps the frame that was finished last, and passes it on to who follows the run."""

    def __init__(self) -> None:
        self.frame: Frame | None = None
        self.values: dict[type, object] = {}
        self.followers: tuple[Follower, ...] = ()
        self._closed = False
        self._changing = threading.Lock()

    def write(self, encoded: Outcome) -> None:
        """Take one outcome."""
        if isinstance(encoded, Frame):
            self.frame = encoded
            for follower in self.followers:
                follower.put(encoded)

    def add(self, follower: Follower) -> None:
        """Let somebody follow from now on."""
        with self._changing:
            self.followers = (*self.followers, follower)
            if self._closed:
                follower.close()

    def close(self) -> None:
        """Tell the followers that nothing more will come."""
        with self._changing:
            self._closed = True
            for follower in self.followers:
                follower.close()


class Handle:
    """A run that was started with :meth:`Graph.start`.

    As a context manager it stops the run and closes everything when it is left, by an exception too:

    ``with graph.start() as handle: ...``

    A run that is never stopped is stopped when the interpreter ends; what was received is finished, or counted.
    """

    def __init__(self, graph: Graph, receiver: Receiver, leaf: str, command_line: str = "") -> None:
        self._graph = graph
        self._receiver = receiver
        self._leaf = leaf
        self._command_line = command_line
        self._stopping, self._abandon = threading.Event(), threading.Event()
        self._opened, self._ended = threading.Event(), threading.Event()
        self._progress: Progress | None = None
        self._job: Job | None = None
        self._report: Report | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="run", daemon=True)
        _running.add(self)
        self._thread.start()
        try:
            self._opened.wait()
        except BaseException:  # Ctrl-C while kernels compile
            self.stop()
            raise
        self._raise_error()

    @property
    def is_running(self) -> bool:
        """Whether the run goes on."""
        return not self._ended.is_set()

    @property
    def progress(self) -> Progress:
        """How it goes, at most a fraction of a second old; after the end, how it was last."""
        assert self._progress is not None  # the first one says that everything is open
        return self._progress

    @property
    def report(self) -> Report:
        """What was counted: so far, or, when the run has ended, all of it."""
        if self._report is not None:
            return self._report
        assert self._job is not None
        return without_leaf(self._job.report_so_far(), self._leaf)

    @overload
    def latest(self) -> Frame | None: ...

    @overload
    def latest(self, kind: type[T]) -> T | None: ...

    def latest(self, kind: type[T] | None = None) -> Frame | T | None:
        """Return the frame that was finished last, or its value of this type; None if there is none.

        It has its pixels: ``handle.latest().plot()``.
        """
        frame = self._receiver.frame if isinstance(self._receiver, Latest) else None
        return frame if frame is None or kind is None else frame.get(kind)

    def stream(self, *, most_waiting: int = 100) -> Stream:
        """Return a streamz ``Stream`` of the frames that are finished from now on, to hang streamz's operators on.

        It is fed by a thread of its own, without pixels. While what hangs on it takes longer than frames come, the oldest of
        those that wait are left out, `most_waiting` at most, and counted. What raises in there is logged once, and does not
        end the run. Keep the stream that is returned: streamz holds what hangs on a stream only as long as somebody does.
        """
        if not isinstance(self._receiver, Latest):
            raise TypeError("the frames of this run are iterated over, and cannot be followed as well")
        follower = Follower(most_waiting)
        self._receiver.add(follower)
        return follower.stream

    def stop(self) -> None:
        """Ask for nothing more, and finish what was received; returns at once. Twice gives up what is not finished."""
        if self._stopping.is_set():
            self._abandon.set()
        self._stopping.set()

    def wait(self, timeout_s: float | None = None) -> Report:
        """Wait until the run has ended, and return the report; if the time is up before, the report so far.

        Raises what kept the run from going on if that is no report's matter: a fault of streamajig's own.
        """
        self._has_ended_by(None if timeout_s is None else time.monotonic() + timeout_s)
        self._raise_error()
        return self.report

    def close(self, patience_s: float | None = None) -> None:
        """Stop, finish what was received, and wait until everything is closed.

        What is not finished within `patience_s` is abandoned, and counted; so it is at once when Ctrl-C comes meanwhile.
        """
        self._stopping.set()
        deadline = None if patience_s is None else time.monotonic() + patience_s
        try:
            if self._has_ended_by(deadline):
                return
        except BaseException:
            self._abandon.set()
            self._ended.wait(_LAST_S)
            raise
        self._abandon.set()
        if not self._ended.wait(_LAST_S):
            log.error(
                "the run does not end: %s", self._job.what_hangs() if self._job is not None else "it is being opened"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close(None if error is None else self._patience_s)
        if error is None:
            self._raise_error()

    def __repr__(self) -> str:
        state = "running" if self.is_running else "ended"
        progress = self._progress
        if self._report is not None:
            return f"<Handle: {state}, {self._report.law_lines()[0]}>"
        return f"<Handle: {state}, {progress.received if progress is not None else 0} frames received>"

    @property
    def _patience_s(self) -> float:
        return ABANDON_S + self._graph.options.drain_s

    def _has_ended_by(self, deadline: float | None) -> bool:
        """Wait until the run has ended, or it is that late."""
        while self.is_running:
            left = _SLICE_S if deadline is None else min(_SLICE_S, deadline - time.monotonic())
            if left <= 0:
                return False
            self._ended.wait(left)
        return True

    def _run(self) -> None:
        try:
            report = run(
                self._graph,
                command_line=self._command_line,
                on_progress=self._note,
                stopping=self._stopping,
                abandon=self._abandon,
                on_start=self._keep,
            )
            self._report = without_leaf(report, self._leaf)
        except BaseException as error:  # it is raised to whoever started the run
            self._error = error
            counted = nothing_received(self._graph) if self._job is None else self._job.report_now()
            self._report = without_leaf(counted, self._leaf)
        finally:
            self._receiver.close()
            self._ended.set()
            self._opened.set()
            _running.discard(self)

    def _note(self, progress: Progress) -> None:
        self._progress = progress
        self._opened.set()

    def _keep(self, job: Job) -> None:
        self._job = job

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error


def start(graph: Graph, *, after: str | None = None, command_line: str = "") -> Handle:
    """Run a graph in a thread of its own; see :meth:`Graph.start`."""
    receiver = Latest()
    # with its pixels, so that the latest can be drawn: one frame's are held, and for those that wait for nobody none
    whole, leaf = with_leaf(graph, HandOver(receiver, keep_image=True, in_order=False), after)
    return Handle(whole, receiver, leaf, command_line)


_running: weakref.WeakSet[Handle] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Stop what still runs when the interpreter ends: its threads are daemons, and would be cut off in the middle of a line."""
    running = list(_running)
    for handle in running:
        handle._stopping.set()
    for handle in running:
        handle.close(handle._patience_s)
