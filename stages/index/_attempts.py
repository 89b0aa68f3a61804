"""From one search for a lattice to the crystals of a frame: earlier stages, several lattices, and further tries.

What index/pairs and index/lattice have in common. A search finds the best lattice of a list of spots and says how
significant it is; :class:`Attempts` decides what it is asked, and how often:

**After other stages.** Where an index stage upstream has found crystals they stay, and without `multi` nothing is tried.

**Azimuths.** Whatever a search finds must explain its spots better than it would spots of the same radii at random azimuths:
what lies on the rings of a powder is of no crystal.

**Retry.** If nothing is found, and the best lattice was not nothing, the weakest peaks go and the search starts again:
spurious peaks are weak, as a rule. (indexamajig does the same.) Where some lie on the rings of a powder, these go first.

**Multi.** The spots that a lattice explains are taken away, and the rest is searched again until nothing is found. What is
left of a pattern holds pseudo-solutions of its lattices, so that a further one must be clearer than the first, be
significant on all spots, too, or clear beyond doubt, and not be one of those found before, turned a little.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.stage import Context
from stages.compute.scattering import lengths
from stages.index._kernels import spots as _spots
from stages.index._kernels.azimuths import beats_random_azimuths
from stages.index._shift import NOT_SHIFTED, in_metres
from stages.lattices.cell import UnitCell, nearest_rotation, primitive
from stages.prediction.powder_rings import off_rings
from stages.records import geometry
from stages.records.changed import changed
from stages.records.crystal import Crystal, Crystals
from stages.records.geometry import DetGeom, q_on_shifted
from stages.records.peaklist import FEWEST_TO_INDEX, Hit, PeakList
from stages.records.told import IndexingMethods, IndexingStages

Floats = NDArray[np.float64]

MIN_SPOTS = FEWEST_TO_INDEX
MOST_Q_PER_ANGSTROM = 5.0
"""No crystal diffracts beyond 0.2 Angstrom. With a wavelength in the wrong unit all spots seem to, and a search "
"would go on for minutes."""
PX_RANGE_PER_ANGSTROM = (3e-4, 2e-3)
"""What one pixel may be in q: windows follow the detector's resolution within these bounds."""

EXPLAINED = 0.2
"""A spot whose misfit is below this is explained by a lattice, and taken away before the next is looked for."""
FURTHER_MARGIN, FURTHER_FRACTION, MARGIN_ON_ALL = 40.0, 0.1, 24.0
CLEAR_MARGIN, CLEAR_FRACTION = 120.0, 0.25
"""A lattice as clear as that in what is left need not be significant on all spots, of which it may explain but a quarter."""
SAME_WITHIN_RAD = math.radians(3.0)

RETRY_FRACTIONS = (0.8, 0.6)
"""How many of the peaks, the strongest, the second and the third try get."""
RETRY_MARGIN = 8.0
"""Nothing came so near to significance, in nats, that it is worth another try; noise hardly ever does."""
RETRY_MIN_SPOTS = 15


@dataclass(frozen=True, eq=False)
class Solution:
    """The best lattice that a search has found.

    Attributes
    ----------
    basis
        float64 (3, 3), rows a, b, c in Angstrom in the laboratory frame: primitive, reduced, right-handed.
    score
        S in nats: the probability that as many spots are explained by chance is below exp(-S), for one lattice.
    log_trials
        lnN, the logarithm of the number of lattices that can be told apart: S - lnN is the margin. Each search has S and
        lnN of its own: index/pairs counts how many spots are near a lattice of the given cell, index/lattice adds up how near
        each spot is, and must find the cell besides. Only the margins of one search compare; of both 40 is far from chance.
    explained, num_spots
        Spots with misfit below 0.15, and spots in all.
    accepted
        Whether the search's own rule for a single lattice accepts it.
    determined
        Whether it is this lattice and no other one that explains the spots; if not, it is no further one, either.
    shift
        x and y of the shift of the detector that was found with the lattice, in 1/Angstrom: q less the shift is on the lattice.
    powder
        Whether it is significant only as long as nobody asks for the azimuths: spots of the same radii at random ones lie as
        near to it. It is not accepted then.
    """

    basis: Floats
    score: float
    log_trials: float
    explained: int
    num_spots: int
    accepted: bool = True
    determined: bool = True
    shift: tuple[float, float] = (0.0, 0.0)
    powder: bool = False

    def against_azimuths(self, q: Floats, wavelength_angstrom: float, px_per_angstrom: float, least: float) -> Solution:
        """Return what it is if the azimuths of its spots `q`, (n, 3), are asked for: itself, or a powder's.

        S against spots of the same radii at random azimuths must be `least`; see :mod:`stages.index._kernels.azimuths`. Only
        what is accepted, or may be so as a further lattice, is asked.
        """
        if not (self.accepted or self.margin >= FURTHER_MARGIN):
            return self
        shift = np.array(self.shift)
        if beats_random_azimuths(self.basis, q, shift, 1.0 / wavelength_angstrom, px_per_angstrom, least):
            return self
        return replace(self, accepted=False, powder=True)

    def misfits(self, q: Floats) -> Floats:
        """Return :func:`misfits` of spots on the shifted detector."""
        return misfits(self.basis, q - np.array([*self.shift, 0.0]))

    @property
    def margin(self) -> float:
        """S - lnN in nats."""
        return self.score - self.log_trials


_NOTHING_BEFORE = Crystals()


class LatticeSearch(Protocol):
    """A search for one lattice, one replica's own."""

    def search(self, q: Floats, wavelength_angstrom: float, px_per_angstrom: float) -> Solution | None:
        """Return the best lattice, accepted or not, None if there is none at all.

        `q` is float64 (n, 3), C-contiguous, in 1/Angstrom, any n; `px_per_angstrom` is what one pixel is in q.
        """
        ...


@dataclass(frozen=True)
class Attempts:
    """Runs a search on frames: what an index stage does beyond the search itself.

    Attributes
    ----------
    search
        The search.
    as_crystal
        Makes the crystal of a solution, in its conventional cell and with the detector's shift in metres; None refuses it (a
        cell out of tolerance).
    multi, retry, max_lattices, max_peaks
        The stage's parameters.
    """

    search: LatticeSearch
    as_crystal: Callable[[Solution, DetGeom], Crystal | None]
    multi: bool = False
    retry: bool = True
    max_lattices: int = 10
    max_peaks: int = 2000

    def __call__(self, hit: Hit, peaks: PeakList, geom: DetGeom, earlier: Crystals | None) -> Crystals:
        """Return the crystals that were found before, and those found now; non-hits pass by."""
        before = _NOTHING_BEFORE if earlier is None else earlier  # an empty one is false, and knows of tries
        if not hit.is_hit or len(peaks) < MIN_SPOTS or (before.found and not self.multi):
            return before
        if len(peaks) > self.max_peaks:
            peaks = peaks.brightest(self.max_peaks)
        q, left = vectors_within(peaks, geom, MOST_Q_PER_ANGSTROM)
        known = [primitive_basis(crystal) for crystal in before.found]
        for upstream in before.found:
            left = left & ~is_explained(upstream, peaks, geom)
        found, tries, powder = list(before.found), before.num_tries, False
        px, unused = px_per_angstrom(geom), before.unused_shift_m
        while np.count_nonzero(left) >= MIN_SPOTS and len(found) < (self.max_lattices if self.multi else 1):
            solution, crystal, n = self._one(q, peaks.intensity, left, known, geom, px)
            tries += n
            if solution is None or crystal is None:
                powder = solution is not None and solution.powder and not found
                unused = None if found else unused_shift_m(solution, geom) or unused
                break
            unused = None
            found.append(crystal)
            known.append(solution.basis)
            if not self.multi:
                break
            left = left & ~is_explained(crystal, peaks, geom)
        return changed(before, found=tuple(found), num_tries=tries, powder=powder, unused_shift_m=unused)

    def _one(
        self, q: Floats, intensity: Floats, left: NDArray[np.bool_], known: list[Floats], geom: DetGeom, px: float
    ) -> tuple[Solution | None, Crystal | None, int]:
        """Look for one more lattice in the spots that are left; return the best, its crystal, and the number of tries.

        Where there is no crystal, the best is the one of all spots, or that of a powder if the search came upon one.
        """
        tries = 0
        best: Solution | None = None
        for chosen, is_off_rings in self._choices(q, intensity, left, again=self.retry and not known, px=px):
            if best is not None and best.powder and not is_off_rings:
                break  # a powder's peaks are not the weakest ones
            spots = q if len(chosen) == len(q) else q[chosen]
            solution = self.search.search(spots, geom.wavelength_angstrom, px)
            tries += 1
            if solution is None:
                break
            best = solution if best is None or solution.powder else best
            if self._accepts(solution, q, chosen, known):
                crystal = self.as_crystal(solution, geom)
                if crystal is not None:
                    return solution, crystal, tries
            if solution.margin < RETRY_MARGIN:
                break
        return best, None, tries

    def _choices(
        self, q: Floats, intensity: Floats, left: NDArray[np.bool_], *, again: bool, px: float
    ) -> Iterator[tuple[NDArray[np.int64], bool]]:
        """Yield the numbers of the spots for each try, and whether it is the one of spots off rings.

        First all that are left; then those off rings, if some are on rings; then those without the weakest.
        """
        (everything,) = left.nonzero()
        yield everything, False
        if not again:
            return
        off = off_rings(np.linalg.norm(q[everything], axis=1), px)
        if RETRY_MIN_SPOTS <= np.count_nonzero(off) < off.size:
            yield everything[off], True
        for fraction in RETRY_FRACTIONS:
            n = round(fraction * everything.size)
            if n < RETRY_MIN_SPOTS or not np.ptp(intensity[left]) > 0:
                return
            yield np.sort(everything[np.argsort(-intensity[everything], kind="stable")[:n]]), False

    def _accepts(self, solution: Solution, q: Floats, chosen: NDArray[np.int64], known: list[Floats]) -> bool:
        if solution.powder:
            return False
        if not known and (solution.accepted or not self.multi):
            return solution.accepted
        explained = np.count_nonzero(solution.misfits(q[chosen]) < EXPLAINED)
        if not solution.determined or solution.margin < FURTHER_MARGIN or explained < FURTHER_FRACTION * len(chosen):
            return False
        if any(same_lattice(solution.basis, basis) for basis in known):
            return False
        if not known or (solution.margin >= CLEAR_MARGIN and explained >= CLEAR_FRACTION * len(chosen)):
            return True
        return score_of_misfits(solution.misfits(q)) >= solution.log_trials + MARGIN_ON_ALL


def publish_method(context: Context, method: str, stage: Any = None) -> None:
    """Publish what stands in the stream's header: the methods upstream, and this one; and the stage, if it searches."""
    upstream = context.upstream.get(IndexingMethods, IndexingMethods())
    context.publish(upstream.and_then(method))
    if stage is not None:
        context.publish(context.upstream.get(IndexingStages, IndexingStages()).and_then(stage))


def compile_for_all() -> None:
    """Compile what is asked of every lattice that is found, on spots that are none."""
    ones, n = np.ones((1, 3)), 8
    _spots.pixel_and_distance(ones, ones)
    geometry.warm_up()
    beats_random_azimuths(np.eye(3), np.ones((n, 3)), np.ones(2), 1.0, 1e-3, 1.0)


def vectors_within(peaks: PeakList, geom: DetGeom, most: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the peaks' scattering vectors, (n, 3) in 1/Angstrom, and which of them are finite and not longer than `most`."""
    q, length = geom.q_per_angstrom(peaks.panel, peaks.fs, peaks.ss), np.empty(len(peaks))
    lengths(q, length)
    return q, length <= most


def px_per_angstrom(geom: DetGeom) -> float:
    """Return what one pixel is in q near the beam, pixel / (distance * wavelength), kept within PX_RANGE_PER_ANGSTROM."""
    pixel, distance = _spots.pixel_and_distance(geom.fs_m, geom.origin_m)
    low, high = PX_RANGE_PER_ANGSTROM
    px = float(pixel / (distance * geom.wavelength_angstrom)) if distance > 0 else high
    return min(max(px, low), high)


def primitive_basis(crystal: Crystal) -> Floats:
    """Return the reduced primitive basis of a crystal, in its orientation."""
    cell = UnitCell.from_vectors(crystal.real_space_angstrom, crystal.lattice)
    to_conventional = primitive(cell).to_conventional.astype(np.float64)
    return np.asarray(np.linalg.solve(to_conventional, crystal.real_space_angstrom), np.float64)


def misfits(basis: Floats, q: Floats) -> Floats:
    """Return for each spot the largest distance of an index from an integer, max |h - round(h)| with h = A q.

    1 for spots that round to (0, 0, 0).

    >>> misfits(10 * np.eye(3), np.array([[0.1, 0.21, 0.0], [0.004, 0.0, 0.0]])).round(3)
    array([0.1, 1. ])
    """
    h = q @ basis.T
    rounded = np.rint(h)
    misfit: Floats = np.abs(h - rounded).max(axis=1, initial=0.0)
    misfit[~rounded.any(axis=1)] = 1.0
    return misfit


def unused_shift_m(solution: Solution | None, geom: DetGeom) -> tuple[float, float] | None:
    """Return the shift of the detector that a lattice has of which no crystal came; None if it is none, noise or powder."""
    if solution is None or solution.powder or solution.margin < RETRY_MARGIN or solution.shift == NOT_SHIFTED:
        return None
    return in_metres(solution.shift, geom)


def is_explained(crystal: Crystal, peaks: PeakList, geom: DetGeom) -> NDArray[np.bool_]:
    """Return which peaks a crystal explains, its own shift of the detector taken into account."""
    return misfits(primitive_basis(crystal), q_on_shifted(peaks, geom, crystal.det_shift_m)) < EXPLAINED


def score_of_misfits(misfit: Floats) -> float:
    """Return S of misfits, in nats: max over t = 0.05 ... 0.2 of n KL(m/n || (2 t)^3), m of n being below t.

    By Chernoff's bound (1952, https://doi.org/10.1214/aoms/1177729330) the probability that m or more of n random spots fall
    below t is at most exp(-n KL).
    """
    counts = np.array([np.count_nonzero(misfit < t) for t in _spots.THRESHOLDS])
    return float(_spots.score_of_counts(counts, misfit.size))


def same_lattice(basis: Floats, other: Floats, within_rad: float = SAME_WITHIN_RAD) -> bool:
    """Whether two primitive bases span the same lattice in nearly the same orientation, whatever vectors were chosen.

    ``M = round(A B^-1)`` must be unimodular, and the rotation from M B to A small.

    >>> basis, swap = np.diag([40.0, 50.0, 60.0]), np.array([[0, 1, 0], [-1, 0, 0], [1, 0, 1]])
    >>> turn = np.array([[np.cos(0.04), np.sin(0.04), 0], [-np.sin(0.04), np.cos(0.04), 0], [0, 0, 1]])
    >>> same_lattice(basis, swap @ basis @ turn), same_lattice(basis, basis @ turn @ turn)
    (True, False)
    """
    change = np.rint(basis @ np.linalg.inv(other))
    if round(abs(float(np.linalg.det(change)))) != 1:
        return False
    rotation = nearest_rotation(change @ other, basis)[1]
    return math.acos(min(1.0, max(-1.0, (float(np.trace(rotation)) - 1) / 2))) < within_rad
