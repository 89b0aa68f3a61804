"""Indexing without a cell: the lattice that one frame's spots lie on, from the spots alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline import stage
from pipeline.stage import Context
from stages.index._attempts import MIN_SPOTS, Solution, publish_method
from stages.index._free import FreeSearch
from stages.index._parameters import LatticeParameters, SearchParameters
from stages.index._shift import in_metres
from stages.lattices.cell import Lattice
from stages.records.crystal import Crystal, Crystals
from stages.records.geometry import DetGeom
from stages.records.peaklist import Hit, PeakList
from stages.records.told import GivenLattice, IndexingMethods, IndexingStages

METHOD = "lattice"


class _Search:
    """One replica's search, which keeps the spots for what comes after it: the choice of the Bravais type."""

    def __init__(self, search: FreeSearch) -> None:
        self._search = search
        self.has_refused = False
        self._spots: tuple[NDArray[np.float64], float, float] = (np.zeros((0, 3)), 1.0, 1e-3)

    def search(self, q: NDArray[np.float64], wavelength_angstrom: float, px_per_angstrom: float) -> Solution | None:
        """Return the best lattice; see :class:`stages.index._attempts.LatticeSearch`."""
        self._spots = q, wavelength_angstrom, px_per_angstrom
        return self._search.search(q, wavelength_angstrom, px_per_angstrom)

    def as_crystal(self, solution: Solution, geom: DetGeom) -> Crystal | None:
        """Return the crystal in its conventional cell; None if it is not of the lattice type that is given."""
        found = self._search.bravais(solution, *self._spots)
        self.has_refused = found is None
        if found is None:
            return None
        bravais, shift = found
        return Crystal(bravais.real_space_angstrom, bravais.lattice, METHOD, det_shift_m=in_metres(shift, geom))


class RunningFreeLattice:
    """One replica's indexer."""

    def __init__(self, stage: FreeLattice, lattice: Lattice | None = None) -> None:
        work = 1e6 * stage.work
        self._search = _Search(
            FreeSearch(stage.min_axis, stage.max_axis, work=work, check_peaks=stage.check_peaks, lattice=lattice)
        )
        self._attempts = stage.attempts(self._search, self._search.as_crystal)

    def __call__(self, hit: Hit, peaks: PeakList, geom: DetGeom, earlier: Crystals | None = None) -> Crystals:
        """Return the crystals that explain the peaks, after those found upstream; non-hits pass by."""
        self._search.has_refused = False
        crystals = self._attempts(hit, peaks, geom, earlier)
        return replace(crystals, is_other_lattice=True) if self._search.has_refused else crystals


@stage(
    "index/lattice", publishes=(IndexingMethods, IndexingStages, GivenLattice), uses=(IndexingMethods, IndexingStages)
)
class FreeLattice(SearchParameters, LatticeParameters):
    """Find the lattice of one frame's peaks without knowing the cell, in some milliseconds.

    **Vectors.** A spot q of a lattice has t.q integer for every lattice vector t (Duisenberg, 1992, [1]_), so that
    F(t) = sum exp(2 pi i t.q) is large there: the transform that DPS takes along directions (Steller et al., 1997, [2]_) and
    others sample with other kernels (XGANDALF, Gevorkov et al., 2019, [3]_; TORO, Gasparotto et al., 2024, [4]_). Spots of a
    still lie on the Ewald sphere, where |q_z| is small: along the beam the grid is coarse, which makes a grid of the whole half
    ball cheaper than one of directions. |F| does not change if the detector is shifted. First vectors up to
    130 Angstrom, or as long as `work` allows, of the lowest 18 to 40 spots. If that finds nothing clear, of the lowest 200 if
    there are so many: where three lattices overlap each has a quarter of the spots, and its part of the sum rises above the
    noise with the root of their number; then of 60, up to 220 Angstrom.

    **Lattices.** The 28 highest summits, refined by expectation and maximization (Dempster et al., 1977, [5]_), are combined to
    the triples that explain most spots with a small cell. Each is refined from low resolution outwards, cell, orientation and
    detector shift: a spot belongs to the lattice with a probability that follows from how far it is off across its ray, where
    a still is sharp, and along it, where it is not; both errors are found from the spots. Along the beam a long axis is known
    poorly, and an axis may be longer than any vector that was looked for: a third axis is looked for anew, up to `max_axis`,
    modulo two vectors that the spots support, in the spots that lie on their planes. The shift goes with the crystal,
    as ``det_shift``. Lattices of index 2 and 3 above and of
    index 2, 3, 5 and 7 below are tried.

    **Choice and acceptance.** S is the logarithm of the likelihood ratio against random spots, V the density of those: a
    cell twice too large loses ln 2 for each spot. exp(lnN) is how many lattices the spots can tell apart. Accepted:
    S - lnN >= 15 + half the number of spots explained, 28 % of the spots explained, not all in one plane of the lattice,
    no other lattice within 5 of S - lnN, and a third axis that explains something: S - lnN of two axes alone, whatever the
    third is, must not be higher by 8 or more, which it is where two axes are right and the third is wrong. `check_peaks` is
    that part of the spots, and the lead over other lattices. Against spots of the same radii at random azimuths, such as a
    powder's, S must be 24, and more for many spots; see index/pairs.

    **Bravais type.** The highest symmetry whose restricted refinement loses no more of S than chance explains. A single still
    may err; what many frames say is more certain.

    **A lattice type that is given**, by a unit cell file without parameters: the lattice must be of that type and centring
    within 2.5 % of its axes and 1.4 degrees, and is put into the axes of the file (unique axis, centring). One that is not is
    no crystal; such hits are counted (``not_this_lattice``).

    **Few peaks.** Hits with fewer than 6 peaks are never indexed: any lattice explains so few.

    **Long axes.** `max_axis` is for the primitive cell; two of its axes must be shorter than 220 Angstrom. Of a lattice with a
    longer axis none is found, and no wrong one either.

    **Several lattices.** With `multi`.

    **Other beams.** A bandwidth of 1 % (standard deviation of the wavelength) does no harm; with 2 % some lattices are lost,
    with 5 % nearly all. Electrons are not indexed without a cell: their Ewald sphere is flat, the spots lie in one plane of the
    lattice or near it, and no third axis follows from them. Use index/pairs, with the cell.

    What is found of which spots, and how fast, is measured in docs/studies/indexing.

    Publishes its method (after those upstream), no cell. Deterministic: no random numbers.

    .. [1] https://doi.org/10.1107/S0021889891010634
    .. [2] https://doi.org/10.1107/S0021889897008777
    .. [3] https://doi.org/10.1107/S2053273319010593
    .. [4] https://doi.org/10.1107/S1600576724003182
    .. [5] https://doi.org/10.1111/j.2517-6161.1977.tb01600.x
    """

    min_axis: float = Field(
        default=8.0, gt=0, description="The shortest axis of the primitive cell that is looked for, Angstrom"
    )
    max_axis: float = Field(default=400.0, gt=0, description="The longest axis of the primitive cell, Angstrom")
    max_peaks: int = Field(default=500, ge=MIN_SPOTS, description="At most so many peaks are used, the strongest")
    work: float = Field(
        default=15.0,
        gt=0,
        description="How much the first search of a frame may cost, in millions of grid points x spots",
    )

    def without_cell(self) -> FreeLattice:
        """Return the stage that searches like this one, knowing no cell: itself."""
        return self

    def open(self, context: Context) -> RunningFreeLattice:
        """Compile."""
        publish_method(context, METHOD, self)
        FreeSearch().compile()
        return RunningFreeLattice(self, self.given_lattice(context))
