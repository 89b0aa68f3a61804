"""Where frames begin: the source's messages get their serials, in no greater number than the run can take.

:class:`Inbox` is the bounded queue between the one thread that receives and the replicas; :class:`Ingest` decides how
many messages the source may ask for, when the stream has ended, and what happens to data that come unasked.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.composing.options import RunOptions
from pipeline.frame import Frame, Message, Outcome, Rejected
from pipeline.protocols import EndOfStream, RunningSource
from pipeline.running.collect import Collector
from pipeline.running.silence import Silence

log = logging.getLogger("streamajig.ingest")

_UNASKED = 1 << 20
"""Credit given to a source whose overflow is dropped here: as many as come."""

LEFT_OVER = "waited when the run ended"
"""Why what a source still has at the end is dropped."""


HELD_BACK = 32
"""With output in order: frames that are finished and wait for their turn, at most, for each that may be in flight.

While one replica of n works on a frame that takes r times as long as the others, the others finish (n - 1) r. The default limit
of 4 + 4 n in flight gives r = 128 and more; beyond that the others wait, since memory is not without end.
"""


class Inbox:
    """Frames received and not yet finished: some wait here, some are in a replica; bounded in number and in bytes.

    The limits hold for what is asked for; what came anyway (a message with several maps) waits here too. Together with
    frames that are finished and held back until it is their turn to be written they are ``HELD_BACK`` times as many at most.
    How large the next frame is is not known: each is taken to be as large as the largest that has come, so messages that grow
    all at once exceed the bytes once. One frame is always asked for where none is in flight, however large it is.

    Parameters
    ----------
    limit
        So many frames may be unfinished.
    held_back
        Tells how many are held back, and how many bytes they hold; asked whenever a frame is finished.
    backlog
        Tells how many finished frames wait for a program that iterates over them; so many fewer may be asked for.
    limit_bytes
        Messages that are unfinished, and what is held back, may have so many bytes together.
    """

    def __init__(
        self,
        limit: int,
        held_back: Callable[[], tuple[int, int]] = lambda: (0, 0),
        backlog: Callable[[], int] = lambda: 0,
        limit_bytes: int = sys.maxsize,
    ) -> None:
        self._limit, self._limit_bytes = limit, limit_bytes
        self._held_back = held_back
        self._backlog = backlog
        self._waiting: deque[Frame] = deque()
        self._in_replicas: set[int] = set()
        self._sizes: dict[int, int] = {}
        self._bytes = 0
        self._largest = 1
        self._takers = 0
        self._closed = False
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._sleepers = 0

    def put(self, frame: Frame) -> None:
        """Add a frame."""
        size = _size_of(frame)
        with self._lock:
            self._waiting.append(frame)
            self._sizes[frame.serial] = size
            self._bytes += size
            self._largest = max(self._largest, size)
            if self._sleepers:
                self._changed.notify()

    def take(self, timeout_s: float | None = None) -> Frame | None:
        """Take the oldest frame; None when there is none within the time, or never again (closed and empty)."""
        with self._lock:
            if not self._waiting and timeout_s != 0.0:
                self._takers += 1
                self._sleep_until(lambda: bool(self._waiting) or self._closed, timeout_s)
                self._takers -= 1
            return self._take()

    def take_ahead(self) -> Frame | None:
        """Take the oldest frame for somebody who still has one to work on: None if all are for those who have none."""
        with self._lock:
            return self._take() if len(self._waiting) > self._takers else None

    def _sleep_until(self, has_come: Callable[[], bool], timeout_s: float | None) -> None:
        """Wait until something has come, and say meanwhile that somebody is to be woken: mostly there is nobody."""
        self._sleepers += 1
        try:
            self._changed.wait_for(has_come, timeout_s)
        finally:
            self._sleepers -= 1

    def _take(self) -> Frame | None:
        if not self._waiting:
            return None
        frame = self._waiting.popleft()
        self._in_replicas.add(frame.serial)
        return frame

    def done(self, serial: int) -> None:
        """Say that a frame that was taken is finished."""
        with self._lock:
            self._in_replicas.remove(serial)
            self._bytes -= self._sizes.pop(serial)
            if self._sleepers:
                self._changed.notify_all()

    def put_back(self, frame: Frame) -> None:
        """Return a frame that was taken and not begun, because whoever took it is gone; it is the next to be taken."""
        with self._changed:
            self._in_replicas.remove(frame.serial)
            self._waiting.appendleft(frame)
            self._changed.notify_all()

    def widen(self, limit: int) -> None:
        """Let more frames be in flight, because there are more replicas."""
        with self._changed:
            self._limit = max(self._limit, limit)
            self._changed.notify_all()

    def look_again(self) -> None:
        """Say that the backlog has become less."""
        with self._changed:
            self._changed.notify_all()

    def pop_oldest(self) -> Frame | None:
        """Take back the oldest frame that no replica has started, to drop it."""
        with self._changed:
            if not self._waiting:
                return None
            frame = self._waiting.popleft()
            self._bytes -= self._sizes.pop(frame.serial)
            return frame

    def free(self) -> int:
        """How many more frames may be asked for."""
        with self._lock:
            return self._room()

    def wait_for_room(self, timeout_s: float) -> None:
        """Wait until something may be asked for, at most this long."""
        with self._changed:
            self._sleep_until(lambda: self._room() > 0, timeout_s)

    def _room(self) -> int:
        unfinished = len(self._waiting) + len(self._in_replicas)
        backlog = self._backlog()
        held_back, held_back_bytes = self._held_back()
        fitting = (self._limit_bytes - self._bytes - held_back_bytes) // self._largest - backlog
        if not unfinished and not backlog:
            fitting = max(1, fitting)
        free = min(self._limit - unfinished - backlog, HELD_BACK * self._limit - held_back - unfinished, fitting)
        return free if free > 0 else 0

    def __len__(self) -> int:
        with self._lock:
            return len(self._waiting) + len(self._in_replicas)

    def close(self) -> None:
        """No further frame will come; whoever takes gets what is left, then None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abandon(self) -> int:
        """Forget the frames that wait; return how many frames were in flight."""
        with self._changed:
            in_flight = len(self._waiting) + len(self._in_replicas)
            self._waiting.clear()
            self._closed = True
            self._changed.notify_all()
            return in_flight


def _size_of(outcome: Outcome) -> int:
    """The bytes of a frame's message; of one that comes here rejected, too, to be said at the leaves."""
    message = (outcome.frame if isinstance(outcome, Rejected) else outcome).get(Message)
    if message is None:
        return 0
    return sum([len(part) if isinstance(part, bytes) else memoryview(part).nbytes for part in message.parts])


def lost_since(source: Any) -> float | None:
    """Since when a sender of a running source is missing (:class:`pipeline.protocols.Noticing`); None where it cannot tell."""
    return source.lost_since() if hasattr(source, "lost_since") else None


class Ingest:
    """Receives for a run; belongs to one thread.

    Parameters
    ----------
    source
        The source at work.
    when_full
        What happens to data that come unasked while the inbox is full: ``block`` leaves them to the transport,
        ``drop_newest`` and ``drop_oldest`` drop and count.
    """

    def __init__(
        self,
        source: RunningSource,
        inbox: Inbox,
        collector: Collector,
        options: RunOptions,
        stopping: threading.Event,
        when_full: str = "block",
    ) -> None:
        self._source = source
        self._inbox = inbox
        self._collector = collector
        self._options = options
        self._limit = options.max_frames
        self._stopping = stopping
        self._when_full = when_full
        self._serial = options.serial_offset
        self._received = 0
        self._silence = Silence()
        self._began_ns = time.time_ns()
        self._drain_until: float | None = None
        self.finished = False
        self.why_finished = ""

    def step(self, timeout_s: float) -> bool:
        """Receive once, waiting at most this long; return False when there will be no further frame."""
        if not self.finished and self._drain_until is None:
            self._look_for_end()
        if self.finished:
            return False
        if self._drain_until is not None:
            return self._drain(timeout_s)
        credit = self._credit()
        if credit == 0:
            self._silence.excuse()
            self._inbox.wait_for_room(timeout_s)
            return True
        try:
            messages = self._source.receive(timeout_s, credit)
        except EndOfStream:
            self._finish("the source has no more")
            return False
        self._accept(messages)
        if not messages:
            self._silence.go_on(lambda: self.lost_since() is not None)
        if self._limit is not None and self._is_full():
            self._look_for_end()
        return not self.finished

    def status(self) -> str:
        """What the source says of itself."""
        return self._source.status()

    def lost_since(self) -> float | None:
        """Since when a sender is missing."""
        return lost_since(self._source)

    @property
    def silent_s(self) -> float:
        """For how long nothing has come although it was asked for; 0 when nothing more is wanted."""
        return 0.0 if self.finished or self._drain_until is not None else self._silence.seconds

    def close(self) -> None:
        """Close the source; what has come to it and was not received yet counts as received and dropped."""
        try:
            with contextlib.suppress(EndOfStream):
                for _ in range(self._source.stop_asking()):
                    left_over = self._source.receive(0.0, _UNASKED)
                    for _message in left_over:
                        self._collector.drop(self._count(), LEFT_OVER)
                    if not left_over:
                        break
        finally:
            self._source.close()

    def _look_for_end(self) -> None:
        timeout = self._options.no_data_timeout_s
        if self._limit is not None and self._is_full():
            self._finish(f"{self._limit} frames, as asked for")
        elif self._stopping.is_set():
            self._drain_until = time.monotonic() + self._options.drain_s
            self.why_finished = "stopped"
        elif timeout is not None and self._silence.seconds > timeout and not len(self._inbox):
            self._drain_until = time.monotonic() + min(self._options.drain_s, 0.1)
            self.why_finished = f"no data for {timeout:g} s"

    def _drain(self, timeout_s: float) -> bool:
        """Take what has come, and the answers to requests already sent: the sender counts them as delivered."""
        assert self._drain_until is not None
        left = self._drain_until - time.monotonic()
        if self._source.stop_asking() == 0 or left <= 0 or self._is_full():
            self._finish(self.why_finished)
            return False
        if not self._credit():
            self._inbox.wait_for_room(min(timeout_s, left))
        try:
            self._accept(self._source.receive(min(timeout_s, left), self._credit()))
        except EndOfStream:
            self._finish(self.why_finished)
        return not self.finished

    def _credit(self) -> int:
        free = self._inbox.free() if self._when_full == "block" else _UNASKED
        return free if self._limit is None else min(free, self._limit - self._received)

    def _accept(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        self._silence.end()
        limit = self._limit
        for message in messages:
            serial = self._count()
            if limit is not None and self._received > limit:
                self._collector.drop(serial, "beyond max_frames")
                continue
            # a message of a recording keeps its time, and how long the run takes for it is counted from now
            is_of_before = message.received_ns < self._began_ns
            received_ns = time.time_ns() if is_of_before else message.received_ns
            self._put(Frame(serial, "", received_ns, {Message: message}))

    def _is_full(self) -> bool:
        """Whether as many frames have come as were asked for."""
        return self._limit is not None and self._received >= self._limit

    def _count(self) -> int:
        """Count a message as received; return its serial."""
        self._collector.count_received()
        self._received += 1
        self._serial += 1
        return self._serial - 1

    def _put(self, frame: Frame) -> None:
        if self._when_full != "block" and self._inbox.free() == 0:
            oldest = self._inbox.pop_oldest() if self._when_full == "drop_oldest" else None
            dropped = oldest or frame
            self._collector.drop(dropped.serial, f"no room ({self._when_full})")
            if oldest is None:
                return
        self._inbox.put(frame)

    def _finish(self, why: str) -> None:
        self.finished = True
        self.why_finished = why
        self._source.stop_asking()  # what comes from now on comes after the end
        log.info("no more frames: %s", why)
