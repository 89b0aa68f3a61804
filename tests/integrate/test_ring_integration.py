"""Ring integration against slow masks over whole panels, and against what is known of made-up spots."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pydantic
import pytest
from detectors_and_crystals import crystal, detector, integrated_slowly
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import Context, RejectFrame
from stages.integrate._containment import LEAST_CAUGHT
from stages.integrate._kernels.keep import N_SUMS, keep
from stages.integrate._kernels.tuples import (
    IMPLAUSIBLE,
    INTENSITY,
    MEASURED,
    MOMENT,
    N_RESULTS,
    SATURATED,
    SIGMA,
    TOTAL,
    UNMEASURABLE,
    WHOLE,
)
from stages.integrate.none import NoIntegration
from stages.integrate.predict_only import PredictOnly
from stages.integrate.rings import Rings
from stages.lattices.cell import Lattice
from stages.prediction.estimates import resolution_limit
from stages.prediction.panel_finder import PanelFinder
from stages.prediction.predict import predict
from stages.records.crystal import Crystal, Crystals, Reflections
from stages.records.image import Image
from stages.records.peaklist import PeakList

NO_PEAKS = PeakList.make([], [], [], [])
DTYPES = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8")


def reflections_at(places):
    """Reflections made up at (panel, fs, ss)."""
    n = len(places)
    panel, fs, ss = np.array(places, float).reshape(n, 3).T
    zero = np.zeros(n)
    hkl = np.stack([np.arange(n), np.zeros(n), np.ones(n)], axis=1).astype(np.int32)
    return Reflections(hkl, panel.astype(np.int32), fs.copy(), ss.copy(), *[zero] * 6)


def integrate(stage, places, arrays, geom):
    """Integrate made-up places instead of predicted ones."""
    running = stage.open(Context())
    return running._integrate([reflections_at(places)], geom, Image(arrays, {}))[0]


def plain(**options):
    """The stage without the correction for tails, which depends on all reflections of a crystal."""
    return Rings(correct_tails=False, **options)


def panels_of(geom, arrays):
    views = geom.views(Image(arrays, {}))
    return list(zip(views, geom.bad, strict=True))


def assert_as_slowly(found, slow, rtol=1e-4):
    wanted, num_saturated, num_implausible = slow
    kept = [n for n, row in enumerate(wanted) if row is not None]
    assert found.hkl[:, 0].tolist() == kept
    assert (found.num_saturated, found.num_implausible) == (num_saturated, num_implausible)
    got = np.array([found.intensity, found.sigma, found.peak, found.background]).T
    np.testing.assert_allclose(got, np.array([wanted[n] for n in kept]).reshape(-1, 4), rtol=rtol, atol=1e-6)


def random_case(seed, dtype="f4", tiles=(2, 1), pixels=(90, 70), num=60):
    rng = np.random.default_rng(seed)
    geom = detector(tiles, pixels, adu_per_photon=float(rng.uniform(0.5, 4.0)), max_adu=90.0)
    shape = (tiles[1] * pixels[1], tiles[0] * pixels[0])
    array = rng.poisson(rng.uniform(1, 40), shape) * 1.0
    array[rng.random(shape) < 0.002] += 60
    if np.dtype(dtype).kind != "u":
        array -= 10
    array = array.astype(dtype)
    if array.dtype.kind == "f":
        array[rng.random(shape) < 0.001] = np.nan
        array[rng.random(shape) < 0.0005] = np.inf
    bad = tuple((rng.random(pixels[::-1]) < 0.002).astype(np.uint8) for _ in geom.panels)
    places = np.column_stack(
        [rng.integers(0, len(geom.panels), num), rng.uniform(0, pixels[0], num), rng.uniform(0, pixels[1], num)]
    )
    places = [(int(p), fs, ss) for p, fs, ss in places]
    return replace(geom, bad=bad), {"d": array}, places


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("grad", [False, True])
def test_every_type_of_pixel_gives_the_sums_of_the_slow_reference(dtype, grad):
    geom, arrays, places = random_case(DTYPES.index(dtype), dtype)
    radii = (3.0, 4.0, 6.0)
    slow = integrated_slowly(
        places, panels_of(geom, arrays), radii, geom.panels[0].adu_per_photon, geom.panels[0].max_adu, grad
    )
    assert sum(row is not None for row in slow[0]) > 5
    assert_as_slowly(integrate(plain(int_radius=radii, grad=grad), places, arrays, geom), slow)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    inner=st.integers(1, 5),
    gap=st.integers(0, 2),
    width=st.integers(1, 4),
    grad=st.booleans(),
    sat=st.booleans(),
)
def test_any_radii_masks_and_crowding_give_the_sums_of_the_slow_reference(seed, inner, gap, width, grad, sat):
    geom, arrays, places = random_case(seed)
    radii = (float(inner), float(inner + gap), float(inner + gap + width))
    slow = integrated_slowly(
        places, panels_of(geom, arrays), radii, geom.panels[0].adu_per_photon, geom.panels[0].max_adu, grad, sat
    )
    assert_as_slowly(integrate(plain(int_radius=radii, grad=grad, sat=sat), places, arrays, geom), slow)


def test_panels_may_lie_across_in_their_array_and_in_several_arrays():
    geom, arrays, places = random_case(3, "i4")
    want = integrate(Rings(), places, arrays, geom)
    first, second = geom.panels
    across = replace(first, data="a", dims=(2, "fs", "ss"), min_fs=0, max_fs=89)
    apart = replace(second, data="b", min_fs=5, max_fs=94)
    views = geom.views(Image(arrays, {}))
    stack = np.zeros((4, 90, 70), np.int32)
    stack[2] = views[0].T
    wide = np.zeros((70, 100), np.int32)
    wide[:, 5:95] = views[1]
    got = integrate(Rings(), places, {"a": stack, "b": wide}, replace(geom, panels=(across, apart)))
    for name in ("hkl", "intensity", "sigma", "peak", "background"):
        np.testing.assert_array_equal(getattr(got, name), getattr(want, name))


def spot_on(shape, fs, ss, photons, sigma, rng=None):
    """Photons spread normally around (fs, ss): expected numbers, or drawn ones."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    shapes = np.exp(-((x - fs) ** 2 + (y - ss) ** 2) / (2 * sigma**2))
    expected = photons * shapes / shapes.sum()
    return expected if rng is None else rng.poisson(expected)


@pytest.mark.parametrize("slope", [(0.0, 0.0), (0.8, -0.5)])
def test_a_spot_on_a_flat_or_sloping_background_gives_its_photons(slope):
    geom = detector((1, 1), (60, 60))
    y, x = np.mgrid[:60, :60]
    background = 80.0 + slope[0] * x + slope[1] * y
    array = background + spot_on((60, 60), 30.4, 29.7, 5000.0, 1.0)
    for grad in (False, True):
        one = integrate(Rings(grad=grad), [(0, 30.4, 29.7)], {"d": array}, geom)
        # a plane's mean over a ring is its value in the middle, so that both backgrounds are right here
        assert one.intensity[0] == pytest.approx(5000.0, rel=2e-3)
        assert one.background[0] == pytest.approx(background[29, 30], rel=1e-4)


def test_a_plane_makes_up_for_a_ring_of_which_a_part_is_missing():
    geom = detector((1, 1), (60, 60))
    x = np.mgrid[:60, :60][1]
    array = 80.0 + 2.0 * x + spot_on((60, 60), 30.5, 30.5, 5000.0, 1.0)
    bad = np.zeros((60, 60), np.uint8)
    bad[:, 36:] = 1
    geom = replace(geom, bad=(bad,))
    flat, sloping = (integrate(Rings(grad=grad), [(0, 30.5, 30.5)], {"d": array}, geom) for grad in (False, True))
    assert sloping.intensity[0] == pytest.approx(5000.0, rel=2e-3)
    assert abs(flat.intensity[0] - 5000.0) > 50


def test_measured_intensities_scatter_about_the_truth_as_their_sigma_says():
    rng = np.random.default_rng(1)
    geom = detector((1, 1), (1200, 1200), adu_per_photon=3.0)
    places = [(0, fs, ss) for fs in np.arange(15.3, 1185, 30) for ss in np.arange(15.6, 1185, 30)]
    array = rng.poisson(2.0, (1200, 1200)).astype(np.int32)
    for _, fs, ss in places:
        x, y = int(fs) - 10, int(ss) - 10
        array[y : y + 21, x : x + 21] += spot_on((21, 21), fs - x, ss - y, 2000.0, 1.0, rng).astype(np.int32)
    found = integrate(Rings(), places, {"d": array * 3}, geom)
    pull = (found.intensity - 6000.0) / found.sigma
    assert len(found) == len(places)
    assert abs(pull.mean()) < 0.1
    assert pull.std() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("options", [{}, {"grad": True}, {"int_radius": (3.0, 4.0, 6.0)}, {"cen": True}])
@pytest.mark.parametrize("width", [0.8, 1.5])
def test_wide_spots_on_background_scatter_about_the_truth_as_their_sigma_says(width, options):
    rng = np.random.default_rng(2)
    geom = detector((1, 1), (1200, 1200))
    places = [(0, fs, ss) for fs in np.arange(15.3, 1185, 30) for ss in np.arange(15.6, 1185, 30)]
    places = [(p, fs + rng.uniform(-0.5, 0.5), ss + rng.uniform(-0.5, 0.5)) for p, fs, ss in places]
    array = rng.poisson(8.0, (1200, 1200)).astype(np.int32)
    photons = rng.choice([10.0, 100.0, 300.0, 1500.0], len(places))
    for (_, fs, ss), strength in zip(places, photons, strict=True):
        x, y = int(fs) - 10, int(ss) - 10
        array[y : y + 21, x : x + 21] += spot_on((21, 21), fs - x, ss - y, strength, width, rng).astype(np.int32)
    found = integrate(Rings(**options), places, {"d": array}, geom)
    truth = photons[found.hkl[:, 0]]
    pull = (found.intensity - truth) / found.sigma
    assert abs(pull.mean()) < 0.1
    assert pull.std() == pytest.approx(1.0, abs=0.1)
    assert found.intensity.sum() == pytest.approx(truth.sum(), rel=0.015)
    if width > 1.0 and not options.get("cen"):
        cut = integrate(plain(**options), places, {"d": array}, geom)
        assert cut.intensity.sum() < 0.97 * truth.sum()


def test_a_circle_too_small_for_the_spots_is_corrected_no_further_than_the_table_goes():
    geom = detector((1, 1), (200, 200))
    places = [(0, x + 0.5, y + 0.5) for x in (40, 100, 160) for y in (40, 100, 160)]
    array = np.full((200, 200), 3.0)
    for _, fs, ss in places:
        array += spot_on((200, 200), fs, ss, 9e4, 6.0)
    cut, corrected = (integrate(stage, places, {"d": array}, geom) for stage in (plain(), Rings()))
    ratio = corrected.intensity / cut.intensity
    assert ratio == pytest.approx(ratio[0])
    assert 1.4 < ratio[0] <= 1 / LEAST_CAUGHT


def test_two_strong_reflections_do_not_say_how_wide_spots_are():
    geom = detector((1, 1), (200, 200))
    places = [(0, 40.5, 40.5), (0, 120.5, 120.5), (0, 40.5, 120.5)]
    array = np.full((200, 200), 3.0)
    for _, fs, ss in places[:2]:
        array += spot_on((200, 200), fs, ss, 1e4, 1.5)
    cut, uncorrected = (integrate(stage, places, {"d": array}, geom) for stage in (plain(), Rings()))
    np.testing.assert_array_equal(cut.intensity, uncorrected.intensity)


def test_sigma_counts_one_photon_at_least_and_negative_sums_like_positive_ones():
    geom = detector((1, 1), (40, 40), adu_per_photon=2.0)
    array = np.full((40, 40), 7.0)
    nothing = integrate(Rings(), [(0, 20.5, 20.5)], {"d": array}, geom)
    assert (nothing.intensity[0], nothing.sigma[0], nothing.background[0]) == (0.0, 2.0, 7.0)
    array[20, 20] -= 8.0
    below = integrate(Rings(), [(0, 20.5, 20.5)], {"d": array}, geom)
    assert (below.intensity[0], below.sigma[0], below.num_implausible) == (-8.0, 4.0, 0)


def test_overlapping_spots_do_not_count_in_each_others_background():
    geom = detector((1, 1), (80, 60))
    array = np.full((60, 80), 10.0)
    first, second = (0, 30.5, 30.5), (0, 38.5, 30.5)
    array += spot_on((60, 80), *second[1:], 50000.0, 0.7)
    alone = integrate(Rings(), [first], {"d": array}, geom)
    assert alone.intensity[0] < -1000 or alone.num_implausible == 1 or len(alone) == 0
    together = integrate(Rings(), [first, second], {"d": array}, geom)
    assert abs(together.intensity[0]) < 25.0
    assert together.intensity[1] == pytest.approx(50000.0, rel=1e-3)


def test_pixels_claimed_by_two_reflections_count_for_neither():
    geom = detector((1, 1), (60, 60))
    array = np.full((60, 60), 1.0)
    array[30, 32] = 1000.0
    two = integrate(Rings(), [(0, 30.5, 30.5), (0, 34.5, 30.5)], {"d": array}, geom)
    np.testing.assert_allclose(two.intensity, 0.0, atol=1e-9)


def test_reflections_of_other_crystals_are_kept_out_too_and_each_crystal_gets_its_own():
    rng = np.random.default_rng(4)
    geom = detector((1, 1), (400, 400), 2e-4)
    array = rng.poisson(5.0, (400, 400)).astype(np.int32)
    crystals = tuple(crystal(rng, (50.0, 60.0, 40.0), profile_radius_per_angstrom=1e-3) for _ in range(2))
    running = plain().open(Context())
    both = running(Crystals(crystals, 3), geom, Image.of(d=array), NO_PEAKS)
    assert both.num_tries == 3
    finder = PanelFinder.of(geom)
    predicted = [predict(one, finder) for one in crystals]
    places = [place for one in predicted for place in zip(one.panel, one.fs, one.ss, strict=True)]
    wanted, _, _ = integrated_slowly(places, [(array, geom.bad[0])], (4, 5, 7), 1.0, np.inf)
    ends = np.cumsum([0, *map(len, predicted)])
    for n, one in enumerate(both):
        part = [row for row in wanted[ends[n] : ends[n + 1]] if row is not None]
        np.testing.assert_allclose(one.reflections.intensity, [row[0] for row in part], rtol=1e-4, atol=1e-6)
    alone = running(Crystals(crystals[:1]), geom, Image.of(d=array), NO_PEAKS)
    assert len(alone.found[0].reflections) >= len(both.found[0].reflections)


def test_marks_are_taken_away_after_each_frame():
    geom, arrays, places = random_case(5, "i4")
    running = Rings().open(Context())
    first = running._integrate([reflections_at(places)], geom, Image(arrays, {}))[0]
    running._integrate([reflections_at([(p, fs + 9, ss) for p, fs, ss in places])], geom, Image(arrays, {}))
    again = running._integrate([reflections_at(places)], geom, Image(arrays, {}))[0]
    np.testing.assert_array_equal(first.intensity, again.intensity)


def test_a_mask_that_changes_from_frame_to_frame_counts_at_once():
    geom = detector((1, 1), (40, 40))
    arrays = {"d": np.full((40, 40), 5, np.int32)}
    running = Rings().open(Context())
    flagged = np.zeros((40, 40), np.uint8)
    flagged[20, 21] = 255
    counts = [
        len(running._integrate([reflections_at([(0, 20.5, 20.5)])], replace(geom, bad=(bad,)), Image(arrays, {}))[0])
        for bad in (geom.bad[0], flagged, geom.bad[0])
    ]
    assert counts == [1, 0, 1]


def test_saturated_reflections_are_counted_and_left_out_unless_asked_for():
    geom = detector((1, 1), (60, 60), max_adu=100.0)
    array = np.full((60, 60), 5.0)
    array[30, 30] = 101.0
    array[15, 40] = 100.0
    places = [(0, 30.5, 30.5), (0, 40.5, 15.5)]
    left_out = integrate(Rings(), places, {"d": array}, geom)
    assert (left_out.hkl[:, 0].tolist(), left_out.num_saturated) == ([1], 1)
    kept = integrate(Rings(sat=True), places, {"d": array}, geom)
    assert (kept.hkl[:, 0].tolist(), kept.num_saturated) == ([0, 1], 1)


def test_implausibly_negative_reflections_are_counted_and_left_out():
    geom = detector((1, 1), (60, 60))
    array = np.full((60, 60), 50.0)
    array[28:33, 28:33] = 0.0
    found = integrate(Rings(), [(0, 30.5, 30.5), (0, 12.5, 12.5)], {"d": array}, geom)
    assert (found.hkl[:, 0].tolist(), found.num_implausible) == ([1], 1)


def test_centring_moves_a_circle_to_its_peak_and_leaves_weak_ones_where_they_are():
    rng = np.random.default_rng(2)
    geom = detector((1, 1), (120, 60))
    array = rng.poisson(5.0, (60, 120)) + spot_on((60, 120), 32.5, 28.5, 3000.0, 1.0).round()
    found = integrate(Rings(cen=True), [(0, 30.2, 30.9), (0, 90.4, 30.3)], {"d": array.astype(np.int32)}, geom)
    np.testing.assert_allclose(found.fs, [32.2, 90.4])
    np.testing.assert_allclose(found.ss, [28.9, 30.3])
    assert found.intensity[0] == pytest.approx(3000.0, rel=0.03)
    assert not np.array_equal(
        found.intensity, integrate(Rings(), [(0, 30.2, 30.9), (0, 90.4, 30.3)], {"d": array}, geom)
    )


def test_centring_does_not_follow_a_peak_beyond_the_inner_radius():
    geom = detector((1, 1), (60, 60))
    array = np.full((60, 60), 1.0)
    for step in range(8):
        array[30, 30 + step : 32 + step] += 100.0 * (step + 1)
    stays = integrate(Rings(cen=True), [(0, 28.5, 30.5)], {"d": array}, geom)
    assert stays.fs.tolist() == [28.5]


def test_centring_gives_the_sums_of_the_slow_reference_at_the_place_it_found():
    geom, arrays, places = random_case(12, "i4", num=15)
    running = plain(cen=True).open(Context())
    found = running._integrate([reflections_at(places)], geom, Image(arrays, {}))[0]
    moved = np.flatnonzero(np.hypot(found.fs - np.array(places)[found.hkl[:, 0], 1], 0) > 0)
    views = panels_of(geom, arrays)
    for n in moved:
        others = [place for m, place in enumerate(places) if m != found.hkl[n, 0]]
        here = (int(found.panel[n]), float(found.fs[n]), float(found.ss[n]))
        wanted, _, _ = integrated_slowly([here, *others], views, (4, 5, 7), geom.panels[0].adu_per_photon, 90.0)
        assert wanted[0] is not None
        assert found.intensity[n] == pytest.approx(wanted[0][0], rel=1e-4)


def real_frame(rng, tiles=(2, 2)):
    geom = detector(tiles, (250, 250), 2e-4)
    known = crystal(rng, (50.0, 60.0, 40.0))
    spots = predict(known, PanelFinder.of(geom), 5e-4)
    peaks = PeakList.make(spots.panel, spots.fs, spots.ss, np.ones(len(spots)))
    return geom, known, peaks


def test_the_stage_predicts_from_radius_and_limit_of_the_peaks():
    rng = np.random.default_rng(0)
    geom, known, peaks = real_frame(rng)
    array = rng.poisson(3.0, (500, 500)).astype(np.uint16)
    found = Rings().open(Context())(Crystals((known,)), geom, Image.of(d=array), peaks).found[0]
    assert 2e-4 < found.profile_radius_per_angstrom < 9e-4
    assert found.resolution_limit_per_angstrom == pytest.approx(resolution_limit(known, peaks, PanelFinder.of(geom)))
    assert len(found.reflections) > 0.5 * len(peaks)
    assert found.real_space_angstrom is known.real_space_angstrom


@pytest.mark.parametrize("stage", [Rings, PredictOnly])
def test_options_change_what_is_predicted_as_they_say(stage):
    rng = np.random.default_rng(0)
    geom, known, peaks = real_frame(rng)
    known = replace(known, profile_radius_per_angstrom=4e-4)
    image = Image.of(d=np.full((500, 500), 4, np.int32))

    def run(**options):
        running = stage(**options).open(Context())
        inputs = (geom, image, peaks) if stage is Rings else (geom, peaks)
        return running(Crystals((known,)), *inputs).found[0]

    plain = run()
    assert plain.profile_radius_per_angstrom == 4e-4
    assert run(fix_profile_radius=8e6).profile_radius_per_angstrom == pytest.approx(8e-4)
    assert len(run(fix_profile_radius=8e6).reflections) > 1.5 * len(plain.reflections)
    assert len(run(fix_divergence=5e-3).reflections) > len(plain.reflections)
    wide = run(overpredict=True)
    assert len(wide.reflections) > 3 * len(plain.reflections)
    assert wide.profile_radius_per_angstrom == 4e-4
    assert len(run(reach=3.4).reflections) == len(run(fix_profile_radius=8e6).reflections) > len(plain.reflections)
    cut = run(push_res=-0.5)
    q = np.linalg.norm(cut.reflections.hkl @ known.reciprocal_per_angstrom, axis=1)
    assert 0 < len(q) < len(plain.reflections)
    assert q.max() <= plain.resolution_limit_per_angstrom - 0.05
    nothing = run(cell_parameters_only=True)
    assert nothing.reflections is None
    assert nothing.profile_radius_per_angstrom == 4e-4


def test_without_pixels_reflections_have_no_intensity_and_bad_pixels_no_reflections():
    rng = np.random.default_rng(0)
    geom, known, peaks = real_frame(rng)
    bad = tuple(mask.copy() for mask in geom.bad)
    bad[1][:, 100:] = 1
    found = PredictOnly().open(Context())(Crystals((known,)), replace(geom, bad=bad), peaks).found[0]
    r = found.reflections
    everything = predict(found, PanelFinder.of(geom))
    assert len(r) == ((everything.panel != 1) | (everything.fs < 100)).sum() < len(everything)
    for values in (r.intensity, r.sigma, r.peak, r.background):
        assert not values.any()


def test_no_integration_gives_radius_and_limit_and_no_reflections():
    rng = np.random.default_rng(0)
    geom, known, peaks = real_frame(rng)
    found = NoIntegration().open(Context())(Crystals((known,)), geom, peaks).found[0]
    assert found.reflections is None
    assert found.profile_radius_per_angstrom > 0
    assert found.resolution_limit_per_angstrom > 0


def test_a_profile_radius_does_not_depend_on_the_frames_before_it():
    frames = [real_frame(np.random.default_rng(seed)) for seed in range(3)]

    def radii(order):
        running = NoIntegration().open(Context())
        found = {n: running(Crystals((frames[n][1],)), frames[n][0], frames[n][2]).found[0] for n in order}
        return [found[n].profile_radius_per_angstrom for n in range(3)]

    assert radii([0, 1, 2]) == radii([2, 0, 1])
    assert len(set(radii([0, 1, 2]))) == 3


@pytest.mark.parametrize("stage", [Rings(), PredictOnly(), NoIntegration()])
def test_frames_without_crystals_pass_and_broken_crystals_are_rejected(stage):
    geom = detector()
    running = stage.open(Context())
    inputs = (geom, Image.of(d=np.zeros((300, 400), "i4")), NO_PEAKS) if isinstance(stage, Rings) else (geom, NO_PEAKS)
    none = Crystals((), 4)
    assert running(none, *inputs) is none
    for broken in (np.full((3, 3), np.nan), np.zeros((3, 3)), np.ones((3, 3)), np.eye(3) * 1e300):
        with pytest.raises(RejectFrame, match="vectors"):
            running(Crystals((Crystal(broken, Lattice()),)), *inputs)


def test_a_frame_with_the_wrong_pixels_is_rejected():
    rng = np.random.default_rng(0)
    geom, known, peaks = real_frame(rng)
    running = Rings().open(Context())
    for arrays in ({}, {"d": np.zeros((10, 10), "i4")}, {"d": np.zeros((500, 500), bool)}):
        with pytest.raises(RejectFrame):
            running(Crystals((known,)), geom, Image(arrays, {}), peaks)
    assert len(running(Crystals((known,)), geom, Image.of(d=np.zeros((500, 500), "i4")), peaks).found[0].reflections)


def test_pixels_are_read_only_and_stay_so():
    geom, arrays, places = random_case(1, "i4")
    arrays["d"].flags.writeable = False
    before = arrays["d"].copy()
    integrate(Rings(), places, arrays, geom)
    np.testing.assert_array_equal(arrays["d"], before)


@pytest.mark.parametrize("radii", [(5, 4, 7), (4, 5, 5), (0, 2, 3), (4, 5, float("nan")), (4, 5, 2000)])
def test_radii_that_do_not_grow_are_refused(radii):
    with pytest.raises(pydantic.ValidationError):
        Rings(int_radius=radii)


@pytest.mark.parametrize(
    "options", [{"fix_profile_radius": 0}, {"reach": 0}, {"fix_divergence": -1}, {"int_radii": (4, 5, 7)}]
)
def test_other_nonsense_is_refused_too(options):
    with pytest.raises(pydantic.ValidationError):
        Rings(**options)


@pytest.mark.parametrize("stage", [Rings(int_radius=(3, 4, 5), grad=True), PredictOnly(push_res=1.0), NoIntegration()])
def test_stages_are_values(stage):
    assert pickle.loads(pickle.dumps(stage)) == stage
    assert hash(stage) == hash(replace(stage))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 60), sat=st.booleans())
def test_what_is_kept_and_what_strong_ones_sum_up_to_is_what_numpy_says(seed, n, sat):
    rng = np.random.default_rng(seed)
    results = rng.normal(size=(n, N_RESULTS)) * 20
    results[:, SIGMA], results[:, WHOLE] = rng.uniform(0.1, 2, n), rng.integers(0, 2, n)
    status = rng.choice([MEASURED, MEASURED, UNMEASURABLE, SATURATED, IMPLAUSIBLE, SATURATED | IMPLAUSIBLE], n)
    saturated, implausible = (status & SATURATED) > 0, (status & IMPLAUSIBLE) > 0
    wanted = (status == MEASURED) | (saturated & ~implausible & sat)
    strong = wanted & (results[:, INTENSITY] > 10 * results[:, SIGMA]) & (results[:, WHOLE] > 0) & ~saturated
    kept, columns, sums = np.empty(n, np.int64), np.empty((N_RESULTS, n)), np.empty(N_SUMS)
    num = keep(results, status, sat, 10.0, kept, columns, sums)
    assert kept[:num].tolist() == np.flatnonzero(wanted).tolist()
    np.testing.assert_array_equal(columns[:, :num].T, results[wanted])
    left_out = implausible if sat else implausible & ~saturated
    totals = results[strong, TOTAL].sum(), results[strong, MOMENT].sum()
    np.testing.assert_allclose(sums, [saturated.sum(), left_out.sum(), strong.sum(), *totals], rtol=1e-12, atol=1e-12)
