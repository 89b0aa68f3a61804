"""What is in the beam: the crystal's cell, its symmetry and the strength of its reflections."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import gemmi
import numpy as np
from numpy.typing import NDArray

from pipeline import UserError
from stages.lattice import Lattice
from stages.simulation import _kernel

_HOLOHEDRY = {
    "triclinic": "P -1",
    "monoclinic": "P 1 1 2/m",
    "orthorhombic": "P m m m",
    "tetragonal": "P 4/m m m",
    "hexagonal": "P 6/m m m",
    "cubic": "P m -3 m",
}
"""Space group whose point group is the full symmetry of each lattice, with c as the unique axis."""

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


Operator = tuple[NDArray[np.int64], tuple[int, ...]]
"""Rotation, and translation in 24ths."""


@dataclass(frozen=True, eq=False)
class Specimen:
    """A crystal: cell, symmetry and one set of structure factors.

    Attributes
    ----------
    real_space_angstrom
        float64 (3, 3), rows a, b, c in a standard orientation.
    lattice
        Lattice type, centring and unique axis.
    rotations, translations
        int64 (n, 3, 3) and (n, 3), the symmetry operators; translations in 24ths.
    seed
        Which crystal structure this is.

    >>> lysozyme = Specimen.make((79.1, 79.1, 37.9, 90, 90, 90), Lattice("tetragonal", "P", "c"), "P 43 21 2")
    >>> strengths = lysozyme.intensities(np.array([[1, 2, 3], [2, -1, 3], [-2, 1, 3], [0, 0, 5], [0, 0, 4]]))
    >>> bool(strengths[0] == strengths[1] == strengths[2] > 0), float(strengths[3]), bool(strengths[4] > 0)
    (True, 0.0, True)
    """

    real_space_angstrom: NDArray[np.float64]
    lattice: Lattice
    rotations: NDArray[np.int64]
    translations: NDArray[np.int64]
    seed: int = 0
    cell: tuple[float, float, float, float, float, float] = field(default=(1.0, 1.0, 1.0, 90.0, 90.0, 90.0))

    @staticmethod
    def make(
        cell: tuple[float, float, float, float, float, float],
        lattice: Lattice,
        space_group: str | None = None,
        seed: int = 0,
    ) -> Specimen:
        """Make the specimen of a cell (Angstrom, degrees); without a space group only the centring causes absences."""
        real_space = np.ascontiguousarray(np.array(gemmi.UnitCell(*cell).orth.mat.tolist()).T)
        operators = _space_group_operators(space_group) if space_group else _lattice_operators(lattice)
        rotations = np.array([op[0] for op in operators], np.int64)
        translations = np.array([op[1] for op in operators], np.int64)
        return Specimen(real_space, lattice, rotations, translations, seed, cell)

    def intensities(self, hkl: NDArray[np.integer]) -> NDArray[np.float64]:
        """Relative intensities of reflections (n, 3) before any fall-off with resolution.

        Exponentially distributed with mean 1, as for an acentric crystal of randomly placed atoms (Wilson 1949,
        doi:10.1107/S0365110X49000813); equal for symmetry-equivalent reflections, 0 for absent ones.
        """
        key = np.uint64(_kernel.mix(np.uint64(self.seed)))
        strengths: NDArray[np.float64] = _kernel.wilson_intensities(
            np.ascontiguousarray(hkl, np.int64), self.rotations, self.translations, key
        )
        return strengths

    def axes_that_are_equal(self) -> tuple[int, int, int]:
        """For each axis a number, the same for axes that the lattice type makes equally long.

        >>> Specimen.make((70, 70, 70, 90, 90, 90), Lattice("cubic", "F")).axes_that_are_equal()
        (0, 0, 0)
        """
        if self.lattice.lattice_type in ("cubic", "rhombohedral") and self.lattice.centering != "H":
            return (0, 0, 0)
        if self.lattice.lattice_type in ("tetragonal", "hexagonal", "rhombohedral"):
            return {"a": (2, 0, 0), "b": (0, 2, 0)}.get(self.lattice.unique_axis, (0, 0, 2))
        return (0, 1, 2)


def _space_group_operators(name: str) -> list[Operator]:
    group = gemmi.find_spacegroup_by_name(name)
    if group is None:
        raise UserError(f"there is no space group {name!r}; write it as in the tables, e.g. 'P 43 21 2' or 'C 1 2 1'")
    return [(np.array(op.rot, np.int64) // op.DEN, tuple(op.tran)) for op in group.operations()]


def _lattice_operators(lattice: Lattice) -> list[Operator]:
    if lattice.lattice_type == "rhombohedral":
        name = "P -3 m 1" if lattice.centering == "H" else "R -3 m:R"
    else:
        name = _HOLOHEDRY[lattice.lattice_type]
    turn = {"a": 1, "b": 2}.get(lattice.unique_axis, 0)  # cyclic permutation that brings c to the unique axis
    permutation = np.roll(np.eye(3, dtype=np.int64), turn, axis=0)
    rotations = [permutation @ rotation @ permutation.T for rotation, _ in _space_group_operators(name)]
    return [
        (rotation, translation) for rotation, translation in itertools.product(rotations, _CENTRING[lattice.centering])
    ]
