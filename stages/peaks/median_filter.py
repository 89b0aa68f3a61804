"""Take the local background off an image before peaks are searched (``--median-filter``)."""

from __future__ import annotations

from functools import cache, partial

import numpy as np
from pydantic import Field

from pipeline import Context, stage
from stages.peaks import _warm_up
from stages.peaks._filtering import filtered
from stages.peaks._kernels import filters as kernel
from stages.records.geometry import DetGeom
from stages.records.image import Image


@stage("peaks/median_filter")
class MedianFilter:
    """Subtract from each pixel the median of the square of (2 radius + 1)^2 pixels around it (``--median-filter``).

    It may stand before any peak search, and before ``peaks/noise_filter``, if that is there, too; ``peaks/restore`` after the
    search puts the image back as it came, so that this is what is integrated. As in indexamajig the square ends at the
    panel's border, and of an even number of pixels the upper one of the middle counts. Other than there, bad pixels and NaN are
    left out of the median.

    Values are counted up to one level after the other, in all squares at once; the levels are whole numbers if the pixels are,
    and lie between the smallest and the largest median of a tile. So the time hardly depends on `radius` and grows with the
    spread of the background. Pixels that are no whole numbers take much longer, the more the larger the radius, because the
    median is selected from those between two levels (times: ``docs/studies/peaks``).
    """

    radius: int = Field(default=3, ge=1, le=50, description="The square reaches so far to each side, pixels.")

    def open(self, context: Context) -> RunningMedianFilter:
        """Compile the kernel."""
        _compile()
        return RunningMedianFilter(self.radius)

    @staticmethod
    def warm_up() -> None:
        """Compile the kernel."""
        _compile()


class RunningMedianFilter:
    """The filter at work."""

    def __init__(self, radius: int) -> None:
        self._filter = partial(_subtract_median, radius=radius)

    def __call__(self, image: Image, geom: DetGeom) -> Image:
        """Return the filtered image."""
        return filtered(image, geom, self._filter)


def _subtract_median(pixels: np.ndarray, bad: np.ndarray, out: np.ndarray, radius: int) -> None:
    kernel.subtract_median(pixels.astype(np.float32), np.ascontiguousarray(bad), radius, out)


@cache
def _compile() -> None:
    for image, geom in _warm_up.frames((np.float32,)):
        RunningMedianFilter(2)(image, geom)
