"""Take frames that are pushed (PULL socket)."""

from __future__ import annotations

from typing import ClassVar

from pipeline import Context, Delivery, stage
from stages.source._unasked import RunningUnasked, Unasked
from stages.wire.formats import SAID_ONCE


@stage("source/zmq_pull")
class ZmqPull(Unasked):
    """Receive what senders push, as DECTRIS detectors, Jungfraujoch and karabo bridges do (``--zmq-pull``).

    A PUSH socket deals its messages out: each goes to one of those who pull from it, in turn, and none is sent again. When
    nobody takes them it waits, or drops them; which, and how many may wait there, is the sender's own affair. So a second
    program that pulls from the same sender takes a share of its frames, and what was on its way to a program that ends is
    lost.

    A message may be a body alone or a tag and a body, with or without empty parts between them. A message that holds an array
    of maps becomes one frame per map.
    """

    delivery: ClassVar[Delivery] = Delivery.SHARED

    @property
    def alone(self) -> str:
        """Why not every worker of a cluster may pull, "" if it may."""
        if self.data_format not in SAID_ONCE:
            return ""
        return (
            f"a sender of {self.data_format} says once what holds for a series, to one of those who pull, and the others could "
            "not read their frames: pull in one place, with --backend=processes:N or threads:N (-j N)"
        )

    def open(self, context: Context) -> RunningUnasked:
        """Connect."""
        return RunningUnasked(self, None)
