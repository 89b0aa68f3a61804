"""Crystals of one lattice in the same axes, whatever they were found with, and the cell that they have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stages.diagnosis.place.evidence import CrystalEvidence
from stages.diagnosis.place.vote import shifts_of_crystal
from stages.lattices.cell import Lattice, UnitCell
from stages.lattices.metric import allowed_metrics
from stages.lattices.setting import Setting, in_setting_of, reduced_primitive

Floats = NDArray[np.float64]

_LENGTHS, _ANGLES_RAD = 0.06, math.radians(4.0)
"""Cells of one lattice differ by no more in the ratios of their axes and in their angles, whatever the geometry does to
them."""
_FACTOR = 0.15
"""All axes may be longer or shorter than the given ones by this part: the distance, or the energy."""


@dataclass(frozen=True, eq=False)
class OneLattice:
    """Crystals of one lattice.

    Attributes
    ----------
    crystals, bases
        What each has to say, and its basis (3, 3) in the common axes, rows in the laboratory.
    cell
        float64 (3, 3), the common cell, rows in a standard orientation.
    lattice
        Which restricts it: that of the target, none without one.
    factor
        By how much the axes were found longer than `cell`'s, in the median.
    """

    crystals: list[CrystalEvidence]
    bases: list[Floats]
    cell: Floats
    lattice: Lattice
    factor: float

    @property
    def pixel_m(self) -> float:
        """The size of a pixel, on the average."""
        return float(np.mean([one.pixel_m for one in self.crystals]))

    @property
    def clen_m(self) -> float:
        """The distance that the geometry file gives, on the average."""
        return float(np.mean([one.clen_m for one in self.crystals]))

    def thinned(self, most: int, most_peaks: int) -> OneLattice:
        """Return the same with the first so many of the crystals, and so many of their peaks."""
        some = [one.thinned(most_peaks) for one in self.crystals[:most]]
        return replace(self, crystals=some, bases=self.bases[:most])

    @property
    def shortest_axis_m(self) -> float:
        """The length of the shortest reciprocal axis on the detector."""
        shortest = float(np.linalg.norm(np.linalg.inv(self.cell), axis=0).min())
        return shortest * self.crystals[0].wavelength_angstrom * self.clen_m

    @cached_property
    def shifts_px(self) -> list[Floats]:
        """All shifts that each crystal may have, which knows it but for a lattice vector: (n, 2) in pixels."""
        pixel_m = self.pixel_m
        return [
            shifts_of_crystal(
                reduced_primitive(basis, self.lattice),
                one.found_with.shift_m,
                (one.clen_m + one.found_with.along_m) * one.wavelength_angstrom,
                pixel_m,
            )
            for one, basis in zip(self.crystals, self.bases, strict=True)
        ]


def of_target(crystals: Sequence[CrystalEvidence], target: UnitCell) -> OneLattice:
    """Return those crystals that are of the target's lattice, as far as a geometry that is off leaves it recognizable."""
    kept, bases, factors = [], [], []
    wanted = np.array(target.parameters)
    for one in crystals:
        basis = one.real_space_angstrom
        factor = _factor(_parameters(basis), wanted) if one.lattice == target.lattice else None
        if factor is None:  # not in the target's axes, or not its lattice
            basis = in_setting_of(one.real_space_angstrom, one.lattice, target)
            factor = _factor(_parameters(basis), wanted)
        if factor is not None:
            kept.append(one)
            bases.append(basis)
            factors.append(factor)
    factor = float(np.median(factors)) if factors else 1.0
    return OneLattice(kept, bases, np.array(target.real_space_angstrom), target.lattice, factor)


def largest(crystals: Sequence[CrystalEvidence]) -> OneLattice:
    """Return the crystals of that lattice which most of them have, in the axes of a reduced primitive cell."""
    left = [(one, reduced_primitive(one.real_space_angstrom, one.lattice)) for one in crystals]
    best: list[tuple[CrystalEvidence, Floats]] = []
    while len(left) > len(best):
        setting = Setting.of(left[0][1])
        reference = _parameters(left[0][1])
        mine, others = [], []
        for one, reduced in left:
            change, _ = setting.find(reduced)
            basis = change @ reduced
            if _factor(_parameters(basis), reference) is not None:
                mine.append((one, basis))
            else:
                others.append((one, reduced))
        best = max(best, mine, key=len)
        left = others if mine else left[1:]
    if not best:
        return OneLattice([], [], np.eye(3), Lattice(), 1.0)
    metric = np.median([basis @ basis.T for _, basis in best], axis=0)
    return OneLattice(
        [one for one, _ in best], [basis for _, basis in best], np.linalg.cholesky(metric), Lattice(), 1.0
    )


def strains_of(cell: Floats, lattice: Lattice) -> Floats:
    """Return by which strains a cell may differ, (k, 3, 3), that leave the lattice its type.

    A metric G = A A^T that changes by dG is that of A (1 + E) with E = A^-1 dG A^-T / 2.
    """
    inverse = np.linalg.inv(cell)
    sizes = np.linalg.norm(cell, axis=1)
    strains = []
    for metric in allowed_metrics(lattice):
        strain = 0.5 * inverse @ (metric * float(sizes.mean()) ** 2) @ inverse.T
        strains.append(strain / np.abs(strain).max())
    return np.array(strains)


def _parameters(basis: Floats) -> Floats:
    """Lengths, and angles in radians."""
    lengths = np.linalg.norm(basis, axis=1)
    unit = basis / lengths[:, None]
    cosines = [unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]]
    return np.concatenate([lengths, np.arccos(np.clip(cosines, -1.0, 1.0))])


def _factor(found: Floats, reference: Floats) -> float | None:
    """By which one factor a cell is larger than another; None if that is not all the difference."""
    ratios = found[:3] / reference[:3]
    factor = float(np.exp(np.mean(np.log(ratios))))
    if abs(factor - 1.0) > _FACTOR or np.abs(ratios / factor - 1.0).max() > _LENGTHS:
        return None
    return factor if np.abs(found[3:] - reference[3:]).max() <= _ANGLES_RAD else None
