"""How far apart orientations are that several ways have found."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.comparison.orientations import NO_COMMON_LATTICE, apart, misorientations
from stages.lattices.cell import Lattice, UnitCell, misorientation, rotations
from stages.records import CellLimits, Crystal

RIGHT = math.pi / 2
CELLS = {
    "cubic": UnitCell(70.0, 70.0, 70.0, RIGHT, RIGHT, RIGHT, Lattice("cubic", "P")),
    "tetragonal": UnitCell(79.1, 79.1, 37.9, RIGHT, RIGHT, RIGHT, Lattice("tetragonal", "P", "c")),
    "hexagonal": UnitCell(60.0, 60.0, 110.0, RIGHT, RIGHT, 2 * math.pi / 3, Lattice("hexagonal", "P", "c")),
    "monoclinic": UnitCell(50.0, 60.0, 70.0, RIGHT, math.radians(103), RIGHT, Lattice("monoclinic", "C", "b")),
    "triclinic": UnitCell(50.0, 60.0, 70.0, 1.4, 1.5, 1.6, Lattice()),
}


def rotation(chance: np.random.Generator, angle: float | None = None) -> NDArray[np.float64]:
    """A turn about a random axis, by this angle or any."""
    axis = chance.standard_normal(3)
    x, y, z = axis / np.linalg.norm(axis)
    angle = chance.uniform(0, math.pi) if angle is None else angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross)


@pytest.mark.parametrize("name", CELLS)
def test_many_angles_at_once_are_the_angles_one_by_one(name: str) -> None:
    chance = np.random.default_rng(31)
    cell = CELLS[name]
    strained = [cell.real_space_angstrom @ (np.eye(3) + 0.003 * chance.standard_normal((3, 3))) for _ in range(60)]
    one = np.array([real @ rotation(chance).T for real in strained[:30]])
    other = np.array([real @ rotation(chance).T for real in strained[30:]])
    other[:10] = [rotations(cell)[-1] @ real @ rotation(chance, 0.02).T for real in one[:10]]
    expected = [misorientation(a, b, cell) for a, b in zip(one, other, strict=True)]
    assert np.allclose(misorientations(one, other, rotations(cell)), expected, rtol=0.01)
    assert np.allclose(misorientations(one[:10], other[:10], rotations(cell)), 0.02, rtol=1e-6)


def test_mirror_images_have_no_common_orientation() -> None:
    real = CELLS["triclinic"].real_space_angstrom[None]
    assert misorientations(real, -real, np.eye(3)[None])[0] == NO_COMMON_LATTICE


def found(cell: UnitCell, turn: NDArray[np.float64], given: bool = True) -> Crystal:
    limits = CellLimits(cell, None) if given else None
    return Crystal(cell.real_space_angstrom @ turn.T, cell.lattice, limits=limits)


def test_the_nearest_crystals_of_two_ways_count_and_ways_without_any_have_no_angle() -> None:
    chance = np.random.default_rng(32)
    cell = CELLS["tetragonal"]
    first, second = rotation(chance), rotation(chance)
    near = rotation(chance, 0.001) @ second
    angles = apart([[found(cell, first), found(cell, second)], [found(cell, near)], [], [found(cell, first)]])
    of_pairs = dict(zip([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)], angles, strict=True))
    assert of_pairs[0, 1] == pytest.approx(0.001, rel=1e-6)
    assert of_pairs[0, 3] == 0.0
    assert of_pairs[1, 3] > 0.05
    assert all(math.isnan(of_pairs[pair]) for pair in [(0, 2), (1, 2), (2, 3)])


def test_a_crystal_found_without_a_cell_is_compared_in_the_axes_of_the_given_one() -> None:
    chance = np.random.default_rng(33)
    cell = CELLS["monoclinic"]
    turn = rotation(chance)
    given = found(cell, turn)
    # a reduced primitive cell of the same lattice, as a search without cell may hand it on
    primitive = np.array([[0.5, -0.5, 0], [0.5, 0.5, 0], [0, 0, 1]]) @ cell.real_space_angstrom @ turn.T
    free = Crystal(primitive[[2, 0, 1]], Lattice())
    assert apart([[given], [free]])[0] == pytest.approx(0.0, abs=1e-6)
    assert apart([[free], [given]])[0] == pytest.approx(0.0, abs=1e-6)


def test_two_crystals_found_without_a_cell_agree_up_to_the_rotations_of_their_lattice_type() -> None:
    chance = np.random.default_rng(34)
    cell = CELLS["hexagonal"]
    turn = rotation(chance)
    one = found(cell, turn, given=False)
    other = Crystal(rotations(cell)[3] @ one.real_space_angstrom, cell.lattice)
    assert apart([[one], [other]])[0] == pytest.approx(0.0, abs=1e-6)


def test_crystals_of_other_cells_have_no_common_lattice() -> None:
    chance = np.random.default_rng(35)
    turn = rotation(chance)
    one, other = found(CELLS["tetragonal"], turn, given=False), found(CELLS["triclinic"], turn, given=False)
    assert apart([[one], [other]])[0] == NO_COMMON_LATTICE


@pytest.mark.parametrize("broken", [np.full((3, 3), np.nan), np.ones((3, 3)), np.zeros((3, 3))])
def test_vectors_that_span_no_cell_are_no_orientation(broken: NDArray[np.float64]) -> None:
    good = found(CELLS["cubic"], np.eye(3))
    assert math.isnan(apart([[good], [Crystal(broken)]])[0])
    assert apart([[good, Crystal(broken)], [Crystal(broken), good]])[0] == 0.0
