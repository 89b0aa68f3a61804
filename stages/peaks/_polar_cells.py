"""Cells of the detector over which the background hardly changes, for peaks/likelihood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.peaks._kernels.likelihood import background_cells
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
        x, y = _positions_px(geom)
        radius = np.hypot(x, y)
        ring = (radius / STEP_PX).astype(np.int64)
        turn = np.arctan2(y, x).astype(np.float64) / (2 * np.pi) % 1.0
        used_rings = np.unique(ring)
        index = np.searchsorted(used_rings, ring)
        around = 2 * np.pi * (used_rings + 0.5) * STEP_PX**2 / CELL_PX
        sectors = np.clip(around.astype(np.int64), 1, MOST_SECTORS)
        offset = np.concatenate([[0], np.cumsum(sectors)])
        number = offset[index] + np.minimum((turn * sectors[index]).astype(np.int64), sectors[index] - 1)
        used, of_pixel = np.unique(number, return_inverse=True)
        cell = of_pixel.astype(np.int32)
        inner, outer = (_beside(used, used_rings, sectors, offset, by) for by in (-1, 1))
        width, height = (np.array([getattr(p, side) for p in geom.panels], np.int64) for side in ("width", "height"))
        tiles = -(-width // background_cells.TILE_FS) * -(-height // background_cells.TILE_SS)
        first_tile = np.concatenate([[0], np.cumsum(tiles)])
        tile_first = np.empty(first_tile[-1] + 1, np.int64)
        start = packed_starts(geom.panels)
        n = background_cells.list_tiles(width, height, start, cell, len(used), tile_first, np.empty(0, np.int32))
        tile_cells = np.empty(n, np.int32)
        background_cells.list_tiles(width, height, start, cell, len(used), tile_first, tile_cells)
        return PolarCells(
            cell, len(used), inner, outer, radius.astype(np.float32), first_tile[:-1], tile_first, tile_cells
        )


def _positions_px(geom: DetGeom) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where the centres of all pixels are seen from the beam, in pixels, in packed order."""
    xs: list[NDArray[np.float32]] = []
    ys: list[NDArray[np.float32]] = []
    for i, panel in enumerate(geom.panels):
        pixel_m = np.linalg.norm(geom.fs_m[i])
        ss, fs = np.mgrid[: panel.height, : panel.width].astype(np.float32) + np.float32(0.5)
        for axis, out in ((0, xs), (1, ys)):
            corner, along_fs, along_ss = (v[i, axis] / pixel_m for v in (geom.origin_m, geom.fs_m, geom.ss_m))
            out.append((np.float32(corner) + np.float32(along_fs) * fs + np.float32(along_ss) * ss).reshape(-1))
    return np.concatenate(xs), np.concatenate(ys)


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
