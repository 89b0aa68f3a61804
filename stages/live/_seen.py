"""What a frame has to say of cells: the half of live/cells that is in the replicas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline import Frame, Outcome
from stages.lattices.cell import UnitCell, primitive
from stages.lattices.setting import is_reduced, reduced_primitive
from stages.live._conditions import Obeyed, obeyed_by
from stages.records.crystal import Crystal, Crystals
from stages.records.displacement import NOT_DISPLACED, Displacement
from stages.records.geometry import DetGeom
from stages.records.peaklist import FEWEST_TO_INDEX, Hit, PeakList, is_no_hit

_FIRST, _EVERY = 200, 10
"""Of so many crystals, and then of one in so many, it is asked which indices occur: it takes some tenths of
a millisecond."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What a hit has to say of cells.

    Attributes
    ----------
    reduced
        Reduced primitive basis of each crystal, float64 (3, 3).
    methods
        Which method found each.
    elsewhere
        Reduced primitive bases of lattices that fit better than the target.
    num_verified
        Whether it was looked for such.
    factors
        By which factor lattices are larger in all axes than the target, where that is all the difference.
    obeyed
        Which conditions the indices of some of the crystals obey.
    is_small
        Whether it has too few peaks to be ever indexed.
    displacement
        Where the detector was taken to be, as seen from the geometry file.
    """

    reduced: tuple[NDArray[np.float64], ...]
    methods: tuple[str, ...]
    elsewhere: tuple[NDArray[np.float64], ...]
    num_verified: int
    factors: tuple[float, ...]
    obeyed: tuple[Obeyed, ...]
    is_small: bool
    displacement: Displacement = NOT_DISPLACED


class RunningCells:
    """Takes the cells out of a frame; a crystal in the axes of the target needs no reduction."""

    def __init__(self, target: UnitCell | None) -> None:
        self._lattice = target.lattice if target is not None else None
        self._to_primitive = np.linalg.inv(primitive(target).to_conventional) if target is not None else np.eye(3)
        self._num_crystals = 0

    def _reduced(self, crystal: Crystal) -> NDArray[np.float64]:
        if crystal.lattice == self._lattice:
            basis = self._to_primitive @ crystal.real_space_angstrom
            if is_reduced(basis):
                return basis
        return reduced_primitive(crystal.real_space_angstrom, crystal.lattice)

    def __call__(self, outcome: Outcome) -> Seen | None:
        """Return the frame's cells; None for what is not a hit."""
        if not isinstance(outcome, Frame):
            return None
        if is_no_hit(outcome):
            return None
        hit = outcome.get(Hit)
        crystals, geom = outcome[Crystals], outcome.get(DetGeom)
        return Seen(
            tuple(map(self._reduced, crystals)),
            tuple(c.indexed_by for c in crystals),
            tuple(reduced_primitive(cell.real_space_angstrom, cell.lattice) for cell in crystals.elsewhere),
            crystals.num_verified,
            crystals.factors,
            tuple(self._obeyed(crystals, outcome)),
            hit is not None and hit.num_peaks < FEWEST_TO_INDEX,
            NOT_DISPLACED if geom is None else geom.displacement,
        )

    def _obeyed(self, crystals: Crystals, frame: Frame) -> Iterator[Obeyed]:
        peaks, geom = frame.get(PeakList), frame.get(DetGeom)
        if peaks is None or geom is None:
            return
        for crystal in crystals:
            self._num_crystals += 1
            if self._num_crystals <= _FIRST or self._num_crystals % _EVERY == 0:
                said = obeyed_by(crystal, peaks, geom)
                if said is not None:
                    yield said
