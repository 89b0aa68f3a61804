"""The kernels that refine and judge by what is known of residuals, against slow, plain numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.index._kernels import spots as _spots
from stages.index._kernels.known import judge as known_judge
from stages.index._kernels.known import sharpen as known_sharpen
from stages.index._kernels.known.residuals import Residuals, residuals, room_for_residuals
from stages.index._kernels.known.search import pattern_of
from stages.index._kernels.known.tuples import Cell, Pattern, Room
from stages.index._target import make_target
from stages.lattices.cell import nearest_rotation, primitive
from stages.simulation.spot_lists import CELLS, XRAYS, noise, random_rotation, simulate

seeds = st.integers(0, 10**6)
K0, PX = 1 / XRAYS.wavelength_angstrom, XRAYS.px_per_angstrom
TARGET = make_target(CELLS["triclinic"])


def room() -> Room:
    return Room(np.empty(22), np.empty((3, 3, 3)), TARGET.make_scores())


def as_pattern(spots: np.ndarray) -> Pattern:
    return pattern_of(spots, K0, PX, TARGET.cell)


def true_pattern(seed: int, n: int = 60, **errors) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spots (3, n) sorted by |q|, the true primitive basis, and the target turned onto it."""
    still = simulate(CELLS["triclinic"], np.random.default_rng(seed), n, 0.25, **errors)
    spots = np.ascontiguousarray(still.q[np.argsort(np.linalg.norm(still.q, axis=1))].T)
    reduced = primitive(CELLS["triclinic"])
    true = np.linalg.solve(reduced.to_conventional.astype(float), still.real_space_angstrom)
    return spots, np.ascontiguousarray(true), nearest_rotation(reduced.real_space_angstrom, true)[0]


def slow_residuals(basis, shift, spots) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    q = spots.T
    ray = q + np.array([0, 0, K0])
    ray /= np.linalg.norm(ray, axis=1)[:, None]
    s = np.array([*shift, 0.0])
    q = q - ray[:, 2:] * (s - (ray @ s)[:, None] * ray)
    h = q @ basis.T
    worst = np.abs(h - np.rint(h)).max(axis=1)
    worst[(np.rint(h) == 0).all(axis=1)] = 1
    r = q - np.rint(h) @ np.linalg.inv(basis).T
    along = (r * ray).sum(axis=1)
    return np.sqrt(np.maximum((r**2).sum(axis=1) - along**2, 0)), np.abs(along), worst


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_residuals_across_and_along_the_ray_agree_with_numpy(seed):
    spots, basis, _ = true_pattern(seed)
    shift = np.random.default_rng(seed).normal(size=2) * PX
    n = spots.shape[1]
    off = room_for_residuals(n)
    residuals(basis, np.ascontiguousarray(np.linalg.inv(basis)), shift, spots, K0, off)
    for mine, slow in zip(off, slow_residuals(basis, shift, spots), strict=True):
        assert np.allclose(mine, slow, atol=1e-8)


def test_a_shift_of_the_detector_is_what_the_geometry_makes_of_it():
    """A spot seen some pixels off, taken back by the shift, is where it was, to first order."""
    rng = np.random.default_rng(3)
    xy = rng.uniform(-800, 800, size=(50, 2))
    off = np.array([1.5, -0.8])
    true, seen = XRAYS.q_of(xy), XRAYS.q_of(xy + off)
    s = np.array([*(off * PX), 0.0])
    ray = seen + np.array([0, 0, K0])
    ray /= np.linalg.norm(ray, axis=1)[:, None]
    back = seen - ray[:, 2:] * (s - (ray @ s)[:, None] * ray)
    assert np.abs(back - true).max() < 0.01 * np.abs(seen - true).max() + 1e-2 * PX


@pytest.mark.parametrize("model", [known_sharpen.SCALED, known_sharpen.STRAINED, known_sharpen.SHIFTED])
def test_sharpening_brings_a_basis_that_is_off_by_a_third_of_a_degree_to_the_truth(model):
    errors = []
    for seed in range(20):
        spots, true, target = true_pattern(seed, 60, shift_px=0.0)
        tilt = np.eye(3) + np.cross(np.eye(3), np.random.default_rng(seed).normal(size=3) * 0.003)
        shift = np.zeros(2)
        basis = np.ascontiguousarray(nearest_rotation(target, target @ tilt)[0])
        known_sharpen.sharpen(basis, np.ascontiguousarray(target), shift, model, 5, as_pattern(spots), room())
        rotation = nearest_rotation(basis, true)[1]
        errors.append(math.degrees(math.acos(min(1.0, (np.trace(rotation) - 1) / 2))))
    assert np.median(errors) < 0.1
    assert max(errors) < 0.4


def test_sharpening_finds_the_shift_of_the_detector():
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        spots, true, target = true_pattern(seed, 80, shift_px=0.0, jitter_px=0.2, cell_error=0.0)
        off = rng.normal(size=2) * 1.5
        k = spots.T * XRAYS.wavelength_angstrom + [0, 0, 1]
        xy = k[:, :2] / k[:, 2:] * XRAYS.distance_m / XRAYS.pixel_m
        moved = np.ascontiguousarray(XRAYS.q_of(xy + off).T)
        basis, shift = true.copy(), np.zeros(2)
        model = known_sharpen.SHIFTED
        known_sharpen.sharpen(basis, np.ascontiguousarray(target), shift, model, 6, as_pattern(moved), room())
        found.append(np.abs(shift / PX - off).max())
    assert np.median(found) < 0.3


def slow_judge(basis, spots, n_sym, n_free) -> float:
    """The largest S - lnN, without a shift."""
    across, along, worst = slow_residuals(basis, (0.0, 0.0), spots)
    n, volume = spots.shape[1], abs(np.linalg.det(basis))
    q_rms = math.sqrt((spots**2).sum() / n)
    longest = np.linalg.norm(basis, axis=1).max()
    turns, best = math.log(8 * math.pi**2 / n_sym), -math.inf

    def score(m, p) -> float | None:
        if m <= n * p:
            return None
        return m * math.log(m / n / p) + ((n - m) * math.log((1 - m / n) / (1 - p)) if m < n else 0.0)

    for t in _spots.THRESHOLDS:
        s, step = score((worst < t).sum(), (2 * t) ** 3), 2 * t / volume ** (1 / 3)
        if s is not None:
            strain = (1 if n_free == 4 else 6) * math.log(1 + 0.01 * q_rms / step)
            best = max(best, s - turns - 3 * math.log(max(1, q_rms / step)) - strain)
    for length in known_judge.ALONG:
        for radius in known_judge.ACROSS * PX:
            p = volume * math.pi * radius**2 * 2 * length
            if p > 0.3 or max(radius, length) * longest > 0.5:
                continue
            s = score(((across < radius) & (along < length) & (worst < 0.5)).sum(), p)
            if s is not None:
                trials = math.log(max(1, q_rms / 2 / radius)) + 2 * math.log(max(1, q_rms / 2 / length))
                a, b = math.log(1 + 0.01 * q_rms / 2 / radius), math.log(1 + 0.01 * q_rms / 2 / length)
                best = max(best, s - turns - trials - (a if n_free == 4 else 3 * a + 3 * b))
    return best


@given(seeds, st.sampled_from([known_sharpen.SCALED, known_sharpen.STRAINED]), st.booleans())
@settings(max_examples=30, deadline=None)
def test_the_verdict_is_the_best_shape_of_tolerance(seed, model, is_true):
    spots, basis, _ = true_pattern(seed)
    if not is_true:
        basis = np.ascontiguousarray(basis @ random_rotation(np.random.default_rng(seed)).T)
    longest = float(np.linalg.norm(basis, axis=1).max())
    cell = Cell(basis, 1, abs(float(np.linalg.det(basis))), longest, np.eye(3)[None], np.empty((0, 3, 3)))
    verdict = known_judge.judge(basis, np.zeros(2), model, cell, as_pattern(spots))
    assert verdict.margin == pytest.approx(slow_judge(basis, spots, 1, model), abs=1e-6)
    assert verdict.margin == -math.inf or verdict.margin == pytest.approx(verdict.score - verdict.log_trials)
    across, along, worst = slow_residuals(basis, (0.0, 0.0), spots)
    counts, cells = np.zeros(_spots.N_COUNTS, np.int64), np.zeros((8, 6), np.int64)
    known_judge.tally(Residuals(across, along, worst), PX, counts, cells)
    assert counts.tolist() == [(worst < t).sum() for t in (*_spots.THRESHOLDS, 0.25)]
    within = [verdict.within_015, verdict.within_020, verdict.within_025]
    assert within == [(worst < t).sum() for t in (0.15, 0.2, 0.25)]
    assert (verdict.margin > 12) == is_true


def test_the_verdict_on_an_orientation_chosen_at_random_is_far_below_noise():
    rng = np.random.default_rng(8)
    target = np.array(primitive(CELLS["triclinic"]).real_space_angstrom)
    for _ in range(200):
        spots = np.ascontiguousarray(noise(rng, 40).T)
        basis = np.ascontiguousarray(target @ random_rotation(rng).T)
        assert slow_judge(basis, spots, 1, 9) < 0
