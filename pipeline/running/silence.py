"""When nothing comes although it is asked for: in the log once it lasts, and again when frames come.

It is no fault: between two runs of an experiment no sender has a frame. But who reads the log next day wants to know when.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from pipeline.amounts import duration

log = logging.getLogger("streamajig.ingest")

SAID_AFTER_S = 30.0
"""Without a frame for so long, this is said."""


class Silence:
    """The time since the last frame, or since nothing more could be taken.

    Parameters
    ----------
    clock
        Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._has_come = self._is_said = False

    @property
    def seconds(self) -> float:
        """For how long nothing has come."""
        return self._clock() - self._since

    def excuse(self) -> None:
        """Nothing is asked for, so the silence is not the sender's."""
        self._since = self._clock()

    def end(self) -> None:
        """A frame has come."""
        if self._is_said:
            log.info("frames come again, after %s", duration(self.seconds))
        self._has_come, self._is_said = True, False
        self._since = self._clock()

    def go_on(self, is_explained: Callable[[], bool]) -> None:
        """Nothing has come again; said once, unless it is explained already: by a sender that is lost, say."""
        if self._has_come and not self._is_said and self.seconds >= SAID_AFTER_S and not is_explained():
            self._is_said = True
            log.info("no frame has come for %s; waiting on", duration(self.seconds))
