"""The search for an unknown lattice as an object: what index/lattice runs, and what others may ask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.index import _kernel, _kernel_lattice
from stages.index._attempts import Solution

Floats = NDArray[np.float64]

MERGE_PX = 2.0
"""Spots that lie so near to another are its doubles."""


@dataclass(frozen=True)
class FreeSearch:
    """Finds a lattice in one pattern's spots without a cell; see the manual of index/lattice.

    >>> from stages.simulation.spot_lists import CELLS, XRAYS, simulate
    >>> spots = simulate(CELLS["lysozyme"], np.random.default_rng(1), 60, 0.25)
    >>> found = FreeSearch()(spots.q, XRAYS.wavelength_angstrom, XRAYS.px_per_angstrom)
    >>> found.accepted, np.linalg.norm(found.basis, axis=1).round()
    (True, array([38., 79., 79.]))

    Attributes
    ----------
    min_axis, max_axis
        Bounds of the axes of the primitive reduced cell in Angstrom.
    work
        Grid points times spots that the first transform may cost; a frame where nothing is found costs some times as much.
    margin, margin_per_spot, min_explained
        Accepted: S - lnN of at least ``margin + margin_per_spot`` * (explained spots), and so large a part of the spots.
    """

    min_axis: float = 8.0
    max_axis: float = 200.0
    work: float = 15e6
    margin: float = 15.0
    margin_per_spot: float = 0.5
    min_explained: float = 0.28

    def __call__(self, q: Floats, wavelength_angstrom: float, px_per_angstrom: float) -> Solution | None:
        """Return the best lattice if it is accepted, else None."""
        solution = self.search(q, wavelength_angstrom, px_per_angstrom)
        return solution if solution is not None and solution.accepted else None

    def search(self, q: Floats, wavelength_angstrom: float, px_per_angstrom: float) -> Solution | None:
        """Return the best lattice, accepted or not; see :class:`stages.index._attempts.LatticeSearch`."""
        room = np.empty((3, len(q)))
        n = _kernel.prepare(np.ascontiguousarray(q), 1.0 / self.max_axis, MERGE_PX * px_per_angstrom, room)
        spots = np.ascontiguousarray(room[:, :n].T)
        report, basis = np.zeros(_kernel_lattice.N_REPORT), np.zeros((3, 3))
        _kernel_lattice.search(
            spots, 1.0 / wavelength_angstrom, px_per_angstrom, self.min_axis, self.max_axis, self.work, report, basis
        )
        score, log_trials = float(report[_kernel_lattice.SCORE]), float(report[_kernel_lattice.LOG_TRIALS])
        if not np.isfinite(score):
            return None
        explained = float(report[_kernel_lattice.EXPLAINED])
        accepted = (
            score - log_trials >= self.margin + self.margin_per_spot * explained
            and explained >= self.min_explained * n
            and report[_kernel_lattice.SPREAD] > 0.5
        )
        if np.linalg.det(basis) < 0:
            basis = -basis
        return Solution(basis, score, log_trials, round(explained), n, bool(accepted))
