"""Twins of a lattice: what they are, and that a pattern is not indexed by one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from stages.index._kernels.known import contest as known_contest
from stages.index._kernels.known.search import pattern_of
from stages.index._kernels.known.tuples import NO_VERDICT, Room
from stages.index._twins import MISFIT, shared, twins
from stages.lattices.cell import metric_rotations, misorientation, primitive, rotations
from stages.simulation.spot_lists import CELLS, XRAYS, random_rotation, simulate

K0, PX = 1 / XRAYS.wavelength_angstrom, XRAYS.px_per_angstrom


def reduced(name: str) -> np.ndarray:
    return np.array(primitive(CELLS[name]).real_space_angstrom)


@pytest.mark.parametrize("name", CELLS)
def test_a_twin_has_nearly_the_metric_and_shares_at_least_every_third_point(name):
    basis = reduced(name)
    scale = np.outer(*[np.linalg.norm(basis, axis=1)] * 2)
    exact = metric_rotations(basis, 1e-4)
    found = twins(basis, exact)
    for change in found:
        twin = change @ basis
        one_in = 1 / shared(change)
        assert one_in in MISFIT
        assert (np.abs(twin @ twin.T - basis @ basis.T) <= MISFIT[round(one_in)] * scale + 1e-9).all()
        assert np.linalg.det(change) == pytest.approx(1)
    for a, b in itertools.combinations(found, 2):
        assert not any(np.allclose(e @ a, b) for e in exact)
    assert not any(np.allclose(e, a) for e in exact for a in found)


def test_a_lattice_without_nearly_equal_vectors_has_no_twin():
    basis = reduced("orthorhombic")
    assert twins(basis, metric_rotations(basis, 1e-4)).shape == (0, 3, 3)


@pytest.mark.parametrize("name", ["monoclinic", "rhombohedral_h", "rhombohedral_r"])
def test_the_truth_takes_the_place_of_its_twin_though_the_detector_is_off(search_of, name):
    """The twin laid exactly onto the target's metric, as a search would find it; each in turn."""
    target, group = search_of(CELLS[name]).target, rotations(CELLS[name], 1e-4)
    room = Room(np.empty(22), np.empty((3, 3, 3)), search_of(CELLS[name]).scores)
    restored = 0
    for seed, change in enumerate(target.cell.twins):
        still = simulate(CELLS[name], np.random.default_rng(seed), 60, 0.25, shift_px=0.0, offset_px=4.0)
        spots = np.ascontiguousarray(still.q[np.argsort(np.linalg.norm(still.q, axis=1))].T)
        true = np.linalg.solve(target.to_conventional, still.real_space_angstrom)
        basis = np.ascontiguousarray(np.linalg.inv(change) @ true)
        pattern = pattern_of(spots, K0, PX, target.cell)
        verdict = known_contest.better_twin(NO_VERDICT, target.cell, pattern, basis, room)
        off = misorientation(target.to_conventional @ basis, still.real_space_angstrom, group)
        restored += math.degrees(off) < 1.0
        assert verdict.margin == pytest.approx(verdict.score - verdict.log_trials)
    assert restored == len(target.cell.twins)


def test_the_truth_stays(search_of):
    of_pairs, group = search_of(CELLS["monoclinic"]), rotations(CELLS["monoclinic"], 1e-4)
    target, room = of_pairs.target, Room(np.empty(22), np.empty((3, 3, 3)), of_pairs.scores)
    for seed in range(20):
        still = simulate(CELLS["monoclinic"], np.random.default_rng(seed), 60, 0.25)
        spots = np.ascontiguousarray(still.q[np.argsort(np.linalg.norm(still.q, axis=1))].T)
        true = np.ascontiguousarray(np.linalg.solve(target.to_conventional, still.real_space_angstrom))
        basis = np.zeros((3, 3))
        pattern = pattern_of(spots, K0, PX, target.cell)
        verdict = known_contest.sharpest(true, target.cell, pattern, NO_VERDICT, False, basis, room)
        known_contest.better_twin(verdict, target.cell, pattern, basis, room)
        assert math.degrees(misorientation(target.to_conventional @ basis, still.real_space_angstrom, group)) < 0.5


@pytest.mark.parametrize(("name", "n"), [("rhombohedral_h", 100), ("rhombohedral_r", 30), ("monoclinic", 30)])
def test_no_twin_is_accepted_where_the_detector_is_off_by_four_pixels(search_of, name, n):
    of_pairs, group = search_of(CELLS[name]), rotations(CELLS[name], 1e-4)
    right = wrong = 0
    for seed in range(120):
        still = simulate(CELLS[name], np.random.default_rng([seed, 5]), n, 0.25, shift_px=0.0, offset_px=4.0)
        found = of_pairs.search(still.q, XRAYS.wavelength_angstrom, PX)
        accepted = found is not None and found.accepted
        real = of_pairs.target.to_conventional @ found.basis if accepted else still.real_space_angstrom
        off = misorientation(real, still.real_space_angstrom, group)
        right += accepted and math.degrees(off) < 1.0
        wrong += accepted and math.degrees(off) >= 1.0
    assert wrong <= 1
    assert right >= 117


def test_turned_at_random_a_basis_has_the_same_twins():
    basis = reduced("monoclinic")
    turned = basis @ random_rotation(np.random.default_rng(1)).T
    exact = metric_rotations(basis, 1e-4)
    assert np.allclose(twins(turned, exact), twins(basis, exact))
