"""Peaks as connected pixels above a threshold that follows the radial background.

The tables that the exact and the sampled search share are made here too, beside the stage that keeps them; hence the
length.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline import Context, RejectFrame, stage
from stages.peaks import _warm_up
from stages.peaks._kernels import peakfinder8 as kernel
from stages.peaks._kernels.rings import ring_blocks, ring_clip, ring_core, ring_samples, ring_screen
from stages.pixels.tables import Flattener, PackedMask, PanelTable, RecentTables, packed_starts
from stages.records.geometry import DetGeom
from stages.records.image import Image, as_message_buffer
from stages.records.peaklist import PeakList

SAMPLES_PER_RING = 128
"""Pixels from which a ring's thresholds are guessed before the pass over all of them."""

FAST_SAMPLES_PER_RING = 224
FAST_SAMPLES_PER_SHORT_RING = 512
"""Pixels from which the fast search takes a ring's thresholds; more for short rings, whose neighbours are short as well."""

WIDER: dict[type, type] = {np.int8: np.int16, np.uint8: np.uint16}
"""Common types that hold all numbers of another one."""

Arrays = list[tuple[PanelTable, NDArray[Any]]]


@stage("peaks/peakfinder8")
class PeakFinder8:
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

    def open(self, context: Context) -> PeakFinder8Search:
        """Return the search of one replica; ring maps are shared between replicas."""
        _compile()
        return PeakFinder8Search(self, context.tables.get("peaks/peakfinder8", RecentTables))

    @staticmethod
    def warm_up() -> None:
        """Compile the kernels, as opening the stage does too."""
        _compile()


@dataclass(frozen=True, eq=False)
class RingMap:
    """Which ring each pixel belongs to: follows from the geometry and the resolution limits.

    Attributes
    ----------
    ring
        uint16, packed order; `num_rings` for pixels beyond the limits.
    num_rings
        How many rings there are.
    """

    ring: NDArray[np.uint16]
    num_rings: int

    @staticmethod
    def make(geom: DetGeom, vectors_px: NDArray[np.float64], min_res: int, max_res: int) -> RingMap:
        """Work out the rings of all panels."""
        starts = packed_starts(geom.panels)
        radius = np.empty(starts[-1], np.float32)
        for vectors, panel, first, last in zip(vectors_px, geom.panels, starts[:-1], starts[1:], strict=True):
            ring_blocks.radii(vectors, panel.width, panel.height, radius[first:last])
        inside = radius > min_res
        if max_res:
            inside &= radius < max_res
        numbers = np.rint(radius).astype(np.int64)
        lowest = int(numbers.min(where=inside, initial=np.iinfo(np.int64).max))
        num_rings = max(int(numbers.max(where=inside, initial=-1)) - lowest + 1, 0)
        numbers -= lowest
        if num_rings >= 0xFFFF:
            used, numbers = np.unique(np.where(inside, numbers, num_rings), return_inverse=True)
            num_rings = len(used) - int(used[-1] == num_rings)
            if num_rings >= 0xFFFF:
                raise RejectFrame(
                    "too_many_rings",
                    f"peakfinder8 can tell at most 65534 distances from the beam apart, in pixels, and the geometry has "
                    f"{num_rings}; set max_res, or mend the panels' corners",
                )
        return RingMap(np.where(inside, numbers, num_rings).astype(np.uint16), num_rings)


def vectors_in_pixels(geom: DetGeom) -> NDArray[np.float64]:
    """Return corner, fs and ss step of each panel in the plane across the beam, (P, 6): x, y of each in pixels.

    They are rounded to 1e-6 (1e-9 for steps), because whole numbers, which are cut down to whole pixels later, must
    come out whole after they have been to metres and back.
    """
    pixel = np.linalg.norm(geom.fs_m, axis=1)[:, None]
    corner = np.round(geom.origin_m[:, :2] / pixel, 6)
    return np.hstack([corner, np.round(geom.fs_m[:, :2] / pixel, 9), np.round(geom.ss_m[:, :2] / pixel, 9)])


class PeakFinder8Search:
    """The search at work: holds the buffers of one replica."""

    def __init__(self, stage: PeakFinder8, ring_maps: RecentTables) -> None:
        self._stage = stage
        self._ring_maps = ring_maps
        self._flatten = Flattener()
        self._in_common_type: list[NDArray[Any]] = []
        self._mask = PackedMask()
        self._map: RingMap | None = None
        self._static_key: Any = None
        self._mask_version = -1
        self._sampled_of = -1
        self._always_bad: tuple[NDArray[np.uint8], ...] = ()
        self._tables: list[PanelTable] = []
        self._peak = np.empty((stage.max_peaks, 7))
        self._row_of_peak = np.empty(stage.max_peaks, np.int64)

    def __call__(self, image: Image, geom: DetGeom) -> PeakList:
        """Search all panels."""
        s = self._stage
        arrays = self._arrays(image, geom)
        self._prepare(geom, arrays)
        if not self._count[:-1].any():
            return PeakList.make([], [], [], [])
        all_listed = self._statistics(arrays)
        if not all_listed:
            ring_blocks.range_tables(self._upper, 1.0, self._uppers)
        panels, rows = [], []
        for i, (table, flat) in enumerate(arrays):
            n = kernel.find_peaks(
                flat,
                table.where,
                self._ring,
                self._upper,
                self._offset,
                self._listed_above(i) if all_listed else self._all_above(i, table, flat),
                s.min_pix_count,
                s.max_pix_count,
                s.local_bg_radius,
                s.min_snr,
                self._mark,
                self._pool,
                self._peak,
                self._row_of_peak,
            )
            panels.append(table.panel[self._row_of_peak[:n]])
            rows.append(self._peak[:n].copy())
        return self._peak_list(np.concatenate(panels), np.concatenate(rows), geom)

    def _arrays(self, image: Image, geom: DetGeom) -> Arrays:
        """Return the flat arrays, copied where their type is not a common one, for which alone the kernels are compiled.

        That changes no result: 8-bit integers fit in 16 bits, and the others are taken as float32 anyway (integers are added
        up exactly only where they are far smaller than what a float32 holds exactly).
        """
        arrays = self._flatten(image, geom)
        self._in_common_type += [np.empty(0, np.float32)] * (len(arrays) - len(self._in_common_type))
        for i, (table, flat) in enumerate(arrays):
            if flat.dtype.type in _warm_up.COMMON_TYPES:
                continue
            wanted = WIDER.get(flat.dtype.type, np.float32)
            copy = self._in_common_type[i]
            if copy.shape != flat.shape or copy.dtype != wanted:
                self._in_common_type[i] = copy = np.empty(flat.shape, wanted)
            with np.errstate(
                over="ignore", invalid="ignore"
            ):  # what is too large for float32 becomes infinite, as in the kernels
                np.copyto(copy, flat, casting="unsafe")
            arrays[i] = table, as_message_buffer(copy)
        return arrays

    def _prepare(self, geom: DetGeom, arrays: Arrays) -> None:
        """Bring ring map, mask and buffers up to date with the frame's geometry."""
        if self._map is None or geom.static_key is None or geom.static_key != self._static_key:
            vectors = vectors_in_pixels(geom)
            sizes = tuple((panel.width, panel.height) for panel in geom.panels)
            limits = self._stage.min_res, self._stage.max_res
            new = self._ring_maps.get((vectors.tobytes(), sizes, *limits), lambda: RingMap.make(geom, vectors, *limits))
            self._static_key = geom.static_key
            if new is not self._map:
                self._map = new
                self._make_buffers(geom, new)
        mask = self._mask(geom)
        tables = [table for table, _ in arrays]
        if self._mask_version != self._mask.version:
            ring_blocks.fold_mask(self._map.ring, mask, self._ring, self._count)
            self._mask_version = self._mask.version
            self._describe_blocks(geom)
            good = int(self._count[:-1].sum())
            if self._sampled_of < 0 or abs(good - self._sampled_of) > 0.1 * self._sampled_of:
                self._choose_samples(geom)
                self._sampled_of = good
            self._tables = []
        if len(tables) != len(self._tables) or any(a is not b for a, b in zip(tables, self._tables, strict=True)):
            self._locate(tables)
            self._tables = tables

    def _make_buffers(self, geom: DetGeom, ring_map: RingMap) -> None:
        size, number = ring_map.ring.size, ring_map.num_rings
        self._ring = np.empty(size, np.uint16)
        self._count = np.empty(number + 1, np.int64)
        self._low, self._high = np.empty((2, number + 1), np.float32)
        self._low[number], self._high[number] = -np.inf, np.inf
        self._constant = np.zeros(number, np.uint8)
        self._offset = np.empty(number + 1)
        self._upper = np.empty(number + 1, np.float32)
        self._cut = np.zeros(number + 1, np.uint8)
        self._lanes = np.empty((4, number + 1), np.int64)
        self._float_lanes = np.empty((4, number + 1, 2))
        self._sums = np.empty((number + 1, 2))
        blocks = [panel.height * -(-panel.width // ring_blocks.BLOCK) for panel in geom.panels]
        self._first_block = np.concatenate([[0], np.cumsum(blocks)]).astype(np.int64)
        self._block = np.empty((int(self._first_block[-1]), 3), np.int32)
        capacity = size // 8 + max(panel.width for panel in geom.panels) + ring_blocks.BLOCK
        self._place = np.empty(capacity, np.int32)
        self._value = np.empty(capacity, np.float32)
        self._chosen = np.empty(capacity, np.int32)
        self._mark = np.zeros(size, np.uint8)
        self._pool = np.empty(max(panel.width * panel.height for panel in geom.panels), np.int32)
        self._mask_version = self._sampled_of = -1
        self._always_bad = ()

    def _describe_blocks(self, geom: DetGeom) -> None:
        """Look up the rings of each block; pixels that only this frame flags are taken for good ones, which does no harm."""
        assert self._map is not None
        always_bad = geom.static_bad or geom.bad
        known = self._always_bad
        if len(known) == len(always_bad) and all(a is b for a, b in zip(known, always_bad, strict=True)):
            return
        self._always_bad = always_bad
        number = self._map.num_rings
        bad = np.concatenate([b.reshape(-1) for b in always_bad])
        widths = np.array([panel.width for panel in geom.panels])
        levels = ring_blocks.describe_blocks(
            self._map.ring, bad, widths, packed_starts(geom.panels), number, self._block
        )
        self._lows, self._highs, self._uppers = np.empty((3, levels, number), np.float32)

    def _choose_samples(self, geom: DetGeom) -> None:
        number = len(self._count) - 1
        wanted = SAMPLES_PER_RING, SAMPLES_PER_RING
        if self._stage.fast:
            wanted = FAST_SAMPLES_PER_RING, FAST_SAMPLES_PER_SHORT_RING
        sample = np.empty(min(number * (max(wanted) + 1), self._ring.size), np.int32)
        widths = np.array([panel.width for panel in geom.panels])
        n = ring_samples.choose_samples(self._ring, widths, packed_starts(geom.panels), self._count, *wanted, sample)
        self._sample = sample[:n].copy()
        ring = self._ring[self._sample]
        self._slot = np.empty(n, np.int32)
        self._slot[np.argsort(ring, kind="stable")] = np.arange(n, dtype=np.int32)
        self._first = np.concatenate([[0], np.cumsum(np.bincount(ring, minlength=number))])
        self._sampled = np.empty(n, np.float32)

    def _locate(self, tables: list[PanelTable]) -> None:
        """Find samples and blocks in the arrays as they are laid out now."""
        self._sampled[:] = np.nan
        self._sources = []
        for table in tables:
            source, to = np.empty((2, len(self._sample)), np.int32)
            masked = len(self._count) - 1
            n = ring_samples.locate_samples(table.where, self._ring, self._sample, self._slot, masked, source, to)
            self._sources.append((source[:n].copy(), to[:n].copy()))
        self._block_of_panel = [self._first_block[table.panel] for table in tables]

    def _statistics(self, arrays: Arrays) -> bool:
        """Set each ring's mean and threshold; return whether all pixels above their threshold are among those listed."""
        s = self._stage
        for (_, flat), (source, to) in zip(arrays, self._sources, strict=True):
            ring_samples.take_samples(flat, source, to, self._sampled)
        if s.fast:
            return self._sampled_statistics(arrays)
        ring_samples.estimate_core(
            self._sampled, self._first, self._count, s.threshold, s.min_snr, self._low, self._high, self._constant
        )
        self._ends = self._collect(arrays)
        listed = self._ends[-1]
        all_listed = listed >= 0 and ring_clip.clip(
            self._count,
            self._sums,
            self._low,
            self._high,
            self._constant,
            self._ring,
            self._place[:listed],
            self._value[:listed],
            s.threshold,
            s.min_snr,
            self._offset,
            self._upper,
            self._cut,
        )
        if listed < 0:
            self._upper[-1], self._offset[-1] = ring_samples.NO_THRESHOLD, 0.0
            self._cut[:-1] = 1
        if self._cut.any():
            self._clip_plainly(arrays)
            return False
        return bool(all_listed)

    def _sampled_statistics(self, arrays: Arrays) -> bool:
        """The same from a sample of each ring and all pixels of its upper tail."""
        s = self._stage
        ring_samples.sampled_cuts(
            self._sampled, self._first, self._count, s.threshold, s.min_snr, self._offset, self._high
        )
        ring_blocks.range_tables(self._high, 1.0, self._highs)
        self._ends = [0]
        for i, (table, flat) in enumerate(arrays):
            self._ends.append(self._list_above(i, table, flat, self._high, self._highs, self._ends[-1]))
        listed = self._ends[-1]
        return ring_samples.clip_tails(
            self._sampled,
            self._first,
            self._count,
            self._ring,
            self._place[:listed],
            self._value[:listed],
            s.threshold,
            s.min_snr,
            self._high,
            self._offset,
            self._upper,
        )

    def _list_above(
        self,
        i: int,
        table: PanelTable,
        flat: NDArray[Any],
        upper: NDArray[np.float32],
        uppers: NDArray[np.float32],
        begin: int,
    ) -> int:
        """List all pixels of the i-th array above the threshold, from number `begin` on; return where they end."""
        blocks = self._block, self._block_of_panel[i], uppers
        n = ring_screen.screen(flat, table.where, self._ring, upper, *blocks, begin, self._place, self._value)
        if n > len(self._place):
            place, value = np.empty(n, np.int32), np.empty(n, np.float32)
            place[:begin], value[:begin] = self._place[:begin], self._value[:begin]
            self._place, self._value, self._chosen = place, value, np.empty(n, np.int32)
            ring_screen.screen(flat, table.where, self._ring, upper, *blocks, begin, self._place, self._value)
        return n

    def _collect(self, arrays: Arrays) -> list[int]:
        """Add up the rings' cores and list the other pixels; return where each array's end in the list, -1 if it is full."""
        ring_blocks.range_tables(self._low, -1.0, self._lows)
        ring_blocks.range_tables(self._high, 1.0, self._highs)
        fit_packed = ring_core.fit_packed(self._count, self._low, self._high)
        self._lanes[:] = 0
        self._float_lanes[:] = 0.0
        ends = [0]
        for (table, flat), block_of_panel in zip(arrays, self._block_of_panel, strict=True):
            packed = fit_packed and flat.dtype.kind != "f"
            collect = ring_core.collect_integers if packed else ring_core.collect_floats
            n = collect(
                flat,
                table.where,
                self._ring,
                self._low,
                self._high,
                self._block,
                block_of_panel,
                self._lows,
                self._highs,
                self._lanes if packed else self._float_lanes,
                ends[-1],
                self._place,
                self._value,
            )
            ends.append(n)
            if n < 0:
                break
        np.sum(self._float_lanes, axis=0, out=self._sums)
        ring_core.unpack(self._lanes, self._sums)
        return ends

    def _clip_plainly(self, arrays: Arrays) -> None:
        """Find the thresholds of the rings that are marked in `_cut` from all their pixels."""
        size = int(self._count[self._cut.astype(bool)].sum())
        of_ring, value = np.empty(size, np.uint16), np.empty(size, np.float32)
        n = 0
        for table, flat in arrays:
            n = ring_clip.gather(flat, table.where, self._ring, self._cut, n, of_ring, value)
        ring_clip.clip_plainly(
            of_ring, value, self._cut, self._stage.threshold, self._stage.min_snr, self._offset, self._upper
        )

    def do_plainly(self, image: Image, geom: DetGeom) -> None:
        """Go the ways that hardly a frame goes, for a frame that has just been searched (to compile them)."""
        arrays = self._arrays(image, geom)
        self._cut[:-1] = 1
        self._clip_plainly(arrays)
        ring_blocks.range_tables(self._upper, 1.0, self._uppers)
        for i, (table, flat) in enumerate(arrays):
            self._all_above(i, table, flat)
            ring_core.collect_floats(
                flat,
                table.where,
                self._ring,
                self._low,
                self._high,
                self._block,
                self._block_of_panel[i],
                self._lows,
                self._highs,
                self._float_lanes,
                0,
                self._place,
                self._value,
            )

    def _listed_above(self, i: int) -> NDArray[np.int32]:
        """Return the places of the listed pixels of the i-th array that are above their threshold."""
        mine = slice(self._ends[i], self._ends[i + 1])
        n = ring_screen.pick(self._ring, self._upper, self._place[mine], self._value[mine], self._chosen)
        return self._chosen[:n]

    def _all_above(self, i: int, table: PanelTable, flat: NDArray[Any]) -> NDArray[np.int32]:
        """Return the places of all pixels of the i-th array that are above their threshold."""
        n = self._list_above(i, table, flat, self._upper, self._uppers, 0)
        return self._place[:n]

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
def _compile() -> None:
    for fast in (False, True):
        search = PeakFinder8Search(PeakFinder8(threshold=_warm_up.THRESHOLD, fast=fast), RecentTables())
        for image, geom in _warm_up.frames(_warm_up.COMMON_TYPES):
            search(image, geom)
            if not fast:
                search.do_plainly(image, geom)
