"""Which ring each pixel belongs to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline import RejectFrame
from stages.peaks._kernels.rings import ring_blocks
from stages.pixels.tables import packed_starts
from stages.records.geometry import DetGeom

MOST_RINGS = 0xFFFF - 1
"""The number after the last ring's, that of masked pixels, must fit in 16 bits."""


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
        if num_rings > MOST_RINGS:
            used, numbers = np.unique(np.where(inside, numbers, num_rings), return_inverse=True)
            num_rings = len(used) - int(used[-1] == num_rings)
            if num_rings > MOST_RINGS:
                raise RejectFrame(
                    "too_many_rings",
                    f"peakfinder8 can tell at most {MOST_RINGS} distances from the beam apart, in pixels, and the geometry has "
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
