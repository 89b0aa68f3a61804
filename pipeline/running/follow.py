"""Who follows a live run: a streamz ``Stream`` behind the collector, fed by a thread of its own, where loss harms nobody.

streamz calls what hangs on a stream in the thread that emits, and waits for it: so that thread is neither a replica's nor the
collector's. Operators that know time (``timed_window``, ``rate_limit``, ``buffer``) bring an event loop of streamz's own with
them, which the stream then knows; ``emit`` hands over to that loop and waits.
"""

from __future__ import annotations

import logging
import threading
from collections import deque

from pipeline.faults import describe
from pipeline.frame import Frame
from pipeline.running.streams import Stream

log = logging.getLogger("streamajig.follow")


class Follower:
    """Emits frames into `stream`, one after the other; of those that wait for it the oldest are left out.

    Attributes
    ----------
    stream
        What people hang their operators on.
    left_out
        How many frames the operators were too slow for.
    failed
        How many frames something that hangs on the stream has raised for; the first time is logged.
    """

    def __init__(self, most_waiting: int) -> None:
        self.stream = Stream(stream_name="frames")
        self.left_out = 0
        self.failed = 0
        self._waiting: deque[Frame] = deque()
        self._most_waiting = most_waiting
        self._closed = False
        self._changed = threading.Condition()
        # a daemon: operators that never return must not keep the interpreter from ending
        threading.Thread(target=self._emit_all, name="stream", daemon=True).start()

    def put(self, frame: Frame) -> None:
        """Let this frame be emitted when its turn comes."""
        with self._changed:
            while len(self._waiting) >= self._most_waiting:
                self._waiting.popleft()
                self.left_out += 1
            self._waiting.append(frame)
            self._changed.notify()

    def close(self) -> None:
        """Nothing more will come; what waits is still emitted."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _emit_all(self) -> None:
        while (frame := self._next()) is not None:
            try:
                self.stream.emit(frame.detached())
            except BaseException as error:  # whatever the user's operators raise harms nobody but them
                self.failed += 1
                if self.failed == 1:
                    log.error("what follows the run failed on frame %d: %s (said once)", frame.serial, describe(error))
        if self.left_out:
            log.warning("what follows the run was too slow for %d frames, and has not seen them", self.left_out)

    def _next(self) -> Frame | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return self._waiting.popleft() if self._waiting else None
