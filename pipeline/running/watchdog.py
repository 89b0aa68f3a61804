"""Stages that take too long are named while they do: node, frame, time, and where in the code.

One thread looks at all places (:data:`pipeline.running.guards.Place`) once a second; the stages themselves only say where
they are, which costs a tenth of a microsecond. A call is named after ten seconds, and again each time it has taken twice as
long.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

from pipeline.faults import STAGE
from pipeline.running.guards import Place

log = logging.getLogger("streamajig.watchdog")

SLOW_S = 10.0
"""A call that takes longer is named. Good frames take a second at most, and who watches a run wonders after ten."""

_LOOK_S = 1.0


class Watchdog:
    """Watches while it is started.

    Parameters
    ----------
    places
        Returns the places to look at; called at each look, since replicas come and go.
    slow_s
        How long a call may take before it is named.
    """

    def __init__(self, places: Callable[[], Iterable[Place]], slow_s: float) -> None:
        self._places = places
        self._slow_s = slow_s
        self._said: dict[int, tuple[Any, float]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer; may be called twice."""
        self._stop.set()

    def status(self) -> str:
        """The call that has taken longest, for the progress line; empty if all is well."""
        now = time.perf_counter_ns()
        calls = [at for place in self._places() if (at := place[0]) is not None]
        node, work, started = min(calls, key=lambda at: at[2], default=("", None, now))
        seconds = (now - started) / 1e9
        return _in_words(node, work, seconds) if seconds >= self._slow_s else ""

    def look(self) -> None:
        """Name the calls that have taken too long and have not been named for it."""
        now = time.perf_counter_ns()
        said: dict[int, tuple[Any, float]] = {}
        for place in self._places():
            at = place[0]
            if at is None:
                continue
            before, due_s = self._said.get(id(place), (None, self._slow_s))
            due_s = due_s if before is at else self._slow_s
            node, work, started = at
            seconds = (now - started) / 1e9
            if seconds >= due_s:
                log.warning("%s%s", _in_words(node, work, seconds), _where(node, work))
                due_s *= 2.0 ** (1 + math.floor(math.log2(seconds / due_s)))
            said[id(place)] = (at, due_s)
        self._said = said

    def _watch(self) -> None:
        while not self._stop.wait(min(_LOOK_S, self._slow_s / 4)):
            self.look()


def _in_words(node: str, work: Any, seconds: float) -> str:
    if hasattr(work, "serial"):
        return f"frame {work.serial} has been in {node} for {seconds:.0f} s"
    return f"{node} has taken {seconds:.0f} s"


def _where(node: str, work: Any) -> str:
    """Where in the code a stage is: of all threads, the one that is in this stage with this frame."""
    for innermost in sys._current_frames().values():
        frame: FrameType | None = innermost
        while frame is not None:
            if frame.f_code.co_name == f"{STAGE}{node}" and frame.f_locals.get("outcome", work) is work:
                code = innermost.f_code
                return f" (in {code.co_name}, line {innermost.f_lineno} of {code.co_filename.rpartition('/')[2]})"
            frame = frame.f_back
    return ""
