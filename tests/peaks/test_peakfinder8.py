"""peakfinder8 against a slow reference, and on frames whose answer is plain."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peak_frames import add_spot, detgeom, flat_detgeom, peakfinder8_reference, search, small_panel, table

from pipeline import Context, RejectFrame
from pipeline.contract import contract_of
from stages.compute.pixel_types import PIXEL_TYPES
from stages.peaks._kernels.rings import ring_samples
from stages.peaks.peakfinder8 import Peakfinder8
from stages.pixels.tables import Flattener
from stages.records.geometry import DetGeom
from stages.records.image import Image
from stages.records.peaklist import PeakList


def assert_same(found: PeakList, reference: np.ndarray) -> None:
    reference = reference[np.lexsort((reference[:, 1], reference[:, 2], reference[:, 0]))]
    assert len(found) == len(reference)
    np.testing.assert_allclose(table(found), reference[:, :4], rtol=1e-6, atol=1e-6)


def spotty(seed: int, shape=(90, 110), background=6.0, spots=12) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    rate = background * np.exp(-np.hypot(x - shape[1] / 2, y - shape[0] / 2) / 40)
    for _ in range(spots):
        add_spot(rate, rng.uniform(0, shape[1]), rng.uniform(0, shape[0]), rng.exponential(150), rng.uniform(0.5, 1.5))
    return rng.poisson(rate)


def two_panels(bad_seed: int = 0) -> DetGeom:
    rng = np.random.default_rng(bad_seed)
    half = {"shape": (90, 55), "bad": rng.random((90, 55)) < 0.02}
    turned = {"place": (0, 55), "corner": (-2.3, 50.0), "fs": (0.0, -1.0), "ss": (1.0, 0.0)}
    return detgeom([{**half, "corner": (-57.7, -45.2)}, {**half, **turned}])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_small_panels_give_the_peaks_of_the_reference(data: st.DataObject):
    pixels, bad = small_panel(data, 14)
    corner = data.draw(st.tuples(st.integers(-10, 3), st.floats(-10, 3).map(lambda c: round(c, 2))))
    geom = detgeom([{"shape": pixels.shape, "corner": corner, "bad": bad}])
    options = {
        "threshold": data.draw(st.sampled_from([-5.0, 0.0, 8.0, 20.0])),
        "min_snr": data.draw(st.sampled_from([0.5, 2.0, 5.0])),
        "min_pix_count": data.draw(st.integers(1, 3)),
        "max_pix_count": data.draw(st.sampled_from([3, 200])),
        "local_bg_radius": data.draw(st.integers(1, 3)),
        "min_res": data.draw(st.sampled_from([0, 2])),
        "max_res": data.draw(st.sampled_from([0, 8])),
    }
    assert_same(search(Peakfinder8(**options), pixels, geom), peakfinder8_reference([pixels], geom, **options))


@pytest.mark.parametrize("dtype", PIXEL_TYPES, ids=lambda t: np.dtype(t).name)
def test_every_pixel_type_gives_the_peaks_of_the_reference(dtype):
    pixels = np.minimum(spotty(1), 120).astype(dtype)
    geom = two_panels()
    options = {"threshold": 15.0, "min_snr": 4.0, "max_pix_count": 40}
    found = search(Peakfinder8(**options), pixels, geom)
    reference = peakfinder8_reference([pixels[:, :55], pixels[:, 55:]], geom, **options)
    assert len(found) > 3
    assert_same(found, reference)
    assert (found.snr >= 4).all()
    assert sorted(found.num_pixels) == sorted(reference[:, 5])
    assert sorted(found.max_pixel) == sorted(reference[:, 6])


@pytest.mark.parametrize("samples", [1, 2, 4, 16, 128])
@pytest.mark.parametrize("background", [0.0, 0.02, 0.3, 6.0, 300.0])
def test_the_number_of_samples_from_which_thresholds_are_guessed_changes_nothing(samples, background, monkeypatch):
    monkeypatch.setattr(ring_samples, "SAMPLES_PER_RING", samples)
    pixels = spotty(2, background=background).astype(np.float32)
    geom = two_panels()
    options = {"threshold": 3.0, "min_snr": 3.0, "min_pix_count": 1}
    reference = peakfinder8_reference([pixels[:, :55], pixels[:, 55:]], geom, **options)
    assert_same(search(Peakfinder8(**options), pixels, geom), reference)


def test_rings_whose_thresholds_cut_into_the_guessed_core_are_done_anew(monkeypatch):
    """One sample in sixteen leads the guess astray; without the plain rounds the thresholds would be wrong."""
    monkeypatch.setattr(ring_samples, "SAMPLES_PER_RING", 3)
    rng = np.random.default_rng(3)
    pixels = rng.choice([0.0, 1.0, 40.0, 41.0], p=[0.45, 0.45, 0.05, 0.05], size=(90, 110)).astype(np.float32)
    geom = flat_detgeom(90, 110)
    options = {"threshold": 2.0, "min_snr": 2.0, "min_pix_count": 1}
    running = Peakfinder8(**options).open(Context())
    found = running(Image.of(data=pixels), geom)
    assert running.thresholds.cut.any()
    assert len(found) > 100
    assert_same(found, peakfinder8_reference([pixels], geom, **options))


def test_more_outliers_than_the_list_holds_change_nothing():
    rng = np.random.default_rng(4)
    pixels = np.where(rng.random((120, 130)) < 0.3, rng.integers(1, 90, (120, 130)), 0).astype(np.int32)
    geom = flat_detgeom(120, 130)
    options = {"threshold": 1.0, "min_snr": 0.5, "min_pix_count": 1}
    assert_same(search(Peakfinder8(**options), pixels, geom), peakfinder8_reference([pixels], geom, **options))


def test_integers_and_floats_give_the_same_peaks():
    pixels, geom = np.minimum(spotty(5), 120), two_panels()
    found = [table(search(Peakfinder8(threshold=15, min_snr=4), pixels.astype(t), geom)) for t in PIXEL_TYPES]
    assert len(found[0]) > 3
    assert all(np.array_equal(other, found[0]) for other in found)


def test_the_order_of_panels_changes_nothing_but_their_numbers():
    pixels, geom = spotty(6), two_panels()
    swapped = DetGeom(
        geom.panels[::-1],
        geom.origin_m[::-1],
        geom.fs_m[::-1],
        geom.ss_m[::-1],
        geom.photon_energy_ev,
        geom.clen_m,
        geom.bad[::-1],
    )
    one = search(Peakfinder8(threshold=15, min_snr=4), pixels, geom)
    other = search(Peakfinder8(threshold=15, min_snr=4), pixels, swapped)
    assert {*one.panel} == {0, 1}
    other = PeakList.make(1 - other.panel, other.fs, other.ss, other.intensity)
    assert np.array_equal(table(one), table(other))


def test_panels_from_several_arrays_and_types_share_their_rings():
    pixels = spotty(7).astype(np.int32)
    left, right = {"shape": (90, 55), "corner": (-55, -45)}, {"shape": (90, 55), "corner": (0, -45)}
    together = detgeom([{**right, "place": (0, 55)}, left])
    apart = detgeom([{**right, "data": "right"}, {**left, "data": "left"}])
    one = search(Peakfinder8(threshold=15, min_snr=4), pixels, together)
    other = search(
        Peakfinder8(threshold=15, min_snr=4), {"left": pixels[:, :55].astype("f4"), "right": pixels[:, 55:]}, apart
    )
    assert len(one) > 3
    assert np.array_equal(table(one), table(other))


def test_a_panel_whose_fast_scan_is_the_slower_dimension_gives_the_same_peaks():
    pixels = spotty(8)
    one = search(Peakfinder8(threshold=15, min_snr=4), pixels, flat_detgeom(90, 110))
    other = search(Peakfinder8(threshold=15, min_snr=4), pixels.T.copy(), flat_detgeom(90, 110, dims=("fs", "ss")))
    assert len(one) > 3
    assert np.array_equal(table(one), table(other))


def frame_with_one_spot(height: float = 400.0, fs: float = 30.5, ss: float = 20.5) -> np.ndarray:
    pixels = np.random.default_rng(9).poisson(5.0, (60, 80)).astype(float)
    add_spot(pixels, fs, ss, height)
    return np.round(pixels)


def test_the_centre_of_the_first_pixel_is_at_one_half():
    found = search(Peakfinder8(threshold=60), frame_with_one_spot(), flat_detgeom(60, 80))
    assert len(found) == 1
    assert found.fs[0] == pytest.approx(30.5, abs=0.05)
    assert found.ss[0] == pytest.approx(20.5, abs=0.05)
    assert found.max_pixel[0] == frame_with_one_spot().max()
    assert found.intensity[0] == pytest.approx(400 * 2 * np.pi * 0.8**2, rel=0.1)


def test_a_masked_spot_is_not_found_and_one_masked_pixel_is_left_out():
    pixels, bad = frame_with_one_spot(), np.zeros((60, 80))
    bad[20, 30] = 1
    without_top = search(Peakfinder8(threshold=60), pixels, flat_detgeom(60, 80, bad=bad))
    bad[14:27, 24:37] = 1
    none = search(Peakfinder8(threshold=60), pixels, flat_detgeom(60, 80, bad=bad))
    assert len(none) == 0
    assert without_top.max_pixel[0] == np.sort(pixels.ravel())[-2]


def test_values_under_the_mask_change_nothing():
    pixels, bad = frame_with_one_spot(), np.zeros((60, 80))
    bad[18, 33] = bad[5] = 1
    one = search(Peakfinder8(threshold=60), pixels, flat_detgeom(60, 80, bad=bad))
    for value in (np.nan, np.inf, -np.inf, 1e9, -1e9):
        pixels[bad == 1] = value
        assert np.array_equal(
            table(search(Peakfinder8(threshold=60), pixels, flat_detgeom(60, 80, bad=bad))), table(one)
        )


def test_pixels_that_are_not_finite_are_as_good_as_masked():
    pixels, bad = frame_with_one_spot(), np.zeros((60, 80))
    bad[18, 33] = bad[19, 30] = 1
    masked = search(Peakfinder8(threshold=60), pixels, flat_detgeom(60, 80, bad=bad))
    for value in (np.nan, np.inf, -np.inf):
        pixels[bad == 1] = value
        assert np.array_equal(table(search(Peakfinder8(threshold=60), pixels, flat_detgeom(60, 80))), table(masked))


def test_a_mask_that_changes_from_frame_to_frame_is_followed():
    pixels, bad = frame_with_one_spot(), np.zeros((60, 80))
    bad[14:27, 24:37] = 1
    running = Peakfinder8(threshold=60).open(Context())
    frames = [flat_detgeom(60, 80), flat_detgeom(60, 80, bad=bad), flat_detgeom(60, 80), flat_detgeom(60, 80, bad=bad)]
    assert [len(running(Image.of(data=pixels), geom)) for geom in frames] == [1, 0, 1, 0]


def test_a_geometry_that_changes_from_frame_to_frame_is_followed():
    pixels = spotty(10)
    geoms = [detgeom([{"shape": (90, 110), "corner": (x, -45)}], static_key=x) for x in (-55, -20, -55, 4)]
    running = Peakfinder8(threshold=8, min_snr=3).open(Context())
    for geom in geoms:
        reference = peakfinder8_reference([pixels], geom, threshold=8, min_snr=3)
        assert_same(running(Image.of(data=pixels), geom), reference)


def test_two_searches_share_ring_maps_and_disturb_each_other_in_nothing():
    context = Context()
    one, other = (Peakfinder8(threshold=15, min_snr=4).open(context) for _ in range(2))
    geom = two_panels()
    first = table(one(Image.of(data=spotty(11)), geom))
    other(Image.of(data=spotty(12)), geom)
    assert one.thresholds.layout.ring_map is other.thresholds.layout.ring_map
    assert np.array_equal(table(one(Image.of(data=spotty(11)), geom)), first)


@pytest.mark.parametrize("value", [0, 1, -3, 1000, 2e9, np.nan])
def test_a_frame_of_one_value_has_no_peaks(value):
    assert len(search(Peakfinder8(threshold=5), np.full((30, 40), value, "f8"), flat_detgeom(30, 40))) == 0


def test_a_frame_that_is_all_masked_has_no_peaks():
    assert len(search(Peakfinder8(threshold=5), spotty(1), flat_detgeom(90, 110, bad=np.ones((90, 110))))) == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (3, 3)])
def test_the_smallest_panels_do_no_harm(shape):
    pixels = np.zeros(shape, np.uint16)
    pixels[-1, -1] = 999
    assert len(search(Peakfinder8(threshold=5), pixels, flat_detgeom(*shape))) == 0


def test_a_spot_on_the_outermost_pixels_starts_no_peak():
    pixels = np.random.default_rng(1).poisson(5, (60, 80))
    pixels[0, 30:33] = pixels[20:23, 79] = 500
    assert len(search(Peakfinder8(threshold=60), pixels, flat_detgeom(60, 80))) == 0
    pixels[1, 31] = 500
    found = search(Peakfinder8(threshold=60), pixels, flat_detgeom(60, 80))
    assert found.num_pixels.tolist() == [4]


def test_a_peak_of_min_or_max_pix_count_counts():
    pixels = np.random.default_rng(2).poisson(5, (60, 80))
    pixels[20:22, 65:68] = 500  # far out, where rings are long
    for low, high, n in ((6, 6, 1), (7, 9, 0), (1, 5, 0)):
        stage = Peakfinder8(threshold=60, min_pix_count=low, max_pix_count=high)
        assert len(search(stage, pixels, flat_detgeom(60, 80))) == n


def test_resolution_limits_are_kept():
    pixels = frame_with_one_spot(fs=60.5, ss=30.5)
    for low, high, n in ((0, 0, 1), (0, 30, 1), (10, 30, 1), (30, 0, 0), (0, 15, 0)):
        stage = Peakfinder8(threshold=60, min_res=low, max_res=high)
        assert len(search(stage, pixels, flat_detgeom(60, 80))) == n


def test_saturated_peaks_are_kept_unless_told_otherwise():
    pixels, geom = frame_with_one_spot(), flat_detgeom(60, 80, max_adu=300.0)
    assert len(search(Peakfinder8(threshold=60), pixels, geom)) == 1
    assert len(search(Peakfinder8(threshold=60, use_saturated=False), pixels, geom)) == 0
    assert len(search(Peakfinder8(threshold=60, use_saturated=False), pixels, flat_detgeom(60, 80))) == 1


def test_the_search_ends_after_max_peaks():
    pixels = np.random.default_rng(2).poisson(5, (100, 100))
    pixels[10:95:20, 10:95:20] += 500
    pixels[10:95:20, 11:95:20] += 500
    geom = flat_detgeom(100, 100, corner=(400, 300))
    every = search(Peakfinder8(threshold=60), pixels, geom)
    some = search(Peakfinder8(threshold=60, max_peaks=7), pixels, geom)
    assert len(every) > 10
    assert len(some) == 7
    assert np.array_equal(some.fs, every.fs[:7])


def test_a_pixel_too_large_for_float32_counts_as_infinite():
    pixels, geom = frame_with_one_spot(), flat_detgeom(60, 80)
    pixels[5, 7], pixels[50, 60] = 1e300, -1e300
    infinite = np.where(np.abs(pixels) > 1e99, np.copysign(np.inf, pixels), pixels).astype(np.float32)
    found, expected = (search(Peakfinder8(threshold=60), frame, geom) for frame in (pixels, infinite))
    assert len(found) == 1
    assert found.intensity == expected.intensity


def test_one_search_serves_frames_of_all_types_in_turn():
    running, geom = Peakfinder8(threshold=60).open(Context()), flat_detgeom(60, 80)
    for height in (100.0, 60.0):
        pixels = np.minimum(frame_with_one_spot(height=height), 127)
        expected = search(Peakfinder8(threshold=60), pixels.astype(np.int32), geom)
        for dtype in PIXEL_TYPES:
            found = running(Image.of(data=pixels.astype(dtype)), geom)
            assert len(found) == len(expected)
            assert np.array_equal(found.intensity, expected.intensity)


def test_a_missing_or_foreign_array_rejects_the_frame():
    geom = flat_detgeom(10, 10)
    for pixels, reason in (
        ({"other": np.zeros((10, 10))}, "missing_key"),
        ({"data": np.zeros((9, 10))}, "image_too_small"),
        ({"data": np.zeros((10, 10), complex)}, "wrong_dtype"),
        ({"data": np.zeros((10, 10), bool)}, "wrong_dtype"),
    ):
        with pytest.raises(RejectFrame) as rejection:
            search(Peakfinder8(), pixels, geom)
        assert rejection.value.reason == reason


def test_pixels_are_neither_copied_nor_changed():
    pixels = spotty(1).astype(np.uint16)
    message = np.frombuffer(b"?" + pixels.tobytes(), np.uint16, offset=1).reshape(pixels.shape)
    running = Peakfinder8(threshold=15).open(Context())
    (_, flat), *_ = Flattener()(Image.of(data=message), flat_detgeom(90, 110))
    assert np.shares_memory(flat, message)
    assert np.array_equal(table(running(Image.of(data=message), flat_detgeom(90, 110))),
                          table(search(Peakfinder8(threshold=15), pixels, flat_detgeom(90, 110))))  # fmt: skip
    assert np.array_equal(message, pixels)


def test_the_contract_and_the_defaults_are_those_of_indexamajig():
    assert contract_of(Peakfinder8).reads == (Image, DetGeom)
    assert contract_of(Peakfinder8).writes == (PeakList,)
    s = Peakfinder8()
    assert (s.threshold, s.min_snr, s.min_pix_count, s.max_pix_count) == (800, 5, 2, 200)
    assert (s.local_bg_radius, s.min_res, s.max_res, s.use_saturated) == (3, 0, 0, True)


def big_frame(dtype: type = np.int32) -> tuple[np.ndarray, DetGeom]:
    """A frame in which most rings have many more pixels than are sampled."""
    pixels = np.minimum(spotty(21, (700, 720), background=40.0, spots=90), 250)
    bad = np.random.default_rng(0).random(pixels.shape) < 0.003
    pixels[bad] = 250
    return pixels.astype(dtype), flat_detgeom(700, 720, bad=bad)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_rings_with_many_pixels_give_the_peaks_of_the_reference(dtype):
    pixels, geom = big_frame(dtype)
    options = {"threshold": 6.0, "min_snr": 4.0}
    found = search(Peakfinder8(**options), pixels, geom)
    assert len(found) > 20
    assert_same(found, peakfinder8_reference([pixels], geom, **options))


def test_values_that_do_not_fit_in_packed_sums_change_nothing():
    pixels, geom = big_frame()
    options = {"threshold": 6.0, "min_snr": 4.0}
    found = search(Peakfinder8(**options), pixels, geom)
    for factor, other in ((1000, pixels * 1000), (1_000_000, pixels.astype(np.int64) * 1_000_000)):
        scaled = search(Peakfinder8(**{**options, "threshold": 6.0 * factor}), other, geom)
        assert len(scaled) == len(found)
        np.testing.assert_allclose(table(scaled)[:, :3], table(found)[:, :3], rtol=1e-5)
        np.testing.assert_allclose(table(scaled)[:, 3], factor * table(found)[:, 3], rtol=1e-5)


def test_extreme_integers_among_ordinary_ones_do_not_spoil_the_sums():
    pixels, geom = big_frame()
    pixels[100:130, 300:420:7] = np.iinfo(np.int32).min
    pixels[500:530, 300:420:7] = np.iinfo(np.int32).max
    options = {"threshold": 6.0, "min_snr": 4.0}
    assert_same(search(Peakfinder8(**options), pixels, geom), peakfinder8_reference([pixels], geom, **options))


@cache
def many_spots(seed: int) -> np.ndarray:
    return spotty(seed, (700, 720), background=40.0, spots=90)


@pytest.mark.parametrize(
    ("dtype", "background"),
    [(np.int32, b) for b in (0.0, 0.05, 0.5, 2.0, 20.0)] + [(np.uint16, 2.0), (np.float32, 2.0)],
)
def test_the_fast_search_agrees_with_the_exact_one_on_nearly_all_peaks(dtype, background):
    both = exact_peaks = fast_peaks = 0
    for seed in range(4):
        pixels = np.random.default_rng(60 + seed).poisson(background, (700, 720))
        pixels = (pixels + many_spots(30 + seed)).astype(dtype)
        exact, fast = (
            search(Peakfinder8(threshold=6.0, min_snr=5.0, fast=fast), pixels, flat_detgeom(700, 720))
            for fast in (False, True)
        )
        distance = np.hypot(exact.fs[:, None] - fast.fs, exact.ss[:, None] - fast.ss)
        both += int((distance < 0.5).any(axis=1).sum())
        exact_peaks += len(exact)
        fast_peaks += len(fast)
    assert exact_peaks > 150
    assert both >= 0.96 * max(exact_peaks, fast_peaks)


def test_the_fast_search_is_exact_where_all_pixels_are_samples():
    pixels, geom = spotty(2), two_panels()
    exact, fast = (search(Peakfinder8(threshold=8, min_snr=3, fast=fast), pixels, geom) for fast in (False, True))
    assert len(exact) > 5
    np.testing.assert_allclose(table(fast), table(exact), rtol=1e-9)


def test_the_fast_search_follows_masks_and_leaves_out_what_is_not_finite():
    pixels, bad = frame_with_one_spot(), np.zeros((60, 80))
    bad[14:27, 24:37] = 1
    running = Peakfinder8(threshold=60, fast=True).open(Context())
    frames = [flat_detgeom(60, 80), flat_detgeom(60, 80, bad=bad), flat_detgeom(60, 80)]
    assert [len(running(Image.of(data=pixels), geom)) for geom in frames] == [1, 0, 1]
    expected = table(search(Peakfinder8(threshold=60, fast=True), pixels, flat_detgeom(60, 80)))
    for value in (np.nan, np.inf, -np.inf):
        pixels[40:50, 50:60] = value
        found = search(Peakfinder8(threshold=60, fast=True), pixels, flat_detgeom(60, 80))
        assert np.array_equal(table(found)[:, :3], expected[:, :3])


def test_pixels_that_only_some_frames_flag_are_left_out_of_those_alone():
    pixels, flagged = frame_with_one_spot(), np.zeros((60, 80), np.uint8)
    flagged[14:27, 24:37] = 1
    static = (np.zeros((60, 80), np.uint8),)
    geoms = [
        replace(flat_detgeom(60, 80), bad=bad, static_bad=static, static_key="k")
        for bad in (static, (flagged,), static, (flagged,))
    ]
    for fast in (False, True):
        running = Peakfinder8(threshold=60, fast=fast).open(Context())
        assert [len(running(Image.of(data=pixels), geom)) for geom in geoms] == [1, 0, 1, 0]


def test_256_panels_share_rings_and_give_the_peaks_of_the_reference():
    pixels = spotty(13, (16 * 12, 16 * 13), background=30.0, spots=60)
    places = [(12 * i, 13 * j) for i in range(16) for j in range(16)]
    geom = detgeom([{"shape": (12, 13), "place": (y, x), "corner": (x - 104, y - 96)} for y, x in places])
    views = [pixels[y : y + 12, x : x + 13] for y, x in places]
    found = search(Peakfinder8(threshold=10.0, min_snr=4.0), pixels, geom)
    assert len(found) > 10
    assert_same(found, peakfinder8_reference(views, geom, threshold=10.0, min_snr=4.0))
