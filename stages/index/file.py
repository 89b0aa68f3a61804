"""index/file: crystals that were found elsewhere, or before, from a solution file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import Field

from pipeline import Context, Event, stage
from stages.files.cell import TargetCell, read_cell
from stages.files.solution import METHOD, keys_of, read_solutions
from stages.index._attempts import compile_for_all, publish_method
from stages.index._parameters import CellParameters
from stages.index._support import supported
from stages.lattices.cell import UnitCell, agree
from stages.lattices.setting import in_setting_of
from stages.records.crystal import Crystal, Crystals
from stages.records.geometry import DetGeom
from stages.records.limits import CellLimits
from stages.records.peaklist import Hit, PeakList
from stages.records.told import IndexingMethods


@dataclass(frozen=True)
class Listed:
    """Whether a hit stands in the solution file, and how many of its crystals the peaks do not support; both are counted."""

    is_missing: bool
    num_refused: int = 0

    def counts(self) -> Mapping[str, int]:
        """Add to the run's hits that were not in the file, and to the crystals that the peaks do not support."""
        return {"hits_not_in_file": int(self.is_missing), "crystals_refused_by_peaks": self.num_refused}


class RunningFromFile:
    """The solutions, by frame."""

    def __init__(self, solutions: Mapping[str, tuple[Crystal, ...]], *, check_peaks: bool) -> None:
        self._solutions = solutions
        self._check_peaks = check_peaks

    def __call__(
        self, hit: Hit, event: Event, peaks: PeakList, geom: DetGeom, earlier: Crystals | None
    ) -> tuple[Crystals, Listed]:
        """Return the frame's crystals in the file; what an earlier method has found is passed on."""
        earlier = Crystals() if earlier is None else earlier  # an empty one is false, and knows of tries
        if not hit.is_hit or earlier.found:
            return earlier, Listed(is_missing=False)
        listed = next((self._solutions[key] for key in keys_of(event) if key in self._solutions), None)
        found = listed or ()
        if self._check_peaks:
            found = supported(found, peaks, geom)
        crystals = replace(earlier, found=found, num_tries=earlier.num_tries + 1)
        return crystals, Listed(listed is None, len(listed or ()) - len(found))


def compared(crystal: Crystal, limits: CellLimits, tolerance: tuple[float, ...]) -> Crystal | None:
    """Express a crystal in the axes of the target cell; None if its cell is out of tolerance."""
    real = in_setting_of(crystal.real_space_angstrom, crystal.lattice, limits.target)
    if not agree(UnitCell.from_vectors(real), limits.target, tolerance):
        return None
    return replace(crystal, real_space_angstrom=real, lattice=limits.target.lattice, limits=limits)


@stage("index/file", publishes=(IndexingMethods, TargetCell), uses=(IndexingMethods,))
class FromFile(CellParameters):
    """Take each frame's crystals from a solution file, as CrystFEL's ``--indexing=file`` does.

    A line of the file is one crystal: ``filename frameID asx asy asz bsx bsy bsz csx csy csz xshift yshift latt_cen``, the
    reciprocal vectors in 1/nm in the laboratory (z along the beam, y up), the detector's shift in mm, and lattice type,
    centring and unique axis such as ``aP``, ``oC``, ``tPc``. Frames have the names under which they stand in a stream; an
    event ``run // 12`` is the file ``run`` and the frame ``//12``. ``examples/stream_to_solutions.py`` makes such a file of
    a stream, and so does CrystFEL's ``stream2sol``.

    With a target cell (``-p``) each crystal is expressed in the axes of the target, and left out if it is out of tolerance,
    unless `check_cell` is off.

    **Peaks.** A crystal that the frame's peaks do not support is left out, unless `check_peaks` is off. Its indices h = A q
    must be nearer to integers than chance explains: S >= 12 (see index/pairs; of one lattice, as nothing is searched), and
    either 45 % of the peaks within 0.25 of an index, or S >= 30 and 25 % within 0.2. Of several crystals in a frame each must
    have S >= 24 and a tenth of the peaks that those before it leave, so that a crystal that stands there twice is taken once.
    Peaks on a powder's rings support none (see index/pairs). The shift that the file has counts. indexamajig asks for half of
    the peaks, and after refinement; here it is before.

    Hits that are not in the file are counted, and so are crystals that are left out for their peaks.
    """

    file: Path = Field(description="The solution file (--fromfile-input-file)")
    cell: Path | None = Field(default=None, description="Target cell with which the crystals are compared (-p)")
    check_peaks: bool = Field(
        default=True, description="Leave crystals out that the peaks do not support (False: --no-check-peaks)"
    )

    def open(self, context: Context) -> RunningFromFile:
        """Read the file, once for all replicas, and compile."""
        publish_method(context, METHOD)
        compile_for_all()
        cell = None
        if self.cell is not None:
            target = read_cell(self.cell)
            context.publish(target)
            cell = target.cell
        solutions = context.tables.get(("index/file", self), lambda: self._solutions(context, cell))
        return RunningFromFile(solutions, check_peaks=self.check_peaks)

    def _solutions(self, context: Context, cell: UnitCell | None) -> dict[str, tuple[Crystal, ...]]:
        solutions = read_solutions(self.file)
        num_crystals = sum(map(len, solutions.values()))
        context.log.info("%d crystals of %d frames read from %s", num_crystals, len(solutions), self.file)
        if cell is None:
            return solutions
        limits = self.limits(cell)
        kept: dict[str, tuple[Crystal, ...]] = {}
        for frame, crystals in solutions.items():
            pairs = ((crystal, compared(crystal, limits, self.tolerance)) for crystal in crystals)
            chosen = (moved or (None if self.check_cell else crystal) for crystal, moved in pairs)
            kept[frame] = tuple(crystal for crystal in chosen if crystal is not None)
        num_refused = num_crystals - sum(map(len, kept.values()))
        if num_refused:
            context.log.warning(
                "%d of the %d crystals in %s do not agree with the cell %s and are left out (--no-check-cell keeps them)",
                num_refused,
                num_crystals,
                self.file,
                self.cell,
            )
        return kept
