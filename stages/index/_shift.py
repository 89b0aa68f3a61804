"""The shift of the detector that belongs to a lattice: as searches have it, in 1/Angstrom, and as crystals have it, in metres.

A search sees scattering vectors: it finds the shift s by which those near the beam are off their lattice points. The detector
then stands at ``- s * wavelength * distance`` from where the geometry has it.
"""

from __future__ import annotations

import math
from collections import deque
from statistics import median

from stages.index._kernels.spots import pixel_and_distance
from stages.records.crystal import Crystals
from stages.records.geometry import DetGeom

NOT_SHIFTED = (0.0, 0.0)

LEAST_PX = 1.0
"""A detector that is off by less hides no lattice from a search."""
MEMORY, FEWEST = 50, 5
"""Of so many of the last crystals the usual shift is made, and not of fewer than so many."""


def in_metres(shift_per_angstrom: tuple[float, float], geom: DetGeom) -> tuple[float, float]:
    """Return ``det_shift_m`` of a crystal, x and y, of the shift by which its spots are off.

    >>> import numpy as np
    >>> from stages.simulation.spot_lists import XRAYS
    >>> _, geom = XRAYS.peaks_of(np.zeros((0, 3)))
    >>> in_metres((2 * XRAYS.px_per_angstrom, 0.0), geom)[0] / XRAYS.pixel_m  # pixels
    -2.0
    """
    x, y = shift_per_angstrom
    if x == y == 0.0:
        return NOT_SHIFTED
    metres = -geom.wavelength_angstrom * mean_distance_m(geom)
    return metres * x, metres * y


def mean_distance_m(geom: DetGeom) -> float:
    """Return how far the panels are from the specimen along the beam, on the average."""
    return float(pixel_and_distance(geom.fs_m, geom.origin_m)[1])


def is_shifted(det_shift_m: tuple[float, float], geom: DetGeom) -> bool:
    """Whether a detector that is off by so much is worth another search."""
    return math.hypot(*det_shift_m) >= LEAST_PX * float(pixel_and_distance(geom.fs_m, geom.origin_m)[0])


class UsualShift:
    """The shift of the detector that the last crystals have, one replica's own.

    The median along x and along y, so that crystals without a shift tell against one, and a few wrong ones do not count.
    """

    def __init__(self) -> None:
        self._last: deque[tuple[float, float]] = deque(maxlen=MEMORY)

    def learn(self, crystals: Crystals) -> None:
        """Take the shifts of a frame's crystals into account."""
        self._last.extend(crystal.det_shift_m for crystal in crystals)

    def __call__(self) -> tuple[float, float]:
        """Return the shift in metres, none while there are few crystals."""
        if len(self._last) < FEWEST:
            return NOT_SHIFTED
        x, y = zip(*self._last, strict=True)
        return median(x), median(y)
