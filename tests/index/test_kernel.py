"""The indexing kernels against slow, plain numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.compute import algebra
from stages.index._kernels import spots as _spots
from stages.index._kernels.known import directions as known_directions
from stages.index._kernels.known import polish as known_polish
from stages.index._kernels.known.reported import N_REPORT, report_of, search_and_report
from stages.index._kernels.known.search import pattern_of, search
from stages.index._kernels.known.tuples import Room
from stages.index._kernels.known.turns import lay, room_for_turns, score_turns
from stages.index._target import half_sphere, make_target
from stages.lattices.cell import nearest_rotation, primitive
from stages.simulation.spot_lists import CELLS, XRAYS, simulate

seeds = st.integers(0, 10**6)
TRICLINIC = make_target(CELLS["triclinic"])


def room() -> Room:
    return Room(np.empty(22), np.empty((3, 3, 3)), TRICLINIC.make_scores())


def spots_of(seed: int, n: int = 60) -> np.ndarray:
    still = simulate(CELLS["triclinic"], np.random.default_rng(seed), n, 0.3)
    order = np.argsort(np.linalg.norm(still.q, axis=1))
    return np.ascontiguousarray(still.q[order].T)


def near_truth(seed: int, degrees: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """Spots of a still, and the triclinic cell in nearly its orientation."""
    rng = np.random.default_rng(seed)
    still = simulate(CELLS["triclinic"], rng, 60, 0.3)
    order = np.argsort(np.linalg.norm(still.q, axis=1))
    axis = rng.normal(size=3)
    k = np.cross(np.eye(3), axis / np.linalg.norm(axis)) * math.radians(degrees)
    turned = nearest_rotation(primitive(CELLS["triclinic"]).real_space_angstrom, still.real_space_angstrom)[0]
    u, _, vt = np.linalg.svd(np.eye(3) + k)
    return np.ascontiguousarray(still.q[order].T), np.ascontiguousarray(turned @ (u @ vt))


def misfit(basis: np.ndarray, spots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    h = basis @ spots
    rounded = np.rint(h)
    d = np.abs(h - rounded).max(axis=0)
    d[(rounded == 0).all(axis=0)] = 1
    return d, rounded


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_counting_agrees_with_numpy(seed):
    spots, basis = near_truth(seed)
    counts = np.zeros(_spots.N_COUNTS, np.int64)
    _spots.count(basis, spots, spots.shape[1], counts)
    d, _ = misfit(basis, spots)
    assert counts.tolist() == [(d < t).sum() for t in (*_spots.THRESHOLDS, 0.25)]


@given(seeds, st.sampled_from([0.3, 0.2, 0.12]))
@settings(max_examples=25, deadline=None)
def test_a_step_of_refinement_is_the_least_squares_solution(seed, tolerance):
    spots, rigid = near_truth(seed)
    basis = rigid + np.random.default_rng(seed).normal(size=(3, 3)) * 0.02
    n = spots.shape[1]
    weights = np.random.default_rng(seed).uniform(0.2, 1, n)
    d, h = misfit(basis, spots)
    mine = d < tolerance
    expected_basis, expected_rigid = slow_step(basis, rigid, spots[:, mine], h[:, mine], weights[mine])
    total = known_polish.step(basis, rigid, spots, weights, n, tolerance, room())
    assert total == pytest.approx(weights[mine].sum())
    assert np.allclose(rigid, expected_rigid, atol=1e-3)
    assert np.allclose(basis, expected_basis, atol=1e-3)


def slow_step(basis, rigid, q, h, w) -> tuple[np.ndarray, np.ndarray]:
    """Rotation of the rigid target, then the basis with the prior, each as one dense least squares problem."""
    p = np.linalg.solve(rigid, h)
    root = np.sqrt(w)
    # the matrix that takes w to w x p has the columns e_j x p
    matrix = np.concatenate([root[k] * np.cross(np.eye(3), p[:, k]).T for k in range(len(w))])
    right = np.concatenate([root[k] * (q[:, k] - p[:, k]) for k in range(len(w))])
    omega = np.linalg.lstsq(matrix, right, rcond=None)[0]
    angle = np.linalg.norm(omega)
    k = np.cross(np.eye(3), omega / angle)
    turn = np.eye(3) + math.sin(angle) * k + (1 - math.cos(angle)) * k @ k
    rigid = rigid @ turn.T
    rows = []
    for i in range(3):
        weight = (known_polish.INDEX_SIGMA / known_polish.PRIOR / np.linalg.norm(rigid[i])) ** 2
        left = np.concatenate([root[:, None] * q.T, math.sqrt(weight) * np.eye(3)])
        rows.append(np.linalg.lstsq(left, np.concatenate([root * h[i], math.sqrt(weight) * rigid[i]]), rcond=None)[0])
    return np.array(rows), rigid


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_polishing_ends_where_the_slow_way_ends(seed):
    spots, basis = near_truth(seed)
    target = np.array(primitive(CELLS["triclinic"]).real_space_angstrom)
    n = spots.shape[1]
    slow, rigid = basis.copy(), basis.copy()
    m = 20
    while True:
        for tolerance in (0.3, 0.25):
            d, h = misfit(slow, spots[:, :m])
            slow, rigid = slow_step(
                slow, rigid, spots[:, :m][:, d < tolerance], h[:, d < tolerance], np.ones((d < tolerance).sum())
            )
        if m == n:
            break
        m = min(n, m + m // 2 + 1)
    for tolerance in (0.2, 0.15, 0.12):
        d, h = misfit(slow, spots)
        slow, rigid = slow_step(
            slow, rigid, spots[:, d < tolerance], h[:, d < tolerance], np.ones((d < tolerance).sum())
        )
    counts = np.zeros(_spots.N_COUNTS, np.int64)
    pattern = pattern_of(spots, 1.0, 1e-3, TRICLINIC.cell)._replace(n_start=20)
    s = known_polish.polish(basis, target, pattern, counts, room())
    d, _ = misfit(slow, spots)
    assert np.allclose(basis, slow, atol=2e-2)
    assert abs(counts[_spots.AT_015] - (d < 0.15).sum()) <= 1
    assert s > 0


def test_the_scan_of_directions_agrees_with_numpy():
    spots = spots_of(1)
    directions = half_sphere(1500)
    chosen = np.arange(0, spots.shape[1], 2)
    for used in (chosen, chosen[:-1]):
        scores = np.empty(1500, np.float32)
        known_directions.scan(directions, spots, used, 43.0, scores)
        t = 43.0 * directions.T.astype(float) @ spots[:, used]
        assert np.allclose(scores, np.minimum((t - np.rint(t)) ** 2, 0.09).sum(axis=1), atol=1e-3)


def test_turns_about_an_axis_are_scored_as_the_basis_that_they_make():
    spots, basis = near_truth(4, 0.0)
    target = np.array(primitive(CELLS["triclinic"]).real_space_angstrom)
    scores = TRICLINIC.make_scores()
    laid, trial = room_for_turns(spots.shape[1]), np.empty((3, 3))
    lab, frame = laid.lab, laid.frame
    m, steps = lay(target, 0, basis[0].copy(), 0.0, spots, lab, frame, laid.shape, laid.inliers)
    score_turns(spots, laid, m, steps, TRICLINIC.tables, scores)
    across = np.linalg.norm(np.cross(target[1:], target[0] / np.linalg.norm(target[0])), axis=1).max()
    h = basis[0] @ spots
    length = np.linalg.norm(spots, axis=0)
    used, taken = [], 0
    for k in range(spots.shape[1]):
        if length[k] > 0.3 / (0.015 * across) and taken >= 20:
            break
        if abs(h[k] - round(h[k])) < 0.2:
            used.append(k)
            taken += 1
    first, second = lab[0].copy(), lab[1].copy()
    best = []
    for k in range(0, steps, 7):
        psi = 2 * math.pi * k / steps
        lab[0], lab[1] = math.cos(psi) * first + math.sin(psi) * second, math.cos(psi) * second - math.sin(psi) * first
        algebra.carry(target, frame, lab, trial)
        assert np.allclose(trial[0] / np.linalg.norm(trial[0]), basis[0] / np.linalg.norm(basis[0]))
        assert np.allclose(trial @ trial.T, target @ target.T)
        t = trial[1:] @ spots[:, used]
        expected = np.minimum(((t - np.rint(t)) ** 2).max(axis=0), 0.09).sum()
        assert scores[k] == pytest.approx(expected, abs=2e-2)
        best.append(expected)
    assert scores[:steps].min() < np.median(best)


def test_the_lowest_scores_come_out_in_order():
    rng = np.random.default_rng(2)
    scores = rng.uniform(size=500).astype(np.float32)
    places, values = np.empty(32, np.int64), np.empty(32, np.float32)
    assert known_directions.lowest(scores, 400, places, values) == 32
    assert places.tolist() == np.argsort(scores[:400], kind="stable")[:32].tolist()
    assert known_directions.lowest(scores, 5, places, values) == 5


def test_the_report_in_an_array_is_that_of_the_search():
    spots = simulate(CELLS["triclinic"], np.random.default_rng(3), 60, 0.3)
    basis, again = np.empty((3, 3)), np.empty((3, 3))
    how = (TRICLINIC.cell, TRICLINIC.tables, 300, 40, True, TRICLINIC.make_scores())
    k0, px = 1.0 / XRAYS.wavelength_angstrom, XRAYS.px_per_angstrom
    accepted, report = search(spots.q, k0, px, *how, basis)
    out = np.empty(N_REPORT)
    assert search_and_report(spots.q, k0, px, *how, again, out) is accepted is True
    assert report_of(out) == report
    np.testing.assert_array_equal(again, basis)
