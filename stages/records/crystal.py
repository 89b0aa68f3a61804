"""Crystals found in one frame, and their reflections."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pipeline.counts import Count
from stages.lattices.cell import Lattice, UnitCell
from stages.records.columns import data_frame, structured
from stages.records.diagnosis import Diagnosis
from stages.records.limits import CellLimits


@dataclass(frozen=True, eq=False)
class Reflections:
    """Predicted (and, if there are pixels, integrated) reflections as parallel arrays, all of length n.

    Attributes
    ----------
    hkl
        int32 (n, 3).
    panel
        int32, index into the geometry's panels.
    fs, ss
        float64, pixels from the panel's corner, first pixel's centre at 0.5.
    intensity, sigma
        float64, background-subtracted sum and its standard deviation in ADU; 0 where there are no pixels.
    peak, background
        float64, highest pixel in ADU; mean background per pixel in ADU.
    excitation_error_per_angstrom, partiality
        float64, k - |k0 + g|: distance of the lattice point g from the Ewald sphere, positive inside; modelled
        partiality 0..1.
    num_saturated, num_implausible
        How many had pixels above max_adu, and how many were left out because I < -5 sigma.
    diagnoses
        How some were integrated, where that was asked for; also of reflections that were left out.
    """

    hkl: NDArray[np.int32]
    panel: NDArray[np.int32]
    fs: NDArray[np.float64]
    ss: NDArray[np.float64]
    intensity: NDArray[np.float64]
    sigma: NDArray[np.float64]
    peak: NDArray[np.float64]
    background: NDArray[np.float64]
    excitation_error_per_angstrom: NDArray[np.float64]
    partiality: NDArray[np.float64]
    num_saturated: int = 0
    num_implausible: int = 0
    diagnoses: tuple[Diagnosis, ...] = ()

    def __len__(self) -> int:
        return len(self.hkl)

    def to_numpy(self) -> NDArray[np.void]:
        """Return the reflections as a structured array, (n,): h, k, l and a field for each array besides."""
        return structured(self._columns())

    def to_pandas(self) -> Any:
        """Return the reflections as a pandas DataFrame, a row each."""
        return data_frame(self._columns())

    def _columns(self) -> dict[str, NDArray[Any]]:
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "hkl"}
        indices = dict(zip("hkl", self.hkl.T, strict=True))
        return {**indices, **{name: a for name, a in arrays.items() if isinstance(a, np.ndarray)}}

    def __repr__(self) -> str:
        return f"Reflections({len(self)} reflections)"

    def select(self, which: NDArray[Any]) -> Reflections:
        """Return the reflections of a boolean mask or an index array, in that order; counts and diagnoses stay."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: a[which] for name, a in arrays.items() if isinstance(a, np.ndarray)})


@dataclass(frozen=True, eq=False)
class Crystal:
    """One lattice found in a frame.

    Attributes
    ----------
    real_space_angstrom
        float64 (3, 3), rows are a, b, c in the laboratory frame (z along the beam, y up); conventional cell.
    lattice
        Lattice type, centring, unique axis.
    indexed_by
        The method's name as it stands in the stream.
    profile_radius_per_angstrom
        Standard deviation of the excitation errors of the paired peaks; NaN until known.
    det_shift_m
        Shift of the detector (x, y) with which the crystal was found, or that was refined; 0, 0 if there is none.
    initial_residual, final_residual
        Of prediction refinement; NaN if not refined.
    resolution_limit_per_angstrom
        diffraction_resolution_limit as 1/d; NaN until known.
    reflections
        None until predicted.
    limits
        The cell that it is meant to have, and how far it may be from it; None if it was found without one.
    """

    real_space_angstrom: NDArray[np.float64]
    lattice: Lattice = field(default_factory=Lattice)
    indexed_by: str = "none"
    profile_radius_per_angstrom: float = math.nan
    det_shift_m: tuple[float, float] = (0.0, 0.0)
    initial_residual: float = math.nan
    final_residual: float = math.nan
    resolution_limit_per_angstrom: float = math.nan
    reflections: Reflections | None = None
    limits: CellLimits | None = None

    @property
    def is_within_limits(self) -> bool:
        """Whether its cell is that with which it was found, as far as that is asked."""
        return self.limits is None or self.limits.allow(self.real_space_angstrom)

    @property
    def cell(self) -> UnitCell:
        """The unit cell."""
        return UnitCell.from_vectors(self.real_space_angstrom, self.lattice)

    def __repr__(self) -> str:
        listed = "" if self.reflections is None else f", {len(self.reflections)} reflections"
        return f"Crystal({self.cell}, by {self.indexed_by}{listed})"

    @property
    def reciprocal_per_angstrom(self) -> NDArray[np.float64]:
        """float64 (3, 3), rows are a*, b*, c* (without 2 pi): ``real @ reciprocal.T`` is the identity."""
        return np.asarray(np.linalg.inv(self.real_space_angstrom).T, np.float64)


@dataclass(frozen=True)
class Crystals:
    """All crystals of a frame (none, one or several), and how they were looked for.

    Attributes
    ----------
    found
        The crystals.
    num_tries
        How often a search was run for them, all methods together.
    num_verified
        How often a search without cell has looked whether another lattice fits better than the given cell.
    elsewhere
        Cells of the lattices that clearly do: reduced primitive ones, whose symmetry nobody has looked at.
    powder
        Whether a lattice was found that peaks at any azimuth of a powder's rings would support as well, and nothing else.
    unused_shift_m
        Shift of the detector (x, y) of the best lattice that was found and of which no crystal came; None if there is none.
    is_other_lattice
        Whether a lattice was found that is not of the lattice type and centring that are given, and that alone.
    factors
        By which factor lattices that were found so are larger than the given cell in all axes, where nothing else differs.
    num_out_of_tolerance
        Crystals that were left out as refinement took their cell out of tolerance.
    """

    found: tuple[Crystal, ...] = ()
    num_tries: int = 0
    num_verified: int = 0
    elsewhere: tuple[UnitCell, ...] = ()
    powder: bool = False
    unused_shift_m: tuple[float, float] | None = None
    is_other_lattice: bool = False
    factors: tuple[float, ...] = ()
    num_out_of_tolerance: int = 0

    def __len__(self) -> int:
        return len(self.found)

    def __iter__(self) -> Iterator[Crystal]:
        return iter(self.found)

    def __getitem__(self, number: int) -> Crystal:
        return self.found[number]

    def to_numpy(self) -> NDArray[np.void]:
        """Return the crystals as a structured array, (n,).

        Cell in Angstrom and degrees; ``real_space_angstrom`` (3, 3); shift of the detector in metres; 1/d of the resolution
        limit and profile radius in 1/Angstrom; the residuals of refinement; how many reflections there are.
        """
        return structured(self._columns())

    def to_pandas(self) -> Any:
        """Return the crystals as a pandas DataFrame, a row each: what :meth:`to_numpy` has, the vectors as ax, ay ... cz."""
        columns = self._columns()
        vectors = columns.pop("real_space_angstrom").reshape(-1, 9)
        names = [f"{vector}{axis}" for vector in "abc" for axis in "xyz"]
        return data_frame({**columns, **dict(zip(names, vectors.T, strict=True))})

    def _columns(self) -> dict[str, NDArray[Any]]:
        cells = [crystal.cell for crystal in self]
        numbers = [
            "profile_radius_per_angstrom",
            "resolution_limit_per_angstrom",
            "initial_residual",
            "final_residual",
        ]
        sizes = [0 if crystal.reflections is None else len(crystal.reflections) for crystal in self]
        return {
            **{name: np.array([getattr(cell, name) for cell in cells], float) for name in ("a", "b", "c")},
            **{name: np.degrees([getattr(cell, name) for cell in cells]) for name in ("alpha", "beta", "gamma")},
            "lattice_type": np.array([crystal.lattice.lattice_type for crystal in self], str),
            "centering": np.array([crystal.lattice.centering for crystal in self], str),
            "indexed_by": np.array([crystal.indexed_by for crystal in self], str),
            **{name: np.array([getattr(crystal, name) for crystal in self], float) for name in numbers},
            "det_shift_x_m": np.array([crystal.det_shift_m[0] for crystal in self], float),
            "det_shift_y_m": np.array([crystal.det_shift_m[1] for crystal in self], float),
            "num_reflections": np.array(sizes, np.int64),
            "real_space_angstrom": np.array([crystal.real_space_angstrom for crystal in self], float).reshape(-1, 3, 3),
        }

    def __repr__(self) -> str:
        return f"Crystals({', '.join(map(repr, self.found)) or 'none'})"

    shown: ClassVar[tuple[Count, ...]] = (
        Count("indexed", share_of="hits", place=1),
        Count("crystals", place=2),
        Count("out_of_tolerance", detail_of="crystals", text="left out: refined, their cells are out of tolerance"),
        Count("powder", detail_of="hits", text="whose peaks lie on rings as a powder's do, on no lattice"),
    )

    def counts(self) -> Mapping[str, int]:
        """Add to the run's indexed frames and crystals, to the frames of another cell than the given one or of another
        distance or lattice type, to those of a powder, and to the crystals that refinement took out of tolerance.
        """
        counts = {
            "indexed": int(bool(self.found)),
            "crystals": len(self.found),
            "not_this_cell": int(bool(self.elsewhere)),
            "not_this_distance": int(bool(self.factors)),
            "not_this_lattice": int(self.is_other_lattice and not self.found),
            "powder": int(self.powder and not self.found),
            "out_of_tolerance": self.num_out_of_tolerance,
        }
        return {name: n for name, n in counts.items() if n or name in ("indexed", "crystals")}
