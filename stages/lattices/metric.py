"""Metrics of lattices: which ones a lattice type allows.

The metric of a basis A, rows a, b, c, is the symmetric matrix ``G = A A^T`` of the scalar products of its vectors. It is the
cell without its orientation. A lattice type allows those that its rotations leave unchanged, ``W G W^T = G``: a linear space,
of as many dimensions as the cell has free parameters.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stages.lattices.cell import Lattice, lattice_rotations

Metrics = NDArray[np.float64]

_ELEMENTS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Those of a metric that differ: the squares of a, b and c, then b.c, a.c and a.b."""
NUM_PARAMETERS = len(_ELEMENTS)
"""So many parameters has a cell that nothing restricts."""


@lru_cache(maxsize=64)
def allowed_metrics(lattice: Lattice) -> Metrics:
    """Return a basis of the metrics of a lattice type, (k, 3, 3), each with 1 as its largest element.

    Each element of a metric by itself is averaged over the rotations; what is no combination of those before it is kept.

    >>> [len(allowed_metrics(Lattice(t, "P", "c"))) for t in ("triclinic", "monoclinic", "tetragonal", "cubic")]
    [6, 4, 2, 1]
    """
    group = lattice_rotations(lattice)
    found: list[Metrics] = []
    for i, j in _ELEMENTS:
        metric = np.zeros((3, 3))
        metric[i, j] = metric[j, i] = 1.0
        metric = np.mean(group @ metric @ group.transpose(0, 2, 1), axis=0)
        if np.abs(metric).max() < 1e-9:
            continue
        metric /= np.abs(metric).max()
        rank = np.linalg.matrix_rank(np.array([m.ravel() for m in (*found, metric)]), tol=1e-6)
        if rank > len(found):
            found.append(metric)
    metrics = np.array(found)
    metrics.setflags(write=False)
    return metrics


def num_fixed(lattice: Lattice) -> int:
    """Return how many of the six cell parameters a lattice type fixes.

    >>> num_fixed(Lattice("cubic")), num_fixed(Lattice("monoclinic", "P", "b")), num_fixed(Lattice())
    (5, 2, 0)
    """
    return NUM_PARAMETERS - len(allowed_metrics(lattice))
