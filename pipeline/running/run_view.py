"""A run as its writers see it (:class:`pipeline.watching.RunView`): what may be asked of its job, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.running.report import Report
from pipeline.watching import NodeView, Progress

if TYPE_CHECKING:
    from pipeline.running.job import Job


class JobView:
    """A job that has been opened."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.graph = tuple(
            NodeView(node.name, getattr(node.stage, "stage_name", ""), node.role, node.after)
            for node in job.graph.in_order()
        )
        self.command_line = job.setup.context.command_line
        self.program = job.setup.context.program
        self.started_unix_s = job.started_unix_s

    def progress(self) -> Progress:
        """How it goes, as it was when the thread that receives has looked last."""
        assert self._job.progress is not None  # the first look comes before the first writer
        return self._job.progress

    def report(self) -> Report:
        """What was counted until now."""
        return self._job.report_so_far()

    def figures(self) -> Mapping[str, Mapping[str, Any]]:
        """What the analyses have found by now."""
        return self._job.collector.figures()

    def statuses(self) -> Mapping[str, str]:
        """What the analyses say."""
        return self.progress().statuses

    def why_ended(self) -> str:
        """Why the run has ended, "" while it goes on."""
        return self._job.ended
