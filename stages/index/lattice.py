"""Indexing without a cell: the lattice that one frame's spots lie on, from the spots alone."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from pipeline import stage
from pipeline.stage import Context
from stages.crystal import Crystal, Crystals
from stages.geometry import DetGeom
from stages.index._attempts import MIN_SPOTS, Attempts, Solution, publish_method
from stages.index._free import FreeSearch
from stages.peaklist import Hit, PeakList

METHOD = "lattice"


def _as_crystal(solution: Solution) -> Crystal:
    return Crystal(solution.basis, indexed_by=METHOD)


class _Running:
    """One replica's indexer."""

    def __init__(self, stage: FreeLattice) -> None:
        self._attempts = Attempts(
            FreeSearch(stage.min_axis, stage.max_axis, work=1e6 * stage.work),
            _as_crystal,
            multi=stage.multi,
            retry=stage.retry,
            max_lattices=stage.max_lattices,
            max_peaks=stage.max_peaks,
        )

    def __call__(self, hit: Hit, peaks: PeakList, geom: DetGeom, earlier: Crystals | None) -> Crystals:
        """Return the crystals that explain the peaks, after those found upstream; non-hits pass by."""
        return self._attempts(hit, peaks, geom, earlier)


@stage("index/lattice")
class FreeLattice:
    """Find the lattice of one frame's peaks without knowing the cell, in some milliseconds."""

    min_axis: float = Field(
        default=8.0, gt=0, description="The shortest axis of the primitive cell that is looked for, Angstrom"
    )
    max_axis: float = Field(default=200.0, gt=0, description="The longest axis of the primitive cell, Angstrom")
    max_peaks: int = Field(default=500, ge=MIN_SPOTS, description="At most so many peaks are used, the strongest")
    multi: bool = Field(
        default=False,
        description="Take away the peaks that a lattice explains, and look for more in the rest (--multi)",
    )
    max_lattices: int = Field(default=10, ge=1, description="With multi: at most so many lattices in a frame")
    retry: bool = Field(
        default=True, description="If nothing is found, try again without the weakest peaks (False: --no-retry)"
    )
    work: float = Field(
        default=15.0,
        gt=0,
        description="How much the first search of a frame may cost, in millions of grid points x spots",
    )

    def open(self, context: Context) -> _Running:
        """Compile."""
        publish_method(context, METHOD)
        FreeSearch().search(np.zeros((0, 3)), 1.0, 1e-3)
        return _Running(self)
