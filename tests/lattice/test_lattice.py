"""Unit cells: reduction, rotations, restrictions, comparison."""

from __future__ import annotations

import itertools
import math

import gemmi
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stages.lattices.cell import (
    LATTICE_TYPES,
    Lattice,
    UnitCell,
    agree,
    impose_bravais,
    is_right_handed,
    lattice_rotations,
    misorientation,
    near_rotations,
    nearest_rotation,
    primitive,
    reduce_basis,
    rotations,
)


def cell(a, b, c, al, be, ga, *lattice) -> UnitCell:
    return UnitCell(a, b, c, math.radians(al), math.radians(be), math.radians(ga), Lattice(*lattice))


KNOWN = [
    (cell(43, 52, 61, 80, 75, 100), 1),
    (cell(63, 50, 66, 90, 106, 90, "monoclinic", "P", "b"), 2),
    (cell(63, 50, 66, 90, 90, 106, "monoclinic", "P", "c"), 2),
    (cell(120, 50, 66, 90, 106, 90, "monoclinic", "C", "b"), 2),
    (cell(46, 58, 71, 90, 90, 90, "orthorhombic", "P"), 4),
    (cell(46, 83, 121, 90, 90, 90, "orthorhombic", "A"), 4),
    (cell(46, 83, 121, 90, 90, 90, "orthorhombic", "B"), 4),
    (cell(46, 83, 121, 90, 90, 90, "orthorhombic", "C"), 4),
    (cell(46, 83, 121, 90, 90, 90, "orthorhombic", "F"), 4),
    (cell(46, 83, 121, 90, 90, 90, "orthorhombic", "I"), 4),
    (cell(79.1, 79.1, 37.9, 90, 90, 90, "tetragonal", "P", "c"), 8),
    (cell(37.9, 79.1, 79.1, 90, 90, 90, "tetragonal", "I", "a"), 8),
    (cell(60, 60, 60, 75, 75, 75, "rhombohedral", "R"), 6),
    (cell(66.2, 66.2, 150.2, 90, 90, 120, "hexagonal", "H", "c"), 6),
    (cell(93.3, 93.3, 130.9, 90, 90, 120, "hexagonal", "P", "c"), 12),
    (cell(96.4, 96.4, 96.4, 90, 90, 90, "cubic", "P"), 24),
    (cell(96.4, 96.4, 96.4, 90, 90, 90, "cubic", "I"), 24),
    (cell(96.4, 96.4, 96.4, 90, 90, 90, "cubic", "F"), 24),
]
VOLUME_OF_CENTRING = {"P": 1, "R": 1, "A": 2, "B": 2, "C": 2, "I": 2, "F": 4, "H": 3}


def any_rotation(seed: int) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


@pytest.mark.parametrize(("unit_cell", "order"), KNOWN, ids=str)
def test_the_rotations_of_each_lattice_form_its_holohedry(unit_cell, order):
    group = rotations(unit_cell)
    real = unit_cell.real_space_angstrom
    assert len(group) == order
    assert np.array_equal(group[0], np.eye(3))
    metric = real @ real.T
    assert np.allclose(group @ metric @ group.transpose(0, 2, 1), metric, rtol=0, atol=1e-6 * metric.max())
    products = (group[:, None] @ group[None]).reshape(-1, 3, 3)
    assert all(np.isclose(group, product, atol=1e-9).all(axis=(1, 2)).any() for product in products)


@pytest.mark.parametrize(("unit_cell", "order"), KNOWN, ids=str)
def test_the_primitive_cell_is_reduced_and_leads_back(unit_cell, order):
    reduced = primitive(unit_cell)
    basis, change = reduced.real_space_angstrom, reduced.to_conventional
    assert np.allclose(change @ basis, unit_cell.real_space_angstrom)
    assert round(np.linalg.det(change)) == VOLUME_OF_CENTRING[unit_cell.lattice.centering]
    metric = basis @ basis.T
    assert (np.diff(np.diag(metric)) > -1e-6).all()
    for i in range(3):
        for j in range(3):
            if i != j:
                assert abs(metric[i, j]) <= 0.5 * metric[j, j] * (1 + 1e-9) or metric[i, i] < metric[j, j]


@pytest.mark.parametrize(("unit_cell", "order"), KNOWN, ids=str)
def test_the_reduced_lengths_are_those_of_gemmi(unit_cell, order):
    lattice = unit_cell.lattice
    hexagonal_axes = lattice.centering == "H"
    centring = "R" if hexagonal_axes else "P" if lattice.centering == "R" else lattice.centering
    degrees = [math.degrees(x) for x in unit_cell.parameters[3:]]
    vector = gemmi.GruberVector(gemmi.UnitCell(*unit_cell.parameters[:3], *degrees), centring)
    vector.niggli_reduce()
    lengths = np.linalg.norm(primitive(unit_cell).real_space_angstrom, axis=1)
    assert np.allclose(lengths, vector.cell_parameters()[:3], atol=1e-3)


@pytest.mark.parametrize(("unit_cell", "order"), KNOWN, ids=str)
def test_a_cell_that_obeys_its_lattice_type_is_left_alone(unit_cell, order):
    real = unit_cell.real_space_angstrom @ any_rotation(3)
    assert np.allclose(impose_bravais(real, unit_cell.lattice), real)


@given(
    kind=st.sampled_from(LATTICE_TYPES),
    axis=st.sampled_from("abc"),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=60, deadline=None)
def test_an_imposed_cell_has_the_symmetry_and_is_the_nearest(kind, axis, seed):
    lattice = Lattice(kind, "P", axis if kind in ("monoclinic", "tetragonal", "hexagonal") else "*")
    rng = np.random.default_rng(seed)
    angles = {"hexagonal": 120.0, "rhombohedral": 80.0}.get(kind, 90.0)
    ideal = cell(50, 50, 50, 80, 80, 80) if kind == "rhombohedral" else cell(50, 50, 50, 90, 90, 90)
    if kind == "hexagonal":
        ideal = cell(50, 50, 50, *[angles if a == axis else 90 for a in "abc"])
    real = ideal.real_space_angstrom @ any_rotation(seed) + rng.normal(size=(3, 3))
    assume(np.linalg.det(real) > 0)
    imposed = impose_bravais(real, lattice)
    metric = imposed @ imposed.T
    group = lattice_rotations(lattice)
    assert np.allclose(group @ metric @ group.transpose(0, 2, 1), metric, atol=1e-6 * metric.max())
    assert np.allclose(impose_bravais(imposed, lattice), imposed)
    # in the same orientation: no further turn brings it nearer to what it was
    assert np.allclose(nearest_rotation(imposed, real)[0], imposed)
    assert np.linalg.norm(imposed - real) < 12


@given(seed=st.integers(0, 10**6), centre=st.sampled_from([c for c, _ in KNOWN]), pick=st.integers(0, 23))
@settings(max_examples=60, deadline=None)
def test_an_orientation_is_as_far_from_another_as_it_was_turned_whatever_the_setting(seed, centre, pick):
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=3)
    angle = rng.uniform(0, math.radians(10))
    k = np.cross(np.eye(3), axis / np.linalg.norm(axis))
    turn = np.eye(3) + math.sin(angle) * k + (1 - math.cos(angle)) * k @ k
    real = centre.real_space_angstrom @ any_rotation(seed)
    group = rotations(centre)
    other = group[pick % len(group)] @ real @ turn.T * rng.uniform(0.99, 1.01)
    assert misorientation(real, other, centre) == pytest.approx(angle, abs=1e-6)
    assert misorientation(other, real, group) == pytest.approx(angle, abs=1e-6)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 2), st.integers(-3, 3)), max_size=5), st.integers(0, 10**6))
@settings(max_examples=80, deadline=None)
def test_reduction_finds_the_same_lengths_from_any_basis_of_a_lattice(steps, seed):
    change = np.eye(3)
    for row, other, times in steps:
        change[row] += times * change[(row + other) % 3]
    start = cell(43, 52, 61, 80, 75, 100).real_space_angstrom @ any_rotation(seed)
    reduced, matrix = reduce_basis(change @ start)
    assert np.allclose(np.linalg.norm(reduced, axis=1), [43, 52, 61])
    assert np.allclose(matrix @ change @ start, reduced)
    assert np.linalg.det(reduced) > 0


def seen_by_brute_force(reduced, tolerance):
    """All matrices of -1, 0, 1, determinant 1 and a rotation's trace, that change the metric by no more."""
    every = np.array(list(itertools.product((-1, 0, 1), repeat=9))).reshape(-1, 3, 3)
    every = every[(np.rint(np.linalg.det(every)) == 1) & (np.trace(every, axis1=1, axis2=2) >= -1)]
    metric = reduced @ reduced.T
    lengths = np.sqrt(metric.diagonal())
    off = np.abs((every @ metric @ every.transpose(0, 2, 1) - metric) / np.outer(lengths, lengths)).max(axis=(1, 2))
    return every[off <= tolerance]


@pytest.mark.parametrize(("unit_cell", "order"), KNOWN, ids=str)
@pytest.mark.parametrize("tolerance", [0.01, 0.05, 0.2])
def test_rotations_of_a_measured_cell_are_those_that_brute_force_finds(unit_cell, order, tolerance):
    rng = np.random.default_rng(order)
    strain = np.eye(3) + 2e-3 * rng.standard_normal((3, 3))
    reduced, _ = reduce_basis(np.array(primitive(unit_cell).real_space_angstrom) @ strain)
    found, wanted = near_rotations(reduced, tolerance), seen_by_brute_force(reduced, tolerance)
    assert len(found) == len(wanted) >= (order if tolerance > 0.01 else 1)
    assert {matrix.tobytes() for matrix in found} == {matrix.tobytes() for matrix in wanted}
    assert found[0].tolist() == np.eye(3).tolist()
    lengths = np.linalg.norm(reduced, axis=1)
    change = [m @ reduced @ reduced.T @ m.T - reduced @ reduced.T for m in found[1:]]
    sizes = [np.abs(c / np.outer(lengths, lengths)).max() for c in change]
    assert np.all(np.diff(sizes) > -1e-12), "the nearest come first"


@given(seed=st.integers(0, 10**6), which=st.integers(0, len(KNOWN) - 1))
@settings(max_examples=60, deadline=None)
def test_a_reduced_basis_is_left_as_it_is_and_its_mirror_image_is_turned_over(seed, which):
    rng = np.random.default_rng(seed)
    start = (
        primitive(KNOWN[which][0]).real_space_angstrom
        @ any_rotation(seed)
        @ (np.eye(3) + 1e-3 * rng.normal(size=(3, 3)))
    )
    reduced, _ = reduce_basis(start)
    again, change = reduce_basis(reduced)
    np.testing.assert_array_equal(again, reduced)
    np.testing.assert_array_equal(change, np.eye(3))
    np.testing.assert_array_equal(reduce_basis(-reduced)[0], reduced)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_lengths_and_angles_of_a_basis_are_those_of_numpy(seed):
    real = np.random.default_rng(seed).normal(size=(3, 3)) * 50
    lengths = np.linalg.norm(real, axis=1)
    cosines = (real @ real.T) / np.outer(lengths, lengths)
    angles = np.arccos([cosines[1, 2], cosines[0, 2], cosines[0, 1]])
    np.testing.assert_allclose(UnitCell.from_vectors(real).parameters, [*lengths, *angles], rtol=1e-9)
    right = np.linalg.det(real) > 0
    assert is_right_handed(real) == right != is_right_handed(-real)


def test_an_angle_with_a_vector_of_no_length_is_no_number():
    parameters = UnitCell.from_vectors(np.array([[0.0, 0, 0], [0, 2, 0], [0, 2, 2]])).parameters
    assert parameters[0] == 0.0
    assert math.degrees(parameters[3]) == pytest.approx(45)
    assert math.isnan(parameters[4])
    assert math.isnan(parameters[5])


def test_pseudo_symmetry_within_the_tolerance_counts_and_beyond_it_does_not():
    near = cell(60, 60.3, 95, 90, 90, 90, "orthorhombic", "P")
    assert len(rotations(near)) == 8
    assert len(rotations(near, 1e-4)) == 4
    assert len(rotations(cell(60, 62, 95, 90, 90, 90, "orthorhombic", "P"))) == 4


def test_rotations_are_a_group_even_where_the_tolerance_cuts_through_a_pseudo_symmetry():
    for c in np.linspace(59, 61, 21):
        group = rotations(cell(60, 60.5, c, 90, 90.4, 90))
        assert len(group) in (1, 2, 4, 6, 8, 12, 24)
        products = (group[:, None] @ group[None]).reshape(-1, 3, 3)
        assert all(np.isclose(group, product, atol=1e-9).all(axis=(1, 2)).any() for product in products)


def test_agreement_is_judged_axis_by_axis_in_percent_and_degrees():
    reference = cell(50, 60, 70, 90, 100, 90)
    assert agree(cell(52.4, 60, 70, 90, 100, 90), reference)
    assert not agree(cell(52.6, 60, 70, 90, 100, 90), reference)
    assert agree(cell(52.6, 60, 70, 90, 100, 90), reference, (6, 5, 5, 1.5, 1.5, 1.5))
    assert not agree(cell(50, 60, 70, 90, 101.6, 90), reference)
    assert agree(cell(50, 60, 70, 90, 101.6, 90), reference, (5, 5, 5, 1.5, 2, 1.5))


def test_a_cell_survives_the_way_to_vectors_and_back():
    for unit_cell, _ in KNOWN:
        again = UnitCell.from_vectors(unit_cell.real_space_angstrom @ any_rotation(1), unit_cell.lattice)
        assert np.allclose(again.parameters, unit_cell.parameters)
