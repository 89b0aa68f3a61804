"""Checks of peaks that somebody else has found."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from pipeline import Context, stage
from stages.compute.pixel_types import COMMON_TYPES
from stages.peaks import _warm_up
from stages.peaks._kernels import circles as kernel
from stages.peaks._kernels.panels import PanelPixels
from stages.peaks.zaef import checked_radii
from stages.pixels.tables import Flattener, PackedMask
from stages.records.geometry import DetGeom
from stages.records.image import Image
from stages.records.peaklist import PeakList


@stage("peaks/validate")
class Validate:
    """Look at the pixels under each peak, and drop peaks that cannot be measured.

    Each peak is measured with three circles around the pixel in which it lies, as in ``peaks/zaef``. It is dropped if
    the circles leave the panel or meet a bad pixel, if it cannot be told from the background (I = 0 or variance
    below 0), if a pixel of circle or ring is above max_adu (unless `use_saturated`), and with `check_snr` if I / sigma is below
    `min_snr`. Positions stay as they came; intensity, snr and highest pixel are those measured.

    indexamajig does this by default for peaks that come with the data; with ``--no-revalidate`` the graph goes without
    this stage. As there, radii are cut down to whole pixels.
    """

    peak_radius: tuple[float, float, float] = Field(
        default=(4.0, 5.0, 7.0),
        description="Inner, middle and outer radius, pixels (indexamajig: those of --int-radius).",
    )
    min_snr: float = Field(default=5.0, description="Lowest I/sigma, where check_snr asks for it.")
    check_snr: bool = Field(default=False, description="Check the signal-to-noise ratio too (--check-hdf5-snr).")
    use_saturated: bool = Field(default=True, description="Keep peaks with pixels above max_adu.")

    _radii = field_validator("peak_radius")(checked_radii)

    def open(self, context: Context) -> RunningValidate:
        """Return the validation of one replica."""
        _compile(COMMON_TYPES)
        return RunningValidate(self)

    @staticmethod
    def warm_up() -> None:
        """Compile the kernels for all pixel types; opening the stage does so for the common ones."""
        _compile(COMMON_TYPES)
        _compile(_warm_up.OTHER_TYPES)


class RunningValidate:
    """The validation at work: holds the buffers of one replica."""

    def __init__(self, stage: Validate) -> None:
        self._flatten = Flattener()
        self._mask = PackedMask()
        self._circles = kernel.Circles(*(float(int(r)) for r in stage.peak_radius))
        self._acceptance = kernel.Acceptance(stage.min_snr if stage.check_snr else -np.inf, stage.use_saturated)

    def __call__(self, found: PeakList, image: Image, geom: DetGeom) -> PeakList:
        """Measure each peak and keep those that pass, in their order."""
        flattened = self._flatten(image, geom)
        mask = self._mask(geom)
        measured = np.full((len(found), kernel.N_MEASURED), np.nan)
        order = np.argsort(found.panel, kind="stable")
        ends = np.searchsorted(found.panel[order], np.arange(len(geom.panels) + 1))
        for table, flat in flattened:
            for number, where in zip(table.panel.tolist(), table.where, strict=True):
                mine = order[ends[number] : ends[number + 1]]
                if not len(mine):
                    continue
                out = np.empty((len(mine), kernel.N_MEASURED))
                kernel.validate(
                    PanelPixels(flat, where, mask),
                    found.fs[mine],
                    found.ss[mine],
                    self._circles,
                    self._acceptance,
                    kernel.Detection(geom.adu_per_photon(number), geom.panels[number].max_adu),
                    out,
                )
                measured[mine] = out
        good = np.isfinite(measured[:, kernel.INTENSITY])
        kept = measured[good]
        return replace(
            found.select(good),
            intensity=kept[:, kernel.INTENSITY],
            snr=kept[:, kernel.SNR],
            max_pixel=kept[:, kernel.HIGHEST],
        )


@cache
def _compile(dtypes: tuple[Any, ...]) -> None:
    validation = RunningValidate(Validate())
    for image, geom in _warm_up.frames(dtypes):
        validation(PeakList.make([0], [12.5], [12.5], [1.0]), image, geom)
