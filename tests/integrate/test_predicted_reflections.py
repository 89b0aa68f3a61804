"""Prediction against a slow loop over all indices, and what is estimated from peaks."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from detectors_and_crystals import allowed, crystal, detector, predicted_slowly
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lattices.cell import Lattice
from stages.prediction._kernels import estimates
from stages.prediction._kernels import predict as predict_kernel
from stages.prediction._kernels.absences import CENTERING_CODES, is_absent
from stages.prediction.centring import shortest_reciprocal_vector
from stages.prediction.estimates import DEFAULT_PROFILE_RADIUS, profile_radius, radius_of_errors, resolution_limit
from stages.prediction.pairing import pair_peaks
from stages.prediction.panel_finder import PanelFinder
from stages.prediction.predict import predict
from stages.records.crystal import Crystal
from stages.records.geometry import DetGeom, Panel
from stages.records.peaklist import PeakList


def as_dict(reflections):
    rows = zip(
        reflections.hkl.tolist(),
        reflections.panel,
        reflections.fs,
        reflections.ss,
        reflections.excitation_error_per_angstrom,
        reflections.partiality,
        strict=True,
    )
    return {tuple(hkl): rest for hkl, *rest in rows}


def assert_same(found, wanted):
    got = as_dict(found)
    assert len(got) == len(found), "a reflection is predicted twice"
    assert got.keys() == wanted.keys()
    for hkl, row in wanted.items():
        np.testing.assert_allclose(got[hkl], row, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tiles", [(1, 1), (2, 2), (3, 4)])
def test_the_predicted_set_is_that_of_a_loop_over_all_indices(seed, tiles):
    rng = np.random.default_rng(seed)
    geom = detector(tiles, (180, 140), 4e-4, rng=rng)
    known = crystal(rng, (23.0, 34.0, 29.0), det_shift_m=(3e-4, -5e-4))
    wanted = predicted_slowly(known, geom, 2e-3)
    assert len(wanted) > 10
    assert_same(predict(known, PanelFinder.of(geom), 2e-3), wanted)


@pytest.mark.parametrize("centering", "PABCIFRH")
def test_centring_takes_away_its_absences_and_nothing_else(centering):
    rng = np.random.default_rng(11)
    geom = detector((1, 1), (300, 300), 4e-4)
    known = crystal(rng, (33.0, 28.0, 30.0), centering)
    found = predict(known, PanelFinder.of(geom), 2e-3)
    assert len(found) > 5
    assert_same(found, predicted_slowly(known, geom, 2e-3))


def test_reflection_conditions_hold_for_every_index():
    for code, centering in enumerate(CENTERING_CODES):
        for hkl in itertools.product(range(-4, 5), repeat=3):
            assert is_absent(code, *hkl) == (not allowed(centering, *hkl)), (centering, hkl)


@pytest.mark.parametrize(("bandwidth", "divergence"), [(1e-3, 0.0), (0.02, 0.0), (0.0, 4e-3), (5e-3, 2e-3)])
def test_bandwidth_and_divergence_widen_the_ewald_sphere_as_the_formula_says(bandwidth, divergence):
    rng = np.random.default_rng(3)
    geom = detector((2, 2), (150, 150), 4e-4, bandwidth=bandwidth)
    known = crystal(rng, (25.0, 21.0, 31.0))
    found = predict(known, PanelFinder.of(geom), 1e-3, divergence=divergence)
    assert len(found) > len(predict(known, PanelFinder.of(replace(geom, bandwidth=0.0)), 1e-3))
    assert_same(found, predicted_slowly(known, geom, 1e-3, divergence=divergence))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), w=st.floats(0.0, 1.0), k=st.floats(0.1, 2.0), limit=st.floats(0.01, 3.0))
def test_no_reflection_of_a_layer_is_outside_its_lines_and_its_heights(seed, w, k, limit):
    rng = np.random.default_rng(seed)
    real = crystal(rng, (8.0, 11.0, 14.0)).real_space_angstrom
    axes = predict_kernel.axes_of(real, limit)
    lowest, highest = predict_kernel.heights(limit, w, k)
    reach = [range(-n, n + 1) for n in axes.most]
    indices = np.array(list(itertools.product(*reach))).reshape(-1, 3)
    g = indices @ axes.star
    shown = (np.linalg.norm(g, axis=1) <= limit) & (np.abs(np.linalg.norm(g + np.array([0, 0, k]), axis=1) - k) <= w)
    assert ((g[shown, 2] >= lowest) & (g[shown, 2] <= highest)).all()
    for first in reach[0]:
        begin, num = predict_kernel.lines_of_layer(first, limit * limit, lowest, highest, axes)
        second = indices[shown & (indices[:, 0] == first), 1]
        assert ((second >= begin) & (second < begin + num)).all()


def test_a_resolution_limit_cuts_at_that_resolution_exactly():
    rng = np.random.default_rng(5)
    geom = detector((1, 1), (300, 300), 4e-4)
    known = crystal(rng, (33.0, 28.0, 30.0))
    everything = predict(known, PanelFinder.of(geom), 3e-3)
    q = np.linalg.norm(everything.hkl @ known.reciprocal_per_angstrom, axis=1)
    limit = float(np.median(q))
    assert_same(predict(known, PanelFinder.of(geom), 3e-3, max_q=limit), predicted_slowly(known, geom, 3e-3, limit))
    assert len(predict(known, PanelFinder.of(geom), 3e-3, max_q=0.0)) == 0


def test_panels_without_indexing_and_panels_behind_others_have_no_reflections():
    geom = detector((1, 1), (300, 300), 4e-4)
    near = Panel("near", data="d", max_fs=99, max_ss=299)
    geom = DetGeom(
        (*geom.panels, near),
        np.vstack([geom.origin_m, geom.origin_m * 0.5]),
        np.vstack([geom.fs_m, geom.fs_m * 0.5]),
        np.vstack([geom.ss_m, geom.ss_m * 0.5]),
        geom.photon_energy_ev,
        np.array([0.08, 0.04]),
        (*geom.bad, np.zeros((300, 100), np.uint8)),
    )
    known = crystal(np.random.default_rng(1), (33.0, 28.0, 30.0))
    found = predict(known, PanelFinder.of(geom), 3e-3)
    assert (found.panel == 1).any()
    assert found.fs[found.panel == 0].min() >= 100.0
    shadowed = replace(geom, panels=(geom.panels[0], replace(near, no_index=True)))
    assert_same(predict(known, PanelFinder.of(shadowed), 3e-3), predicted_slowly(known, shadowed, 3e-3))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), tiles=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_a_ray_is_found_on_the_panel_it_meets_however_many_there_are(seed, tiles):
    rng = np.random.default_rng(seed)
    geom = detector(tiles, (37, 53), 1e-3, clen_m=float(rng.uniform(0.03, 0.3)), rng=rng)
    panel = rng.integers(0, len(geom.panels), 50)
    fs, ss = rng.uniform(0, 37, 50), rng.uniform(0, 53, 50)
    shift = (1e-3, -1.5e-3)
    ray = geom.lab_m(panel, fs, ss) + np.array([*shift, 0.0])
    length = np.linalg.norm(ray, axis=1)
    found, found_fs, found_ss = PanelFinder.of(geom).meet(ray * rng.uniform(0.1, 10, (50, 1)), shift)
    assert (found >= 0).all()
    place = geom.lab_m(found, found_fs, found_ss) + np.array([*shift, 0.0])
    np.testing.assert_allclose(np.cross(place, ray) / length[:, None] ** 2, 0.0, atol=1e-9)
    assert (np.linalg.norm(place, axis=1) <= length * (1 + 1e-9)).all()


@pytest.mark.parametrize("tiles", [(1, 1), (2, 2), (9, 8)])
def test_the_largest_q_is_that_of_the_farthest_corner(tiles):
    geom = detector(tiles, (100, 100), 4e-4)
    panel = np.repeat(np.arange(len(geom.panels)), 4)
    fs, ss = np.tile([0, 100, 0, 100], len(geom.panels)), np.tile([0, 0, 100, 100], len(geom.panels))
    corner = np.linalg.norm(geom.q_per_angstrom(panel, fs, ss), axis=1).max()
    largest = PanelFinder.of(geom).max_q_per_angstrom
    # a detector may be shifted by 2 mm before the finder is made anew
    assert corner <= largest < corner + 2.1 * 2e-3 / 0.08 / geom.wavelength_angstrom


def test_a_finder_follows_the_geometry_from_frame_to_frame():
    geom = detector((3, 3), (50, 50), 1e-3)
    finder = PanelFinder.of(geom)
    assert PanelFinder.of(geom, finder) is finder
    hotter = PanelFinder.of(replace(geom, photon_energy_ev=12000.0), finder)
    assert hotter.lists is finder.lists
    assert hotter.max_q_per_angstrom == pytest.approx(finder.max_q_per_angstrom * 12000.0 / 9500.0)
    moved = replace(geom, origin_m=geom.origin_m + np.array([0, 0, 0.1]))
    assert PanelFinder.of(moved, finder).max_q_per_angstrom < 0.7 * finder.max_q_per_angstrom


def test_a_shift_beyond_what_the_finder_was_made_for_is_taken_into_account():
    rng = np.random.default_rng(8)
    geom = detector((3, 3), (50, 50), 1e-3)
    known = crystal(rng, (33.0, 28.0, 30.0), det_shift_m=(0.02, -0.01))
    assert_same(predict(known, PanelFinder.of(geom), 3e-3), predicted_slowly(known, geom, 3e-3))


def test_panels_beside_and_behind_the_specimen_are_predicted_too():
    panels = tuple(Panel(name, data="d", max_fs=199, max_ss=199) for name in ("front", "side", "back"))
    geom = DetGeom(
        panels,
        np.array([[-0.1, -0.1, 0.08], [0.12, -0.1, -0.1], [-0.1, -0.1, -0.09]]),
        np.array([[1e-3, 0, 0], [0, 0, 1e-3], [1e-3, 0, 0]]),
        np.array([[0, 1e-3, 0], [0, 1e-3, 0], [0, 1e-3, 0]]),
        6000.0,
        np.array([0.08, -0.1, -0.09]),
        tuple(np.zeros((200, 200), np.uint8) for _ in panels),
    )
    known = crystal(np.random.default_rng(4), (12.0, 14.0, 11.0))
    wanted = predicted_slowly(known, geom, 5e-3)
    assert {row[0] for row in wanted.values()} == {0, 1, 2}
    assert_same(predict(known, PanelFinder.of(geom), 5e-3), wanted)


def test_no_index_exceeds_what_readers_can_take():
    geom = detector((1, 1), (400, 400), 4e-4)
    found = predict(Crystal(np.diag([5.0, 5.0, 4000.0])), PanelFinder.of(geom), 1e-3)
    assert 100 < np.abs(found.hkl).max() <= 511


def test_more_reflections_than_expected_are_all_returned():
    geom = detector((1, 1), (400, 400), 4e-4)
    known = crystal(np.random.default_rng(2), (110.0, 120.0, 130.0))
    found = predict(known, PanelFinder.of(geom), 2e-3)
    assert len(found) > 5000
    assert len(as_dict(found)) == len(found)


def peaks_of(reflections, rng, jitter=0.0):
    n = len(reflections)
    return PeakList.make(
        reflections.panel,
        reflections.fs + jitter * rng.standard_normal(n),
        reflections.ss + jitter * rng.standard_normal(n),
        np.ones(n),
    )


def test_peaks_at_predicted_places_are_paired_with_their_reflections():
    rng = np.random.default_rng(6)
    geom = detector((2, 2), (300, 300), 2e-4, rng=rng)
    finder = PanelFinder.of(geom)
    known = crystal(rng, (60.0, 55.0, 70.0), det_shift_m=(1e-4, 2e-4))
    wanted = predict(known, finder, 3e-4)
    pairs = pair_peaks(known.real_space_angstrom, known.lattice, known.det_shift_m, peaks_of(wanted, rng), finder)
    assert pairs.paired.all()
    np.testing.assert_array_equal(pairs.hkl, wanted.hkl)
    np.testing.assert_allclose([pairs.dfs, pairs.dss], 0.0, atol=1e-7)
    np.testing.assert_allclose(pairs.excitation_error_per_angstrom, wanted.excitation_error_per_angstrom, atol=1e-12)


def test_a_peak_far_from_every_reflection_and_one_on_the_beam_are_not_paired():
    geom = detector((1, 1), (400, 400), 2e-4)
    finder = PanelFinder.of(geom)
    known = Crystal(np.diag([50.0, 50.0, 50.0]))
    spot = predict(known, finder, 3e-3)
    middle = PeakList.make([0], spot.fs[:1] + 0.4 / 50 * 0.08 / 2e-4 * geom.wavelength_angstrom, spot.ss[:1], [1.0])
    beam = PeakList.make([0], [-geom.origin_m[0, 0] / 2e-4], [-geom.origin_m[0, 1] / 2e-4], [1.0])
    for peaks in (middle, beam, PeakList.make([0], [np.inf], [np.nan], [1.0])):
        assert not pair_peaks(known.real_space_angstrom, known.lattice, (0, 0), peaks, finder).paired.any()


def test_of_two_peaks_that_claim_one_reflection_the_nearer_has_it():
    geom = detector((1, 1), (400, 400), 2e-4)
    finder = PanelFinder.of(geom)
    known = Crystal(np.diag([50.0, 50.0, 50.0]))
    spot = predict(known, finder, 3e-3)
    peaks = PeakList.make([0, 0, 0], spot.fs[0] + np.array([0.5, 0.1, -0.3]), np.repeat(spot.ss[0], 3), [1.0, 1.0, 1.0])
    pairs = pair_peaks(known.real_space_angstrom, known.lattice, (0, 0), peaks, finder)
    assert pairs.paired.tolist() == [False, True, False]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sigma", [2e-4, 8e-4])
def test_the_profile_radius_of_normally_distributed_errors_is_their_standard_deviation(seed, sigma):
    rng = np.random.default_rng(seed)
    geom = detector((1, 1), (1000, 1000), 2e-4)
    finder = PanelFinder.of(geom)
    known = crystal(rng, (60.0, 55.0, 70.0))
    everything = predict(known, finder, 4 * sigma)
    seen = rng.random(len(everything)) < np.exp(-0.5 * (everything.excitation_error_per_angstrom / sigma) ** 2)
    peaks = peaks_of(everything.select(seen), rng, 0.2)
    # relative scatter 0.5 / sqrt(n / 2), and the errors that refinement would have taken up are none here
    assert profile_radius(known, peaks, finder) == pytest.approx(sigma, rel=4 * 0.75 / np.sqrt(seen.sum()))


def radius_slowly(errors):
    """Root mean square of those up to 2.5 S; S is what they show themselves as normal errors cut off there."""
    e = np.sort(np.abs(errors))
    x = np.linspace(-2.5, 2.5, 20001)
    of_kept = np.sqrt(np.average(x**2, weights=np.exp(-(x**2) / 2)))
    spread = np.median(e) / 0.67449
    for _ in range(len(e) + 1):
        spread = np.sqrt(np.mean(e[e <= 2.5 * spread] ** 2)) / of_kept
    return np.sqrt(np.mean(e[e <= 2.5 * spread] ** 2))


def crystfel_radius(errors):
    """CrystFEL's: sorted, ended at the first that exceeds 1.5 medians, a fiftieth left out; the largest that remains."""
    e = np.sort(np.abs(errors))
    beyond = np.flatnonzero(e[len(e) // 2 :] > 1.5 * e[len(e) // 2])
    n = len(e) // 2 + beyond[0] if len(beyond) else len(e)
    return e[max(n - 1 - n // 50, 2)]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(3, 200), chance=st.floats(0, 0.6))
def test_the_profile_radius_is_that_of_a_loop_written_from_the_formula(seed, n, chance):
    rng = np.random.default_rng(seed)
    errors = 3e-4 * rng.standard_normal(n)
    errors[rng.random(n) < chance] *= 20
    assert radius_of_errors(errors) == pytest.approx(radius_slowly(errors), rel=1e-9)
    turned = rng.permutation(errors) * rng.choice([-1, 1], n)
    assert radius_of_errors(turned) == radius_of_errors(errors), "neither order nor sign counts"
    assert radius_of_errors(4 * errors) == pytest.approx(4 * radius_of_errors(errors))


def test_the_profile_radius_means_what_crystfels_does_and_scatters_less():
    """For errors as peaks show them: one is found if its partiality times a random strength suffices."""
    rng = np.random.default_rng(8)

    def of_peaks(least, n):
        e = rng.uniform(-4, 4, 20000)
        return e[rng.exponential(size=len(e)) * np.exp(-(e**2) / 2) > least][:n]

    kinds = {
        "most are found": lambda: of_peaks(0.1, 60),
        "few are found": lambda: of_peaks(0.5, 60),
        "a fifth are chance pairs": lambda: np.concatenate([of_peaks(0.3, 48), rng.uniform(-10, 10, 12)]),
    }
    for kind, errors in kinds.items():
        both = np.array([(radius_of_errors(e), crystfel_radius(e)) for e in (errors() for _ in range(200))])
        ours, theirs = np.median(both, axis=0)
        assert 0.7 < ours / theirs < 1.0, kind
        assert ours == pytest.approx(1.0, abs=0.25), kind
        scatter = np.log(both).std(axis=0)
        assert scatter[0] < 0.9 * scatter[1], kind


@pytest.mark.parametrize("axes", [(58.0, 58.0, 152.0), (65.0, 120.0, 300.0)])
@pytest.mark.parametrize("spurious", [0.1, 0.5])
def test_chance_pairs_do_not_set_the_profile_radius_nor_make_it_too_big_for_partialator(axes, spurious):
    """Partialator rejects a crystal whose profile radius exceeds half its shortest reciprocal vector."""
    rng = np.random.default_rng(1)
    geom = detector((1, 1), (1000, 1000), 2e-4)
    finder = PanelFinder.of(geom)
    for _ in range(3):
        known = crystal(rng, axes)
        near = predict(known, finder, 2e-4)
        near = near.select(rng.permutation(len(near))[:100])
        peaks = peaks_of(near, rng)
        alone = profile_radius(known, peaks, finder)
        n = round(100 * spurious / (1 - spurious))
        wrong = (np.zeros(n), rng.uniform(0, 1000, n), rng.uniform(0, 1000, n), np.ones(n))
        both = PeakList.make(
            *(
                np.concatenate([getattr(peaks, name), more])
                for name, more in zip(("panel", "fs", "ss", "intensity"), wrong, strict=True)
            )
        )
        assert profile_radius(known, both, finder) == pytest.approx(alone, rel=0.3)
        assert profile_radius(known, both, finder) < 0.5 / max(axes)


def test_the_reach_of_a_prediction_is_what_is_asked_for():
    rng = np.random.default_rng(2)
    geom = detector((1, 1), (300, 300), 4e-4)
    known = crystal(rng, (33.0, 28.0, 30.0))
    for reach in (0.5, 1.15, 2.5):
        assert_same(
            predict(known, PanelFinder.of(geom), 2e-3, reach=reach), predicted_slowly(known, geom, 2e-3, reach=reach)
        )


def test_too_few_peaks_leave_radius_and_limit_undetermined():
    geom = detector()
    finder = PanelFinder.of(geom)
    known = crystal(np.random.default_rng(0))
    for peaks in (PeakList.make([], [], [], []), PeakList.make([0, 0], [10, 20], [30, 50], [1, 1])):
        assert profile_radius(known, peaks, finder) == DEFAULT_PROFILE_RADIUS
        assert resolution_limit(known, peaks, finder) == 0.0


def test_the_resolution_limit_is_that_of_the_third_highest_peak_that_belongs():
    rng = np.random.default_rng(9)
    geom = detector((1, 1), (800, 800), 2e-4)
    finder = PanelFinder.of(geom)
    known = crystal(rng, (60.0, 55.0, 70.0))
    found = predict(known, finder, 3e-4)
    found = found.select(np.arange(40))
    q = np.sort(np.linalg.norm(found.hkl @ known.reciprocal_per_angstrom, axis=1))
    assert resolution_limit(known, peaks_of(found, rng), finder) == pytest.approx(q[-3])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 200))
def test_the_resolution_limit_is_that_of_a_loop_written_from_the_definition(seed, n):
    rng = np.random.default_rng(seed)
    real = crystal(rng, (60.0, 55.0, 70.0)).real_space_angstrom
    hkl, fraction = rng.integers(-20, 21, (n, 3), np.int32), rng.uniform(0.0, 0.5, n)
    fraction[rng.random(n) < 0.1] = np.nan
    near = np.sort(np.linalg.norm(hkl[fraction < 0.25] @ np.linalg.inv(real).T, axis=1))
    wanted = near[len(near) - 1 - max(2, len(near) // 50)] if len(near) > 2 else 0.0
    assert estimates.limit_of_pairs(real, hkl, fraction) == pytest.approx(wanted, rel=1e-12)


def test_the_shortest_reciprocal_vector_respects_the_centring():
    real = np.diag([1 / 3.0, 1 / 4.0, 1 / 5.0])
    stars = np.linalg.inv(real).T
    assert shortest_reciprocal_vector(stars, Lattice("orthorhombic", "P")) == pytest.approx(3.0)
    assert shortest_reciprocal_vector(stars, Lattice("orthorhombic", "A")) == pytest.approx(3.0)
    assert shortest_reciprocal_vector(stars, Lattice("orthorhombic", "I")) == pytest.approx(5.0)
    assert shortest_reciprocal_vector(stars, Lattice("orthorhombic", "F")) == pytest.approx(6.0)
