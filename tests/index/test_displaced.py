"""The search of a lattice that is displaced by a shift of the detector."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stages.compute.algebra import same_lattice
from stages.index._kernels.known import displaced, phases
from stages.index._kernels.known.accept import keep_better
from stages.index._kernels.known.residuals import residuals, room_for_residuals
from stages.index._kernels.known.search import pattern_of
from stages.index._kernels.known.tuples import Result, no_result
from stages.index._target import half_sphere
from stages.lattices.cell import misorientation, rotations
from stages.simulation.spot_lists import CELLS, SUITABLE, XRAYS, noise, simulate

K0, PX = 1 / XRAYS.wavelength_angstrom, XRAYS.px_per_angstrom


@pytest.fixture(scope="module")
def large(search_of):
    """What index/pairs searches the large cell with."""
    return search_of(CELLS["large"])


def sorted_spots(q: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(q[np.argsort(np.linalg.norm(q, axis=1))].T)


def test_the_scan_of_phases_agrees_with_numpy():
    directions, spots = half_sphere(700), sorted_spots(noise(np.random.default_rng(1), 24))
    scores, chosen = np.empty(700, np.float32), np.arange(24)
    phases.scan_phases(directions, spots, chosen, 50.0, scores)
    t = 50.0 * spots.T @ directions.astype(np.float64)
    t -= np.rint(t)
    sine, cosine = t * (0.5 - abs(t)), (0.25 - abs(t)) * (0.5 - abs(0.25 - abs(t)))
    assert np.allclose(scores, -(cosine.sum(axis=0) ** 2 + sine.sum(axis=0) ** 2), atol=2e-4)
    assert np.abs(16 * cosine - np.cos(2 * np.pi * t)).max() < 0.06  # the parabola is a cosine, nearly
    assert np.abs(16 * sine - np.sin(2 * np.pi * t)).max() < 0.06


def test_a_vector_is_fitted_wherever_its_planes_begin():
    rng = np.random.default_rng(2)
    v = np.array([20.0, -30.0, 40.0])
    q = rng.uniform(-0.2, 0.2, (40, 3))
    q += np.outer(np.rint(q @ v) + 0.37 - q @ v, v) / (v @ v)  # onto planes that begin at 0.37
    start = v + rng.normal(size=3) * 0.2
    inliers, phase = phases.fit_displaced(start, np.ascontiguousarray(q.T), np.arange(40), float(np.linalg.norm(v)))
    assert inliers == 40
    assert phase % 1 == pytest.approx(0.37, abs=0.01)
    assert np.allclose(start, v, atol=0.1)


def test_the_shift_is_what_the_phases_ask_for_and_moving_the_spots_undoes_it(large):
    for seed in range(10):
        still = simulate(
            CELLS["large"],
            np.random.default_rng(seed),
            60,
            shift_px=0.0,
            jitter_px=0.0,
            cell_error=0.0,
            **SUITABLE["large"],
        )
        off = 1.5 * np.array([np.cos(seed), np.sin(seed)])  # pixels; less than half of a reciprocal axis
        k = still.q * XRAYS.wavelength_angstrom + [0, 0, 1]
        xy = k[:, :2] / k[:, 2:] * XRAYS.distance_m / XRAYS.pixel_m
        pattern = pattern_of(sorted_spots(XRAYS.q_of(xy + off)), K0, PX, large.target.cell)
        basis = np.ascontiguousarray(np.linalg.solve(large.target.to_conventional, still.real_space_angstrom))
        shift, n = np.empty(2), pattern.spots.shape[1]
        assert displaced.shift_of(basis, pattern.spots, np.arange(n), PX, large.target.cell.longest, shift)
        assert np.abs(shift / PX - off).max() < 0.6
        back = displaced.moved(pattern, off * PX)
        off_by = room_for_residuals(n)
        inverse = np.ascontiguousarray(np.linalg.inv(basis))
        residuals(basis, inverse, np.zeros(2), back.spots, K0, off_by)
        assert np.quantile(off_by.across, 0.9) < 0.2 * PX
        residuals(basis, inverse, off * PX, pattern.spots, K0, off_by)
        assert np.quantile(off_by.across, 0.9) < 0.2 * PX
        assert back.reach_px > 0.0


def test_the_better_of_two_results_stays_and_another_lattice_tells_against_it():
    nothing = no_result(0.0)
    results = [Result(nothing.verdict._replace(margin=m, score=m), m, 0.5) for m in (50.0, 43.0)]
    bases = np.array([np.diag([30.0, 40.0, 50.0]), np.diag([30.0, 40.0, 50.0])])
    bases[1] = bases[1][:, [1, 2, 0]]
    assert not same_lattice(bases[0], np.linalg.inv(bases[1]), 0.15)
    for first, second in ((0, 1), (1, 0)):
        basis = bases[first].copy()
        kept = keep_better(results[second], bases[second], results[first], basis)
        assert kept.verdict == results[0].verdict
        assert kept.gap == pytest.approx(7.0)
        assert np.array_equal(basis, bases[0])
    basis = np.zeros((3, 3))
    assert keep_better(results[1], bases[1], nothing, basis) == results[1]
    assert np.array_equal(basis, bases[1])


def test_a_large_cell_is_found_though_the_detector_is_off_by_half_of_its_axis(large):
    group = rotations(CELLS["large"], 1e-4)
    right = wrong = 0
    for seed in range(30):
        how = {"shift_px": 0.0, "offset_px": 4.0, **SUITABLE["large"]}
        still = simulate(CELLS["large"], np.random.default_rng([seed, 3]), 40, 0.25, **how)
        found = large.search(still.q, XRAYS.wavelength_angstrom, PX)
        accepted = found is not None and found.accepted
        real = large.target.to_conventional @ found.basis if accepted else still.real_space_angstrom
        off = misorientation(real, still.real_space_angstrom, group)
        right += accepted and math.degrees(off) < 1.0
        wrong += accepted and math.degrees(off) >= 1.0
    assert right >= 28
    assert wrong <= 1


def test_spots_at_random_make_no_displaced_lattice(large):
    rng = np.random.default_rng(6)
    for n in (8, 12, 20, 40):
        for _ in range(12):
            found = large.search(noise(rng, n, 3.5), XRAYS.wavelength_angstrom, PX)
            assert found is None or not found.accepted
