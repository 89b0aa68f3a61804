"""Peaks as pixels that stand out from the border of the window around them."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from pydantic import Field

from pipeline import Context, stage
from stages.compute.pixel_types import COMMON_TYPES
from stages.peaks import _warm_up
from stages.peaks._each_panel import Array, search_each_panel
from stages.peaks._first_look import FEWEST_PHOTONS, MANY_PHOTONS, MANY_SIGMA, FirstLook, Noise
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

    The border of a pixel v are 40 pixels: on each of its four sides, the five nearest to its middle at `local_bg_radius` and at
    one pixel more. Their mean m and standard deviation s (of a sample) are the background; s is `min_sig` if that is more.
    Conditions follow, each dearer than the one before, and a pixel that fails one is left:

    1. v exceeds every border pixel by more than `min_peak_over_neighbour` (not asked by default: minus infinity);
    2. none of its eight neighbours is higher: it is the highest of its peak (of several that are equal, the first one);
    3. v - m > `min_snr_biggest_pix` s;
    4. the pixels nearer than `local_bg_radius` that hang together with v, by sides or corners, and have
       v_i - m > `min_snr_peak_pix` s make the peak; none of them is higher than v, and sum(v_i - m) > `min_snr` s. This decides
       nothing as long as `min_snr` is not more than `min_snr_biggest_pix`.

    The peak's intensity is that sum, its snr the sum over s, its position the centre of mass of v_i - m. Bad pixels take no
    part; at least half of the border must be left, and pixels nearer to the panel's edge than `local_bg_radius` are no peak.
    Peaks that touch are one. A constant added to all pixels changes nothing. With `use_saturated` off, peaks are dropped whose
    highest pixel is more than the panel's max_adu.

    **min_sig is in the detector's units.** It keeps few photons from passing for a peak where hardly any fell: there s is
    measured too small, and falls to 0. One pixel must have `min_snr_biggest_pix` x `min_sig` ADU; that should be about nine
    photons, so ``min_sig = 1.3 adu_per_photon`` with `min_snr_biggest_pix` = 7. The default of 11 ADU, which is indexamajig's,
    is right for 8 ADU per photon. With less (CSPAD: 25 ADU per photon; pixels in keV) there are up to thousands of false peaks
    where 0.1 to 2 photons fall on a pixel, with more (photon counts) only the strongest are found. The first frame tells, and
    a warning says so.

    `local_bg_radius` must reach beyond the spots: what they have on the border makes s larger. Spots with a standard
    deviation of more than 0.8 `local_bg_radius` are no peaks, however strong.

    Source: Y. Gevorkov, Real-time image analysis and data compression in high throughput X-ray diffraction experiments,
    master thesis, Hamburg University of Technology, as CrystFEL's manual describes it; options and defaults are those of
    CrystFEL (T. A. White et al., J. Appl. Cryst. 45 (2012) 335-341, https://doi.org/10.1107/S0021889812002312). Compared with
    the original program (of 2017) on noise and measured frames the same peaks are found, but for these: it asks for 10 good
    border pixels, finds none where the highest two of a peak are equal, takes touching peaks for two, and weights positions by
    v_i, not v_i - m.
    """

    min_snr_biggest_pix: float = Field(default=7.0, ge=0, description="Least height of the highest pixel, in s.")
    min_snr_peak_pix: float = Field(default=6.0, ge=0, description="Least height of a peak's pixels, in s.")
    min_sig: float = Field(
        default=11.0,
        ge=0,
        description="Least standard deviation s of the background, ADU; 1.3 adu_per_photon is right.",
    )
    min_peak_over_neighbour: float = Field(
        default=-math.inf, lt=math.inf, description="By how much the highest pixel exceeds the window's border, ADU."
    )
    min_snr: float = Field(default=5.0, ge=0, description="Least intensity of a peak, in s.")
    local_bg_radius: int = Field(default=3, ge=2, le=50, description="Distance of the border, pixels.")
    min_res: int = Field(default=0, ge=0, description="Least distance from the beam, pixels.")
    max_res: int = Field(default=0, ge=0, description="Greatest distance from the beam, pixels; 0 for no limit.")
    use_saturated: bool = Field(default=True, description="Keep peaks with pixels above max_adu.")

    def open(self, context: Context) -> RunningPeakfinder9:
        """Return the search of one replica."""
        _compile(COMMON_TYPES)
        if self.min_snr_peak_pix > self.min_snr_biggest_pix:
            context.log.warning(
                "min_snr_peak_pix=%g is more than min_snr_biggest_pix=%g: a peak's other pixels would have to be higher than "
                "its highest; peaks of one pixel are the rule, and their positions whole pixels",
                self.min_snr_peak_pix,
                self.min_snr_biggest_pix,
            )
        return RunningPeakfinder9(self, FirstLook(context, self.why_wrong_for))

    def why_wrong_for(self, noise: Noise) -> str | None:
        """Say what is wrong with `min_sig` for a detector with this noise; None if nothing is."""
        least = self.min_snr_biggest_pix * max(self.min_sig, noise.quiet_sigma)
        most = self.min_snr_biggest_pix * self.min_sig
        if least < FEWEST_PHOTONS * noise.photon:
            asked, trouble = least, "noise reaches that where the background is low, and there will be many false peaks"
        elif most > MANY_PHOTONS * noise.photon and self.min_sig > MANY_SIGMA / self.min_snr_biggest_pix * noise.sigma:
            asked, trouble = most, "weak peaks are missed"
        else:
            return None
        return (
            f"min_sig={self.min_sig:g} ADU: a peak's highest pixel needs {asked / noise.photon:.2g} photons "
            f"({asked:.3g} ADU, {noise.photon:g} ADU per photon) above the background, whose noise is {noise.quiet_sigma:.2g} "
            f"to {noise.sigma:.2g} ADU in this frame: {trouble}; "
            f"min_sig={FEWEST_PHOTONS * noise.photon / max(self.min_snr_biggest_pix, 1.0):.2g} goes with this detector "
            "(peaks/likelihood needs no such number)"
        )

    @staticmethod
    def warm_up() -> None:
        """Compile the kernels for all pixel types; opening the stage does so for the common ones."""
        _compile(COMMON_TYPES)
        _compile(_warm_up.OTHER_TYPES)


class RunningPeakfinder9:
    """The search at work: holds the buffers of one replica."""

    def __init__(self, stage: Peakfinder9, first_look: FirstLook | None = None) -> None:
        s = self._stage = stage
        self._first_look = first_look
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
        if self._first_look is not None:
            self._first_look(image, geom)
        mask = self._mask(geom)
        vectors = vectors_in_pixels(geom)
        self._make_room(max(panel.width for panel in geom.panels))

        def search(flat: Array, where: Array, number: int) -> int:
            max_adu = math.inf if s.use_saturated else geom.panels[number].max_adu
            limits = kernel.Limits(float(s.min_res), float(s.max_res), max_adu)
            pixels = PanelPixels(flat, where, mask)
            return kernel.find_peaks(pixels, vectors[number], self._conditions, limits, self._workspace, self._found)

        panels, row = search_each_panel(arrays, geom, self._found, search)
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
                np.empty((2 * radius + 3) * (width + 2), np.float32),
                np.zeros((width // kernel.WORD + 2) * kernel.WORD, np.uint8),
            )


@cache
def _compile(dtypes: tuple[Any, ...]) -> None:
    search = RunningPeakfinder9(Peakfinder9())
    for image, geom in _warm_up.frames(dtypes):
        search(image, geom)
