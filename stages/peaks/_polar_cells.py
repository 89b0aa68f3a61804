"""Cells of the detector over which the background hardly changes, for peaks/likelihood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.peaks._kernels.likelihood import background_cells, polar_cells
from stages.pixels.tables import packed_starts
from stages.records.geometry import DetGeom

STEP_PX = 2.0
"""Width of a ring."""
CELL_PX = 400.0
"""Pixels that a cell should have."""
MOST_SECTORS = 8


@dataclass(frozen=True, eq=False)
class PolarCells:
    """Rings of two pixels around the beam, divided into up to eight sectors each; and the tiles of the panels.

    Attributes
    ----------
    cell
        int32, packed order: each pixel's cell.
    num_cells
        How many there are.
    inner, outer
        int32: the next cell towards the beam and away from it, -1 for none.
    radius_px
        float32, packed order: distance from the beam.
    first_tile
        int64, each panel's first tile.
    tile_first, tile_cells
        The cells of tile t are ``tile_cells[tile_first[t]:tile_first[t + 1]]``.
    """

    cell: NDArray[np.int32]
    num_cells: int
    inner: NDArray[np.int32]
    outer: NDArray[np.int32]
    radius_px: NDArray[np.float32]
    first_tile: NDArray[np.int64]
    tile_first: NDArray[np.int64]
    tile_cells: NDArray[np.int32]

    @staticmethod
    def make(geom: DetGeom) -> PolarCells:
        """Work out the cells of all panels."""
        starts = packed_starts(geom.panels)
        vectors = _vectors_px(geom)
        radius = np.empty(starts[-1], np.float32)
        for own, panel, first, last in zip(vectors, geom.panels, starts[:-1], starts[1:], strict=True):
            polar_cells.radii(own, panel.width, panel.height, radius[first:last])
        rings = _rings(radius)
        around = 2 * np.pi * (rings + 0.5) * STEP_PX**2 / CELL_PX
        sectors = np.clip(around.astype(np.int64), 1, MOST_SECTORS)
        offset = np.concatenate([[0], np.cumsum(sectors)])
        number, seen = np.empty(starts[-1], np.int32), np.zeros(offset[-1], np.uint8)
        for own, panel, first, last in zip(vectors, geom.panels, starts[:-1], starts[1:], strict=True):
            polar_cells.number(own, panel.width, radius[first:last], STEP_PX, rings, offset, seen, number[first:last])
        used = np.flatnonzero(seen)
        cell = (np.cumsum(seen, dtype=np.int32) - 1)[number]
        inner, outer = (_beside(used, rings, sectors, offset, by) for by in (-1, 1))
        width, height = (np.array([getattr(p, side) for p in geom.panels], np.int64) for side in ("width", "height"))
        tiles = -(-width // background_cells.TILE_FS) * -(-height // background_cells.TILE_SS)
        first_tile = np.concatenate([[0], np.cumsum(tiles)])
        tile_first = np.empty(first_tile[-1] + 1, np.int64)
        listed = np.empty(starts[-1], np.int32)  # a tile has no more cells than pixels
        n = background_cells.list_tiles(width, height, starts, cell, len(used), tile_first, listed)
        return PolarCells(cell, len(used), inner, outer, radius, first_tile[:-1], tile_first, listed[:n].copy())


def _vectors_px(geom: DetGeom) -> NDArray[np.float64]:
    """x and y of each panel's corner, fs step and ss step across the beam, in pixels, (P, 6)."""
    pixel_m = np.linalg.norm(geom.fs_m, axis=1)[:, None]
    return np.hstack([v[:, :2] / pixel_m for v in (geom.origin_m, geom.fs_m, geom.ss_m)])


def _rings(radius_px: NDArray[np.float32]) -> NDArray[np.int64]:
    """The rings that may have pixels, ascending: all from the innermost to the outermost, unless those are very many."""
    lowest, highest = (int(end / STEP_PX) for end in (radius_px.min(), radius_px.max()))
    if highest - lowest < len(radius_px):
        return np.arange(lowest, highest + 1)
    return np.unique((radius_px / STEP_PX).astype(np.int64))


def _beside(
    used: NDArray[np.int64],
    rings: NDArray[np.int64],
    sectors: NDArray[np.int64],
    offset: NDArray[np.int64],
    by: int,
) -> NDArray[np.int32]:
    """For each cell, the one in the same direction, `by` rings further out; -1 where the detector has none."""
    ring = np.searchsorted(offset, used, side="right") - 1
    turn = (used - offset[ring] + 0.5) / sectors[ring]
    other = np.clip(ring + by, 0, len(rings) - 1)
    number = offset[other] + (turn * sectors[other]).astype(np.int64)
    at = np.minimum(np.searchsorted(used, number), len(used) - 1)
    there = (used[at] == number) & (rings[other] == rings[ring] + by)
    return np.where(there, at, -1).astype(np.int32)
