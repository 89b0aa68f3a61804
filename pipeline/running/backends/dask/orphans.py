"""Frames whose worker is gone: they are rejected with the reason, and another replica takes them to the leaves.

So they get what every rejected frame gets, a chunk or a dead letter. Where no replica is left they are dropped, with the same
reason.
"""

from __future__ import annotations

import pickle
from collections import deque
from typing import TYPE_CHECKING

from pipeline.faults import WORKER_DIED, rejected
from pipeline.frame import Frame, Message, Outcome, Rejected
from pipeline.running.backends.dask import spoken
from pipeline.running.backends.dask.link import Link, elsewhere

if TYPE_CHECKING:
    from pipeline.running.job import Job


class Orphans:
    """Belongs to the thread that drives the run.

    With `put_back` frames that nobody had begun go back to the inbox, since their messages are here.
    """

    def __init__(self, job: Job, *, put_back: bool) -> None:
        self._job = job
        self._put_back = put_back
        self._waiting: deque[tuple[Outcome, str, str, str]] = deque()

    def add(self, link: Link, frames: list[Outcome]) -> None:
        """Take the frames that an outpost had, the oldest first."""
        died = f"the Dask worker {link.worker} was lost while it had the frame"
        reason, detail = link.why_lost or (WORKER_DIED, died)
        for n, frame in enumerate(frames):
            if self._put_back and n >= link.replicas and isinstance(frame, Frame):
                self._job.inbox.put_back(frame)
                continue
            is_there = link.at is not None and link.at[1] == frame.serial
            node = link.at[0] if is_there and link.at is not None else self._job.graph.source.name
            if node in link.metrics:
                link.metrics[node].rejected += 1
            self._waiting.append((frame, node, reason, detail))

    def give(self, links: list[Link], *, are_all: bool) -> None:
        """Let one of these outposts take them; with `are_all` none will come if there is none."""
        while self._waiting:
            frame, node, reason, detail = self._waiting[0]
            if isinstance(frame, Rejected) or (not links and are_all):  # twice lost, or there is nobody
                self._waiting.popleft()
                self._job.collector.drop(frame.serial, reason)
                self._job.inbox.done(frame.serial)
                continue
            if not links:
                return
            outcome = rejected(_here(frame), node, reason, detail)
            if not links[0].give([outcome], spoken.Inherit(pickle.dumps(outcome))):
                return  # it is lost, too; the next time others are asked
            self._waiting.popleft()


def _here(frame: Frame) -> Frame:
    """A frame with its message if that is here, and nothing of what stands for it if not."""
    message = frame.get(Message)
    values: dict[type, object] = {} if message is None or elsewhere(frame) else {Message: message}
    return Frame(frame.serial, frame.event, frame.received_ns, values)
