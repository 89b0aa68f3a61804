"""peakfinder9 against a slow reference, and on frames whose answer is plain."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peak_frames import add_spot, detgeom, flat_detgeom, peakfinder9_reference, search, small_panel, table
from pydantic import ValidationError

from pipeline import Context, RejectFrame
from pipeline.contract import contract_of
from stages.compute.pixel_types import PIXEL_TYPES
from stages.peaks.peakfinder9 import Peakfinder9
from stages.records.geometry import DetGeom
from stages.records.image import Image
from stages.records.peaklist import PeakList

EAGER = {"min_sig": 1.0, "min_snr_biggest_pix": 5.0, "min_snr_peak_pix": 3.0}


def assert_same(found: PeakList, reference: np.ndarray) -> None:
    assert len(found) == len(reference)
    rows = np.stack([found.fs, found.ss, found.intensity, found.snr, found.num_pixels, found.max_pixel], axis=1)
    np.testing.assert_allclose(rows, reference, rtol=1e-9, atol=1e-9)


def spotty(seed: int, shape=(70, 90), spots: int = 25) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rate = np.full(shape, 4.0) + np.linspace(0, 8, shape[1])
    for _ in range(spots):
        add_spot(rate, rng.uniform(0, shape[1]), rng.uniform(0, shape[0]), rng.exponential(80), rng.uniform(0.4, 1.2))
    return rng.poisson(rate)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_small_panels_give_the_peaks_of_the_reference(data: st.DataObject):
    pixels, bad = small_panel(data, 19)
    options = {
        "min_snr_biggest_pix": data.draw(st.sampled_from([0.0, 1.5, 3.0, 7.0])),
        "min_snr_peak_pix": data.draw(st.sampled_from([0.0, 1.0, 6.0])),
        "min_sig": data.draw(st.sampled_from([0.0, 0.7, 11.0])),
        "min_peak_over_neighbour": data.draw(st.sampled_from([-math.inf, -5.0, 0.0, 7.0])),
        "min_snr": data.draw(st.sampled_from([0.0, 5.0, 12.0])),
        "local_bg_radius": data.draw(st.integers(2, 5)),
    }
    found = search(Peakfinder9(**options), pixels, flat_detgeom(*pixels.shape, bad=bad))
    assert_same(found, peakfinder9_reference(pixels, bad, **options))


@pytest.mark.parametrize("dtype", PIXEL_TYPES, ids=lambda t: np.dtype(t).name)
def test_every_pixel_type_gives_the_peaks_of_the_reference(dtype):
    pixels = np.minimum(spotty(1), 120).astype(dtype)
    bad = np.random.default_rng(0).random(pixels.shape) < 0.02
    for options in (EAGER, {**EAGER, "min_sig": 0.0, "local_bg_radius": 2, "min_peak_over_neighbour": 3.0}):
        found = search(Peakfinder9(**options), pixels, flat_detgeom(*pixels.shape, bad=bad))
        assert len(found) > 5
        assert_same(found, peakfinder9_reference(pixels, bad, **options))


def test_panels_are_searched_each_for_itself_in_any_order():
    pixels = spotty(2, (70, 180))
    for places in ((0, 90), (90, 0)):
        geom = detgeom([{"shape": (70, 90), "place": (0, x), "corner": (x - 90, -35)} for x in places])
        found = search(Peakfinder9(**EAGER), pixels, geom)
        for number, x in enumerate(places):
            mine = found.select(found.panel == number)
            assert len(mine) > 5
            assert_same(mine, peakfinder9_reference(pixels[:, x : x + 90], np.zeros((70, 90)), **EAGER))


def test_panels_of_different_sizes_share_buffers_without_harm():
    pixels = spotty(3, (70, 180))
    widths = (130, 20, 30)
    starts = np.cumsum([0, *widths])
    geom = detgeom(
        [{"shape": (70, w), "place": (0, x), "corner": (x, -35)} for x, w in zip(starts, widths, strict=False)]
    )
    found = search(Peakfinder9(**EAGER), pixels, geom)
    for number, (x, w) in enumerate(zip(starts, widths, strict=False)):
        reference = peakfinder9_reference(pixels[:, x : x + w], np.zeros((70, w)), **EAGER)
        assert_same(found.select(found.panel == number), reference)


def test_a_panel_whose_fast_scan_is_the_slower_dimension_gives_the_same_peaks():
    pixels = spotty(4)
    one = search(Peakfinder9(**EAGER), pixels, flat_detgeom(70, 90))
    other = search(Peakfinder9(**EAGER), pixels.T.copy(), flat_detgeom(70, 90, dims=("fs", "ss")))
    assert len(one) > 5
    assert np.array_equal(table(one), table(other))


def test_256_panels_in_one_array_give_the_peaks_of_the_reference():
    pixels = spotty(5, (16 * 12, 16 * 13), spots=150)
    places = [(12 * i, 13 * j) for i in range(16) for j in range(16)]
    geom = detgeom([{"shape": (12, 13), "place": at, "corner": at[::-1]} for at in places])
    found = search(Peakfinder9(**EAGER), pixels, geom)
    assert len(found) > 20
    for number, (y, x) in enumerate(places):
        reference = peakfinder9_reference(pixels[y : y + 12, x : x + 13], np.zeros((12, 13)), **EAGER)
        assert_same(found.select(found.panel == number), reference)


@pytest.mark.parametrize("constant", [-1000, 7, 100000])
def test_a_constant_added_to_all_pixels_changes_nothing(constant):
    pixels, geom = spotty(6).astype(np.int32), flat_detgeom(70, 90)
    one = search(Peakfinder9(**EAGER), pixels, geom)
    other = search(Peakfinder9(**EAGER), pixels + constant, geom)
    assert len(one) > 5
    np.testing.assert_allclose(table(one), table(other), rtol=1e-6)


def one_spot(fs: float = 30.2, ss: float = 20.9, height: float = 400.0) -> np.ndarray:
    pixels = np.random.default_rng(9).poisson(5.0, (60, 80)).astype(float)
    add_spot(pixels, fs, ss, height, width=0.6)
    return np.round(pixels)


def test_a_spot_is_found_where_it_is_and_as_strong_as_it_is():
    found = search(Peakfinder9(min_sig=1.0, min_snr_peak_pix=2.0), one_spot(), flat_detgeom(60, 80))
    assert len(found) == 1
    assert found.fs[0] == pytest.approx(30.2, abs=0.05)
    assert found.ss[0] == pytest.approx(20.9, abs=0.05)
    assert found.intensity[0] == pytest.approx(400 * 2 * np.pi * 0.6**2, rel=0.05)
    assert found.max_pixel[0] == one_spot().max()


@pytest.mark.parametrize(("fs", "ss"), [(3.5, 20.5), (76.5, 20.5), (30.5, 3.5), (30.5, 56.5), (3.5, 3.5), (76.5, 56.5)])
def test_a_spot_is_found_that_is_as_far_from_the_edge_as_its_border_and_no_nearer_one(fs, ss):
    stage = Peakfinder9(min_sig=1.0)
    assert len(search(stage, one_spot(fs, ss), flat_detgeom(60, 80))) == 1
    nearer = one_spot(
        fs - 1 if fs < 10 else fs + 1 if fs > 70 else fs, ss if fs != 30.5 else ss - 1 if ss < 10 else ss + 1
    )
    assert len(search(stage, nearer, flat_detgeom(60, 80))) == 0


@pytest.mark.parametrize("gain", [1.0, 25.0])
@pytest.mark.parametrize("photons", [0.05, 0.2, 0.5, 1.0, 2.0, 5.0, 30.0])
def test_one_and_a_third_photons_of_min_sig_keep_noise_from_being_peaks(photons, gain):
    """Less than six false peaks a megapixel, whatever the background; a quarter of it lets hundreds through where it is low."""
    rng = np.random.default_rng(31)
    pixels = gain * rng.poisson(photons, (1000, 1000)) + rng.normal(0.0, 0.2 * gain, (1000, 1000))
    geom = flat_detgeom(1000, 1000)
    assert len(search(Peakfinder9(min_sig=1.3 * gain), pixels, geom)) < 6
    if 0.05 <= photons <= 0.5:
        assert len(search(Peakfinder9(min_sig=0.3 * gain), pixels, geom)) > 30


def test_a_spot_as_wide_as_its_border_is_no_peak_until_the_border_is_moved_out():
    pixels = np.random.default_rng(4).poisson(5.0, (60, 80)).astype(float)
    add_spot(pixels, 30.2, 20.9, 4000.0, width=2.7)
    assert len(search(Peakfinder9(min_sig=1.3), pixels, flat_detgeom(60, 80))) == 0
    assert len(search(Peakfinder9(min_sig=1.3, local_bg_radius=6), pixels, flat_detgeom(60, 80))) == 1


WARNINGS = {
    "photons at the default": (
        {},
        1.0,
        "a peak's highest pixel needs 77 photons (77 ADU, 1 ADU per photon)",
        "weak peaks are missed",
    ),
    "CSPAD at the default": ({}, 25.0, "needs 3.1 photons (77 ADU, 25 ADU per photon)", "many false peaks"),
    "photons without a floor": ({"min_sig": 0.3}, 1.0, "needs 2.1 photons", "min_sig=1.3 goes with this detector"),
    "keV": ({"min_sig": 0.5}, 9.5, "9.5 ADU per photon", "min_sig=12 goes with this detector"),
    "photons with their floor": ({"min_sig": 1.3}, 1.0, None, None),
    "CSPAD with its floor": ({"min_sig": 33.0}, 25.0, None, None),
    "8 ADU per photon at the default": ({}, 8.0, None, None),
}


@pytest.mark.parametrize(("options", "gain", "asked", "trouble"), WARNINGS.values(), ids=WARNINGS)
def test_a_min_sig_that_does_not_go_with_the_detector_is_said_once(options, gain, asked, trouble, caplog):
    rate = np.full((200, 300), 0.15)
    rate[:, 150:] = 1.0
    pixels = (gain * np.random.default_rng(3).poisson(rate)).astype(np.float32)
    geom, context = flat_detgeom(200, 300, adu_per_photon=gain), Context(node="peaks")
    replicas = [Peakfinder9(**options).open(context) for _ in range(2)]
    for running in replicas * 2:
        running(Image.of(data=pixels), geom)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (asked is not None)
    if asked:
        assert asked in said[0]
        assert trouble in said[0]


def test_where_the_background_is_high_everywhere_no_floor_is_needed(caplog):
    pixels = np.random.default_rng(3).poisson(60.0, (200, 300))
    Peakfinder9(min_sig=0.0).open(Context())(Image.of(data=pixels), flat_detgeom(200, 300))
    assert not caplog.records


def test_peaks_whose_flanks_must_be_higher_than_their_summits_are_warned_of(caplog):
    Peakfinder9(min_snr_biggest_pix=4.0).open(Context())
    assert "min_snr_peak_pix=6 is more than min_snr_biggest_pix=4" in caplog.text


def test_touching_spots_are_one_peak_and_spots_further_apart_are_two():
    pixels = np.full((40, 40), 5)
    pixels[10, 10], pixels[10, 11], pixels[10, 12] = 500, 300, 450
    assert len(search(Peakfinder9(), pixels, flat_detgeom(40, 40))) == 1
    pixels[10, 11] = 5
    assert len(search(Peakfinder9(), pixels, flat_detgeom(40, 40))) == 2
    pixels[10, 12], pixels[20, 20] = 5, 500
    assert len(search(Peakfinder9(), pixels, flat_detgeom(40, 40))) == 2


def test_a_saturated_plateau_is_one_peak_and_can_be_left_out():
    pixels = np.full((40, 40), 5)
    pixels[10:13, 10:13] = 1000
    geom = flat_detgeom(40, 40, max_adu=900.0)
    found = search(Peakfinder9(), pixels, geom)
    assert (found.fs.tolist(), found.ss.tolist(), found.num_pixels.tolist()) == ([11.5], [11.5], [9])
    assert len(search(Peakfinder9(use_saturated=False), pixels, geom)) == 0
    assert len(search(Peakfinder9(use_saturated=False), pixels, flat_detgeom(40, 40))) == 1


def test_bad_pixels_and_pixels_that_are_not_finite_take_no_part():
    pixels, bad = one_spot(), np.zeros((60, 80))
    bad[20, 31] = bad[18, 28] = bad[23, 30] = 1
    masked = search(Peakfinder9(min_sig=1.0), pixels, flat_detgeom(60, 80, bad=bad))
    assert len(masked) == 1
    for value in (np.nan, np.inf, -np.inf, 1e9, -1e9):
        pixels[bad == 1] = value
        again = search(Peakfinder9(min_sig=1.0), pixels, flat_detgeom(60, 80, bad=bad))
        assert np.array_equal(table(again), table(masked))
        if not np.isfinite(value):
            assert np.array_equal(table(search(Peakfinder9(min_sig=1.0), pixels, flat_detgeom(60, 80))), table(masked))
    bad[18:24, 28:34] = 1
    assert len(search(Peakfinder9(min_sig=1.0), pixels, flat_detgeom(60, 80, bad=bad))) == 0


def test_a_mask_that_changes_from_frame_to_frame_is_followed():
    pixels, bad = one_spot(), np.zeros((60, 80))
    bad[14:27, 24:37] = 1
    running = Peakfinder9(min_sig=1.0).open(Context())
    frames = [flat_detgeom(60, 80), flat_detgeom(60, 80, bad=bad), flat_detgeom(60, 80)]
    assert [len(running(Image.of(data=pixels), geom)) for geom in frames] == [1, 0, 1]


def test_resolution_limits_are_kept():
    pixels = one_spot(fs=60.5, ss=30.5)
    for low, high, n in ((0, 0, 1), (0, 30, 1), (10, 30, 1), (30, 0, 0), (0, 15, 0)):
        assert len(search(Peakfinder9(min_sig=1.0, min_res=low, max_res=high), pixels, flat_detgeom(60, 80))) == n


def test_no_index_panels_and_blank_frames_have_no_peaks():
    assert len(search(Peakfinder9(), one_spot(), flat_detgeom(60, 80, no_index=True))) == 0
    assert len(search(Peakfinder9(), one_spot(), flat_detgeom(60, 80, bad=np.ones((60, 80))))) == 0
    for value in (0, -5, 1e9, np.nan, np.inf):
        for min_sig in (0.0, 11.0):
            pixels = np.full((60, 80), value)
            assert len(search(Peakfinder9(min_sig=min_sig), pixels, flat_detgeom(60, 80))) == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (3, 3)])
def test_the_smallest_panels_do_no_harm(shape):
    pixels = np.zeros(shape, np.uint16)
    pixels[-1, -1] = 999
    assert len(search(Peakfinder9(), pixels, flat_detgeom(*shape))) == 0


def test_a_missing_or_foreign_array_rejects_the_frame():
    for pixels, reason in (({"other": np.zeros((9, 9))}, "missing_key"), (np.zeros((9, 9), complex), "wrong_dtype")):
        with pytest.raises(RejectFrame) as rejection:
            search(Peakfinder9(), pixels, flat_detgeom(9, 9))
        assert rejection.value.reason == reason


def test_the_contract_and_the_defaults_are_those_of_indexamajig():
    assert contract_of(Peakfinder9).reads == (Image, DetGeom)
    assert contract_of(Peakfinder9).writes == (PeakList,)
    s = Peakfinder9()
    assert (s.min_snr_biggest_pix, s.min_snr_peak_pix, s.min_sig, s.min_snr) == (7, 6, 11, 5)
    assert (s.min_peak_over_neighbour, s.local_bg_radius, s.use_saturated) == (-math.inf, 3, True)
    for wrong in ({"min_sig": -1}, {"local_bg_radius": 0}, {"min_peak_over_neighbour": math.nan}):
        with pytest.raises(ValidationError):
            Peakfinder9(**wrong)
