"""The refinements that come after the search: under a lattice type's restrictions, and on a shifted detector."""

from __future__ import annotations

import numpy as np
import pytest

from stages.index._kernels.unknown import fit, likelihood, restricted, search, shifted
from stages.index._kernels.unknown.residuals import moved_back
from stages.index._kernels.unknown.tuples import SCORE, Candidate, workspace
from stages.lattices.bravais import bravais_types
from stages.lattices.cell import impose_bravais, lattice_rotations, primitive
from stages.lattices.metric import allowed_metrics
from stages.simulation.spot_lists import CELLS, XRAYS, simulate

K0, PX = 1.0 / XRAYS.wavelength_angstrom, XRAYS.px_per_angstrom


def spots_of(name, rng, off_px):
    """Spots of a still, sorted, (3, n); a primitive basis that is a little off; and where the detector is taken to be."""
    still = simulate(CELLS[name], rng, 80, 0.2, offset_px=off_px)
    q = still.q[np.argsort(np.linalg.norm(still.q, axis=1))].T.copy()
    basis = np.linalg.inv(primitive(CELLS[name]).to_conventional) @ still.real_space_angstrom
    return q, basis @ (np.eye(3) + 1e-3 * rng.standard_normal((3, 3))), PX * rng.uniform(-1.0, 1.0, 2)


def tangents_slowly(real, star, metrics):
    """From (1 - e) star^T with e from 2 real e real^T = metric, and turns; each of length 1; then x and y of the detector."""
    inverse = np.linalg.inv(real)
    axes = np.eye(3)
    turns = [np.stack([np.cross(axis, row) for row in axes]) for axis in axes]
    changes = [star @ (-inverse @ metric @ inverse.T / 2) for metric in metrics] + [star @ turn for turn in turns]
    columns = [np.concatenate([change.ravel() / np.linalg.norm(change), np.zeros(3)]) for change in changes]
    return np.array([*columns, np.eye(12)[9], np.eye(12)[10]]).T


def refined_slowly(basis, to_conventional, lattice, q, start):
    to_primitive = np.linalg.inv(to_conventional)
    real = impose_bravais(to_conventional @ basis, lattice)
    spots, room = search.with_rays(moved_back(q, start, K0), K0, PX), workspace(q.shape[1])
    found = Candidate(to_primitive @ real, np.zeros(2), np.array([2 * PX, 0.001, 0.7]), np.array([-np.inf, 0.0, 0.0]))
    for _ in range(restricted.N_RESTRICTED):
        star, before = np.linalg.inv(found.basis).T, found.shift.copy()
        tangents = tangents_slowly(real, star, allowed_metrics(lattice))
        assert fit.fit_lattice(found, spots, q.shape[1], room)
        factor = np.tril(room.normal).T
        step = tangents @ np.linalg.lstsq(factor @ tangents, factor @ room.right, rcond=None)[0]
        real = impose_bravais(to_conventional @ np.linalg.inv(star + step[:9].reshape(3, 3)).T, lattice)
        found.basis[:], found.shift[:] = to_primitive @ real, before + step[9:11]
        likelihood.score(found, spots, room)
    return found.result[SCORE], real, start + found.shift


@pytest.mark.parametrize("off_px", [0.0, 3.0])
@pytest.mark.parametrize("name", ["lysozyme", "triclinic", "monoclinic", "cubic_f", "hexagonal", "rhombohedral_h"])
def test_each_lattice_type_is_refined_as_numpy_refines_it(name, off_px):
    rng = np.random.default_rng(5)
    q, basis, start = spots_of(name, rng, off_px)
    kinds = set()
    for candidate in bravais_types(basis):
        lattice, to_conventional = candidate.lattice, candidate.to_conventional.astype(np.float64)
        real, shift = np.empty((3, 3)), np.empty(2)
        free = lattice_rotations(lattice), allowed_metrics(lattice)
        score = restricted.refine_restricted(basis, to_conventional, *free, q, start, K0, PX, real, shift)
        wanted, real_wanted, shift_wanted = refined_slowly(basis, to_conventional, lattice, q, start)
        assert score == pytest.approx(wanted, rel=1e-8)
        np.testing.assert_allclose(real, real_wanted, atol=1e-7)
        np.testing.assert_allclose(shift, shift_wanted, atol=1e-10)
        kinds.add(lattice.lattice_type)
    assert CELLS[name].lattice.lattice_type in kinds


def test_what_is_no_lattice_or_has_no_spots_has_no_score():
    free = lattice_rotations(CELLS["lysozyme"].lattice), allowed_metrics(CELLS["lysozyme"].lattice)
    some, none = np.random.default_rng(1).uniform(0.05, 0.3, (3, 20)), np.zeros((3, 0))
    for basis, q in ((np.zeros((3, 3)), some), (50.0 * np.eye(3), none), (np.full((3, 3), np.nan), some)):
        out = np.empty((3, 3)), np.empty(2)
        assert restricted.refine_restricted(basis, np.eye(3), *free, q, np.zeros(2), K0, PX, *out) == -np.inf


@pytest.mark.parametrize("name", ["lysozyme", "triclinic", "cubic_f"])
def test_a_lattice_is_refined_in_the_spots_moved_back_while_its_score_grows(name):
    rng = np.random.default_rng(6)
    q, basis, _ = spots_of(name, rng, 4.0)
    start, model, before = np.array([-4.0, 0.5]) * PX, np.array([1.5 * PX, 1e-3, 0.6]), np.array([1.0, 2.0, 3.0])
    found, shift, result = -basis, start.copy(), before.copy()
    assert shifted.refine_on_shifted(q, K0, PX, model, found, shift, result)
    slow, room = Candidate(-basis, np.zeros(2), model.copy(), np.zeros(3)), workspace(q.shape[1])
    scores, wanted = [before[SCORE]], start.copy()
    for _ in range(shifted.N_TIMES):
        slow.shift[:] = 0.0
        fit.refine(slow, search.with_rays(moved_back(q, wanted, K0), K0, PX), room)
        if not slow.result[SCORE] > scores[-1]:
            break
        scores.append(slow.result[SCORE])
        wanted += slow.shift
    if len(scores) == shifted.N_TIMES + 1:
        np.testing.assert_allclose(shift, wanted, atol=1e-12)
        np.testing.assert_allclose(np.abs(found), np.abs(slow.basis), atol=1e-9)
    assert result[SCORE] == pytest.approx(scores[-1], rel=1e-9)
    assert np.linalg.det(found) > 0
    done = found.copy(), shift.copy()
    assert not shifted.refine_on_shifted(q, K0, PX, model, found, shift, np.array([1e9, 0.0, 0.0]))
    np.testing.assert_array_equal(found, done[0])
    np.testing.assert_array_equal(shift, done[1])
