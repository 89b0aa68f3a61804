"""Twins of a lattice: orientations that share many of its points, and that a pattern may be mistaken for."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

MISFIT = {1: 0.2, 2: 0.12, 3: 0.08}
"""How far a twin's metric may be off, by how many points it shares with the lattice.

The keys: the twin shares all points, every second, or every third. The values: elements of the two metrics differ by no more
than that fraction of the product of the two lengths. The metrics need not agree exactly, since refinement strains a wrong
lattice until more spots fit it. Twins with fewer points in common are no danger: no search makes a crystal of one.

``test_a_twin_has_nearly_the_metric_and_shares_at_least_every_third_point`` shows what is found within these bounds,
``test_no_twin_is_accepted_where_the_detector_is_off_by_four_pixels`` that those found are the ones that matter."""


def twins(reduced: NDArray[np.float64], exact: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the changes of basis M from a reduced basis to its twins, float64 (k, 3, 3); k may be 0.

    The rows of ``M A`` have nearly the metric of those of A, so that the lattice may be turned onto them; of A's lattice
    points with indices h those are shared for which ``M h`` is integer. M is rational with determinant 1, its elements
    multiples of 1, 1/2 or 1/3 up to 2. Two that differ by a rotation of the lattice, one of `exact`, are one twin.

    A rhombohedral lattice with an angle near 75.5 degrees, its cosine 1/4, shares every second point with six twins:

    >>> from stages.lattices.cell import metric_rotations
    >>> angle = np.radians(75.0)
    >>> metric = 60.0**2 * (np.cos(angle) + (1 - np.cos(angle)) * np.eye(3))
    >>> basis = np.linalg.cholesky(metric)
    >>> found = twins(basis, metric_rotations(basis, 1e-4))
    >>> [1 / shared(m) for m in found]
    [2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 3.0]
    """
    metric = reduced @ reduced.T
    lengths = np.sqrt(np.diag(metric))
    scale = np.outer(lengths, lengths)
    found: list[NDArray[np.float64]] = []
    covered = {np.rint(6.0 * e).tobytes() for e in exact}
    for denominator, misfit in MISFIT.items():
        elements = np.arange(-2 * denominator, 2 * denominator + 1) / denominator
        rows = np.array(list(itertools.product(elements, repeat=3)))
        vectors = rows @ reduced
        square = (vectors**2).sum(axis=1)
        first, second, third = (np.flatnonzero(np.abs(square - metric[i, i]) <= misfit * scale[i, i]) for i in range(3))
        for i in first:
            across = vectors[[*second, *third]] @ vectors[i]
            js = second[np.abs(across[: second.size] - metric[0, 1]) <= misfit * scale[0, 1]]
            ks = third[np.abs(across[second.size :] - metric[0, 2]) <= misfit * scale[0, 2]]
            fits = np.abs(vectors[js] @ vectors[ks].T - metric[1, 2]) <= misfit * scale[1, 2]
            for j, k in zip(*np.nonzero(fits), strict=True):
                change = np.array([rows[i], rows[js[j]], rows[ks[k]]])
                key = np.rint(6.0 * change).tobytes()
                if key in covered or abs(np.linalg.det(change) - 1.0) > 1e-9:
                    continue
                covered.update(np.rint(6.0 * (e @ change)).tobytes() for e in exact)
                if round(1.0 / shared(change)) in MISFIT:
                    found.append(change)
    return np.array(found).reshape(-1, 3, 3)


def shared(change: NDArray[np.float64]) -> float:
    """Return the part of all integer h for which ``M h`` is integer, M being of multiples of 1/6.

    >>> shared(np.array([[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]]))
    0.5
    """
    h = np.array(list(itertools.product(range(6), repeat=3)))
    moved = h @ change.T
    return float(np.mean((np.abs(moved - np.rint(moved)) < 1e-9).all(axis=1)))
