"""A lattice as one of a given type and centring: in which axes is it that, if it is?

Any lattice whose rotations include those of the type, within a tolerance, is one of it: each group of so many rotations among
those that the lattice nearly has is a candidate, of a cubic lattice three for tetragonal. Its conventional axes are the usual
ones of :mod:`stages.lattices.bravais`; what leads from these to the axes that are asked for, another unique axis, another
centring, does not depend on the lengths, and of several ways the one with the least oblique axes is taken.
"""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np

from stages.lattices.bravais import PSEUDO, Bravais, Integers, bravais_of_group, centring_of, misfit_of
from stages.lattices.cell import (
    Lattice,
    Matrix,
    UnitCell,
    lattice_rotations,
    near_rotations,
    primitive,
    reduce_basis,
)

_GENERATED_BY = {1: (), 2: (2,), 4: (2, 2), 6: (3, 2), 8: (4, 2), 12: (6, 2), 24: (4, 3)}
"""Orders of rotations that generate the group of a lattice type, by how many rotations it has."""
_ORDER = {3: 1, -1: 2, 0: 3, 1: 4, 2: 6}
"""A rotation's order, by its trace."""

_AXES_OF_H = ((2, 1, 1), (-1, 1, 1), (-1, -2, 1))
"""Three times the rhombohedral axes in terms of hexagonal ones, obverse setting."""

CENTRINGS = {
    "triclinic": "P",
    "monoclinic": "PABCI",
    "orthorhombic": "PABCIF",
    "tetragonal": "PI",
    "rhombohedral": "R",
    "hexagonal": "PH",
    "cubic": "PIF",
}
"""The centrings of the fourteen Bravais types, a base-centred lattice in any setting; not those of needlessly large cells."""


def in_type(real_space_angstrom: Matrix, lattice: Lattice, tolerance: float = PSEUDO) -> tuple[Bravais, ...]:
    """Return the ways in which a primitive basis is a lattice of this type and centring, in its axes; the nearest first.

    >>> nearly_cubic = np.diag([77.0, 77.2, 77.9])
    >>> [np.linalg.norm(b.real_space_angstrom, axis=1).tolist() for b in in_type(nearly_cubic, Lattice("tetragonal", "P", "a"))]
    [[77.9, 77.0, 77.2], [77.0, 77.2, 77.9], [77.2, 77.0, 77.9]]
    >>> in_type(nearly_cubic, Lattice("tetragonal", "I", "a"))
    ()
    """
    reduced, change = reduce_basis(np.asarray(real_space_angstrom, np.float64))
    num = 6 if lattice.centering == "H" else len(lattice_rotations(lattice))
    found = []
    for group in _groups(near_rotations(reduced, tolerance), num):
        usual = bravais_of_group(reduced, change, group)
        moved = _moved(usual, lattice)
        if moved is not None:
            found.append(moved)
    return tuple(sorted(found, key=lambda one: one.misfit))


def _groups(near: Integers, num: int) -> list[Integers]:
    """Return the groups of so many rotations among these matrices, the identity first in each."""
    known = {matrix.tobytes() for matrix in near}
    orders = [_ORDER[int(np.trace(matrix))] for matrix in near]
    by_order = [[m for m, order in zip(near, orders, strict=True) if order == wanted] for wanted in _GENERATED_BY[num]]
    groups: dict[frozenset[bytes], Integers] = {}
    for generators in itertools.product(*by_order):
        group = _generated(generators, known, num)
        if len(group) == num and not (
            num == 6 and any(np.trace(matrix) == 2 for matrix in group.values())
        ):  # no six-fold axis
            groups[frozenset(group)] = np.array(list(group.values()))
    return list(groups.values())


def _generated(generators: tuple[Integers, ...], known: set[bytes], num: int) -> dict[bytes, Integers]:
    """Return all products of some matrices; nothing if they are more than `num`, or one is not known."""
    identity = np.eye(3, dtype=np.int64)
    group = {identity.tobytes(): identity}
    fresh = [identity]
    while fresh:
        products = {(x @ g).tobytes(): x @ g for x in fresh for g in generators}
        made = {key: matrix for key, matrix in products.items() if key not in group}
        if len(group) + len(made) > num or not known.issuperset(made):
            return {}
        group.update(made)
        fresh = list(made.values())
    return group


def _moved(usual: Bravais, lattice: Lattice) -> Bravais | None:
    """Return a lattice in the axes of the lattice type that is asked for; None if it is of another one."""
    if lattice.lattice_type == "rhombohedral":
        if usual.lattice.centering != "H":
            return None
        return _changed(usual, np.array(_AXES_OF_H) / 3, lattice)
    ways = _ways(usual.lattice, lattice)
    if not len(ways):
        return None
    axes = ways @ usual.real_space_angstrom
    lengths = np.linalg.norm(axes, axis=2)
    unit = axes / lengths[..., None]
    oblique = np.abs(unit @ unit.transpose(0, 2, 1) - np.eye(3)).sum(axis=(1, 2)).round(4)
    unsorted = (np.diff(lengths, axis=1) < -1e-6).sum(axis=1)
    return _changed(usual, ways[np.lexsort((unsorted, oblique))[0]], lattice)


def _changed(usual: Bravais, change: Matrix, lattice: Lattice) -> Bravais:
    """Return a lattice in other axes, with what its type asks of the metric."""
    real = change @ usual.real_space_angstrom
    to_conventional = np.rint(change @ usual.to_conventional).astype(np.int64)
    return Bravais(lattice, to_conventional, real, misfit_of(real, lattice))


@lru_cache(maxsize=64)
def _ways(usual: Lattice, lattice: Lattice) -> Matrix:
    """Return the changes of axes that lead from one setting of a Bravais type to another, (n, 3, 3); none if they are two.

    Matrices of elements -1, 0, 1 whose rotations are those of the other setting and which have its centring; cubic axes, and
    hexagonal ones of a rhombohedral lattice, have one setting.
    """
    every = np.array(list(itertools.product((-1, 0, 1), repeat=9)), np.float64).reshape(-1, 3, 3)
    every = every[np.rint(np.linalg.det(every)) == 1]
    if lattice.centering == "H" or lattice.lattice_type == "cubic":
        return np.eye(3)[None] if lattice == usual else np.zeros((0, 3, 3))
    own, wanted = lattice_rotations(usual), lattice_rotations(lattice)
    if len(own) != len(wanted) or usual.centering == "H":
        return np.zeros((0, 3, 3))
    turned = every[:, None] @ own @ np.linalg.inv(every)[:, None]
    same = (np.abs(turned[:, :, None] - wanted[None, None]).max(axis=(3, 4)) < 1e-6).any(axis=2).all(axis=1)
    right = np.pi / 2
    points = primitive(UnitCell(50.0, 50.0, 50.0, right, right, right, usual)).to_conventional
    chosen = [way for way in every[same] if centring_of(np.rint(way @ points).astype(np.int64)) == lattice.centering]
    return np.array(chosen).reshape(-1, 3, 3)
