"""Centrings as the kernels know them, and the shortest reciprocal vector that a centring leaves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stages.lattices.cell import Lattice
from stages.prediction._kernels.absences import CENTERING_CODES
from stages.prediction._kernels.pair import shortest_vector


def centering_code(lattice: Lattice) -> int:
    """Return the centring as the kernels know it.

    >>> centering_code(Lattice("cubic", "I"))
    4
    """
    return CENTERING_CODES.index(lattice.centering)


def shortest_reciprocal_vector(reciprocal_per_angstrom: NDArray[np.float64], lattice: Lattice) -> float:
    """Return the smallest 1/d among the reflections with indices from -1 to 1 (with centring: -2 to 2) that exist.

    >>> shortest_reciprocal_vector(np.eye(3), Lattice("cubic", "F")) == 3**0.5
    True
    """
    return float(shortest_vector(np.ascontiguousarray(reciprocal_per_angstrom, np.float64), centering_code(lattice)))
