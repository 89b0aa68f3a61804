"""How far apart the orientations are that several ways have found in one frame."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stages.lattices.cell import Rotations, UnitCell, agree, lattice_rotations, rotations
from stages.lattices.setting import in_setting_of
from stages.records.crystal import Crystal

Matrix = NDArray[np.float64]

NO_COMMON_LATTICE = math.pi
"""The angle between crystals whose cells are not the same, and between mirror images."""


def misorientations(one: Matrix, other: Matrix, group: Rotations) -> NDArray[np.float64]:
    """Return the angles in radians between n pairs of orientations of one lattice, up to its proper rotations.

    As :func:`stages.lattices.cell.misorientation` for each pair, to a part of the angle as small as the difference of the
    cells, and at a fraction of the time. With bases A and B as rows the strain S = (W A)^-1 B is nearly a rotation for each W
    of the group. Of a rotation the trace is 1 + 2 cos(angle), and half the antisymmetric part sin(angle) times the axis: the W
    of the largest trace is taken, and the angle from both.

    Parameters
    ----------
    one, other
        float64 (n, 3, 3), rows a, b, c in the same setting; small differences of the cells do not matter.
    group
        float64 (g, 3, 3), the lattice's rotations.

    >>> from stages.lattices.cell import Lattice
    >>> turned = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1.0]])
    >>> about_c = lattice_rotations(Lattice("tetragonal", "P", "c"))
    >>> misorientations(np.diag([79, 79, 38.0])[None], (np.diag([79, 79, 38.0]) @ turned)[None], about_c).round(9)
    array([0.])
    """
    inverse = np.linalg.inv(one)
    between = other @ inverse
    traces = between.transpose(0, 2, 1).reshape(-1, 9) @ group.reshape(-1, 9).T
    strain = inverse @ group[traces.argmax(axis=1)] @ other
    twice_sine = np.sqrt(np.square(strain - strain.transpose(0, 2, 1)).sum(axis=(1, 2)) / 2)
    angle = np.arctan2(twice_sine, np.trace(strain, axis1=1, axis2=2) - 1.0)
    return np.where(np.linalg.det(between) < 0, NO_COMMON_LATTICE, angle)


def apart(found: Sequence[Sequence[Crystal]]) -> NDArray[np.float64]:
    """Return for each two ways, first with second, first with third ..., the angle between their nearest crystals.

    Crystals are compared in the axes of the cell that one of them was meant to have, up to that cell's rotations; without one,
    in those of the first crystal, up to the rotations of its lattice type. NaN where one of the two ways has no crystal.

    Parameters
    ----------
    found
        The crystals of each way.
    """
    usable = [[crystal for crystal in crystals if spans_a_cell(crystal.real_space_angstrom)] for crystals in found]
    pairs = list(itertools.combinations(range(len(found)), 2))
    angles = np.full(len(pairs), math.nan)
    every = [crystal for crystals in usable for crystal in crystals]
    if sum(map(bool, usable)) < 2:
        return angles
    reference, group = _reference(every)
    bases = [[_in_axes_of(reference, crystal) for crystal in crystals] for crystals in usable]
    at, one, other = [], [], []
    for number, (i, j) in enumerate(pairs):
        if not (usable[i] and usable[j]):
            continue
        angles[number] = NO_COMMON_LATTICE
        for a, b in itertools.product(bases[i], bases[j]):
            if a is b or (a is not None and b is not None and np.array_equal(a, b)):
                angles[number] = 0.0
            elif a is not None and b is not None:
                at.append(number)
                one.append(a)
                other.append(b)
    if at:
        np.minimum.at(angles, at, misorientations(np.array(one), np.array(other), group))
    return angles


def spans_a_cell(real_space_angstrom: Matrix) -> bool:
    """Whether vectors are finite and span a volume.

    >>> spans_a_cell(np.eye(3)), spans_a_cell(np.ones((3, 3))), spans_a_cell(np.full((3, 3), np.nan))
    (True, False, False)
    """
    (a, b, c), (d, e, f), (g, h, i) = real_space_angstrom.tolist()
    volume = abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))
    return bool(1e-6 < volume < math.inf)


def _reference(crystals: Sequence[Crystal]) -> tuple[UnitCell, Rotations]:
    """The cell in whose axes crystals are compared, and its rotations."""
    for crystal in crystals:
        if crystal.limits is not None:
            return crystal.limits.target, rotations(crystal.limits.target)
    first = crystals[0]
    return UnitCell.from_vectors(first.real_space_angstrom, first.lattice), lattice_rotations(first.lattice)


def _in_axes_of(reference: UnitCell, crystal: Crystal) -> Matrix | None:
    """The crystal's basis in the axes of the reference; None if it is another lattice."""
    real = crystal.real_space_angstrom
    if crystal.limits is not None and crystal.limits.target == reference:
        return real
    same_centring = crystal.lattice.centering == reference.lattice.centering
    if same_centring and agree(UnitCell.from_vectors(real), reference):
        return real
    moved = in_setting_of(real, crystal.lattice, reference)
    return moved if agree(UnitCell.from_vectors(moved), reference) else None
