"""Peaks as places where more photons arrived than the background explains."""

from __future__ import annotations

from functools import cache
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from pipeline import Context, stage
from stages.compute.pixel_types import COMMON_TYPES, PIXEL_TYPES
from stages.files.geom.detector import Detector
from stages.peaks import _warm_up
from stages.peaks._ahead import prepare_ahead
from stages.peaks._clumping import Clumping
from stages.peaks._kernels.likelihood import background_cells, columns, groups, measuring, squares, summit_search
from stages.peaks._kernels.likelihood.tuples import (
    Background,
    BadPixels,
    Candidates,
    RawPixels,
    SquareLimits,
    Widths,
)
from stages.peaks._polar_cells import PolarCells
from stages.peaks._samples import GroupedSamples
from stages.pixels.tables import Flattener, PackedMask, PanelTable, RecentTables, are_the_same, packed_starts
from stages.records.geometry import DetGeom
from stages.records.image import Image
from stages.records.peaklist import PeakList

SAMPLES_PER_CELL = 24
"""Pixels from which a cell's background is known before the search."""
EAGERNESS = 1.0
"""By how much a square may be less significant than a peak and still be looked at."""
TRUSTED = 12.0
"""Peaks of this significance tell the usual width of the frame's peaks."""
FEWEST_WIDTHS = 5
"""With fewer such peaks there is no usual width."""
LEAST_SEEN = 0.5
"""Part of a peak within the circle in which it is measured that must fall on good pixels."""


@stage("peaks/likelihood", uses=(Detector,))
class Likelihood:
    """Find peaks by the likelihood ratio of photon counts: is there a peak, or does the background explain it?

    **Statistics.** Let a circle hold the sum of n pixels, of which the background around it, m pixels with mean b and
    variance s^2, lets us expect n b. Counted in units of g = adu_per_photon and shifted so that the background's variance
    equals its mean, as it does for photons (whatever the detector's offset and its read noise)::

        on = sum(v_i - b) / g + n s^2 / g^2,    off = m s^2 / g^2,    alpha = n / m

    Li and Ma's significance of `on` against `off` is the likelihood ratio of two Poisson means, the uncertainty of the
    background included (their equation 17)::

        S^2 = 2 on ln[(1 + alpha)/alpha on/(on + off)] + 2 off ln[(1 + alpha) off/(on + off)]

    A place is a peak if S, in the best of four circles (9, 21, 37 and 69 pixels), is so large that pure background would
    reach it `false_per_frame` times in a frame: for N pixels, where a normal deviate has probability false_per_frame / N. No
    threshold in ADU is needed.

    **Search.** (1) The background is sampled in polar cells: rings of two pixels around the beam, in up to eight sectors.
    (2) Sums over squares of 5 x 5 pixels are compared with what they must reach to come within 1 of S. (3) The pixels that
    pass are put together to peaks from the highest down in the image smoothed with a Gaussian of one pixel; of two summits
    the lower is a peak of its own if the pass between them is lower than it by more than 2.5 standard deviations.
    (4) b and s^2 are measured in the ring from 5 to 9 pixels around each, without pixels that passed (2); position and width by
    a Gaussian window that adapts to the peak; then S.

    **Measurement.** Intensity is the sum above b in a circle of twice the peak's width, divided by the part of a Gaussian
    that falls on the circle's good pixels: pixels that are bad, off the panel or part of another peak are made up for, and a
    peak is dropped only if less than half of it is seen. snr = I / sqrt(g I + n s^2 (1 + n/m)), before that division. A
    peak's width may lie anywhere in `spot_sigma`; what has more of its signal in one pixel than the narrowest peak would (a
    defective pixel), or is wider than the widest, is no peak.

    **Light that spreads.** Where a photon's light falls on several pixels (a phosphor with a CCD, an image plate) or pixels
    were interpolated, sums over pixels scatter more than their pixels say. How much more is measured in each frame, by pairs
    of squares of 5 x 5 pixels without a spot, and s^2 is that many times the pixels' variance. On a counter it is the pixels'
    variance.

    **adu_per_photon** of the geometry file must be about right, since photons are what is counted. The background's variance is
    measured, but how far its tail reaches, and how much a peak's own intensity scatters, follows from the size of a photon.
    Where adu_per_photon is too small, few photons pass for many: false peaks, above all on frames with little background,
    and snr too high. Where it is too large, weak peaks are missed.

    Sources: T.-P. Li & Y.-Q. Ma, Astrophys. J. 272 (1983) 317, https://doi.org/10.1086/161295; H. Edelsbrunner et al.,
    Discrete Comput. Geom. 28 (2002) 511, https://doi.org/10.1007/s00454-002-2885-2 (persistence of summits); E. Bertin &
    S. Arnouts, Astron. Astrophys. Suppl. 117 (1996) 393, https://doi.org/10.1051/aas:1996164 (windowed centroids).
    """

    min_snr: float = Field(default=5.0, ge=0, description="Lowest intensity in units of its standard deviation.")
    false_per_frame: float = Field(
        default=0.01, gt=0, le=1000, description="Peaks that noise alone may make in a frame, on average."
    )
    spot_sigma: tuple[float, float] = Field(
        default=(0.5, 4.0), description="Least and greatest width of a peak (standard deviation), pixels."
    )
    min_res: int = Field(default=0, ge=0, description="Least distance from the beam, pixels.")
    max_res: int = Field(default=0, ge=0, description="Greatest distance from the beam, pixels; 0 for no limit.")
    max_peaks: int = Field(default=4096, ge=1, description="Keep so many peaks at most, those of highest snr.")
    use_saturated: bool = Field(default=True, description="Keep peaks with pixels above max_adu.")

    @field_validator("spot_sigma")
    @classmethod
    def _widths_grow(cls, widths: tuple[float, float]) -> tuple[float, float]:
        if not 0.2 <= widths[0] < widths[1] <= 6.0:
            raise ValueError(f"spot_sigma should be least,greatest with 0.2 <= least < greatest <= 6; found {widths}")
        return widths

    def open(self, context: Context) -> RunningLikelihood:
        """Return the search of one replica, with its tables made; maps of cells are shared between replicas."""
        _compile()
        running = RunningLikelihood(self, context.tables.get("peaks/likelihood", RecentTables))
        prepare_ahead(context, lambda geom: running.prepare(geom, []))
        return running

    @staticmethod
    def warm_up() -> None:
        """Compile the kernels, as opening the stage does too."""
        _compile()


class Found(NamedTuple):
    """The peaks of one array: rows of their table, the candidates' numbers of their summits, and the candidates."""

    rows: NDArray[np.float64]
    summits: NDArray[np.int64]
    candidates: Candidates


class RunningLikelihood:
    """The search at work: holds the buffers of one replica."""

    def __init__(self, stage: Likelihood, cells: RecentTables) -> None:
        self._stage = stage
        self._recent_cells = cells
        self._flatten = Flattener()
        self._mask = PackedMask()
        self._cells: PolarCells | None = None
        self._static_key: Any = None
        self._mask_version = -1
        self._tables: list[PanelTable] = []
        self._samples = GroupedSamples()
        self._clumping = Clumping()
        self._candidate = np.empty(1 << 15, np.int32)

    def __call__(self, image: Image, geom: DetGeom) -> PeakList:
        """Search all panels that are not no_index."""
        arrays = self._flatten(image, geom)
        self.prepare(geom, [table for table, _ in arrays])
        if not self._good:
            return PeakList.make([], [], [], [])
        assert self._cells is not None
        cells, gain = self._cells, np.array([geom.adu_per_photon(p) for p in range(len(geom.panels))])
        least = float(gain.min())
        significance = -NormalDist().inv_cdf(min(self._stage.false_per_frame / self._good, 0.5))
        self._samples.take([flat for _, flat in arrays])
        background_cells.describe_cells(
            self._samples.value, self._samples.first, cells.inner, cells.outer, least, self._background
        )
        each = [self._raw(table, flat) for table, flat in arrays]
        clumping = self._clumping.measure(each, self._background, least)
        self._background.variance[:] *= clumping
        background_cells.square_thresholds(
            self._background,
            least,
            max(significance - EAGERNESS, 0.0),
            cells.tile_first,
            cells.tile_cells,
            self._limits,
        )
        found = [
            self._find(table, pixels, gain[table.panel], least, significance, clumping)
            for (table, _), pixels in zip(arrays, each, strict=True)
        ]
        rows = np.concatenate([one.rows for one in found])
        sigma = rows[rows[:, columns.SIGNIFICANCE] > TRUSTED, columns.SIGMA]
        usual = float(np.median(sigma)) if len(sigma) >= FEWEST_WIDTHS else np.nan
        widths = Widths(usual, *self._stage.spot_sigma)
        for (table, _), pixels, one in zip(arrays, each, found, strict=True):
            measuring.measure(pixels, gain[table.panel], one.candidates, one.summits, widths, one.rows)
            measuring.wipe(one.candidates)
        panels = [table.panel[one.candidates.panel[one.summits]] for (table, _), one in zip(arrays, found, strict=True)]
        return self._peak_list(np.concatenate(panels), np.concatenate([one.rows for one in found]), geom)

    def prepare(self, geom: DetGeom, tables: list[PanelTable]) -> None:
        """Bring cells, mask and buffers up to date with a geometry, and with arrays if there are some."""
        if self._cells is None or geom.static_key is None or geom.static_key != self._static_key:
            sizes = tuple((panel.width, panel.height) for panel in geom.panels)
            key = (geom.origin_m[:, :2].tobytes(), geom.fs_m.tobytes(), geom.ss_m[:, :2].tobytes(), sizes)
            new = self._recent_cells.get(key, lambda: PolarCells.make(geom))
            self._static_key = geom.static_key
            if new is not self._cells:
                self._cells = new
                self._make_buffers(geom, new)
        mask = self._mask(geom)
        if self._mask_version != self._mask.version:
            self._mask_version = self._mask.version
            self._take_mask(mask, geom)
            self._tables = []
        if not are_the_same(tables, self._tables):
            self._samples.locate(tables, self._bad, 1)
            self._clumping.locate(tables)
            self._tables = tables

    def _make_buffers(self, geom: DetGeom, cells: PolarCells) -> None:
        self._background = Background(cells.cell, *np.empty((2, cells.num_cells)))
        tiles = len(cells.tile_first) - 1
        self._limits = SquareLimits(
            np.empty(cells.num_cells, np.float32), np.empty(tiles, np.float32), cells.first_tile
        )
        self._label = np.zeros(len(cells.cell), np.int32)
        widest = max(panel.width for panel in geom.panels)
        self._lines = np.empty(squares.N_LINES * (widest + 4), np.float32)
        self._mask_version = -1
        self._samples = GroupedSamples()

    def _take_mask(self, mask: NDArray[np.uint8], geom: DetGeom) -> None:
        """Note which pixels are not to be looked at; choose samples among the others, if they are not much the same."""
        assert self._cells is not None
        s, cells = self._stage, self._cells
        bad = mask != 0
        starts = packed_starts(geom.panels)
        for p, panel in enumerate(geom.panels):
            if panel.no_index:
                bad[starts[p] : starts[p + 1]] = True
        if s.min_res:
            bad |= cells.radius_px <= s.min_res
        if s.max_res:
            bad |= cells.radius_px >= s.max_res
        self._bad = bad.astype(np.uint8)
        bad_places = np.flatnonzero(bad).astype(np.int32)
        self._bad_pixels = BadPixels(bad_places, cells.cell[bad_places])
        self._good = len(bad) - len(bad_places)
        widths = np.array([panel.width for panel in geom.panels])
        self._clumping.choose(geom, bad)
        if self._samples.suit(self._good):
            return
        good_in = np.empty(cells.num_cells, np.int64)
        sample = np.empty(min(cells.num_cells * (SAMPLES_PER_CELL + 1), len(bad)), np.int32)
        n = background_cells.choose_samples(cells.cell, self._bad, widths, starts, SAMPLES_PER_CELL, good_in, sample)
        places = sample[:n].copy()
        self._samples.choose(places, cells.cell[places], cells.num_cells, self._good)

    def _raw(self, table: PanelTable, flat: NDArray[Any]) -> RawPixels:
        """Return an array as the kernels want it."""
        return RawPixels(flat.view(np.uint8), PIXEL_TYPES.index(flat.dtype.type), table.where, self._bad)

    def _find(
        self,
        table: PanelTable,
        pixels: RawPixels,
        gain: NDArray[np.float64],
        least: float,
        significance: float,
        clumping: float,
    ) -> Found:
        """Find the peaks of one array; `least` is the least size of a photon."""
        n = self._screen(table, pixels)
        if n > len(self._candidate):
            self._candidate = np.empty(n + n // 4, np.int32)
            self._screen(table, pixels)
        place = self._candidate[:n].copy()
        level, panel, parent = np.empty(n), np.empty(n, np.int64), np.empty(n, np.int64)
        candidates = Candidates(place, level, panel, parent, self._label)
        squares.smooth(pixels, self._background, candidates)
        groups.join(table.where, self._background, least, candidates)
        summits = int((parent == np.arange(n)).sum())
        rows, summit_of = np.zeros((summits + 1, columns.N_COLUMNS)), np.empty(summits + 1, np.int64)
        n = summit_search.examine(
            pixels,
            self._background,
            gain,
            candidates,
            significance,
            self._stage.spot_sigma[1],
            clumping,
            rows,
            summit_of,
        )
        return Found(rows[:n], summit_of[:n], candidates)

    def _screen(self, table: PanelTable, pixels: RawPixels) -> int:
        limits = self._limits._replace(first_tile=self._limits.first_tile[table.panel])
        return int(squares.screen(pixels, self._bad_pixels, self._background, limits, self._lines, self._candidate))

    def _peak_list(self, panel: NDArray[np.int64], row: NDArray[np.float64], geom: DetGeom) -> PeakList:
        """Keep what can be a peak, in the panels' order, and count from the corner."""
        s = self._stage
        width, height, max_adu = np.array([(p.width, p.height, p.max_adu) for p in geom.panels]).T
        fs, ss = row[:, columns.FS] + 0.5, row[:, columns.SS] + 0.5
        keep = (row[:, columns.SNR] >= s.min_snr) & (row[:, columns.COMPACT] <= 0) & (row[:, columns.INTENSITY] > 0)
        keep &= row[:, columns.SIGMA] <= s.spot_sigma[1]
        keep &= row[:, columns.SEEN] >= LEAST_SEEN
        keep &= (fs >= 0) & (ss >= 0) & (fs <= width[panel]) & (ss <= height[panel])
        if s.min_res or s.max_res:
            keep &= self._within_limits(panel, fs, ss, geom)
        if not s.use_saturated:
            keep &= ~(row[:, columns.HIGHEST] > max_adu[panel])
        kept = np.flatnonzero(keep)
        kept = np.sort(kept[np.argsort(-row[kept, columns.SNR], kind="stable")[: s.max_peaks]])
        kept = kept[np.argsort(panel[kept], kind="stable")]
        row = row[kept]
        return PeakList.make(
            panel[kept],
            fs[kept],
            ss[kept],
            row[:, columns.INTENSITY],
            snr=row[:, columns.SNR],
            max_pixel=row[:, columns.HIGHEST],
            num_pixels=row[:, columns.NUM_PIXELS],
        )

    def _within_limits(
        self, panel: NDArray[np.int64], fs: NDArray[np.float64], ss: NDArray[np.float64], geom: DetGeom
    ) -> NDArray[np.bool_]:
        """Whether the middle of each peak, and not its flank alone, is within the limits of resolution."""
        pixel_m = np.linalg.norm(geom.fs_m, axis=1)[panel]
        radius = np.hypot(*geom.lab_m(panel, fs, ss)[:, :2].T) / pixel_m
        below = radius < (self._stage.max_res or np.inf)
        within: NDArray[np.bool_] = below & (radius > self._stage.min_res)
        return within


@cache
def _compile() -> None:
    search = RunningLikelihood(Likelihood(), RecentTables())
    for image, geom in _warm_up.frames((*COMMON_TYPES, *_warm_up.OTHER_TYPES)):
        search(image, geom)
