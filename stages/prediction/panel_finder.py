"""A detector geometry prepared for finding the panel that a ray meets."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from stages.compute.rays import USABLE, panels_of
from stages.prediction._kernels.grid import list_panels, outline_panels
from stages.prediction._kernels.meet import meet_each
from stages.records.geometry import DetGeom

_PER_EDGE = 8
"""So many points of each edge of a panel are projected."""

_GRID_FROM_PANELS = 5
"""With fewer panels all are tried for every ray."""

_CELLS_PER_PANEL = 4
_MOST_CELLS = 96
"""Squares of the grid along one direction: for panels in a square of n x n, so many times n, but no more than that."""

_SHIFT_LIMIT_M = 2e-3
"""By so much a detector may be shifted in a finder that is made without a word on it."""


@dataclass(frozen=True, eq=False)
class PanelFinder:
    """A detector geometry prepared for finding the panel that a ray meets.

    It holds the panels' normals and dual vectors and, if they are many, a grid of squares over directions with the panels
    that each may meet. Make one with :meth:`of`, and hand it back with the next frame: it is made anew only if panels
    have moved.

    Attributes
    ----------
    geom
        The frame's geometry.
    panels
        Its panels as the kernels take them: the table of :mod:`stages.compute.rays`.
    bounds, lists
        The grid over directions, and the panels that each of its squares touches; one square if they are few.
    widest
        The largest |u - z| on the detector, u being the direction of a ray and z that of the beam.
    shift_limit_m
        So far the detector may be shifted.
    """

    geom: DetGeom
    panels: NDArray[np.float64] = field(repr=False)
    bounds: NDArray[np.float64] = field(repr=False)
    lists: NDArray[np.int64] = field(repr=False)
    widest: float
    shift_limit_m: float

    @staticmethod
    def of(geom: DetGeom, latest: PanelFinder | None = None, shift_limit_m: float = _SHIFT_LIMIT_M) -> PanelFinder:
        """Prepare a geometry, or return `latest` with this frame's numbers if its panels stand where they did."""
        if latest is not None and latest.shift_limit_m >= shift_limit_m:
            old = latest.geom
            if old is geom:
                return latest
            if old.panels is geom.panels and (
                _same(old.origin_m, geom.origin_m) and _same(old.fs_m, geom.fs_m) and _same(old.ss_m, geom.ss_m)
            ):
                at = latest
                return PanelFinder(geom, at.panels, at.bounds, at.lists, at.widest, at.shift_limit_m)
        return _make_finder(geom, shift_limit_m)

    @property
    def wave_number(self) -> float:
        """1 / wavelength in 1/Angstrom."""
        return 1.0 / self.geom.wavelength_angstrom

    @property
    def max_q_per_angstrom(self) -> float:
        """The largest 1/d on the detector."""
        return self.wave_number * self.widest

    def meet(
        self, direction: NDArray[np.float64], shift_m: tuple[float, float] = (0.0, 0.0)
    ) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
        """Panel (-1: none), fs and ss at which rays from the specimen along `direction` (n, 3) meet the shifted detector."""
        out = np.empty((len(direction), 3))
        meet_each(
            np.ascontiguousarray(direction, np.float64),
            np.array(shift_m, np.float64),
            self.panels,
            self.bounds,
            self.lists,
            out,
        )
        return out[:, 0].astype(np.int32), out[:, 1].copy(), out[:, 2].copy()


def _same(some: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    return some is other or np.array_equal(some, other)


def _make_finder(geom: DetGeom, shift_limit_m: float) -> PanelFinder:
    size = np.array([(panel.width, panel.height) for panel in geom.panels], np.float64)
    panels = panels_of(geom.origin_m, geom.fs_m, geom.ss_m, size)
    panels[:, USABLE] = [not panel.no_index for panel in geom.panels]
    boxes = np.empty((len(panels), 4))
    widest, looks_back = outline_panels(panels, shift_limit_m, _PER_EDGE, boxes)
    finder = PanelFinder(geom, panels, *_grid(boxes, 1), float(widest), shift_limit_m)
    if looks_back or finder.meet(np.array([[0.0, 0.0, -1.0]]))[0][0] >= 0:
        return replace(finder, widest=2.0)
    if len(panels) < _GRID_FROM_PANELS:
        return finder
    cells = min(_MOST_CELLS, math.ceil(_CELLS_PER_PANEL * math.sqrt(len(panels))))
    bounds, lists = _grid(boxes, cells)
    return replace(finder, bounds=bounds, lists=lists)


def _grid(boxes: NDArray[np.float64], cells: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return bounds and lists of a grid of cells x cells squares over panels with these boxes."""
    bounds = np.array([boxes[:, 0].min(), boxes[:, 1].max(), boxes[:, 2].min(), boxes[:, 3].max()])
    return bounds, list_panels(boxes, bounds, cells)
