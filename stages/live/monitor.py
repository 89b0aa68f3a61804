"""live/monitor: what a run shows of itself while it goes on, on a page in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from pipeline import Context, stage
from pipeline.watching import RunView
from stages.comparison.files import check_outputs
from stages.files.cell import TargetCell
from stages.live._grouping import Grouping, Values, in_order
from stages.live._monitor_encoder import RunningMonitor
from stages.monitor.page_process import PageProcess, check_installed
from stages.monitor.publishing.gathered import Gathered
from stages.monitor.publishing.publisher import Publisher
from stages.monitor.publishing.publishing import Publishing
from stages.monitor.publishing.reporting import check_libraries, write_report
from stages.monitor.publishing.seen import FramesWanted, Seen
from stages.records.crystal import Crystals
from stages.records.geometry import DetGeom
from stages.records.header import Header
from stages.records.image import Image
from stages.records.peaklist import Hit, PeakList


@stage("live/monitor", uses=(TargetCell,), posts=(FramesWanted,), awaits=(FramesWanted,))
class Monitor:
    """Show how the run goes: rates, cells, resolution, the powder pattern of its peaks, and some of its frames.

    The page is a process of its own, whose address is logged; it ends with the run. ``streamajig monitor ADDRESS`` shows the
    same elsewhere. Any number may look, and none is waited for. What they look at is published over a PUB socket as messages of
    ``stages/monitor/blob.py``, each kind under its name as topic: run, history, cells, resolution, powder and frame. All
    say how things stand since the beginning, so that one that is missed is made up for by the next. `report` keeps the last
    of them as one HTML file.

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
    page: bool = Field(default=True, description="Serve the page, in a process that ends with the run.")
    port: int = Field(default=0, ge=0, le=65535, description="Port of the page; 0 takes one that is free.")
    report: Path | None = Field(
        default=None, description="Write what the page shows at the end there, as one HTML file."
    )
    frames_every_s: float = Field(default=0.5, ge=0.1, description="Publish a frame no more often than this.")
    group_by: str = Field(default="", description="Count frames, hits and crystals for each value of this header key.")
    group_step: float = Field(
        default=0.0, ge=0, description="Round numbers under `group_by` to multiples of this; 0 leaves them as they are."
    )

    in_order: ClassVar[bool] = False
    reads: ClassVar[tuple[type, ...]] = ()
    may_read: ClassVar[tuple[type, ...]] = (Header, Image, DetGeom, PeakList, Hit, Crystals)
    stands_once: ClassVar[bool] = True
    keeps_frames: ClassVar[bool] = True  # joined ones too: it shows the first branch

    def open(self, context: Context) -> RunningMonitor:
        """Return what takes out of a frame what is shown."""
        grouping = Grouping(self.group_by, self.group_step) if self.group_by else None
        return RunningMonitor(context, self.frames_every_s, grouping)

    def open_writer(self, context: Context) -> MonitorWriter:
        """Bind the socket; UserError if that is not possible, or if something is not installed."""
        if self.page:
            check_installed()
        if self.report is not None:
            check_outputs(report=self.report)
            check_libraries(self.report)
        return MonitorWriter(self, context)


class MonitorWriter:
    """Gathers what was seen of frames, and has it published.

    Attributes
    ----------
    address
        Where it is published, with the port that was taken.
    """

    def __init__(self, stage: Monitor, context: Context) -> None:
        self._stage = stage
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
        self._page: PageProcess | None = None
        self._is_watching = self._is_closed = False
        self._log.info("the monitor's messages are published at %s", self.address)
        if self._publisher.is_for_others:
            self._log.warning("everybody who reaches this machine can see the run at %s", self.address)

    def watch(self, run: RunView) -> None:
        """Begin to publish, and start the page."""
        self._is_watching = True
        self._publishing.start(run)
        if self._stage.page:
            self._page = PageProcess(self._publisher.address_here, self._stage.port)

    def write(self, encoded: Seen) -> None:
        """Take what was seen of one frame."""
        wanted = self._publishing.wanted
        if wanted is not self._wanted:
            self._wanted = wanted
            self._board.post(wanted)
        if not self._publishing.has_failed:
            self._gathered.put(encoded)

    def close(self) -> None:
        """Publish the last state, with why the run has ended; let the page hand it on; write the report. May be called twice.

        Raises UserError if the report cannot be written.
        """
        if self._is_closed:
            return
        self._is_closed = True
        last = self._publishing.end()
        self._publisher.close()
        if self._page is not None:
            self._page.finish()
        if self._stage.report is not None and self._is_watching:
            write_report(self._stage.report, last)
