"""What is in the beam: the crystal's cell, its symmetry and the strength of its reflections."""

from __future__ import annotations

import math
from dataclasses import dataclass

import gemmi
import numpy as np
from numpy.typing import NDArray

from pipeline import UserError
from stages.lattices.cell import Lattice, UnitCell, lattice_rotations
from stages.simulation._kernels import photons as kernel

LYSOZYME = UnitCell(79.1, 79.1, 37.9, math.pi / 2, math.pi / 2, math.pi / 2, Lattice("tetragonal", "P", "c"))
LYSOZYME_SPACE_GROUP = "P 43 21 2"

_CENTRING = {
    "P": [(0, 0, 0)],
    "A": [(0, 0, 0), (0, 12, 12)],
    "B": [(0, 0, 0), (12, 0, 12)],
    "C": [(0, 0, 0), (12, 12, 0)],
    "I": [(0, 0, 0), (12, 12, 12)],
    "F": [(0, 0, 0), (0, 12, 12), (12, 0, 12), (12, 12, 0)],
    "R": [(0, 0, 0)],
    "H": [(0, 0, 0), (16, 8, 8), (8, 16, 16)],
}
"""Centring translations in 24ths of the cell's edges; R means rhombohedral axes, H the same lattice on hexagonal ones."""


_ADDED, _PHASE = 1_000_003, 2_000_003
"""What is added to a specimen's seed for the structure factors that excitation adds, and for their phases."""


@dataclass(frozen=True, eq=False)
class Specimen:
    """A crystal: cell, symmetry and one set of structure factors.

    Attributes
    ----------
    cell
        The unit cell.
    rotations, translations
        int64 (n, 3, 3) and (n, 3), the symmetry operators; translations in 24ths.
    seed
        Which crystal structure this is.
    change
        How far an excited state is from it: relative standard deviation of the structure factors' change.

    >>> lysozyme = Specimen.make(LYSOZYME, LYSOZYME_SPACE_GROUP)
    >>> strengths = lysozyme.intensities(np.array([[1, 2, 3], [2, -1, 3], [-2, 1, 3], [0, 0, 5], [0, 0, 4]]))
    >>> bool(strengths[0] == strengths[1] == strengths[2] > 0), float(strengths[3]), bool(strengths[4] > 0)
    (True, 0.0, True)
    """

    cell: UnitCell
    rotations: NDArray[np.int64]
    translations: NDArray[np.int64]
    seed: int = 0
    change: float = 0.0

    @staticmethod
    def make(cell: UnitCell, space_group: str | None = None, seed: int = 0) -> Specimen:
        """Make the specimen of a cell.

        Without a space group its symmetry is that of the lattice, and only the centring causes absences.
        """
        if space_group is None:
            rotations, translations = _lattice_operators(cell)
        else:
            group = gemmi.find_spacegroup_by_name(space_group)
            if group is None:
                raise UserError(f"there is no space group {space_group!r}; write it as in the tables, e.g. 'P 43 21 2'")
            operators = list(group.operations())
            rotations = np.array([op.rot for op in operators], np.int64) // gemmi.Op.DEN
            translations = np.array([op.tran for op in operators], np.int64)
            _check_fit(cell, space_group, rotations)
        return Specimen(cell, np.ascontiguousarray(rotations), np.ascontiguousarray(translations), seed)

    def intensities(self, hkl: NDArray[np.integer]) -> NDArray[np.float64]:
        """Relative intensities of reflections (n, 3) before any fall-off with resolution.

        Exponentially distributed with mean 1, as for an acentric crystal of randomly placed atoms (Wilson 1949,
        doi:10.1107/S0365110X49000813); equal for symmetry-equivalent reflections, 0 for absent ones. Those of an excited
        state are |F + change G|^2 / (1 + change^2), with G the structure factors of other atoms at phases of their own.
        """
        strengths = self._wilson(hkl, self.seed)
        if not self.change:
            return strengths
        added = self.change * np.sqrt(self._wilson(hkl, self.seed + _ADDED))
        phase = 2.0 * math.pi * np.exp(-self._wilson(hkl, self.seed + _PHASE))  # exp(-I) is uniform from 0 to 1
        excited = strengths + added**2 + 2.0 * np.sqrt(strengths) * added * np.cos(phase)
        return np.asarray(np.maximum(excited, 0.0) / (1.0 + self.change**2))

    def _wilson(self, hkl: NDArray[np.integer], seed: int) -> NDArray[np.float64]:
        key = np.uint64(kernel.mix(np.uint64(seed)))
        strengths: NDArray[np.float64] = kernel.wilson_intensities(
            np.ascontiguousarray(hkl, np.int64), self.rotations, self.translations, key
        )
        return strengths

    def axes_that_are_equal(self) -> tuple[int, int, int]:
        """For each axis a number, the same for axes that the lattice type makes equally long.

        >>> Specimen.make(LYSOZYME).axes_that_are_equal()
        (0, 0, 2)
        """
        lattice = self.cell.lattice
        if lattice.lattice_type == "cubic" or (lattice.lattice_type == "rhombohedral" and lattice.centering == "R"):
            return (0, 0, 0)
        if lattice.lattice_type in ("tetragonal", "hexagonal", "rhombohedral"):
            return {"a": (2, 0, 0), "b": (0, 2, 0)}.get(lattice.unique_axis, (0, 0, 2))
        return (0, 1, 2)


def _lattice_operators(cell: UnitCell) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The lattice type's rotations that map the centred lattice on itself, with every centring translation."""
    shifts = np.array(_CENTRING[cell.lattice.centering], np.int64)
    turns = np.rint(lattice_rotations(cell.lattice)).astype(np.int64)
    points = {tuple(shift) for shift in shifts}
    # a rotation W of the basis takes a point t to t W, and the indices h to W h, which is h W^T as a row
    keeping = np.array([w.T for w in turns if {tuple(point) for point in shifts @ w % 24} == points])
    return np.repeat(keeping, len(shifts), axis=0), np.tile(shifts, (len(keeping), 1))


def _check_fit(cell: UnitCell, space_group: str, rotations: NDArray[np.int64]) -> None:
    """Refuse a space group whose rotations change the cell's lengths and angles by more than 2 %."""
    metric = cell.real_space_angstrom @ cell.real_space_angstrom.T
    scale = np.sqrt(np.outer(metric.diagonal(), metric.diagonal()))
    turned = rotations.transpose(0, 2, 1) @ metric @ rotations
    if np.abs((turned - metric) / scale).max() > 0.02:
        raise UserError(
            f"the cell ({cell}) does not have the symmetry of the space group {space_group!r}; choose another"
        )
