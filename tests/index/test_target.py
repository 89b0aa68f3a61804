"""The tables that index/pairs makes of a target cell."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stages.index._target import half_sphere, make_target
from stages.lattices.cell import metric_rotations
from stages.simulation.spot_lists import CELLS


@pytest.mark.parametrize("name", ["lysozyme", "triclinic", "cubic_f", "rhombohedral_h"])
def test_every_vector_of_the_table_is_equivalent_to_just_one_canonical_one(name):
    target = make_target(CELLS[name])
    group = _rotations_in_space(target.cell.basis)
    assert len(group) == target.cell.n_sym
    tables = target.tables
    table, canonical = tables.table.T[:300], tables.canonical.T
    limit = tables.table_length[299] * (1 - 1e-9)
    canonical = canonical[tables.canonical_length <= limit]
    for vector in table[tables.table_length[:300] <= limit]:
        images = group @ vector
        distance = np.linalg.norm(images[:, None] - canonical[None], axis=2)
        assert (distance.min(axis=0) < 1e-6).sum() == 1


def _rotations_in_space(basis: np.ndarray) -> np.ndarray:
    return np.array([np.linalg.solve(basis, w @ basis).T for w in metric_rotations(basis)])


def test_directions_cover_the_half_sphere_evenly():
    directions = half_sphere(2000).T.astype(float)
    assert np.allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-6)
    rng = np.random.default_rng(3)
    probes = rng.normal(size=(500, 3))
    probes /= np.linalg.norm(probes, axis=1)[:, None]
    nearest = np.arccos(np.clip(np.abs(probes @ directions.T).max(axis=1), -1, 1))
    assert nearest.max() < 1.2 * math.sqrt(2 * math.pi / 2000)
