"""Where a ray from the specimen meets a flat panel of the detector.

The ray t d leaves the specimen, which is the origin, along d. It meets the plane of a panel with the corner o and the normal n
where n.(t d - o) = 0, that is at t = n.o / n.d. There fs and ss are the components of t d - o along the panel's pixel steps.
They follow from the dual vectors: dual_fs.fs_step = 1, dual_fs.ss_step = 0, and the other way round.

Panels are one table, a row for each, in the laboratory frame and in metres (:func:`panels_of`), whose columns have names. A
named tuple of its columns would do the same, but handing one to a compiled function takes a microsecond for each column.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel

Array = NDArray[Any]

ORIGIN, FS_STEP, SS_STEP, NORMAL, DUAL_FS, DUAL_SS = range(0, 18, 3)
"""Columns: corner; one pixel along fast and slow scan; their vector product; the dual vectors, 1/metre. Each takes three."""

WIDTH, HEIGHT, USABLE, N_COLUMNS = 18, 19, 20, 21
"""Columns: pixels along fs and ss; 1 if reflections on the panel count, else 0 (it stops rays all the same)."""


def panels_of(origin_m: Array, fs_m: Array, ss_m: Array, size: Array) -> Array:
    """Return the table, float64 (P, N_COLUMNS), of usable panels with these corners, pixel steps and sizes (P, 2).

    >>> panels = panels_of(np.zeros((1, 3)), np.array([[2.0, 0, 0]]), np.array([[1.0, 4.0, 0]]), np.array([[10, 20]]))
    >>> panels[0, DUAL_FS : DUAL_FS + 3].tolist(), panels[0, DUAL_SS : DUAL_SS + 3].tolist(), panels[0, WIDTH:].tolist()
    ([0.5, -0.125, 0.0], [0.0, 0.25, 0.0], [10.0, 20.0, 1.0])
    """
    normal = np.cross(fs_m, ss_m)
    area = np.sum(normal**2, axis=1)[:, None]
    dual_fs, dual_ss = np.cross(ss_m, normal) / area, np.cross(normal, fs_m) / area
    usable = np.ones((len(normal), 1))
    return np.concatenate([origin_m, fs_m, ss_m, normal, dual_fs, dual_ss, size, usable], axis=1)


@kernel
def cross(dx: float, dy: float, dz: float, ox: float, oy: float, oz: float, panel: Array) -> tuple[float, float]:
    """Return n.d and t for the ray along (dx, dy, dz) and the plane of a panel (a row), whose corner stands at (ox, oy, oz).

    t is NaN where the ray runs along the plane. (The corner is an argument because a detector may be shifted.)
    """
    nx, ny, nz = panel[NORMAL], panel[NORMAL + 1], panel[NORMAL + 2]
    towards = nx * dx + ny * dy + nz * dz
    t = (nx * ox + ny * oy + nz * oz) / towards if towards != 0.0 else np.nan
    return towards, t


@kernel
def in_pixels(x: float, y: float, z: float, panel: Array) -> tuple[float, float]:
    """Return fs and ss of a vector in metres along a panel."""
    fs = panel[DUAL_FS] * x + panel[DUAL_FS + 1] * y + panel[DUAL_FS + 2] * z
    ss = panel[DUAL_SS] * x + panel[DUAL_SS + 1] * y + panel[DUAL_SS + 2] * z
    return fs, ss


@kernel
def place(dx: float, dy: float, dz: float, ox: float, oy: float, oz: float, panel: Array) -> tuple[float, float, float]:
    """Return t, fs and ss where the ray meets the plane of a panel, be it beyond the panel's edge; see :func:`cross`."""
    _, t = cross(dx, dy, dz, ox, oy, oz, panel)
    x, y, z = t * dx - ox, t * dy - oy, t * dz - oz
    fs, ss = in_pixels(x, y, z, panel)
    return t, fs, ss
