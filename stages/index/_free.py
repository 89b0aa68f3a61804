"""The search for an unknown lattice as an object: what index/lattice runs, and what others may ask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.bravais import Bravais, bravais_types
from stages.index import _kernel, _kernel_lattice
from stages.index._attempts import Solution
from stages.lattice import impose_bravais

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
        spots = self._prepared(q, px_per_angstrom)
        n = len(spots)
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

    def bravais(self, solution: Solution, q: Floats, wavelength_angstrom: float, px_per_angstrom: float) -> Bravais:
        """Return the highest symmetry that explains the spots as well as the free lattice does.

        A lattice type whose restrictions take d of the six cell parameters away may lose 3 + 2 d nats of S: 2 d is what d
        parameters that mean nothing gain with a probability of 0.1 % or so (2 times the gain is chi^2 of d degrees).
        """
        spots = self._prepared(q, px_per_angstrom)
        free = None
        for candidate in reversed(tuple(bravais_types(solution.basis))):  # the triclinic one first
            score, basis = self._restricted(candidate, solution, spots, wavelength_angstrom, px_per_angstrom)
            if free is None:
                free, best = score, candidate
            elif score >= free - 3.0 - 2.0 * _FIXED[candidate.lattice.lattice_type]:
                best = Bravais(candidate.lattice, candidate.to_conventional, basis, candidate.misfit)
        return best

    def _prepared(self, q: Floats, px_per_angstrom: float) -> Floats:
        """Return the spots, (n, 3), sorted by |q|, without doubles and what is not finite."""
        room = np.empty((3, len(q)))
        n = _kernel.prepare(np.ascontiguousarray(q), 1.0 / self.max_axis, MERGE_PX * px_per_angstrom, room)
        return np.ascontiguousarray(room[:, :n].T)

    def _restricted(
        self, bravais: Bravais, solution: Solution, spots: Floats, wavelength_angstrom: float, px_per_angstrom: float
    ) -> tuple[float, Floats]:
        """Refine under a lattice type's restrictions; return S and the conventional basis.

        Steps of the free refinement, each followed by the projection on the metrics of the type.
        """
        to_primitive = np.linalg.inv(bravais.to_conventional.astype(np.float64))
        real = impose_bravais(bravais.to_conventional @ solution.basis, bravais.lattice)
        score, basis = -np.inf, to_primitive @ real
        n, px = len(spots), px_per_angstrom
        rays = spots + [0.0, 0.0, 1.0 / wavelength_angstrom]
        rays /= np.linalg.norm(rays, axis=1)[:, None]
        q_rms = float(np.sqrt((spots**2).sum(axis=1).mean()))
        work = _kernel_lattice.Room(np.empty((12, 12)), np.empty(12), np.empty((3, 3)), np.empty((n, 2)))
        shift, model, result = np.zeros(2), np.array([2 * px, 0.001, 0.7]), np.zeros(3)
        for _ in range(6):
            if not _kernel_lattice.fit_lattice(basis, shift, spots, rays, n, px, model, work):
                break
            real = impose_bravais(bravais.to_conventional @ basis, bravais.lattice)
            basis = to_primitive @ real
            _kernel_lattice.score(basis, shift, spots, rays, n, px, q_rms, model, work, result)
            score = max(score, float(result[0]))
        return score, real


_FIXED = {"triclinic": 0, "monoclinic": 2, "orthorhombic": 3, "rhombohedral": 4, "hexagonal": 4, "tetragonal": 4, "cubic": 5}
