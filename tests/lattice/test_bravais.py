"""Bravais types: all fourteen are recognized in any primitive basis, with errors, in the standard setting."""

from __future__ import annotations

import gemmi
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lattices.bravais import bravais_of, bravais_types
from stages.lattices.cell import primitive
from stages.simulation.spot_lists import cell, random_rotation

FOURTEEN = {
    "aP": cell(43, 52, 61, 100, 105, 100, "triclinic", "P"),
    "mP": cell(63, 50, 66, 90, 106, 90, "monoclinic", "P", "b"),
    "mC": cell(120, 50, 66, 90, 98, 90, "monoclinic", "C", "b"),
    "oP": cell(46, 58, 71, 90, 90, 90, "orthorhombic", "P"),
    "oC": cell(46, 58, 71, 90, 90, 90, "orthorhombic", "C"),
    "oI": cell(46, 58, 71, 90, 90, 90, "orthorhombic", "I"),
    "oF": cell(46, 58, 71, 90, 90, 90, "orthorhombic", "F"),
    "tP": cell(79.1, 79.1, 37.9, 90, 90, 90, "tetragonal", "P", "c"),
    "tI": cell(67, 67, 102, 90, 90, 90, "tetragonal", "I", "c"),
    "hR": cell(66.2, 66.2, 150.2, 90, 90, 120, "hexagonal", "H", "c"),
    "hP": cell(93.3, 93.3, 130.9, 90, 90, 120, "hexagonal", "P", "c"),
    "cP": cell(110, 110, 110, 90, 90, 90, "cubic", "P"),
    "cI": cell(78, 78, 78, 90, 90, 90, "cubic", "I"),
    "cF": cell(182, 182, 182, 90, 90, 90, "cubic", "F"),
}


def some_basis(unit_cell, rng, noise: float) -> np.ndarray:
    """A primitive basis of the lattice in any orientation: other vectors, and a strain."""
    change = np.eye(3)
    for _ in range(6):
        i, j = rng.permutation(3)[:2]
        change[i] += rng.integers(-2, 3) * change[j]
    strain = np.eye(3) + noise * rng.normal(size=(3, 3))
    return change @ primitive(unit_cell).real_space_angstrom @ random_rotation(rng).T @ strain


@pytest.mark.parametrize("noise", [0.0, 1e-3])
@pytest.mark.parametrize("name", FOURTEEN)
def test_each_of_the_fourteen_is_recognized_with_errors(name, noise):
    rng = np.random.default_rng(51)
    for _ in range(20):
        basis = some_basis(FOURTEEN[name], rng, noise)
        found = bravais_of(basis)
        assert found.lattice == FOURTEEN[name].lattice
        assert found.cell.parameters == pytest.approx(FOURTEEN[name].parameters, rel=max(1e-6, 5 * noise))
        assert found.to_conventional @ basis == pytest.approx(found.real_space_angstrom)
        assert np.linalg.det(found.real_space_angstrom) > 0


def test_rhombohedral_axes_become_hexagonal_ones():
    found = bravais_of(cell(60, 60, 60, 75, 75, 75).real_space_angstrom)
    edge = 2 * 60 * np.sin(np.radians(75) / 2)
    assert (found.lattice.lattice_type, found.lattice.centering) == ("hexagonal", "H")
    assert (found.cell.a, found.cell.b, np.degrees(found.cell.gamma)) == pytest.approx((edge, edge, 120))


def test_a_monoclinic_lattice_is_centred_on_the_face_or_the_body_whichever_is_less_oblique():
    body = cell(70, 50, 75, 90, 95, 90, "monoclinic", "I", "b")
    found = bravais_of(primitive(body).real_space_angstrom)
    assert found.lattice.centering == "I"
    assert found.cell.parameters == pytest.approx(body.parameters)


def test_pseudo_symmetry_is_a_matter_of_the_tolerance():
    nearly = cell(63, 50, 66, 90, 90.8, 90).real_space_angstrom
    assert bravais_of(nearly, 0.005).lattice.lattice_type == "monoclinic"
    assert bravais_of(nearly, 0.05).lattice.lattice_type == "orthorhombic"
    assert [b.lattice.lattice_type for b in bravais_types(nearly)] == ["orthorhombic", "monoclinic", "triclinic"]


@given(seed=st.integers(0, 10**6), name=st.sampled_from(sorted(FOURTEEN)))
@settings(max_examples=60, deadline=None)
def test_gemmi_finds_as_many_rotations(seed, name):
    basis = some_basis(FOURTEEN[name], np.random.default_rng(seed), 1e-4)
    found = bravais_of(basis, 5e-3)
    reduced = primitive(found.cell)
    lengths = np.linalg.norm(reduced.real_space_angstrom, axis=1)
    cosines = [
        reduced.real_space_angstrom[i] @ reduced.real_space_angstrom[j] / lengths[i] / lengths[j]
        for i, j in ((1, 2), (0, 2), (0, 1))
    ]
    vector = gemmi.GruberVector(gemmi.UnitCell(*lengths, *np.degrees(np.arccos(cosines))), "P")
    vector.niggli_reduce()
    operations = gemmi.find_lattice_symmetry(vector.get_cell(), "P", 0.3)
    rotations = {"aP": 1, "mP": 2, "mC": 2, "oP": 4, "oC": 4, "oI": 4, "oF": 4, "tP": 8, "tI": 8, "hR": 6, "hP": 12}
    assert len(operations.sym_ops) == rotations.get(name, 24)
    assert found.lattice == FOURTEEN[name].lattice
