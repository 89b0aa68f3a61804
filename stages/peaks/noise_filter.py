"""Set pixels near negative ones to zero before peaks are searched (``--filter-noise``)."""

from __future__ import annotations

from functools import cache

import numpy as np

from pipeline import Context, stage
from stages.peaks import _warm_up
from stages.peaks._filtering import filtered
from stages.peaks._kernels import filters as kernel
from stages.records.geometry import DetGeom
from stages.records.image import Image


@stage("peaks/noise_filter")
class NoiseFilter:
    """Set each pixel to zero if any of the nine pixels in the 3 x 3 square around it is negative (``--filter-noise``).

    At the border of a panel a pixel is set to zero only if it is negative itself. Useful where the background has been
    subtracted, by the detector or by ``peaks/median_filter``, which stands before; ``peaks/restore`` after the search puts
    the image back. This is what indexamajig's manual promises; the code of CrystFEL 0.12 clears every pixel that has
    a neighbour which is not zero, and so leaves nothing to be found.
    """

    def open(self, context: Context) -> RunningNoiseFilter:
        """Compile the kernel."""
        _compile()
        return RunningNoiseFilter()

    @staticmethod
    def warm_up() -> None:
        """Compile the kernel."""
        _compile()


class RunningNoiseFilter:
    """The filter at work."""

    def __call__(self, image: Image, geom: DetGeom) -> Image:
        """Return the filtered image."""
        return filtered(image, geom, _clear_noise)


def _clear_noise(pixels: np.ndarray, bad: np.ndarray, out: np.ndarray) -> None:  # noqa: ARG001
    kernel.clear_noise(pixels.astype(np.float32), out)


@cache
def _compile() -> None:
    for image, geom in _warm_up.frames((np.float32,)):
        RunningNoiseFilter()(image, geom)
