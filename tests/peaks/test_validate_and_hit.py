"""Peaks that somebody else has found are checked; frames are hits from min_peaks on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peak_frames import add_spot, detgeom, flat_detgeom, measured, search
from pydantic import ValidationError

from pipeline.contract import contract_of
from stages.peaks.hit import HitFinder
from stages.peaks.validate import Validate
from stages.records.geometry import DetGeom
from stages.records.image import Image
from stages.records.peaklist import Hit, PeakList


def frame() -> np.ndarray:
    pixels = np.random.default_rng(1).poisson(5.0, (60, 80)).astype(float)
    add_spot(pixels, 30.4, 20.6, 400.0)
    return np.round(pixels)


def peaks(*positions: tuple[float, float], panel: int = 0) -> PeakList:
    fs, ss = zip(*positions, strict=True)
    n = len(fs)
    return PeakList.make([panel] * n, fs, ss, [1.0] * n, num_pixels=[9] * n, num_dropped=3)


def test_a_good_peak_keeps_its_place_and_gets_the_measured_intensity():
    found = search(Validate(), frame(), flat_detgeom(60, 80), peaks((30.1, 20.3)))
    *_, intensity, sigma, _ = measured(frame(), np.zeros((60, 80)), 30, 20, (4, 5, 7))
    assert (found.fs[0], found.ss[0]) == (30.1, 20.3)
    assert found.intensity[0] == pytest.approx(intensity)
    assert found.snr[0] == pytest.approx(intensity / sigma)
    assert found.max_pixel[0] == frame().max()
    assert found.num_pixels[0] == 9
    assert found.num_dropped == 3


@pytest.mark.parametrize(("fs", "ss"), [(6.9, 30), (73.0, 30), (30, 6.9), (30, 53.0), (0, 0), (79.9, 59.9)])
def test_peaks_too_close_to_the_edge_are_dropped(fs, ss):
    assert len(search(Validate(), frame(), flat_detgeom(60, 80), peaks((fs, ss)))) == 0


@pytest.mark.parametrize(("fs", "ss"), [(7.0, 30), (72.9, 30), (30, 7.0), (30, 52.9)])
def test_peaks_whose_rings_just_fit_are_kept(fs, ss):
    assert len(search(Validate(), frame(), flat_detgeom(60, 80), peaks((fs, ss)))) == 1


def test_peaks_that_meet_bad_pixels_are_dropped_and_the_others_stay_in_order():
    bad = np.zeros((60, 80))
    bad[40, 40] = 1
    given_ = peaks((60.5, 30.5), (41.5, 40.5), (30.4, 20.6), (46.5, 40.5), (15.5, 40.5))
    found = search(Validate(), frame(), flat_detgeom(60, 80, bad=bad), given_)
    assert found.fs.tolist() == [60.5, 30.4, 15.5]


def test_the_signal_to_noise_ratio_is_checked_only_when_asked():
    given_ = peaks((30.4, 20.6), (60.5, 30.5), (15.5, 40.5))
    assert len(search(Validate(), frame(), flat_detgeom(60, 80), given_)) == 3
    assert search(Validate(check_snr=True), frame(), flat_detgeom(60, 80), given_).fs.tolist() == [30.4]
    assert len(search(Validate(check_snr=True, min_snr=1000), frame(), flat_detgeom(60, 80), given_)) == 0


def test_saturated_peaks_are_kept_unless_told_otherwise():
    geom = flat_detgeom(60, 80, max_adu=300.0)
    given_ = peaks((30.4, 20.6), (60.5, 30.5), (36.5, 20.5))
    assert len(search(Validate(), frame(), geom, given_)) == 3
    assert search(Validate(use_saturated=False), frame(), geom, given_).fs.tolist() == [60.5]


def test_each_peak_is_measured_on_its_own_panel():
    pixels = np.hstack([frame(), frame()[:, ::-1]])
    geom = detgeom([{"shape": (60, 80), "place": (0, x), "corner": (x - 80, -30)} for x in (80, 0)])
    given_ = PeakList.make([1, 0, 1], [30.4, 49.6, 49.6], [20.6] * 3, [1.0] * 3)
    found = search(Validate(check_snr=True), pixels, geom, given_)
    assert found.panel.tolist() == [1, 0]
    assert found.intensity[0] == pytest.approx(found.intensity[1], rel=0.02)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    positions=st.lists(st.tuples(st.floats(0, 39.9), st.floats(0, 29.9)), max_size=8),
    radii=st.sampled_from([(4.0, 5.0, 7.0), (2.0, 3.0, 5.0), (2.7, 3.9, 5.5)]),
    check_snr=st.booleans(),
)
def test_what_is_kept_is_what_the_reference_can_measure(seed, positions, radii, check_snr):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(-3, 60, (30, 40)).astype(np.int16)
    bad = (rng.random((30, 40)) < 0.005).astype(np.uint8)
    given_ = PeakList.make([0] * len(positions), *np.array(positions).reshape(-1, 2).T, [1.0] * len(positions))
    found = search(
        Validate(peak_radius=radii, check_snr=check_snr, min_snr=1.0), pixels, flat_detgeom(30, 40, bad=bad), given_
    )
    whole = tuple(int(r) for r in radii)
    expected = []
    for fs, ss in positions:
        result = measured(pixels, bad, int(fs), int(ss), whole)
        if result is not None and not (check_snr and abs(result[2]) < result[3]):
            expected.append((fs, ss, result[2]))
    np.testing.assert_allclose(
        np.stack([found.fs, found.ss, found.intensity], axis=1), np.array(expected).reshape(-1, 3), rtol=1e-9, atol=1e-9
    )


def test_an_empty_list_stays_empty():
    assert len(search(Validate(), frame(), flat_detgeom(60, 80), PeakList.make([], [], [], []))) == 0


@pytest.mark.parametrize(("min_peaks", "n", "is_hit"), [(0, 0, True), (1, 0, False), (10, 9, False), (10, 10, True)])
def test_a_frame_is_a_hit_from_min_peaks_on(min_peaks, n, is_hit):
    found = PeakList.make([0] * n, [1.0] * n, [1.0] * n, [1.0] * n)
    assert HitFinder(min_peaks=min_peaks)(found) == Hit(is_hit, n)


def test_fewer_than_no_peaks_cannot_be_asked_for():
    with pytest.raises(ValidationError):
        HitFinder(min_peaks=-1)


def test_the_contracts_are_as_the_graph_needs_them():
    assert contract_of(Validate).reads == (PeakList, Image, DetGeom)
    assert contract_of(Validate).writes == (PeakList,)
    assert contract_of(HitFinder).writes == (Hit,)
