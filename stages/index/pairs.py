"""Indexing with a known cell: orientations from pairs of spots, then from directions; accepted by significance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline import stage
from pipeline.stage import Context
from stages.compute import code_on_disk
from stages.files.cell import TargetCell, read_cell
from stages.index._attempts import LatticeSearch, Solution, compile_for_all, publish_method
from stages.index._free import FreeSearch
from stages.index._kernels.azimuths import LEAST_KNOWN
from stages.index._parameters import CellParameters, SearchParameters
from stages.index._shift import UsualShift, in_metres, is_shifted
from stages.index._target import Target, make_target
from stages.index._verify import WORK, Verifier
from stages.index.lattice import FreeLattice
from stages.lattices.cell import UnitCell
from stages.records.crystal import Crystal, Crystals
from stages.records.geometry import DetGeom
from stages.records.peaklist import Hit, PeakList
from stages.records.told import IndexingMethods, IndexingStages

METHOD = "pairs"


class _Search:
    """One replica's search: the tables are shared, the scores are its own."""

    def __init__(self, stage: Pairs, target: Target) -> None:
        self._stage = stage
        self.target = target
        self.scores = target.make_scores()

    def search(self, q: NDArray[np.float64], wavelength_angstrom: float, px_per_angstrom: float) -> Solution | None:
        """Return the best orientation of the cell; see :class:`stages.index._attempts.LatticeSearch`."""
        accepted, basis, report = self.target.search(
            q,
            wavelength_angstrom,
            px_per_angstrom,
            self.scores,
            max_hypotheses=self._stage.max_hypotheses,
            max_polished=self._stage.max_polished,
            check_peaks=self._stage.check_peaks,
        )
        verdict = report.result.verdict
        if verdict.score <= 0.0:
            return None
        shift = float(verdict.shift_x), float(verdict.shift_y)
        explained = int(verdict.within_015)
        found = Solution(basis, verdict.score, verdict.log_trials, explained, report.num_spots, accepted, shift=shift)
        return found.against_azimuths(q, wavelength_angstrom, px_per_angstrom, LEAST_KNOWN)


class _Remembering:
    """The search without a cell that the verifier asks; `latest` is what it found when it was last asked."""

    def __init__(self, search: LatticeSearch) -> None:
        self._search = search
        self.latest: Solution | None = None

    def search(self, q: NDArray[np.float64], wavelength_angstrom: float, px_per_angstrom: float) -> Solution | None:
        """Return the best lattice; see :class:`stages.index._attempts.LatticeSearch`."""
        self.latest = self._search.search(q, wavelength_angstrom, px_per_angstrom)
        return self.latest


class RunningPairs:
    """One replica's indexer with a known cell."""

    def __init__(self, stage: Pairs, cell: UnitCell, target: Target, free: LatticeSearch | None = None) -> None:
        self._cell = cell
        self._free = None if free is None else _Remembering(free)
        self._usual_shift = UsualShift()
        self._limits = stage.limits(cell)
        self.search = _Search(stage, target)
        self._verify = (
            None if self._free is None else Verifier(self._free, cell, stage.tolerance, stage.max_peaks, self.search)
        )
        self._best: Solution | None = None
        self._attempts = stage.attempts(self.search, self._as_crystal)

    def __call__(self, hit: Hit, peaks: PeakList, geom: DetGeom, earlier: Crystals | None = None) -> Crystals:
        """Return the crystals that explain the peaks significantly, after those found upstream; non-hits pass by."""
        self._best = None
        crystals = self._attempts(hit, peaks, geom, earlier)
        was_tried = earlier is None or crystals.num_tries > earlier.num_tries
        if not crystals.num_tries or not was_tried or (earlier is not None and earlier.found):
            return crystals
        if not crystals.found:
            crystals = self._with_shift(self._usual_shift(), hit, peaks, geom, crystals)
        crystals = self._verified(hit, peaks, geom, crystals)
        self._usual_shift.learn(crystals)
        return crystals

    def _verified(self, hit: Hit, peaks: PeakList, geom: DetGeom, crystals: Crystals) -> Crystals:
        """Look for another cell; where the given one itself is found so, with a shift of the detector, search with that."""
        if self._verify is None or self._free is None:
            return crystals
        self._free.latest = None
        looked = self._verify(crystals, self._best, peaks, geom)
        free = self._free.latest
        if looked.found or looked.elsewhere or free is None or not free.accepted:
            return looked
        shift_m = in_metres(free.shift, geom)
        return self._with_shift(shift_m, hit, peaks, geom, replace(looked, unused_shift_m=shift_m))

    def _with_shift(
        self, shift_m: tuple[float, float], hit: Hit, peaks: PeakList, geom: DetGeom, crystals: Crystals
    ) -> Crystals:
        """Search a hit in which nothing was found once more, as the shifted detector has it."""
        if not is_shifted(shift_m, geom):
            return crystals
        again = self._attempts(hit, peaks, geom.shifted(shift_m), crystals)
        if not again.found:
            return replace(crystals, num_tries=again.num_tries)
        x, y = shift_m
        found = (replace(c, det_shift_m=(c.det_shift_m[0] + x, c.det_shift_m[1] + y)) for c in again.found)
        return replace(again, found=tuple(found))

    def _as_crystal(self, solution: Solution, geom: DetGeom) -> Crystal | None:
        """Return the crystal in its conventional cell, None if that is out of tolerance."""
        real = self.search.target.to_conventional @ solution.basis
        if not self._limits.allow(real):
            return None
        if self._best is None or solution.margin > self._best.margin:
            self._best = solution
        shift_m = in_metres(solution.shift, geom)
        return Crystal(real, self._cell.lattice, METHOD, det_shift_m=shift_m, limits=self._limits)


@stage("index/pairs", publishes=(IndexingMethods, IndexingStages, TargetCell), uses=(IndexingMethods, IndexingStages))
class Pairs(SearchParameters, CellParameters):
    """Find the orientation of a known unit cell in the peaks of one frame, in a fraction of a millisecond.

    Each peak is a scattering vector q in 1/Angstrom; the rows a, b, c of a basis A in Angstrom give its indices h = A q.
    The misfit d of a spot is max |h - round(h)|, and 1 if it rounds to (0, 0, 0). A centred cell is searched as its
    reduced primitive cell. Spots below 0.85 of the shortest reciprocal vector are the beam's and are left out, doubles are
    merged.

    **Pairs.** Two spots of low resolution, the angle between them and their lengths match few pairs of reciprocal vectors of
    the cell (the first one only up to the lattice's rotations). Each such match is an orientation, which Wald's sequential
    test on up to 40 spots rejects or passes on [1]_. TakeTwo (Ginn et al., 2016) starts from the same pairs.

    **Directions.** If no pair leads to a sure solution: 16384 directions (32768 above 100 A, 131072 above 200 A) are tried
    for the shortest axis, then the second shortest, each scored by the sum of min(distance to the nearest plane, 0.3)^2,
    and the cell is turned about the 12 to 24 best; above 200 A, with 21 to 40 spots, ten times as many pairs follow. DirAx
    (Duisenberg, 1992) looks for axes from spots, DPS (Steller et al., 1997) and XGANDALF (Gevorkov et al., 2019) find them
    by how well projections fit planes, TORO (Gasparotto et al., 2024) scans directions like this.

    **Displaced lattices.** Where four pixels are more than a fifth of the shortest reciprocal axis, a detector that is off
    takes spots out of reach of all that. Then directions are tried once more, wherever the planes begin, by the modulus of
    the sum of exp(2 pi i a.q); the phases for three axes give the shift, up to 6 pixels, and the spots are moved back
    (:mod:`stages.index._kernels.known.displaced`).

    **A detector that is off.** The shift that is found with a lattice goes with the crystal, as ``det_shift``. A hit that stays
    unexplained is searched once more with the shift that the replica's last crystals have (the median of 50; from 5 of them
    and one pixel on), and, of those that `verify` looks at, with the shift with which the search without a cell finds the given
    cell. What is found so is accepted by the same rules.

    **Polishing.** From low resolution outwards: h = round(A q) of the spots within 0.3 ... 0.12; the target is turned on
    them, and the basis follows by least squares with the turned target as prior, 0.5 % of each length.

    **Contest.** The few best are refined again with what is known of a spot: sharp across its ray, to about a pixel, and broad
    along it, since a reflection is seen at some distance from the Ewald sphere. What may change is turn and scale, or turn and
    strain, or these and a shift of the detector of some pixels. The best is turned by one and by two degrees, to find a better
    one beside it; and it is compared with its twins, orientations that share half or a third of the lattice's points, or all of
    them but for some per cent of strain, each with a shift of its own: a detector that is off makes a twin look better.

    **Acceptance.** With m of n spots so near to lattice points that a random spot is with probability p (a cube of indices,
    or a cylinder along the ray, of several sizes), and KL the Kullback-Leibler divergence of m/n from p: S = n KL bounds the
    probability of that many by chance, exp(-S) (Chernoff, 1952, [2]_); exp(lnN) is the number of orientations, strains and
    shifts that can be told apart at that size. The largest S - lnN over the sizes is the margin. Accepted: a margin of 12
    or more, the best other lattice at least 6 below (unless it is 50), and either 45 % of the spots within 0.25 of an index,
    or a margin of 30 and 25 % within 0.2; the spots must also fix the orientation (not all in one row). Lists of
    pure noise hardly ever pass; those that do have 8 to 10 spots. ``check_peaks`` is the lead over others and
    the fraction of the spots, in place of indexamajig's fixed fraction, which holds whatever the chance.

    **Azimuths.** The peaks of a powder share their radii, and what brings one of them near the planes of a lattice brings all.
    So each spot is compared with spots of its own radius at other azimuths. S against these must be 16 for up to 20 spots and
    2 ln(n / 20) more for n, with ``check_peaks`` off, too. Hits that are refused for it alone are counted as a powder's.

    **Several lattices, further tries.** See :mod:`stages.index._attempts`: with ``multi`` explained spots are taken away and
    the rest is searched, with ``retry`` the weakest peaks go when the search has nearly succeeded. After an index stage
    upstream this one looks at frames in which nothing was found, and with ``multi`` at the spots that are left of the others.

    **Another cell?** With `verify` some of the hits that the cell does not explain, or hardly, are searched without a cell.
    Hardly is a margin below 40, or below 3.5 for each spot, as of dense patterns of another crystal. The first 20 hits of
    either kind are looked at, then one in 10; and all that the cell hardly explains, as soon as some have turned out to be
    another crystal's. A lattice found so that is not the target's takes the crystal's place as ``Crystals.elsewhere``, if its
    margin is higher by 20. live/cells reports on which cell these agree. Where it is the target's with all axes longer or
    shorter by one factor up to 10 %, the distance is wrong and not the cell: crystals stay, and ``Crystals.factors`` has the
    factor. Nor is it another cell where the detector is off the beam, and the target explains the spots moved back as well.

    **Few peaks.** Hits with fewer than 6 peaks are never indexed: any lattice explains so few.

    Reads CrystFEL's unit cell files and PDB files. Publishes ``cell`` and ``indexing``. Deterministic: no random numbers.

    .. [1] Ginn et al. (2016) https://doi.org/10.1107/S2059798316010706; Wald (1945) https://doi.org/10.1214/aoms/1177731118;
       Duisenberg (1992) https://doi.org/10.1107/S0021889891010634; Steller et al. (1997)
       https://doi.org/10.1107/S0021889897008777; Gevorkov et al. (2019) https://doi.org/10.1107/S2053273319010593;
       Gasparotto et al. (2024) https://doi.org/10.1107/S1600576724003182
    .. [2] Chernoff (1952) https://doi.org/10.1214/aoms/1177729330
    """

    cell: Path = Field(
        description="The target: a CrystFEL unit cell file (.cell) or a PDB file with a CRYST1 line (-p)"
    )
    verify: bool = Field(
        default=True,
        description="Look, in a bounded share of the hits that the cell does not explain, for lattices that fit better "
        "(False: --no-verify-cell)",
    )
    max_hypotheses: int = Field(
        default=300, ge=0, description="Orientations to try from pairs of spots before directions are scanned"
    )
    max_polished: int = Field(default=40, ge=0, description="How many of those may be refined")

    def without_cell(self) -> FreeLattice:
        """Return the stage that searches like this one, knowing no cell."""
        return FreeLattice(retry=self.retry, check_peaks=self.check_peaks)

    def open(self, context: Context) -> RunningPairs:
        """Read the cell, make its tables and compile."""
        target = read_cell(self.cell)
        context.publish(target)
        publish_method(context, METHOD, self)
        return self.for_cell(target.cell, context)

    @staticmethod
    def compile_aside() -> None:
        """Compile what is no part of the search, for a process that would wait for the one that compiles the search."""
        compile_for_all()

    def for_cell(self, cell: UnitCell, context: Context) -> RunningPairs:
        """Make the tables of a cell, once for all replicas, and compile; index/auto does so with the cell it has found.

        The search without a cell is for hits that this one does not explain, which wait for it if it is compiled beside.
        """
        target = context.tables.get(("index/pairs", cell), lambda: make_target(cell))
        free = FreeSearch(work=WORK) if self.verify else None
        running = RunningPairs(self, cell, target, free)
        running.search.search(np.zeros((0, 3)), 1.0, 1e-3)
        compile_for_all()
        if free is not None and not code_on_disk.is_left_to_others():
            free.compile()
        return running
