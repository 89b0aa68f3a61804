"""The parameters that indexing stages share, declared once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline import Context, UserError
from stages.files.cell import lattice_alone
from stages.index._attempts import MIN_SPOTS, Attempts, LatticeSearch, Solution
from stages.lattices.cell import DEFAULT_TOLERANCE, Lattice, UnitCell
from stages.records.crystal import Crystal
from stages.records.geometry import DetGeom
from stages.records.limits import CellLimits
from stages.records.told import GivenLattice

STRICT = ConfigDict(extra="forbid")

Percent = Annotated[float, Field(gt=0)]
Degrees = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CellParameters:
    """What decides whether a found cell is the target's."""

    tolerance: tuple[Percent, Percent, Percent, Degrees, Degrees, Degrees] = Field(
        default=DEFAULT_TOLERANCE,
        description="How far a cell may be from the target: a, b, c in percent, al, be, ga in degrees (--tolerance)",
    )
    check_cell: bool = Field(default=True, description="Refuse cells out of tolerance (False: --no-check-cell)")

    def limits(self, target: UnitCell) -> CellLimits:
        """Return how far crystals may be from the target."""
        return CellLimits(target, self.tolerance if self.check_cell else None)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LatticeParameters:
    """What restricts a search without a cell."""

    lattice_file: Path | None = Field(
        default=None,
        description="A unit cell file with lattice type and centring alone: only such lattices are taken (-p)",
    )

    def given_lattice(self, context: Context) -> Lattice | None:
        """Read the file, and publish what stands there."""
        if self.lattice_file is None:
            return None
        lattice = lattice_alone(self.lattice_file)
        if lattice is None:
            raise UserError(
                f"{self.lattice_file} should be a CrystFEL unit cell file with lattice_type, centering and perhaps "
                "unique_axis, and without parameters: a known cell is for index/pairs (-p)"
            )
        context.publish(GivenLattice(lattice))
        return lattice


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SearchParameters:
    """What decides how often the peaks of a frame are searched, and what is accepted."""

    multi: bool = Field(default=False, description="Look for further lattices in the peaks that are left (--multi)")
    retry: bool = Field(default=True, description="Try again without the weakest peaks (False: --no-retry)")
    check_peaks: bool = Field(
        default=True,
        description="Ask for a fraction of the peaks, and a lead over other lattices (False: --no-check-peaks)",
    )
    max_lattices: int = Field(default=10, ge=1, description="At most so many lattices in a frame, with multi")
    max_peaks: int = Field(default=2000, ge=MIN_SPOTS, description="At most so many peaks are used, the strongest")

    def attempts(self, search: LatticeSearch, as_crystal: Callable[[Solution, DetGeom], Crystal | None]) -> Attempts:
        """Return what runs a search on frames under these parameters."""
        return Attempts(
            search,
            as_crystal,
            multi=self.multi,
            retry=self.retry,
            max_lattices=self.max_lattices,
            max_peaks=self.max_peaks,
        )
