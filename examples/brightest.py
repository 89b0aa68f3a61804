"""A stage of one's own: keep the n brightest peaks of each frame.

In YAML: ``modules: [brightest.py]``, then ``bright: {stage: peaks/brightest, n: 50}`` behind the peak search.
On the command line: ``streamajig stages peaks/brightest --module examples/brightest.py``.
"""

from pipeline import stage
from stages.records import PeakList


@stage("peaks/brightest")
class Brightest:
    """Keep the n brightest peaks of each frame."""

    n: int = 50

    def __call__(self, found: PeakList) -> PeakList:
        return found.brightest(self.n)
