"""Which frames are hits."""

from __future__ import annotations

from pydantic import Field

from pipeline import stage
from stages.records.peaklist import Hit, PeakList


@stage("peaks/hit")
class HitFinder:
    """Call a frame a hit if it has enough peaks.

    A frame with exactly `min_peaks` peaks is a hit. With the default of 0 every frame is one, even without any peak, as
    with indexamajig. Frames that are not hits are not dropped: they are not indexed, and the sink writes them or not. Hits with
    fewer than 6 peaks are never indexed, by no method, since nearly any lattice explains so few; live/cells counts them.

    >>> from stages.records.peaklist import PeakList
    >>> HitFinder(min_peaks=2)(PeakList.make([0], [1.5], [1.5], [100.0]))
    Hit(is_hit=False, num_peaks=1)
    """

    min_peaks: int = Field(default=0, ge=0, description="Fewest peaks of a hit (indexamajig --min-peaks).")

    def __call__(self, found: PeakList) -> Hit:
        """Count the peaks."""
        return Hit(len(found) >= self.min_peaks, len(found))
