"""Peaks as pixels that stand out from the border of the window around them."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline import Context, stage
from stages.peaks import _warm_up
from stages.peaks._kernels import peakfinder9 as kernel
from stages.peaks._kernels.panels import PanelPixels
from stages.peaks._ring_map import vectors_in_pixels
from stages.pixels.tables import Flattener, PackedMask
from stages.records.geometry import DetGeom
from stages.records.image import Image
from stages.records.peaklist import PeakList

MAX_PEAKS_PER_PANEL = 10000
"""Where CrystFEL stops searching a panel."""


@stage("peaks/peakfinder9")
class Peakfinder9:
    """Find peaks that stand out from the pixels around them (peakfinder9).

    Around each pixel v lies a square window that reaches `local_bg_radius` pixels to every side; mean m and standard
    deviation of its outermost pixels, the border, are the background, and s is the standard deviation or `min_sig` if that
    is more. Conditions follow, each dearer than the one before, and a pixel that fails one is left:

    1. v exceeds every border pixel by more than `min_peak_over_neighbour` (not asked by default: minus infinity);
    2. none of its eight neighbours is higher: it is the highest of its peak (of several that are equal, the first one);
    3. v - m > `min_snr_biggest_pix` s;
    4. the pixels inside the border that hang together with v, by sides or corners, and have v_i - m > `min_snr_peak_pix` s
       make the peak; none of them is higher than v, and sum(v_i - m) > `min_snr` s.

    The peak's intensity is that sum, its snr the sum over s, its position the centre of mass of v_i - m. Bad pixels take no
    part, nor does what lies beyond the panel; at least half of the border must be left. Peaks of two neighbours that are
    nearer to each other than the border are one if no background lies between them. A constant added to all pixels
    changes nothing. With `use_saturated` off, peaks are dropped whose highest pixel is more than the panel's max_adu.

    In photons `min_sig` should be about 1, not 11.

    Source: Y. Gevorkov, Real-time image analysis and data compression in high throughput X-ray diffraction experiments,
    master thesis, Hamburg University of Technology, as CrystFEL's manual describes it; options and defaults are those of
    CrystFEL (T. A. White et al., J. Appl. Cryst. 45 (2012) 335-341, https://doi.org/10.1107/S0021889812002312). The original
    implementation was not looked at: where the description leaves a choice (ties, touching peaks, what is left of a border,
    the extent of a peak), the choice is this one's, and peaks may differ there.
    """

    min_snr_biggest_pix: float = Field(default=7.0, ge=0, description="Least height of the highest pixel, in s.")
    min_snr_peak_pix: float = Field(default=6.0, ge=0, description="Least height of a peak's pixels, in s.")
    min_sig: float = Field(default=11.0, ge=0, description="Least standard deviation s of the background, ADU.")
    min_peak_over_neighbour: float = Field(
        default=-math.inf, lt=math.inf, description="By how much the highest pixel exceeds the window's border, ADU."
    )
    min_snr: float = Field(default=5.0, ge=0, description="Least intensity of a peak, in s.")
    local_bg_radius: int = Field(default=3, ge=1, le=50, description="Reach of the window to each side, pixels.")
    min_res: int = Field(default=0, ge=0, description="Least distance from the beam, pixels.")
    max_res: int = Field(default=0, ge=0, description="Greatest distance from the beam, pixels; 0 for no limit.")
    use_saturated: bool = Field(default=True, description="Keep peaks with pixels above max_adu.")

    def open(self, context: Context) -> RunningPeakfinder9:
        """Return the search of one replica."""
        _compile(_warm_up.COMMON_TYPES)
        return RunningPeakfinder9(self)

    @staticmethod
    def warm_up() -> None:
        """Compile the kernels for all pixel types; opening the stage does so for the common ones."""
        _compile(_warm_up.COMMON_TYPES)
        _compile(_warm_up.OTHER_TYPES)


class RunningPeakfinder9:
    """The search at work: holds the buffers of one replica."""

    def __init__(self, stage: Peakfinder9) -> None:
        s = self._stage = stage
        self._conditions = kernel.Conditions(
            s.local_bg_radius,
            s.min_peak_over_neighbour,
            s.min_snr_biggest_pix,
            s.min_snr_peak_pix,
            s.min_snr,
            s.min_sig,
        )
        self._flatten = Flattener()
        self._mask = PackedMask()
        self._workspace = kernel.Workspace(np.empty(0, np.float32), np.empty(0, np.uint8))
        self._found = np.empty((MAX_PEAKS_PER_PANEL, kernel.N_COLUMNS))

    def __call__(self, image: Image, geom: DetGeom) -> PeakList:
        """Search all panels that are not no_index."""
        s = self._stage
        arrays = self._flatten(image, geom)
        mask = self._mask(geom)
        vectors = vectors_in_pixels(geom)
        self._make_room(max(panel.width for panel in geom.panels))
        rows: list[NDArray[np.float64]] = [self._found[:0].copy() for _ in geom.panels]
        for table, flat in arrays:
            for number, where in zip(table.panel.tolist(), table.where, strict=True):
                panel = geom.panels[number]
                if panel.no_index:
                    continue
                n = kernel.find_peaks(
                    PanelPixels(flat, where, mask),
                    vectors[number],
                    self._conditions,
                    kernel.Limits(float(s.min_res), float(s.max_res), math.inf if s.use_saturated else panel.max_adu),
                    self._workspace,
                    self._found,
                )
                rows[number] = self._found[:n].copy()
        panels = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
        row = np.concatenate(rows)
        return PeakList.make(
            panels,
            row[:, kernel.FS] + 0.5,
            row[:, kernel.SS] + 0.5,
            row[:, kernel.INTENSITY],
            snr=row[:, kernel.SNR],
            max_pixel=row[:, kernel.HIGHEST],
            num_pixels=row[:, kernel.NUM_PIXELS],
        )

    def _make_room(self, width: int) -> None:
        if width > len(self._workspace.flags) - kernel.WORD:
            radius = self._stage.local_bg_radius
            self._workspace = kernel.Workspace(
                np.empty((2 * radius + 1) * (width + 2 * radius), np.float32),
                np.zeros((width // kernel.WORD + 2) * kernel.WORD, np.uint8),
            )


@cache
def _compile(dtypes: tuple[Any, ...]) -> None:
    search = RunningPeakfinder9(Peakfinder9())
    for image, geom in _warm_up.frames(dtypes):
        search(image, geom)
