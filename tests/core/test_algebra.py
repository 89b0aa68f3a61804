"""Small linear algebra for kernels, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.compute import algebra
from stages.lattices.cell import nearest_rotation, primitive
from stages.simulation.spot_lists import CELLS, random_rotation

seeds = st.integers(0, 10**6)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_aligning_is_the_orthogonal_factor(seed):
    rng = np.random.default_rng(seed)
    target = np.array(primitive(CELLS["monoclinic"]).real_space_angstrom)
    basis = target @ random_rotation(rng).T @ (np.eye(3) + rng.normal(size=(3, 3)) * 0.01)
    rigid = np.empty((3, 3))
    algebra.align(target, basis, rigid, np.empty((3, 3, 3)))
    assert np.allclose(rigid, nearest_rotation(target, basis)[0], atol=1e-9)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_inverses_and_symmetric_systems_are_solved(seed):
    rng = np.random.default_rng(seed)
    m, b = rng.normal(size=(3, 3)), rng.normal(size=3)
    inverse = np.empty((3, 3))
    assert algebra.invert(m, inverse) == pytest.approx(np.linalg.det(m))
    assert np.allclose(inverse @ m, np.eye(3), atol=1e-6)
    s = m @ m.T + np.eye(3)
    x = algebra.solve_symmetric(s[0, 0], s[0, 1], s[0, 2], s[1, 1], s[1, 2], s[2, 2], *b)
    assert np.allclose(x, np.linalg.solve(s, b))


@given(seeds, st.integers(1, 11))
@settings(max_examples=30, deadline=None)
def test_positive_definite_systems_are_solved(seed, n):
    rng = np.random.default_rng(seed)
    m, b = rng.normal(size=(n, n)), rng.normal(size=n)
    m = m @ m.T + np.eye(n)
    x = b.copy()
    assert algebra.cholesky_solve(m.copy(), x, n)
    assert np.allclose(m @ x, b)


def test_a_system_that_is_not_positive_definite_is_refused():
    assert not algebra.cholesky_solve(-np.eye(3), np.ones(3), 3)
    assert not algebra.cholesky_solve(np.full((3, 3), np.nan), np.ones(3), 3)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_determinants_and_smallest_eigenvalues_are_those_of_numpy(seed):
    m = np.random.default_rng(seed).normal(size=(3, 3))
    assert algebra.determinant(m) == pytest.approx(np.linalg.det(m))
    s = m @ m.T
    expected = np.linalg.eigvalsh(s)[0]
    assert algebra.smallest_eigenvalue(s.copy()) == pytest.approx(expected, abs=1e-9 * np.trace(s))
    assert algebra.smallest_eigenvalue(2.0 * np.eye(3)) == 2.0
