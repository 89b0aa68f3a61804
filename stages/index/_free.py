"""The search for an unknown lattice as an object: what index/lattice runs, and what others may ask."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stages.index._attempts import Solution, compile_for_all
from stages.index._kernels.azimuths import LEAST_UNKNOWN
from stages.index._kernels.spots import prepare
from stages.index._kernels.unknown import search
from stages.index._kernels.unknown.restricted import refine_restricted
from stages.index._kernels.unknown.shifted import refine_on_shifted
from stages.index._kernels.unknown.tuples import EXPLAINED, LOG_TRIALS, SCORE, Limits
from stages.lattices.bravais import Bravais, bravais_of, bravais_types
from stages.lattices.cell import Lattice, is_right_handed, lattice_rotations
from stages.lattices.given_type import in_type
from stages.lattices.metric import allowed_metrics, num_fixed

Floats = NDArray[np.float64]

FAR_PX = 0.5
"""A shift of the detector of more pixels than that is worth another refinement."""

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
        Bounds of the axes of the primitive reduced cell in Angstrom. Two of the axes must not be longer than 220.
    work
        Grid points times spots that the first transform may cost; a frame where nothing is found costs some times as much.
    margin, margin_per_spot, min_explained
        Accepted: S - lnN of at least ``margin + margin_per_spot`` * (explained spots), and so large a part of the spots.
    margin_other
        By so much the S - lnN of every other lattice that was tried must be lower; else which one it is remains open.
    margin_axis
        By so much the S - lnN of the lattice must be higher than that of two of its axes, whatever the third is. It is
        between what right lattices have and what two right axes with a wrong third one have.
    lattice
        Lattice type and centring that are given, if any.
    check_peaks
        Whether `min_explained` and `margin_other` count (False: --no-check-peaks).
    """

    min_axis: float = 8.0
    max_axis: float = 400.0
    work: float = 15e6
    margin: float = 15.0
    margin_per_spot: float = 0.5
    min_explained: float = 0.28
    margin_other: float = 5.0
    margin_axis: float = -8.0
    check_peaks: bool = True
    lattice: Lattice | None = None

    def __call__(self, q: Floats, wavelength_angstrom: float, px_per_angstrom: float) -> Solution | None:
        """Return the best lattice if it is accepted, else None."""
        solution = self.search(q, wavelength_angstrom, px_per_angstrom)
        return solution if solution is not None and solution.accepted else None

    def search(self, q: Floats, wavelength_angstrom: float, px_per_angstrom: float) -> Solution | None:
        """Return the best lattice, accepted or not; see :class:`stages.index._attempts.LatticeSearch`."""
        spots = self._prepared(q, px_per_angstrom)
        n = spots.shape[1]
        report, basis = np.zeros(search.N_REPORT), np.zeros((3, 3))
        limits = Limits(self.min_axis, self.max_axis, self.work)
        search.search(spots, 1.0 / wavelength_angstrom, px_per_angstrom, limits, report, basis)
        score, log_trials = float(report[SCORE]), float(report[LOG_TRIALS])
        if not np.isfinite(score):
            return None
        explained = float(report[EXPLAINED])
        determined = (
            report[search.SPREAD] > 0.5
            and report[search.NET_LEAD] >= self.margin_axis
            and (report[search.GAP] >= self.margin_other or not self.check_peaks)
        )
        accepted = (
            determined
            and score - log_trials >= self.margin + self.margin_per_spot * explained
            and (explained >= self.min_explained * n or not self.check_peaks)
        )
        if not is_right_handed(basis):
            basis = -basis
        shift = float(report[search.SHIFT_X]), float(report[search.SHIFT_Y])
        found = Solution(basis, score, log_trials, round(explained), n, bool(accepted), bool(determined), shift)
        found = self._on_shifted(found, report, spots, wavelength_angstrom, px_per_angstrom)
        q = np.ascontiguousarray(spots.T)
        return found.against_azimuths(q, wavelength_angstrom, px_per_angstrom, LEAST_UNKNOWN)

    def compile(self) -> None:
        """Compile what a search runs, and what comes after it, on spots that are none."""
        spots = np.arange(24.0).reshape(3, 8) / 100.0
        nothing = Solution(10.0 * np.eye(3), 0.0, 0.0, 4, 8, shift=(0.1, 0.1))
        self.search(np.zeros((0, 3)), 1.0, 1e-3)
        self._on_shifted(nothing, np.ones(search.N_REPORT), spots, 1.0, 1e-3)
        self._restricted(bravais_of(nothing.basis, 0.0), nothing, spots, 1.0, 1e-3)
        compile_for_all()

    def _on_shifted(
        self, found: Solution, report: Floats, spots: Floats, wavelength_angstrom: float, px_per_angstrom: float
    ) -> Solution:
        """Refine a lattice once more in the spots as the shifted detector has them; return the better of the two.

        The search takes one vector off all spots, which is right near the beam only.
        """
        if math.hypot(*found.shift) < FAR_PX * px_per_angstrom:
            return found
        basis, shift = found.basis.copy(), np.array(found.shift)
        model = np.array([report[search.SIGMA_A], report[search.SIGMA_L], found.explained / found.num_spots])
        result = np.array([found.score, found.log_trials, found.explained], np.float64)
        if not refine_on_shifted(spots, 1.0 / wavelength_angstrom, px_per_angstrom, model, basis, shift, result):
            return found
        score, log_trials, explained = result.tolist()
        x, y = shift.tolist()
        return replace(found, basis=basis, score=score, log_trials=log_trials, explained=round(explained), shift=(x, y))

    def bravais(
        self, solution: Solution, q: Floats, wavelength_angstrom: float, px_per_angstrom: float
    ) -> tuple[Bravais, tuple[float, float]] | None:
        """Return the highest symmetry that explains the spots as well as the free lattice does, or the given one; and a shift.

        None if a lattice type is given, and this lattice is none of that type within 2.5 % and 1.4 degrees.

        A lattice type whose restrictions take d of the six cell parameters away may lose 3 + 2 d nats of S: 2 d is what d
        parameters that mean nothing gain with a probability of 0.1 % or so (2 times the gain is chi^2 of d degrees).
        """
        spots = self._prepared(q, px_per_angstrom)
        if self.lattice is not None:
            best: tuple[float, Bravais, tuple[float, float]] | None = None
            for candidate in in_type(solution.basis, self.lattice):
                score, real, shift = self._restricted(candidate, solution, spots, wavelength_angstrom, px_per_angstrom)
                if best is None or score > best[0]:
                    best = score, replace(candidate, real_space_angstrom=real), shift
            return best and best[1:]
        for candidate in bravais_types(solution.basis):
            score, real, shift = self._restricted(candidate, solution, spots, wavelength_angstrom, px_per_angstrom)
            if score >= solution.score - 3.0 - 2.0 * num_fixed(candidate.lattice):
                return Bravais(candidate.lattice, candidate.to_conventional, real, candidate.misfit), shift
        return bravais_of(solution.basis, 0.0), solution.shift

    def _prepared(self, q: Floats, px_per_angstrom: float) -> Floats:
        """Return the spots, (3, n), sorted by |q|, without doubles and what is not finite."""
        room = np.empty((3, len(q)))
        n = prepare(np.ascontiguousarray(q), 1.0 / self.max_axis, MERGE_PX * px_per_angstrom, room)
        return np.ascontiguousarray(room[:, :n])

    def _restricted(
        self, bravais: Bravais, solution: Solution, spots: Floats, wavelength_angstrom: float, px_per_angstrom: float
    ) -> tuple[float, Floats, tuple[float, float]]:
        """Refine under a lattice type's restrictions; return S, the conventional basis and the shift of the detector.

        Steps of the free refinement, of which only what keeps the type is taken.
        """
        real, shift = np.empty((3, 3)), np.empty(2)
        score = refine_restricted(
            solution.basis,
            bravais.to_conventional.astype(np.float64),
            lattice_rotations(bravais.lattice),
            allowed_metrics(bravais.lattice),
            spots,
            np.array(solution.shift),
            1.0 / wavelength_angstrom,
            px_per_angstrom,
            real,
            shift,
        )
        x, y = shift.tolist()
        return float(score), real, (x, y)
