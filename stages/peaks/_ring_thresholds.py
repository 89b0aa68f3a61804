"""The mean and the threshold of each ring of a frame, and the pixels above it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stages.peaks._core_trust import CoreTrust
from stages.peaks._kernels.panels import ArrayPixels
from stages.peaks._kernels.rings import (
    ring_blocks,
    ring_clip,
    ring_core,
    ring_samples,
    ring_screen,
    ring_survey,
    ring_tails,
)
from stages.peaks._kernels.rings.ring_moments import NO_THRESHOLD
from stages.peaks._kernels.rings.ring_tuples import Core, Listed, Rule, Samples, Thresholds
from stages.peaks._kernels.samples import Located
from stages.peaks._ring_layout import RingLayout
from stages.pixels.tables import PanelTable, RecentTables
from stages.records.geometry import DetGeom

LISTED_PART = 8
"""One in so many pixels may lie outside the cores; with more of them the rings are done plainly."""

Places = NDArray[np.int32]


class RingThresholds:
    """Finds the thresholds of one frame after the other: see ``_kernels/rings`` for how.

    Attributes
    ----------
    layout
        Where each ring's pixels are.
    found
        The rings' means and upper thresholds.
    cut
        uint8 (rings + 1,): 1 for rings whose thresholds cut into their cores, which are then done plainly.
    """

    layout: RingLayout
    found: Thresholds
    cut: NDArray[np.uint8]

    def __init__(
        self, threshold: float, min_snr: float, limits_px: tuple[int, int], fast: bool, ring_maps: RecentTables
    ) -> None:
        self._rule = Rule(threshold, min_snr)
        self._fast = fast
        self.layout = RingLayout(ring_maps, limits_px, fast)
        self._version = 0
        self._core = Core(*np.empty((3, 0), np.float32), *np.empty((2, 0, 0), np.float32))
        self._uppers: NDArray[np.float32] = np.empty((0, 0), np.float32)

    def prepare(self, geom: DetGeom, tables: list[PanelTable]) -> bool:
        """Bring tables and buffers up to date with the frame's geometry; return whether there is a pixel to look at."""
        layout = self.layout
        layout.prepare(geom, tables)
        number = len(layout.count) - 1
        if self._version != layout.version:
            self._version = layout.version
            self._make_room(number, layout.ring.size, max(panel.width for panel in geom.panels))
        if self._uppers.shape != (layout.levels, number):  # there are none after `_make_room`
            lows, highs, self._uppers = np.empty((3, layout.levels, number), np.float32)
            self._core = self._core._replace(lows=lows, highs=highs)
            self._trust = CoreTrust(layout.ring.size)
        return layout.any_pixel

    def find(self, arrays: Sequence[ArrayPixels]) -> None:
        """Find each ring's mean and threshold."""
        layout = self.layout
        samples = Samples(layout.samples.value, layout.samples.first, layout.count)
        self._all_listed = self._from_samples(arrays, samples) if self._fast else self._from_all(arrays, samples)
        if not self._all_listed:
            ring_blocks.range_tables(self.found.upper, 1.0, self._uppers)

    def above(self, i: int, pixels: ArrayPixels) -> Places:
        """Return the places of the pixels of the i-th array that are above their threshold, ascending."""
        return self._listed_above(i) if self._all_listed else self._all_above(i, pixels)

    def do_plainly(self, arrays: Sequence[ArrayPixels]) -> None:
        """Go the ways that hardly a frame goes, for a frame that has just been searched (to compile them).

        And the way of most frames, in which the listed pixels are clipped and cores follow from the frame before: the small
        frame of a warm-up lists too many.
        """
        self._clip_listed(0)
        ring_samples.core_from_thresholds(self.found, self._lower, self._rule, self._core)
        ring_screen.pick(self.layout.ring, self.found.upper, self._part(0, 0), self._chosen)
        self.cut[:-1] = 1
        self._clip_plainly(arrays)
        ring_blocks.range_tables(self.found.upper, 1.0, self._uppers)
        for i, pixels in enumerate(arrays):
            self._all_above(i, pixels)
            self._collect_one(i, pixels, self._float_lanes, 0)

    def _make_room(self, number: int, size: int, widest: int) -> None:
        low, high = np.empty((2, number + 1), np.float32)
        low[number], high[number] = -np.inf, np.inf
        none = np.empty((0, number), np.float32)
        self._core = Core(low, high, np.zeros(number, np.uint8), none, none)
        self._uppers = none
        self.found = Thresholds(np.empty(number + 1), np.empty(number + 1, np.float32))
        self.cut = np.zeros(number + 1, np.uint8)
        self._lower = np.empty(number, np.float32)
        self._lanes = np.empty((4, number + 1), np.int64)
        self._float_lanes = np.empty((4, number + 1, 2))
        self._sums = np.empty((number + 1, 2))
        self._moments = np.empty((number, 3))
        self._make_list(size // LISTED_PART + widest + ring_blocks.BLOCK)

    def _make_list(self, length: int) -> None:
        self._listed = Listed(np.empty(length, np.int32), np.empty(length, np.float32))
        self._chosen = np.empty(length, np.int32)

    def _part(self, begin: int, end: int) -> Listed:
        return Listed(self._listed.place[begin:end], self._listed.value[begin:end])

    def _clip_listed(self, number: int) -> bool:
        """Find the thresholds from sums and the first so many listed pixels; return whether those above are among these."""
        return bool(
            ring_clip.clip(
                self.layout.count,
                self._sums,
                self._core,
                self.layout.ring,
                self._part(0, number),
                self._rule,
                self.found,
                self._lower,
                self.cut,
            )
        )

    def _from_all(self, arrays: Sequence[ArrayPixels], samples: Samples) -> bool:
        """Find the thresholds from all pixels; return whether those above their threshold are among the listed ones."""
        from_before = self._trust.holds
        self._choose_cores(arrays, samples)
        self._ends = self._collect(arrays)
        listed = self._ends[-1]
        all_listed = False
        if listed < 0:
            self.found.upper[-1], self.found.offset[-1] = NO_THRESHOLD, 0.0
            self.cut[:-1] = 1
        else:
            all_listed = self._clip_listed(listed)
        is_cut = bool(self.cut.any())
        # sums that are rounded would depend, in their last digits, on which frame the cores are from
        (self._trust.followed if from_before else self._trust.sampled)(listed, good=self._all_packed and not is_cut)
        if is_cut:
            self._clip_plainly(arrays)
            return False
        return all_listed

    def _choose_cores(self, arrays: Sequence[ArrayPixels], samples: Samples) -> None:
        """Choose the rings' cores from this frame's samples, or from what was found on the frame before."""
        core = self._core
        if self._trust.holds:
            ring_samples.core_from_thresholds(self.found, self._lower, self._rule, core)
        else:
            self.layout.samples.take([pixels.flat for pixels in arrays])
            ring_samples.estimate_core(samples, self._rule, core)
        ring_blocks.range_tables(core.low, -1.0, core.lows)
        ring_blocks.range_tables(core.high, 1.0, core.highs)

    def _from_samples(self, arrays: Sequence[ArrayPixels], samples: Samples) -> bool:
        """The same from a sample of each ring and all pixels of its upper tail, which begins at `cut`."""
        cut, cuts = self._core.high, self._core.highs
        for i, (pixels, located) in enumerate(zip(arrays, self.layout.samples.located, strict=True)):
            self._survey(i, pixels, located)
        ring_tails.sampled_cuts(samples, self._rule, Thresholds(self.found.offset, cut), self._moments)
        ring_blocks.range_tables(cut, 1.0, cuts)
        self._ends = [0]
        for i, pixels in enumerate(arrays):
            self._ends.append(self._list_above(i, pixels, cut, cuts, self._ends[-1]))
        listed = self._part(0, self._ends[-1])
        return bool(
            ring_tails.clip_tails(samples, self._moments, self.layout.ring, listed, self._rule, cut, self.found)
        )

    def _survey(self, i: int, pixels: ArrayPixels, located: Located) -> None:
        """Look for each block's highest pixel of the i-th array, and take these samples."""
        layout = self.layout
        masked = len(layout.count) - 1
        ring_survey.survey(pixels, layout.ring, masked, layout.blocks[i], located, layout.highest, layout.samples.value)

    def _collect(self, arrays: Sequence[ArrayPixels]) -> list[int]:
        """Add up the rings' cores and list the other pixels; return where each array's end in the list, -1 if it is full."""
        core = self._core
        fit_packed = ring_core.fit_packed(self.layout.count, core.low, core.high)
        are_packed = [fit_packed and pixels.flat.dtype.kind != "f" for pixels in arrays]
        self._all_packed = all(are_packed)
        self._lanes[:] = 0
        if not self._all_packed:
            self._float_lanes[:] = 0.0
        ends = [0]
        for i, pixels in enumerate(arrays):
            n = self._collect_one(i, pixels, self._lanes if are_packed[i] else self._float_lanes, ends[-1])
            ends.append(n)
            if n < 0:
                break
        if self._all_packed:
            self._sums[:] = 0.0
        else:
            np.sum(self._float_lanes, axis=0, out=self._sums)
        ring_core.unpack(self._lanes, self._sums)
        return ends

    def _collect_one(self, i: int, pixels: ArrayPixels, lanes: NDArray[np.int64 | np.float64], begin: int) -> int:
        layout = self.layout
        return ring_core.collect(pixels, layout.ring, self._core, layout.blocks[i], lanes, begin, self._listed)

    def _clip_plainly(self, arrays: Sequence[ArrayPixels]) -> None:
        """Find the thresholds of the rings that are marked in `cut` from all their pixels."""
        size = int(self.layout.count[self.cut.astype(bool)].sum())
        of_ring, value = np.empty(size, np.uint16), np.empty(size, np.float32)
        n = 0
        for pixels in arrays:
            n = ring_clip.gather(pixels, self.layout.ring, self.cut, n, of_ring, value)
        ring_clip.clip_plainly(of_ring, value, self.cut, self._rule, self.found)

    def _list_above(
        self, i: int, pixels: ArrayPixels, upper: NDArray[np.float32], uppers: NDArray[np.float32], begin: int
    ) -> int:
        """List all pixels of the i-th array above the threshold, from number `begin` on; return where they end."""
        layout = self.layout
        given = pixels, layout.ring, upper, uppers, layout.blocks[i], layout.highest, begin
        n = ring_screen.screen(*given, self._listed)
        if n > len(self._listed.place):
            before = self._part(0, begin)
            self._make_list(n)
            self._listed.place[:begin], self._listed.value[:begin] = before
            ring_screen.screen(*given, self._listed)
        return n

    def _listed_above(self, i: int) -> Places:
        """Return the places of the listed pixels of the i-th array that are above their threshold."""
        mine = self._part(self._ends[i], self._ends[i + 1])
        n = ring_screen.pick(self.layout.ring, self.found.upper, mine, self._chosen)
        return self._chosen[:n]

    def _all_above(self, i: int, pixels: ArrayPixels) -> Places:
        """Return the places of all pixels of the i-th array that are above their threshold."""
        if not self._fast:
            self._survey(i, pixels, self.layout.nothing_located[i])
        n = self._list_above(i, pixels, self.found.upper, self._uppers, 0)
        return self._listed.place[:n]
