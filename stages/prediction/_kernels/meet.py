"""Which panel a ray from the specimen meets, and where: for many rays in one geometry.

The arithmetic differs from that of :mod:`stages.compute.rays`. Here n.o, dual_fs.o and dual_ss.o are made once for all rays.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute import rays
from stages.compute.kernel import kernel
from stages.prediction._kernels.grid import cells_of

Array = NDArray[Any]

NORMAL, NORMAL_O, DUAL_FS, DUAL_FS_O, DUAL_SS, DUAL_SS_O, WIDTH, HEIGHT, N_PLANE = 0, 3, 4, 7, 8, 11, 12, 13, 14
"""Columns of :func:`planes_of`; the vectors have three each."""

_VECTORS = ((NORMAL, rays.NORMAL), (DUAL_FS, rays.DUAL_FS), (DUAL_SS, rays.DUAL_SS))


@kernel
def planes_of(shift: Array, panels: Array) -> Array:
    """Return what :func:`meet` needs of each panel, shifted by (x, y) metres, in one row of N_PLANE numbers."""
    planes = np.empty((panels.shape[0], N_PLANE))
    for p in range(panels.shape[0]):
        panel = panels[p]
        x, y, z = panel[rays.ORIGIN] + shift[0], panel[rays.ORIGIN + 1] + shift[1], panel[rays.ORIGIN + 2]
        for at, column in _VECTORS:
            for i in range(3):
                planes[p, at + i] = panel[column + i]
            planes[p, at + 3] = panel[column] * x + panel[column + 1] * y + panel[column + 2] * z
        planes[p, WIDTH], planes[p, HEIGHT] = panel[rays.WIDTH], panel[rays.HEIGHT]
    return planes


@kernel
def meet(
    dx: float, dy: float, dz: float, planes: Array, bounds: Array, lists: Array, cells: int
) -> tuple[int, float, float]:
    """Return (panel, fs, ss) where the ray along (dx, dy, dz) from the specimen ends; panel -1 where it meets none.

    Only the panels listed for the direction's square are tried; see :mod:`stages.prediction._kernels.grid`. Where panels
    overlap the nearest one stops the ray.
    """
    best, best_fs, best_ss, nearest = -1, 0.0, 0.0, np.inf
    cell = 0
    if cells > 1:
        length = math.sqrt(dx * dx + dy * dy + dz * dz)
        scale = 1.0 / (length + dz) if length + dz > 0.0 else 0.0
        u, v = dx * scale, dy * scale
        if not (bounds[0] <= u < bounds[1] and bounds[2] <= v < bounds[3]):
            return best, best_fs, best_ss
        i = min(cells - 1, int((u - bounds[0]) * (cells / (bounds[1] - bounds[0]))))
        j = min(cells - 1, int((v - bounds[2]) * (cells / (bounds[3] - bounds[2]))))
        cell = j * cells + i
    for entry in range(lists[cell], lists[cell + 1]):
        p = lists[entry]
        plane = planes[p]
        t = plane[NORMAL_O] / (plane[NORMAL] * dx + plane[NORMAL + 1] * dy + plane[NORMAL + 2] * dz)
        if not 0.0 < t < nearest:  # nor along the panel, where t is infinite or none
            continue
        fs = t * (plane[DUAL_FS] * dx + plane[DUAL_FS + 1] * dy + plane[DUAL_FS + 2] * dz) - plane[DUAL_FS_O]
        ss = t * (plane[DUAL_SS] * dx + plane[DUAL_SS + 1] * dy + plane[DUAL_SS + 2] * dz) - plane[DUAL_SS_O]
        if 0.0 <= fs < plane[WIDTH] and 0.0 <= ss < plane[HEIGHT]:
            best, best_fs, best_ss, nearest = p, fs, ss, t
    return best, best_fs, best_ss


@kernel
def meet_each(direction: Array, shift: Array, panels: Array, bounds: Array, lists: Array, out: Array) -> None:
    """Write (panel, fs, ss) of :func:`meet` for each row of `direction` into `out`, float64 (n, 3)."""
    planes, cells = planes_of(shift, panels), cells_of(lists)
    for i in range(direction.shape[0]):
        p, fs, ss = meet(direction[i, 0], direction[i, 1], direction[i, 2], planes, bounds, lists, cells)
        out[i, 0], out[i, 1], out[i, 2] = p, fs, ss
