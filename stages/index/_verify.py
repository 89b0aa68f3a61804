"""Is it the given cell at all? A look at hits that it does not explain, or hardly.

Crystals of another form, another protein or a salt are not indexed with the given cell, and nothing says why; now and then
one is, by a pseudo-solution. A search without a cell finds their lattice. It takes much longer than the one with a cell, so
that only a bounded share of these hits is looked at: of each kind the first `FIRST`, and then one in `EVERY`, of each
replica. Once some of them have turned out to be of another cell, every doubtful crystal is looked at; it is dropped where the
other lattice is clearly better.

Another lattice is not another cell where the detector is not where it is said to be. Its distance, or the wavelength, may be
off: then all axes are longer or shorter by the same factor, which is reported instead. It may be off the beam: then the given
cell explains the spots as well, when they are moved back by the shift with which the other lattice was found. A doubtful
crystal stays if it is the same lattice in the same orientation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stages.index._attempts import LatticeSearch, Solution, px_per_angstrom, same_lattice
from stages.lattices.cell import Lattice, UnitCell, agree, primitive
from stages.lattices.scale import LARGEST, factor_between
from stages.lattices.setting import in_setting_of
from stages.records.crystal import Crystals
from stages.records.geometry import DetGeom
from stages.records.peaklist import PeakList

FIRST, EVERY = 20, 10

DOUBTFUL, DOUBTFUL_PER_SPOT = 40.0, 3.5
"""A solution with a smaller margin, in nats, may be a pseudo-solution of another lattice.

The second is the margin for each spot. A wrong cell explains a part of a dense pattern, so that its margin is high, but low
for each of the many spots. The right cell is above that, unless many spots are spurious; a superlattice of half of the spots
comes near. The figures are in docs/studies/indexing;
``test_a_crystal_to_which_each_of_many_spots_contributes_little_is_doubtful`` shows the rule."""

WORK = 7e6
"""How much work the search without cell may be: half of what index/lattice spends.

Most hits that are not explained are noise, and on noise the search spends most."""

SUSPICIOUS = (3, 0.2)
"""So many hits of another cell, or from another distance, and such a part of those looked at, make every doubtful crystal worth
a look. Hits without crystal and doubtful crystals are counted apart: many blanks must not hide that crystals are of another
cell."""

CLEARLY_BETTER = 20.0
"""By so much the other lattice's margin must exceed that of the given cell's, in nats."""

MOVED_PX = 1.0
"""With a smaller shift than so many pixels the given cell need not be tried again."""


@dataclass
class _Looks:
    """Hits of one kind: how many there were, were looked at, and are of another cell or from another distance."""

    num: int = 0
    num_looked: int = 0
    num_elsewhere: int = 0

    def is_its_turn(self) -> bool:
        """Count a hit; whether it is one of the share that is looked at."""
        self.num += 1
        return self.num <= FIRST or self.num % EVERY == 0

    @property
    def is_suspicious(self) -> bool:
        least, part = SUSPICIOUS
        return self.num_elsewhere >= least and self.num_elsewhere >= part * self.num_looked


@dataclass(frozen=True, eq=False)
class _Other:
    """What a search without cell has found.

    Attributes
    ----------
    basis, margin
        Primitive basis, and by how much it is significant.
    is_given
        Whether it is the given cell after all, with the detector elsewhere.
    factor
        By which factor all axes are longer then; None if the distance is not what is wrong.
    """

    basis: NDArray[np.float64]
    margin: float
    is_given: bool
    factor: float | None = None


class Verifier:
    """Looks for other lattices; one replica's own.

    Parameters
    ----------
    search
        A search without cell.
    cell, tolerance
        The given cell, and how far a cell may be from it and be the same.
    max_peaks
        At most so many peaks are used, the strongest.
    known
        The search with the given cell, for spots that are moved; without one that is not tried.
    """

    def __init__(
        self,
        search: LatticeSearch,
        cell: UnitCell,
        tolerance: tuple[float, ...],
        max_peaks: int,
        known: LatticeSearch | None = None,
    ) -> None:
        self._search = search
        self._known = known
        self._cell = cell
        self._tolerance = tolerance
        self._max_peaks = max_peaks
        self._missed, self._doubtful = _Looks(), _Looks()

    def __call__(self, crystals: Crystals, best: Solution | None, peaks: PeakList, geom: DetGeom) -> Crystals:
        """Return the crystals with what has been found besides; `best` is the most significant solution of theirs, if any."""
        margin = best.margin if best is not None else 0.0
        if crystals.found and best is not None and margin >= max(DOUBTFUL, DOUBTFUL_PER_SPOT * best.num_spots):
            return crystals
        looks = self._doubtful if crystals.found else self._missed
        is_suspicious = self._missed.is_suspicious or self._doubtful.is_suspicious
        if not (looks.is_its_turn() or (crystals.found and is_suspicious)):
            return crystals
        other = self._other(peaks, geom)
        looks.num_looked += 1
        looked = replace(crystals, num_verified=crystals.num_verified + 1)
        if other is None:
            return looked
        if other.factor is not None:
            looks.num_elsewhere += 1
            looked = replace(looked, factors=(*crystals.factors, other.factor))
        if crystals.found and other.margin < margin + CLEARLY_BETTER:
            return looked
        if other.is_given:
            is_right = best is None or same_lattice(best.basis, other.basis)
            return looked if is_right else replace(looked, found=())
        looks.num_elsewhere += 1
        return replace(looked, found=(), elsewhere=(*crystals.elsewhere, UnitCell.from_vectors(other.basis)))

    def _other(self, peaks: PeakList, geom: DetGeom) -> _Other | None:
        """What the lattice is that a search without cell accepts; None if it is that of the given cell where it should be."""
        if len(peaks) > self._max_peaks:
            peaks = peaks.brightest(self._max_peaks)
        q = np.ascontiguousarray(geom.q_per_angstrom(peaks.panel, peaks.fs, peaks.ss))
        found = self._search.search(q, geom.wavelength_angstrom, px_per_angstrom(geom))
        if found is None or not found.accepted or self._is_given(found.basis):
            return None
        factor = self._factor(found.basis)
        if factor is not None:
            return _Other(found.basis, found.margin, True, factor)
        return self._as_given(found, peaks, geom) or _Other(found.basis, found.margin, False)

    def _is_given(self, basis: NDArray[np.float64]) -> bool:
        """Whether a primitive basis is that of the given cell."""
        real = in_setting_of(basis, Lattice(), self._cell)
        return agree(UnitCell.from_vectors(real), self._cell, self._tolerance)

    def _by_volume(self, basis: NDArray[np.float64]) -> float:
        """The factor between all axes that makes the given cell's volume that of a primitive basis."""
        ours = primitive(self._cell).real_space_angstrom
        return float(abs(np.linalg.det(basis) / np.linalg.det(ours)) ** (1 / 3))

    def _factor(self, basis: NDArray[np.float64]) -> float | None:
        """By which factor all axes of a primitive basis are longer than the given cell's, if that is all the difference."""
        by_volume = self._by_volume(basis)
        real = by_volume * in_setting_of(basis / by_volume, Lattice(), self._cell)
        return factor_between(UnitCell.from_vectors(real), self._cell)

    def _as_given(self, found: Solution, peaks: PeakList, geom: DetGeom) -> _Other | None:
        """The given cell, if it explains the spots about as well as the lattice found with the detector elsewhere.

        Off the beam by the shift of the lattice found, or at another distance besides. That makes more than a factor of a
        lattice, if it is off by some per cent: spots at large angles move less, and along the beam more.
        """
        if self._known is None:
            return None
        px, by_volume = px_per_angstrom(geom), self._by_volume(found.basis)
        shift = np.array([*found.shift, 0.0])
        for factor in (1.0, by_volume):
            if factor == 1.0 and np.linalg.norm(shift) < MOVED_PX * px:
                continue
            if abs(factor - 1.0) > LARGEST:
                continue
            nearer = replace(geom, origin_m=geom.origin_m * np.array([1.0, 1.0, 1.0 / factor]))
            q = np.ascontiguousarray(nearer.q_per_angstrom(peaks.panel, peaks.fs, peaks.ss) - shift)
            again = self._known.search(q, geom.wavelength_angstrom, px)
            if again is None or not again.accepted or again.margin < found.margin - CLEARLY_BETTER:
                continue
            if self._is_given(again.basis):
                nearer_by = None if factor == 1.0 else factor * self._by_volume(again.basis)
                return _Other(again.basis, found.margin, True, nearer_by)
        return None
