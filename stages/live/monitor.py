"""live/monitor: what a run shows of itself while it goes on, published for a page in a browser."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from pipeline import Context, stage
from pipeline.watching import RunView
from stages.files.cell import TargetCell
from stages.live._grouping import Grouping, Values, in_order
from stages.live._monitor_encoder import RunningMonitor
from stages.monitor.publishing.gathered import Gathered
from stages.monitor.publishing.publisher import Publisher
from stages.monitor.publishing.publishing import Publishing
from stages.monitor.publishing.seen import FramesWanted, Seen
from stages.records.crystal import Crystals
from stages.records.geometry import DetGeom
from stages.records.header import Header
from stages.records.image import Image
from stages.records.peaklist import Hit, PeakList


@stage("live/monitor", uses=(TargetCell,), posts=(FramesWanted,), awaits=(FramesWanted,))
class Monitor:
    """Publish how the run goes: rates, cells, resolution, the powder pattern of its peaks, and some of its frames.

    ``streamajig monitor ADDRESS`` shows them on a page; any number may look, and none is waited for. Messages are those of
    ``stages/monitor/blob.py``, over a PUB socket, each kind under its name as topic: run, history, cells, resolution, powder
    and frame. All say how things stand since the beginning, so that one that is missed is made up for by the next.

    Of every frame small things are taken, of some all that is shown: pixels, peaks, crystals with their reflections, header.
    That takes 1 % of a replica's time at most, so large frames are shown less often than every `frames_every_s`. What goes
    wrong here is logged, and the run goes on.

    The node comes after the last one that changes crystals, beside the stream's sink (``after:``). It takes what there is:
    without pixels, crystals, peaks or a geometry the rest is shown. Behind a join it shows the first branch.
    """

    address: str = Field(
        default="tcp://127.0.0.1:*",
        description="Where to publish; a port in place of * makes it the same in every run. Others than 127.0.0.1 let "
        "everybody see it who can reach this machine.",
    )
    frames_every_s: float = Field(default=0.5, ge=0.1, description="Publish a frame no more often than this.")
    group_by: str = Field(default="", description="Count frames, hits and crystals for each value of this header key.")

    in_order: ClassVar[bool] = False
    reads: ClassVar[tuple[type, ...]] = ()
    may_read: ClassVar[tuple[type, ...]] = (Header, Image, DetGeom, PeakList, Hit, Crystals)
    stands_once: ClassVar[bool] = True
    keeps_frames: ClassVar[bool] = True  # joined ones too: it shows the first branch

    def open(self, context: Context) -> RunningMonitor:
        """Return what takes out of a frame what is shown."""
        return RunningMonitor(context, self.frames_every_s, Grouping(self.group_by) if self.group_by else None)

    def open_writer(self, context: Context) -> MonitorWriter:
        """Bind the socket; UserError if that is not possible."""
        return MonitorWriter(self, context)


class MonitorWriter:
    """Gathers what was seen of frames, and has it published.

    Attributes
    ----------
    address
        Where it is published, with the port that was taken.
    """

    def __init__(self, stage: Monitor, context: Context) -> None:
        target = context.upstream.get(TargetCell)
        self._board = context.board
        self._log = context.log
        self._publisher = Publisher(stage.address)
        self.address = self._publisher.address
        self._gathered = Gathered(None if target is None else target.cell, Values().group_of, in_order)
        self._publishing = Publishing(
            self._publisher, self._gathered, stage.frames_every_s, stage.group_by, context.log
        )
        self._wanted: FramesWanted | None = None
        self._log.info("the monitor's messages are published at %s", self.address)

    def watch(self, run: RunView) -> None:
        """Begin to publish."""
        self._publishing.start(run)

    def write(self, encoded: Seen) -> None:
        """Take what was seen of one frame."""
        wanted = self._publishing.wanted
        if wanted is not self._wanted:
            self._wanted = wanted
            self._board.post(wanted)
        if not self._publishing.has_failed:
            self._gathered.put(encoded)

    def close(self) -> None:
        """Publish the last state, with why the run has ended, and let go of the socket. May be called twice."""
        self._publishing.end()
        self._publisher.close()
