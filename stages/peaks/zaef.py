"""Gradient peak search."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from pipeline import Context, stage
from stages.compute.pixel_types import COMMON_TYPES
from stages.peaks import _warm_up
from stages.peaks._each_panel import Array, search_each_panel
from stages.peaks._first_look import FirstLook, Noise
from stages.peaks._kernels import circles
from stages.peaks._kernels import zaef as kernel
from stages.pixels.tables import Flattener, PackedMask
from stages.records.geometry import DetGeom
from stages.records.image import Image
from stages.records.peaklist import PeakList

MAX_PEAKS_PER_PANEL = 10001
"""Where CrystFEL stops searching a panel."""


def checked_radii(radii: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return the radii if they can be used: 0 <= inner <= middle <= outer."""
    inner, middle, outer = radii
    if not 0 <= inner <= middle <= outer <= 1000:
        raise ValueError(
            "peak_radius must be inner,middle,outer with 0 <= inner <= middle <= outer <= 1000; "
            f"found {inner:g},{middle:g},{outer:g}"
        )
    return radii


@stage("peaks/zaef")
class Zaef:
    """Find peaks where the image is steep, after Zaefferer (2000).

    A pixel v(fs, ss) of at least `threshold` is a foot point if its mean squared gradient is at least `min_sq_gradient`,
    in CrystFEL's form, whose second direction is the diagonal on one side::

        g^2 = ([v(fs,ss) - v(fs+1,ss)]^2 + [v(fs-1,ss) - v(fs,ss)]^2) / 2
            + ([v(fs,ss) - v(fs+1,ss+1)]^2 + [v(fs,ss-1) - v(fs,ss)]^2) / 2

    From there the search climbs to the summit, which may not be further than the inner radius from the foot point. The
    peak is measured with three circles around the summit: sum I above the background b of the outer ring in the inner
    circle (S pixels), variance sigma^2 = S s^2 + adu_per_photon I. It counts if I / sigma is at least `min_snr`, the circles
    stay on the panel and meet no bad pixel, and no accepted peak of the panel is nearer than twice the inner radius. Its
    position is the centroid in the inner circle. Pixels above the panel's max_adu are no foot points, and peaks that
    touch one (ring included) are rejected, unless `use_saturated`.

    Choose `threshold` above the background: below it, every pixel has to be climbed from.

    Source: S. Zaefferer, J. Appl. Cryst. 33 (2000) 10-25, https://doi.org/10.1107/S0021889899010894; the details follow
    CrystFEL (T. A. White et al., J. Appl. Cryst. 45 (2012) 335-341, https://doi.org/10.1107/S0021889812002312).
    """

    threshold: float = Field(default=800.0, allow_inf_nan=False, description="Lowest value of a foot point, ADU.")
    min_sq_gradient: float = Field(default=100000.0, ge=0, description="Lowest squared gradient, ADU squared.")
    min_snr: float = Field(default=5.0, description="Lowest intensity in units of its standard deviation.")
    peak_radius: tuple[float, float, float] = Field(
        default=(4.0, 5.0, 7.0),
        description="Inner, middle and outer radius, pixels (indexamajig: those of --int-radius).",
    )
    use_saturated: bool = Field(default=True, description="Keep peaks with pixels above max_adu.")

    _radii = field_validator("peak_radius")(checked_radii)

    def open(self, context: Context) -> RunningZaef:
        """Return the search of one replica."""
        _compile(COMMON_TYPES)
        return RunningZaef(self, FirstLook(context, self.why_wrong_for))

    def why_wrong_for(self, noise: Noise) -> str | None:
        """Say which of the thresholds is too high for a detector with this noise, if one is."""
        steepest = noise.level + math.sqrt(max(self.min_sq_gradient, 0.0))
        return noise.threshold_is_high("threshold", self.threshold) or noise.threshold_is_high(
            f"min_sq_gradient={self.min_sq_gradient:g} ADU^2 is as if threshold", steepest
        )

    @staticmethod
    def warm_up() -> None:
        """Compile the kernels for all pixel types; opening the stage does so for the common ones."""
        _compile(COMMON_TYPES)
        _compile(_warm_up.OTHER_TYPES)


class RunningZaef:
    """The search at work: holds the buffers of one replica."""

    def __init__(self, stage: Zaef, first_look: FirstLook | None = None) -> None:
        self._first_look = first_look
        self._flatten = Flattener()
        self._mask = PackedMask()
        self._found = np.empty((MAX_PEAKS_PER_PANEL, circles.N_COLUMNS))
        self._foot = kernel.Foot(stage.threshold, stage.min_sq_gradient)
        self._circles = circles.Circles(*stage.peak_radius)
        self._acceptance = circles.Acceptance(stage.min_snr, stage.use_saturated)

    def __call__(self, image: Image, geom: DetGeom) -> PeakList:
        """Search all panels that are not no_index."""
        mask = self._mask(geom)
        arrays = self._flatten(image, geom)
        if self._first_look is not None:
            self._first_look(image, geom)

        def search(flat: Array, where: Array, number: int) -> int:
            detection = circles.Detection(geom.adu_per_photon(number), geom.panels[number].max_adu)
            return kernel.search(flat, where, mask, self._foot, self._circles, self._acceptance, detection, self._found)

        panels, row = search_each_panel(arrays, geom, self._found, search)
        return PeakList.make(
            panels,
            row[:, circles.FS],
            row[:, circles.SS],
            row[:, circles.INTENSITY],
            snr=row[:, circles.SNR],
            max_pixel=row[:, circles.HIGHEST],
        )


@cache
def _compile(dtypes: tuple[Any, ...]) -> None:
    search = RunningZaef(Zaef(threshold=_warm_up.THRESHOLD, min_sq_gradient=0.0))
    for image, geom in _warm_up.frames(dtypes):
        search(image, geom)
