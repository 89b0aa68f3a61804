"""Where each ring's pixels are: rings with the mask, blocks and samples, kept as long as geometry and mask stay the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.peaks._kernels.rings import ring_blocks, ring_samples
from stages.peaks._kernels.rings.ring_tuples import Blocks
from stages.peaks._kernels.samples import Located
from stages.peaks._ring_map import RingMap, vectors_in_pixels
from stages.peaks._samples import GroupedSamples, nothing_located
from stages.pixels.tables import PackedMask, PanelTable, RecentTables, are_the_same, packed_starts
from stages.records.geometry import DetGeom


class RingLayout:
    """Where the pixels of each ring are.

    Attributes
    ----------
    ring
        uint16, packed order: each pixel's ring; masked pixels are in the last one.
    count
        int64 (rings + 1,): how many pixels each ring has.
    any_pixel
        Whether there is one that is not masked.
    samples
        Some pixels of each ring.
    blocks
        The blocks of each array.
    highest
        float32 (blocks,), for the highest pixel of each block; minus infinity where all are masked.
    nothing_located
        For each array, the list of no samples.
    levels
        How many levels the range tables of the rings need.
    version
        Grows by one with every new map of rings.
    """

    ring: NDArray[np.uint16]
    count: NDArray[np.int64]
    any_pixel: bool
    blocks: list[Blocks]
    highest: NDArray[np.float32]
    nothing_located: list[Located]
    levels: int

    def __init__(self, ring_maps: RecentTables, limits_px: tuple[int, int], fast: bool) -> None:
        self._ring_maps = ring_maps
        self._limits_px = limits_px
        self._fast = fast
        self._mask = PackedMask()
        self.ring_map: RingMap | None = None
        self._static_key: Any = None
        self._mask_version = -1
        self._always_bad: tuple[NDArray[np.uint8], ...] = ()
        self._tables: list[PanelTable] = []
        self.samples = GroupedSamples()
        self.version = 0

    def prepare(self, geom: DetGeom, tables: list[PanelTable]) -> None:
        """Bring all up to date with the frame's geometry, mask and arrays."""
        if self.ring_map is None or geom.static_key is None or geom.static_key != self._static_key:
            vectors = vectors_in_pixels(geom)
            sizes = tuple((panel.width, panel.height) for panel in geom.panels)
            key = (vectors.tobytes(), sizes, *self._limits_px)
            new = self._ring_maps.get(key, lambda: RingMap.make(geom, vectors, *self._limits_px))
            self._static_key = geom.static_key
            if new is not self.ring_map:
                self.ring_map = new
                self._make_room(geom, new)
        mask = self._mask(geom)
        if self._mask_version != self._mask.version:
            ring_blocks.fold_mask(self.ring_map.ring, mask, self.ring, self.count)
            self._mask_version = self._mask.version
            self._describe_blocks(geom, self.ring_map)
            good = int(self.count[:-1].sum())
            self.any_pixel = good > 0
            if not self.samples.suit(good):
                self._choose_samples(geom, good)
            self._tables = []
        if not are_the_same(tables, self._tables):
            self.samples.locate(tables, self.ring, len(self.count) - 1)
            self.blocks = [Blocks(self._block, self._first_block[table.panel]) for table in tables]
            self.nothing_located = [nothing_located(table) for table in tables]
            self._tables = tables

    def _make_room(self, geom: DetGeom, ring_map: RingMap) -> None:
        self.ring = np.empty(ring_map.ring.size, np.uint16)
        self.count = np.empty(ring_map.num_rings + 1, np.int64)
        blocks = [panel.height * -(-panel.width // ring_blocks.BLOCK) for panel in geom.panels]
        self._first_block = np.concatenate([[0], np.cumsum(blocks)]).astype(np.int64)
        self._block = np.empty((int(self._first_block[-1]), ring_blocks.N_COLUMNS), np.int32)
        self.highest = np.empty(len(self._block), np.float32)
        self._mask_version = -1
        self.samples = GroupedSamples()
        self._always_bad = ()
        self.version += 1

    def _describe_blocks(self, geom: DetGeom, ring_map: RingMap) -> None:
        """Look up the rings of each block; pixels that only this frame flags are taken for good ones, which does no harm."""
        always_bad = geom.static_bad or geom.bad
        if are_the_same(self._always_bad, always_bad):
            return
        self._always_bad = always_bad
        bad = np.concatenate([b.reshape(-1) for b in always_bad])
        widths = np.array([panel.width for panel in geom.panels])
        starts = packed_starts(geom.panels)
        self.highest.fill(-np.inf)
        self.levels = ring_blocks.describe_blocks(ring_map.ring, bad, widths, starts, ring_map.num_rings, self._block)

    def _choose_samples(self, geom: DetGeom, good: int) -> None:
        number = len(self.count) - 1
        wanted = ring_samples.SAMPLES_PER_RING, ring_samples.SAMPLES_PER_RING
        if self._fast:
            wanted = ring_samples.FAST_SAMPLES_PER_RING, ring_samples.FAST_SAMPLES_PER_SHORT_RING
        sample = np.empty(min(number * (max(wanted) + 1), self.ring.size), np.int32)
        widths = np.array([panel.width for panel in geom.panels])
        n = ring_samples.choose_samples(self.ring, widths, packed_starts(geom.panels), self.count, *wanted, sample)
        places = sample[:n].copy()
        self.samples.choose(places, self.ring[places], number, good)
