"""Sends messages to an outpost that has no source of its own.

Where a source can be opened only once (a recording, a simulation), the supervisor reads it, and its messages go to whichever
outpost has room. Their bytes pass this process then, which is what sources that share a sender's frames are for.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pipeline.frame import Message
from pipeline.running.backends.dask import spoken

if TYPE_CHECKING:
    from pipeline.running.backends.dask.link import Link
    from pipeline.running.job import Job

_AHEAD = 2
"""Frames that wait at an outpost for each of its replicas, besides those at work: while a result travels there is the next."""

_LOOK_S = 0.1


class Feeder(threading.Thread):
    """Takes frames from the inbox for one outpost until that is lost or the run has ended."""

    def __init__(self, job: Job, link: Link) -> None:
        super().__init__(name=f"feed-{link.hello.number}", daemon=True)
        self._job = job
        self._link = link
        self._most = (1 + _AHEAD) * link.replicas

    def run(self) -> None:
        """Send frames as long as there is somebody to take them."""
        while self._link.is_at_work and not self._job.abandon.is_set():
            if not self._link.wait_for_room(self._most, _LOOK_S):
                continue
            frame = self._job.inbox.take(_LOOK_S)
            if frame is None:
                self._link.wait_for_room(0, _LOOK_S)  # where the inbox is closed, `take` does not wait
                continue
            if not self._link.give([frame], spoken.Work(frame.serial, frame[Message])):
                self._job.inbox.put_back(frame)
