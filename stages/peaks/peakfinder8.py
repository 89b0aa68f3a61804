"""Peaks as connected pixels above a threshold that follows the radial background."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline import Context, stage
from stages.compute.pixel_types import COMMON_TYPES
from stages.files.geom.detector import Detector
from stages.peaks import _warm_up
from stages.peaks._ahead import prepare_ahead
from stages.peaks._common_types import InCommonTypes
from stages.peaks._first_look import FirstLook
from stages.peaks._kernels import peakfinder8 as kernel
from stages.peaks._kernels.panels import ArrayPixels
from stages.peaks._ring_thresholds import RingThresholds
from stages.pixels.tables import Flattener, PanelTable, RecentTables
from stages.records.geometry import DetGeom
from stages.records.image import Image
from stages.records.peaklist import PeakList


@stage("peaks/peakfinder8", uses=(Detector,))
class Peakfinder8:
    """Find peaks above a threshold that depends on the distance from the beam (peakfinder8, from Cheetah).

    Pixels at the same distance from the beam (rounded to whole pixels; all panels together) form a ring. Its mean m and
    standard deviation s are found in five rounds, each without the pixels beyond m +- `min_snr` s of the round before.
    Connected pixels above max(`threshold`, m + min_snr s), sides and corners counting, make a peak, if there are at least
    `min_pix_count` and at most `max_pix_count` of them. Background b and its standard deviation sigma are then measured
    within 2 `local_bg_radius` of the peak, among pixels that are below the threshold and in no peak. The peak counts if ::

        snr = sum(v_i - b) / sigma >= min_snr

    and if its highest pixel is not below the highest background pixel. Its position is its centre of mass. Bad pixels take
    no part; outermost pixels of a panel start no peak. Only pixels further from the beam than `min_res` and nearer
    than `max_res` are looked at. With `use_saturated` off, peaks are dropped whose highest pixel, above the background, is
    more than the panel's max_adu.

    With `fast`, m and s follow from some 200 pixels of each ring (512 of short ones, all if it has no more), spread evenly over
    it and the same ones for every frame, and from *all* pixels of its upper tail, which are met anyway in the search: rare
    high values, as of other peaks, decide about s, and a sample does not tell how many there are. Then each ring's
    threshold is drawn towards a line through those of its neighbours, the more the less they differ from it. A few peaks that
    lie just at the threshold are found or missed otherwise. CrystFEL's own sample is another one.

    Source: A. Barty et al., J. Appl. Cryst. 47 (2014) 1118-1131, https://doi.org/10.1107/S1600576714007626; the details follow
    CrystFEL, whose peaks are found. Its sums are kept in single precision, here they are double: where the background is
    high, a pixel that lies just at the threshold may fall on the other side.
    """

    threshold: float = Field(default=800.0, allow_inf_nan=False, description="Lowest value of a peak's pixels, ADU.")
    min_snr: float = Field(default=5.0, ge=0, description="Lowest signal-to-noise ratio, of pixels and of peaks.")
    min_pix_count: int = Field(default=2, ge=1, description="Fewest pixels of a peak.")
    max_pix_count: int = Field(default=200, ge=1, description="Most pixels of a peak.")
    local_bg_radius: int = Field(
        default=3, ge=1, le=1000, description="Half the radius within which background is measured, pixels."
    )
    min_res: int = Field(default=0, ge=0, description="Least distance from the beam, pixels.")
    max_res: int = Field(default=0, ge=0, description="Greatest distance from the beam, pixels; 0 for no limit.")
    max_peaks: int = Field(default=2048, ge=1, description="Peaks after which the search ends, in the panels' order.")
    use_saturated: bool = Field(default=True, description="Keep peaks with pixels above max_adu.")
    fast: bool = Field(default=False, description="Take thresholds from a sample of each ring (--peakfinder8-fast).")

    def open(self, context: Context) -> RunningPeakfinder8:
        """Return the search of one replica, with its tables made; ring maps are shared between replicas."""
        _compile(self.fast)
        look = FirstLook(context, lambda noise: noise.threshold_is_high("threshold", self.threshold))
        running = RunningPeakfinder8(self, context.tables.get("peaks/peakfinder8", RecentTables), look)
        prepare_ahead(context, lambda geom: running.prepare(geom, []))
        return running

    @staticmethod
    def warm_up() -> None:
        """Compile the kernels; opening the stage does so for `fast` as it is."""
        _compile(False)
        _compile(True)


class RunningPeakfinder8:
    """The search at work: holds the buffers of one replica.

    Attributes
    ----------
    thresholds
        Those of the frame searched last.
    """

    def __init__(self, stage: Peakfinder8, ring_maps: RecentTables, first_look: FirstLook | None = None) -> None:
        s = self._stage = stage
        self._first_look = first_look
        self.thresholds = RingThresholds(s.threshold, s.min_snr, (s.min_res, s.max_res), s.fast, ring_maps)
        self._conditions = kernel.Conditions(s.min_pix_count, s.max_pix_count, s.local_bg_radius, s.min_snr)
        self._flatten = Flattener()
        self._in_common_types = InCommonTypes()
        self._version = 0
        self._peak = np.empty((stage.max_peaks, kernel.N_COLUMNS))
        self._row_of_peak = np.empty(stage.max_peaks, np.int64)

    def __call__(self, image: Image, geom: DetGeom) -> PeakList:
        """Search all panels."""
        arrays = self._in_common_types(self._flatten(image, geom))
        if self._first_look is not None:
            self._first_look(image, geom)
        tables = [table for table, _ in arrays]
        each = [ArrayPixels(flat, table.where) for table, flat in arrays]
        if not self.prepare(geom, tables):
            return PeakList.make([], [], [], [])
        self.thresholds.find(each)
        offset, upper = self.thresholds.found
        rings = kernel.Rings(self.thresholds.layout.ring, upper, offset)
        panels, rows = [], []
        for i, (table, pixels) in enumerate(zip(tables, each, strict=True)):
            n = kernel.find_peaks(
                pixels,
                rings,
                self.thresholds.above(i, pixels),
                self._conditions,
                self._workspace,
                self._peak,
                self._row_of_peak,
            )
            if n:
                panels.append(table.panel[self._row_of_peak[:n]])
                rows.append(self._peak[:n].copy())
        if not rows:
            return PeakList.make([], [], [], [])
        return self._peak_list(np.concatenate(panels), np.concatenate(rows), geom)

    def prepare(self, geom: DetGeom, tables: list[PanelTable]) -> bool:
        """Bring tables and buffers up to date with a geometry, and with arrays; return whether there is a pixel to look at."""
        any_pixel = self.thresholds.prepare(geom, tables)
        if any_pixel:
            self._make_room(geom)
        return any_pixel

    def do_plainly(self, image: Image, geom: DetGeom) -> None:
        """Go the ways that hardly a frame goes, for a frame that has just been searched (to compile them)."""
        arrays = self._in_common_types(self._flatten(image, geom))
        self.thresholds.do_plainly([ArrayPixels(flat, table.where) for table, flat in arrays])

    def _make_room(self, geom: DetGeom) -> None:
        layout = self.thresholds.layout
        if self._version != layout.version:
            self._version = layout.version
            largest = max(panel.width * panel.height for panel in geom.panels)
            self._workspace = kernel.Workspace(np.zeros(layout.ring.size, np.uint8), np.empty(largest, np.int32))

    def _peak_list(self, panel: NDArray[np.int64], row: NDArray[np.float64], geom: DetGeom) -> PeakList:
        """Put the peaks in the panels' order, let go of those too many or saturated, and count from the corner."""
        order = np.argsort(panel, kind="stable")[: self._stage.max_peaks]
        if not self._stage.use_saturated:
            max_adu = np.array([p.max_adu for p in geom.panels])
            order = order[~(row[order, kernel.HIGHEST_ABOVE_BACKGROUND] > max_adu[panel[order]])]
        row = row[order]
        return PeakList.make(
            panel[order],
            row[:, kernel.FS] + 0.5,
            row[:, kernel.SS] + 0.5,
            row[:, kernel.INTENSITY],
            snr=row[:, kernel.SNR],
            max_pixel=row[:, kernel.HIGHEST],
            num_pixels=row[:, kernel.NUM_PIXELS],
        )


@cache
def _compile(fast: bool) -> None:
    search = RunningPeakfinder8(Peakfinder8(threshold=_warm_up.THRESHOLD, fast=fast), RecentTables())
    for image, geom in _warm_up.frames(COMMON_TYPES):
        search(image, geom)
        if not fast:
            search.do_plainly(image, geom)
