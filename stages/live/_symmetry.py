"""The Bravais type of a consensus, judged by how much single crystals scatter.

Of the types that the mean may have, the highest is taken whose restrictions (a = b, right angles ...) change no parameter of
the mean by more than `ALLOWED` spreads of a single crystal. The error of the mean would be too strict a measure: where two
axes are equal, crystals are expressed in the one of two bases that fits better, which by itself moves their means apart by
about a spread.
"""

from __future__ import annotations

import numpy as np

from stages.lattices.bravais import bravais_types
from stages.lattices.cell import Lattice, impose_bravais
from stages.lattices.clusters import Cluster, Mean, parameters_of
from stages.lattices.given_type import in_type

ALLOWED = 2.0
_FLOOR = np.array([1e-3, 1e-3, 1e-3, 0.05, 0.05, 0.05])
"""Differences that are nothing, whatever the spread: parts of a length, and degrees."""


def conventional(cluster: Cluster, given: Lattice | None = None) -> tuple[Lattice, Mean]:
    """Return the lattice type of a cluster, and its mean in the conventional axes; the given type, if it is of it."""
    if given is not None:
        for candidate in in_type(cluster.mean().basis, given):
            return given, cluster.mean(candidate.to_conventional)
    for candidate in bravais_types(cluster.mean().basis):
        mean = cluster.mean(candidate.to_conventional)
        imposed = impose_bravais(mean.basis, candidate.lattice)
        off = np.abs(parameters_of((imposed @ imposed.T)[None])[0] - mean.parameters)
        allowed = np.maximum(ALLOWED * np.nan_to_num(mean.spread), _FLOOR * np.array([*mean.parameters[:3], 1, 1, 1]))
        if (off <= allowed).all():
            break
    return candidate.lattice, mean
