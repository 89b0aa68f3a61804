"""No indexing: every frame passes with no crystal."""

from __future__ import annotations

from pipeline import stage
from pipeline.stage import Context
from stages.records.crystal import Crystals
from stages.records.peaklist import Hit
from stages.records.told import IndexingMethods


class RunningNoIndexing:
    """Finds nothing."""

    def __call__(self, hit: Hit) -> Crystals:
        """Return no crystals."""
        return Crystals()


@stage("index/none", publishes=(IndexingMethods,))
class NoIndexing:
    """Index nothing, as ``indexamajig --indexing=none``: for looking at hits and peaks alone."""

    def open(self, context: Context) -> RunningNoIndexing:
        """Tell the sinks which methods were selected."""
        context.publish(IndexingMethods())
        return RunningNoIndexing()
