"""index/auto: begin without a cell, go on with the one on which the first crystals agree."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Protocol

from pipeline import Context, stage
from stages.index._attempts import MIN_SPOTS, publish_method
from stages.index._parameters import CellParameters, LatticeParameters, SearchParameters
from stages.index.lattice import FreeLattice
from stages.index.pairs import Pairs
from stages.lattices.cell import UnitCell
from stages.records.crystal import Crystals
from stages.records.displacement import NOT_DISPLACED
from stages.records.geometry import DetGeom
from stages.records.peaklist import Hit, PeakList
from stages.records.told import AgreedCell, GivenLattice, IndexingMethods, IndexingStages

FREE_FIRST, FREE_EVERY = 20, 4
"""Of the hits that the consensus cell does not explain, the first so many and then one in so many are searched without it."""


class Indexer(Protocol):
    """What index/lattice and index/pairs are in a replica."""

    def __call__(self, hit: Hit, peaks: PeakList, geom: DetGeom, earlier: Crystals | None = None) -> Crystals:
        """Return the frame's crystals."""
        ...


class RunningAuto:
    """One replica's indexer, which looks at the noticeboard before each hit."""

    def __init__(self, stage: Auto, context: Context, free: Indexer) -> None:
        self._stage = stage
        self._context = context
        self._free = free
        self._known: Indexer | None = None
        self._agreed: AgreedCell | None = None
        self._displacement = NOT_DISPLACED
        self._num_missed = 0

    def __call__(self, hit: Hit, peaks: PeakList, geom: DetGeom, earlier: Crystals | None = None) -> Crystals:
        """Return the frame's crystals, after those found upstream; non-hits pass by."""
        agreed = self._context.board.get(AgreedCell)
        if geom.displacement != self._displacement:  # the cell was found with the detector elsewhere
            self._displacement, self._known, self._agreed = geom.displacement, None, agreed
        if agreed is not None and agreed is not self._agreed:
            self._agreed = agreed
            self._turn_to(agreed.cell)
        if self._known is None:
            return self._free(hit, peaks, geom, earlier)
        crystals = self._known(hit, peaks, geom, earlier)
        if crystals.found or not hit.is_hit or len(peaks) < MIN_SPOTS:
            return crystals
        self._num_missed += 1
        if self._num_missed > FREE_FIRST and self._num_missed % FREE_EVERY:
            return crystals
        return self._free(hit, peaks, geom, crystals)

    def _turn_to(self, cell: UnitCell) -> None:
        self._known = self._stage.with_cell(cell, self._context)
        if self._context.replica == 0:
            self._context.log.info("going on with the cell %s (index/pairs)", cell)


@stage(
    "index/auto",
    publishes=(IndexingMethods, IndexingStages, GivenLattice),
    uses=(IndexingMethods, IndexingStages),
    awaits=(AgreedCell,),
)
class Auto(SearchParameters, CellParameters, LatticeParameters):
    """Index without a cell until the crystals agree on one, then with it.

    The first hits are searched like index/lattice does. live/cells, which must be in the graph, gathers their cells; as soon
    as its consensus is stable it stands on the run's noticeboard, and from the next frame on hits are searched with it, like
    index/pairs does: faster, and patterns of fewer peaks are found. A consensus that becomes better or another one is followed.

    Of the hits that the cell does not explain the first 20, and then one in 4, are still searched without it, so that another
    crystal form is found and counted, and a wrong consensus cannot confirm itself. The stream says in ``indexed_by`` how each
    crystal was found; those of the beginning may have another lattice type than those with the consensus. The log says when a
    cell is taken.

    With a unit cell file that has a lattice type and centring alone (``-p``) only lattices of that type are taken, and the
    consensus is of it.

    When that happens depends on timing if there are several replicas; with ``--backend serial`` two runs are alike. To get all
    crystals in the same way, index again with the cell file that live/cells has left.
    """

    def without_cell(self) -> FreeLattice:
        """Return the stage that searches like this one before a cell is known."""
        return FreeLattice(retry=self.retry, check_peaks=self.check_peaks, lattice_file=self.lattice_file)

    def open(self, context: Context) -> RunningAuto:
        """Make the tables of the search without cell, and compile both."""
        publish_method(context, "lattice,pairs", self)
        same = {name: getattr(self, name) for name in ("multi", "retry", "check_peaks", "max_lattices")}
        free = FreeLattice(**same, lattice_file=self.lattice_file)
        self.given_lattice(context)
        return RunningAuto(self, context, free.open(dataclasses.replace(context, published={})))

    def with_cell(self, cell: UnitCell, context: Context) -> Indexer:
        """Return what searches with a cell; its tables are made once for all replicas."""
        same = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "lattice_file"
        }
        known = Pairs(cell=Path(), verify=False, **same)  # no cell is read
        return known.for_cell(cell, context)
