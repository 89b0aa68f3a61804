"""SIGINT, SIGTERM and SIGHUP end a run: the first in good order, the second within seconds, whatever blocks.

A signal handler in Python runs in the main thread, between two of its instructions: never while that thread is in foreign code
(a kernel, a pipe that nobody reads), and what it raises is lost wherever Python cannot pass it on (in a callback of compiled
code, in ``__del__``). So here no handler does anything. The part of it that is not in Python writes the signal's number into
a socket at once, and the system notes when; a thread of its own reads it, and that thread can end the process by itself. Only
foreign code that never lets go of the interpreter's lock keeps it from doing so.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import math
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Self

log = logging.getLogger("streamajig.run")

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

ENDED = 130
"""Exit status of a run that a signal has ended by force."""

SAME_S = 0.05
"""Signals that come within this time are one: a launcher hands on what the terminal has sent to the whole group."""

_SO_TIMESTAMPNS = 35
"""Linux notes when a datagram came (socket(7)): the thread that reads may be late, and two signals would be read as one."""

_TIMESPEC = struct.Struct("qq")

OPENING_S = 1.0
"""What is being opened when the first signal comes has so long to come to an end by itself."""

ABANDON_S = 3.0
"""A run has so long to come to an end after the second signal."""

LAST_WORDS_S = 2.0
"""What is said when it did not may take so long, for it may be stdout that blocks."""

_FIRST = "asking for nothing more; finishing what was received (again to abandon it)"

_SAYING_S = 0.5
_CLEARING_S = 1.5

_STOP = 0

_is_to_the_end = False


class Ending:
    """What signals ask for while it is entered.

    Outside the main thread, where Python allows no signal handlers, nothing is asked.

    Parameters
    ----------
    first
        What is said when the first signal comes, behind its name.

    Attributes
    ----------
    stopping, abandon
        Are set by the first and by the second signal.
    came_early
        Whether the first one came before `opened` was called, when nothing could have been received.
    status
        The exit status, once it is known: what a process is left with that does not end by itself.
    last_words
        Called, in a thread of its own, before the process is ended by force; should print what was counted.
    """

    def __init__(self, first: str = _FIRST) -> None:
        self._first = first
        self.stopping = threading.Event()
        self.abandon = threading.Event()
        self.came_early = False
        self.status = ENDED
        self.last_words: Callable[[], object] = lambda: None
        self._opened = False
        self._told = threading.Lock()
        """Held by whoever says what was counted, the run or the watcher; the other one does not."""
        self._is_told = False
        self._count = 0
        self._counted_s = -math.inf
        self._deadline_s: float | None = None
        self._before: dict[int, object] = {}
        self._sockets: tuple[socket.socket, ...] = ()
        self._watcher = threading.Thread(target=self._watch, name="signals", daemon=True)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._sockets = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._sockets[0].setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            self._sockets[1].setblocking(False)
            self._wakeup_before = signal.set_wakeup_fd(self._sockets[1].fileno(), warn_on_full_buffer=False)
            for number in NUMBERS:
                if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                    continue  # nohup has said so
                self._before[number] = signal.signal(number, _do_nothing)
            self._watcher.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if not self._before:
            return
        self.finish()
        if _is_to_the_end:
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._wakeup_before)
        self._sockets[1].send(bytes([_STOP]))
        self._watcher.join()
        for end in self._sockets:
            end.close()

    def opened(self) -> None:
        """Say that everything is open, and that from now on the first signal finishes what was received."""
        self._opened = True

    def finish(self) -> None:
        """Say that the run is over, and that what was counted is said now; from now on signals change nothing.

        Does not return if the process is being ended by force at this moment.
        """
        if not self._is_told and not self._told.acquire(blocking=False):
            threading.Event().wait()
        self._is_told = True

    def _watch(self) -> None:
        while (number_and_time := self._next()) is None or number_and_time[0] != _STOP:
            if number_and_time is None:
                self._force()
            elif number_and_time[0] in self._before:
                self._take(*number_and_time)

    def _next(self) -> tuple[int, float] | None:
        """The next signal and when it came; None when what was waited for has not come to an end in time."""
        wait_s = None if self._deadline_s is None else max(0.0, self._deadline_s - time.monotonic())
        ready, _, _ = select.select([self._sockets[0]], [], [], wait_s)
        if not ready:
            return None
        data, (noted, *_), _, _ = self._sockets[0].recvmsg(1, socket.CMSG_SPACE(_TIMESPEC.size))
        seconds, nanoseconds = _TIMESPEC.unpack(noted[2])
        return data[0], seconds + nanoseconds / 1e9

    def _take(self, number: int, came_s: float) -> None:
        if came_s - self._counted_s < SAME_S:
            return
        self._counted_s = came_s
        now = time.monotonic()
        self._count += 1
        name = signal.Signals(number).name
        # said first, so that in the log it stands before what comes of it
        if self._count == 1:
            self.came_early = not self._opened
            if self.came_early and not self._is_told:
                self._deadline_s = now + OPENING_S
                _say(logging.INFO, "%s: ending before anything is received", name)
            elif not self._is_told:
                _say(logging.INFO, "%s: %s", name, self._first)
            self.stopping.set()
        elif self._count == 2:
            self._deadline_s = min(self._deadline_s or now + ABANDON_S, now + ABANDON_S)
            if not self._is_told:
                _say(logging.WARNING, "%s: abandoning the frames in flight", name)
            self.abandon.set()
        else:
            self._deadline_s = now

    def _force(self) -> None:
        """End the process, because it does not come to an end by itself."""
        self._deadline_s = None
        if self._count == 1 and (self._opened or self._is_told):
            return  # it has opened meanwhile, and finishes what was received
        if self._told.acquire(blocking=False):
            within(LAST_WORDS_S, self.last_words)
            leave(ENDED)
        leave(self.status)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Let these signals wait meanwhile, also for a process that is started: it takes them when it is ready for them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def to_the_end() -> None:
    """Let what handles signals in this process stay until the process ends, so that one that comes late changes nothing."""
    global _is_to_the_end  # noqa: PLW0603 - of the process, as signal handlers are
    _is_to_the_end = True
    atexit.register(_ignore_all)


def within(seconds: float, do: Callable[[], object]) -> None:
    """Do what may never come to an end (writing to a pipe, say), and wait for it so long at most."""
    thread = threading.Thread(target=do, name="last words", daemon=True)
    thread.start()
    thread.join(seconds)


_when_left: list[Callable[[], object]] = []
"""What `leave` has to do, latest last."""


@contextlib.contextmanager
def when_left(do: Callable[[], object]) -> Iterator[None]:
    """Have this done if the process is ended by force meanwhile, for what would be left over on disk."""
    _when_left.append(do)
    try:
        yield
    finally:
        _when_left.remove(do)


def leave(status: int) -> None:
    """End the process now, whatever its threads are doing; child processes are ended too."""
    for do in reversed(_when_left):
        within(_CLEARING_S, do)
    if "multiprocessing" in sys.modules:
        import multiprocessing

        for child in multiprocessing.active_children():
            with contextlib.suppress(OSError):
                child.terminate()
    os._exit(status)


def _say(level: int, text: str, *values: object) -> None:
    within(_SAYING_S, lambda: log.log(level, text, *values))


def _do_nothing(number: int, frame: FrameType | None) -> None:
    pass


def _ignore_all() -> None:
    for number in NUMBERS:
        signal.signal(number, signal.SIG_IGN)
