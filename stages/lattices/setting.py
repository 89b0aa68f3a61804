"""One lattice, many bases: which basis of a found lattice is that of a reference.

Reduced bases of nearly the same lattice can differ: two axes of the same length change places, an angle near 90 or 60 degrees
is acute in one and obtuse in the other. Their lengths, though, are the lattice's successive minima and change little. So all
bases are looked through that consist of vectors about as long as the reference's, and the one whose metric is nearest is taken.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from stages.lattices.cell import Lattice, UnitCell, primitive, reduce_basis

Matrix = NDArray[np.float64]

_FAR = 0.1
"""Vectors whose lengths differ by more than this part are not the same axis, whatever the error of a cell."""


@dataclass(frozen=True, eq=False)
class Setting:
    """A reference lattice: finds its own basis in others.

    Attributes
    ----------
    basis
        float64 (3, 3), the reduced primitive basis, rows.
    metric
        basis basis^T in square Angstrom.
    changes
        float64 (n, 3, 3): ``change @ found`` are the bases of a found reduced basis that may be that of the reference.
    """

    basis: Matrix
    metric: Matrix
    changes: Matrix

    @staticmethod
    def of(basis: Matrix) -> Setting:
        """Make the setting of a reduced primitive basis."""
        lengths = np.linalg.norm(basis, axis=1)
        grid = _small_vectors()
        length = np.linalg.norm(grid @ basis, axis=1)
        rows = [grid[np.abs(length - one) <= _FAR * one] for one in lengths]
        # N with rows of about the right lengths: reduced bases that a slightly changed reference could have
        first, second, third = (np.arange(len(r)) for r in rows)
        i, j, k = (index.ravel() for index in np.meshgrid(first, second, third, indexing="ij"))
        every = np.stack([rows[0][i], rows[1][j], rows[2][k]], axis=1)
        every = every[np.rint(np.linalg.det(every)) == 1]
        return Setting(basis, basis @ basis.T, np.rint(np.linalg.inv(every)))

    @cached_property
    def _scale(self) -> Matrix:
        """The products of the lengths, by which each element of a metric is judged."""
        return np.asarray(np.sqrt(np.outer(self.metric.diagonal(), self.metric.diagonal())))

    def find(self, reduced: Matrix) -> tuple[Matrix, Matrix]:
        """Return the change of basis that takes a reduced basis nearest to the reference, and the metric it then has."""
        metric = reduced @ reduced.T
        moved = self.changes @ metric @ self.changes.transpose(0, 2, 1)
        off = ((moved - self.metric) / self._scale).reshape(-1, 9)
        nearest = int(np.argmin(np.einsum("ij,ij->i", off, off)))
        return self.changes[nearest], moved[nearest]


def reduced_primitive(real_space_angstrom: Matrix, lattice: Lattice) -> Matrix:
    """Return a reduced primitive basis of a crystal, in the crystal's own orientation, right-handed.

    >>> body = np.eye(3) * 10.0
    >>> np.linalg.norm(reduced_primitive(body, Lattice("cubic", "I")), axis=1).round(3)
    array([8.66, 8.66, 8.66])
    """
    if lattice.centering in "PR":
        basis = real_space_angstrom
    else:
        to_conventional = primitive(_any_cell(lattice)).to_conventional
        basis = np.linalg.inv(to_conventional) @ real_space_angstrom
    return reduce_basis(np.asarray(basis, np.float64))[0]


def is_reduced(basis: Matrix, tolerance: float = 0.02) -> bool:
    """Whether no vector of a basis could be made shorter by more than the tolerance, by adding or subtracting another one.

    >>> is_reduced(np.diag([30.0, 40.0, 50.0])), is_reduced(np.array([[30, 0, 0], [29, 40, 0], [0, 0, 50.0]]))
    (True, False)
    """
    (aa, ab, ac), (_, bb, bc), (_, _, cc) = (basis @ basis.T).tolist()
    most = 0.5 + tolerance
    return bool(
        abs(ab) <= most * min(aa, bb)
        and abs(ac) <= most * min(aa, cc)
        and abs(bc) <= most * min(bb, cc)
        and 2 * (ab * ac * bc < 0) * (abs(ab) + abs(ac) + abs(bc))
        <= (1 + 2 * tolerance) * (aa + bb + cc - max(aa, bb, cc))
    )


@lru_cache(maxsize=64)
def _any_cell(lattice: Lattice) -> UnitCell:
    """Some cell of this centring: the primitive cell follows from the centring alone."""
    right = np.pi / 2
    gamma = 2 * np.pi / 3 if lattice.centering == "H" else right
    return UnitCell(50.0, 50.0, 50.0, right, right, gamma, Lattice(lattice.lattice_type, lattice.centering, "*"))


def in_setting_of(real_space_angstrom: Matrix, lattice: Lattice, target: UnitCell) -> Matrix:
    """Return the basis of a crystal whose conventional cell is nearest to that of the target, in the crystal's orientation.

    The lattice stays what it is; whether the cells agree is for :func:`stages.lattices.cell.agree` to say.

    >>> target = UnitCell(79.0, 79.0, 38.0, *3 * [np.pi / 2], Lattice("tetragonal", "P", "c"))
    >>> np.linalg.norm(in_setting_of(np.diag([38.1, 79.2, 79.2]), Lattice(), target), axis=1).round(2).tolist()
    [79.2, 79.2, 38.1]
    """
    reduced = primitive(target)
    found = reduced_primitive(real_space_angstrom, lattice)
    change, _ = _setting_of(target).find(found)
    return np.asarray(reduced.to_conventional @ change @ found, np.float64)


@lru_cache(maxsize=64)
def _setting_of(cell: UnitCell) -> Setting:
    return Setting.of(primitive(cell).real_space_angstrom)


@lru_cache(maxsize=1)
def _small_vectors() -> Matrix:
    grid = np.array(list(itertools.product((-2, -1, 0, 1, 2), repeat=3)), np.float64)
    return grid[grid.any(axis=1)]
