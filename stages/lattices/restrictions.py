"""What a lattice type asks of a cell: how far a cell is from it, which types it obeys, and which it nearly has.

A lattice type asks for equal lengths and for angles of 90 or 120 degrees (International Tables, A, table 3.1.2.2). How far a
cell is from that is said by two numbers, as an experimenter would: by how much lengths differ that should be equal, and by how
much an angle is off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stages.lattices.bravais import bravais_types
from stages.lattices.cell import (
    CENTERINGS,
    Lattice,
    Matrix,
    UnitCell,
    impose_bravais,
    lattice_rotations,
    primitive,
)

ROUNDED_LENGTH, ROUNDED_ANGLE = 0.005, math.radians(0.5)
"""Differences that may come from rounding: 40 A written for 40.2, 120 degrees for 119.6. What differs by more is meant."""

NEAR_LENGTH, NEAR_ANGLE = 0.03, math.radians(2.0)
"""Up to here a cell nearly has a lattice type: single stills measure axes to a few per cent, and mistake one for the other."""

_BY_SYMMETRY = (
    ("cubic", "*"),
    ("hexagonal", "cab"),
    ("tetragonal", "cab"),
    ("rhombohedral", "*"),
    ("orthorhombic", "*"),
    ("monoclinic", "bca"),
    ("triclinic", "*"),
)
"""Lattice types and their unique axes, those that ask for most first, and of the axes the usual one."""

_ASKS = {
    "triclinic": "nothing",
    "monoclinic": "{al} = {be} = 90 deg",
    "orthorhombic": "al = be = ga = 90 deg",
    "tetragonal": "{a} = {b} and al = be = ga = 90 deg",
    "rhombohedral": "a = b = c and al = be = ga",
    "hexagonal": "{a} = {b}, {al} = {be} = 90 deg and {ga} = 120 deg",
    "cubic": "a = b = c and al = be = ga = 90 deg",
}
"""Braces hold what the letters become where the unique axis is not c."""
_ANGLES = {"a": "al", "b": "be", "c": "ga"}


@dataclass(frozen=True)
class Departure:
    """How far a cell is from a lattice type.

    Attributes
    ----------
    length
        Largest difference of two lengths that should be equal, as a part of their mean.
    angle_rad
        Largest difference of an angle from what it should be.
    """

    length: float
    angle_rad: float

    def is_within(self, length: float, angle_rad: float) -> bool:
        """Whether neither is larger than that."""
        return self.length <= length and self.angle_rad <= angle_rad

    def __str__(self) -> str:
        return f"{100 * self.length:.1f} %, {math.degrees(self.angle_rad):.1f} degrees"


def departure(cell: UnitCell, lattice: Lattice) -> Departure:
    """Return how far a cell is from a lattice type in the same axes.

    >>> right = math.pi / 2
    >>> str(departure(UnitCell(79.0, 79.4, 38.0, right, right, math.radians(90.9)), Lattice("tetragonal", "P", "c")))
    '0.5 %, 0.9 degrees'
    """
    ideal = UnitCell.from_vectors(impose_bravais(cell.real_space_angstrom, lattice)).parameters
    found = cell.parameters
    equal = [(i, j) for i in range(3) for j in range(i) if math.isclose(ideal[i], ideal[j], rel_tol=1e-9)]
    length = max((2 * abs(found[i] - found[j]) / (found[i] + found[j]) for i, j in equal), default=0.0)
    return Departure(length, max(abs(x - y) for x, y in zip(found[3:], ideal[3:], strict=True)))


def obeys(cell: UnitCell, lattice: Lattice) -> bool:
    """Whether a cell obeys a lattice type but for rounding.

    >>> cell = UnitCell(66.2, 66.2, 150.2, math.pi / 2, math.pi / 2, 2 * math.pi / 3)
    >>> obeys(cell, Lattice("hexagonal", "H", "c")), obeys(cell, Lattice("rhombohedral", "R"))
    (True, False)
    """
    return departure(cell, lattice).is_within(ROUNDED_LENGTH, ROUNDED_ANGLE)


def asks_for(lattice: Lattice) -> str:
    """Say what a lattice type asks of a cell.

    >>> asks_for(Lattice("hexagonal", "P", "c")), asks_for(Lattice("monoclinic", "P", "b"))
    ('a = b, al = be = 90 deg and ga = 120 deg', 'al = ga = 90 deg')
    """
    axis = lattice.unique_axis if lattice.unique_axis in "abc" else "c"
    a, b = (letter for letter in "abc" if letter != axis)
    al, be, ga = (_ANGLES[letter] for letter in (a, b, axis))
    return _ASKS[lattice.lattice_type].format(a=a, b=b, al=al, be=be, ga=ga)


def has_centring(lattice: Lattice) -> bool:
    """Whether a lattice type can have its centring: the rotations must leave the lattice points between the corners alone.

    H is the centring of a rhombohedral lattice on hexagonal axes with c along the three-fold axis, R that on its own axes.

    >>> has_centring(Lattice("cubic", "F")), has_centring(Lattice("cubic", "C")), has_centring(Lattice("rhombohedral", "R"))
    (True, False, True)
    """
    kind, centring = lattice.lattice_type, lattice.centering
    if centring == "H":
        return kind == "hexagonal" and lattice.unique_axis == "c"
    if centring == "R" or kind == "rhombohedral":
        return centring == "R" and kind == "rhombohedral"
    right = math.pi / 2
    any_cell = UnitCell(50.0, 50.0, 50.0, right, right, right, lattice)  # its points follow from the centring alone
    basis = np.linalg.inv(primitive(any_cell).to_conventional)
    moved = basis @ lattice_rotations(lattice) @ np.linalg.inv(basis)
    return bool(np.abs(moved - np.rint(moved)).max() < 1e-9)


def centrings_of(lattice_type: str, unique_axis: str = "*") -> str:
    """Return the centrings that a lattice type can have.

    >>> centrings_of("tetragonal", "c"), centrings_of("hexagonal", "c"), centrings_of("rhombohedral")
    ('PCIF', 'PH', 'R')
    """
    return "".join(c for c in CENTERINGS if has_centring(Lattice(lattice_type, c, unique_axis)))


def could_be(cell: UnitCell) -> Lattice:
    """Return the lattice type that asks for most of those that a cell obeys, with its centring if that type can have it.

    >>> right, c = math.pi / 2, Lattice("rhombohedral", "R")
    >>> could_be(UnitCell(66.2, 66.2, 150.2, right, right, 2 * math.pi / 3, c))
    Lattice(lattice_type='hexagonal', centering='H', unique_axis='c')
    """
    centring = cell.lattice.centering
    for kind, axes in _BY_SYMMETRY:
        for axis in axes:
            other = {"hexagonal": {"R": "H"}, "rhombohedral": {"H": "R", "P": "R"}}.get(kind, {}).get(
                centring, centring
            )
            lattice = Lattice(kind, other, axis)
            if has_centring(lattice) and obeys(cell, lattice):
                return lattice
    return Lattice("triclinic", "P")


def nearly(cell: UnitCell) -> tuple[tuple[Lattice, Departure], ...]:
    """Return the lattice types of higher symmetry than its own that a cell nearly has, the highest first, and how nearly.

    >>> right = math.pi / 2
    >>> found = nearly(UnitCell(60.0, 60.36, 95.0, right, right, right, Lattice("orthorhombic", "P")))
    >>> [(lattice.lattice_type, str(by)) for lattice, by in found]
    [('tetragonal', '0.6 %, 0.0 degrees')]
    """
    found = []
    basis: Matrix = primitive(cell).real_space_angstrom
    rank = len(lattice_rotations(cell.lattice)) if cell.lattice.centering != "H" else 6
    for candidate in bravais_types(basis):
        lattice = candidate.lattice
        symmetry = len(lattice_rotations(lattice)) if lattice.centering != "H" else 6
        if symmetry <= rank:
            break
        by = departure(UnitCell.from_vectors(candidate.real_space_angstrom), lattice)
        if by.is_within(NEAR_LENGTH, NEAR_ANGLE):
            found.append((lattice, by))
    return tuple(found)


def nearly_in_words(cell: UnitCell) -> str:
    """Say which higher lattice types a cell nearly has, with a comma before it; nothing if there is none.

    >>> right = math.pi / 2
    >>> nearly_in_words(UnitCell(60.0, 60.36, 95.0, right, right, right, Lattice("orthorhombic", "P")))
    ', nearly tetragonal (0.6 %, 0.0 degrees)'
    """
    return "".join(f", nearly {name_of(lattice)} ({by})" for lattice, by in nearly(cell))


def name_of(lattice: Lattice) -> str:
    """Return a lattice type's name; that of a rhombohedral lattice on hexagonal axes is rhombohedral."""
    return "rhombohedral" if lattice.centering == "H" else lattice.lattice_type
