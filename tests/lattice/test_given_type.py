"""A lattice whose type is given is found in the axes that are asked for, or is not of that type."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stages.lattices.cell import WITH_UNIQUE_AXIS, Lattice, Matrix, UnitCell, impose_bravais, primitive
from stages.lattices.given_type import CENTRINGS, in_type
from stages.lattices.restrictions import departure

LATTICES = [
    Lattice(kind, centring, axis)
    for kind, centrings in CENTRINGS.items()
    for axis in ("abc" if kind in WITH_UNIQUE_AXIS else "*")
    for centring in centrings
    if centring != axis.upper() and not (centring == "H" and axis != "c")
]


def a_cell(lattice: Lattice) -> UnitCell:
    """A cell of a lattice type that no higher one has within 5 %."""
    angles = (80.0, 97.0, 104.0) if lattice.lattice_type != "rhombohedral" else (75.0, 75.0, 75.0)
    oblique = UnitCell(47.0, 61.0, 83.0, *map(math.radians, angles))
    return UnitCell.from_vectors(impose_bravais(oblique.real_space_angstrom, lattice), lattice)


def some_basis(cell: UnitCell, rng: np.random.Generator, error: float = 0.002) -> Matrix:
    """A primitive basis of the lattice, of any vectors, turned and deformed a little."""
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    basis = primitive(cell).real_space_angstrom @ (np.eye(3) + rng.normal(0, error, (3, 3))) @ turn
    change = np.eye(3)
    for _ in range(3):
        i, j = rng.choice(3, 2, replace=False)
        change[i] += rng.integers(-1, 2) * change[j]
    return np.asarray(change @ basis, np.float64)


@pytest.mark.parametrize("lattice", LATTICES, ids=lambda one: f"{one.lattice_type} {one.centering} {one.unique_axis}")
def test_a_lattice_of_any_type_is_found_in_the_setting_that_is_asked_for(lattice: Lattice) -> None:
    rng = np.random.default_rng(LATTICES.index(lattice))
    true = a_cell(lattice)
    for _ in range(3):
        basis = some_basis(true, rng)
        found = in_type(basis, lattice)
        assert found
        real = found[0].real_space_angstrom
        assert np.allclose(found[0].to_conventional @ basis, real)
        assert found[0].lattice == lattice
        cell = UnitCell.from_vectors(real, lattice)
        assert departure(cell, lattice).is_within(0.02, math.radians(1.0))
        assert cell.volume == pytest.approx(abs(true.volume), rel=0.03)
        if lattice.lattice_type not in ("monoclinic", "triclinic"):  # whose axes are a matter of taste
            lengths = sorted(cell.parameters[:3])
            assert lengths == pytest.approx(sorted(true.parameters[:3]), rel=0.02)
        shared = (
            np.linalg.inv(primitive(UnitCell.from_vectors(real, lattice)).to_conventional) @ real @ np.linalg.inv(basis)
        )
        assert np.abs(shared - np.rint(shared)).max() < 1e-6, "the centring is that of the lattice"


def test_a_lattice_of_higher_symmetry_is_of_every_lower_type_too() -> None:
    rng = np.random.default_rng(5)
    basis = some_basis(UnitCell(50, 50, 90, *3 * [math.pi / 2], Lattice("tetragonal", "I", "c")), rng)
    for lattice in (
        Lattice("orthorhombic", "I"),
        Lattice("orthorhombic", "F"),
        Lattice("monoclinic", "C", "b"),
        Lattice(),
    ):
        assert in_type(basis, lattice)
    assert len(in_type(basis, Lattice("monoclinic", "I", "b"))) == 5, "about each of its two-fold axes"


@pytest.mark.parametrize(
    "other",
    [
        Lattice("cubic", "P"),
        Lattice("tetragonal", "P", "c"),
        Lattice("hexagonal", "P", "c"),
        Lattice("hexagonal", "H", "c"),
        Lattice("rhombohedral", "R"),
        Lattice("orthorhombic", "P"),
        Lattice("orthorhombic", "I"),
        Lattice("orthorhombic", "F"),
        Lattice("monoclinic", "C", "b"),
    ],
)
def test_a_lattice_that_is_not_of_the_type_or_the_centring_is_none(other: Lattice) -> None:
    basis = some_basis(UnitCell(47, 70, 61, *3 * [math.pi / 2], Lattice("orthorhombic", "C")), np.random.default_rng(6))
    expected = other == Lattice("monoclinic", "C", "b")
    assert bool(in_type(basis, other)) is expected


def test_the_tolerance_is_two_and_a_half_per_cent_of_an_axis() -> None:
    right = math.pi / 2
    for b, is_tetragonal in ((61.2, True), (63.5, False)):
        basis = UnitCell(60.0, b, 95.0, right, right, right).real_space_angstrom
        assert bool(in_type(basis, Lattice("tetragonal", "P", "c"))) is is_tetragonal
