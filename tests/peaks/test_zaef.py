"""The gradient search against a slow reference, and on frames whose answer is plain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peak_frames import add_spot, detgeom, flat_detgeom, search, small_panel, table, zaef_reference
from pydantic import ValidationError

from pipeline.contract import contract_of
from stages.compute.pixel_types import PIXEL_TYPES
from stages.peaks.zaef import Zaef
from stages.records.geometry import DetGeom
from stages.records.image import Image
from stages.records.peaklist import PeakList

EAGER = {"threshold": 20.0, "min_sq_gradient": 100.0, "min_snr": 3.0}


def spotty(seed: int, shape=(70, 90), spots: int = 14) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rate = np.full(shape, 6.0)
    for _ in range(spots):
        add_spot(rate, rng.uniform(0, shape[1]), rng.uniform(0, shape[0]), rng.exponential(80), rng.uniform(0.5, 1.5))
    return rng.poisson(rate)


def assert_same(found: PeakList, reference: np.ndarray) -> None:
    assert len(found) == len(reference)
    rows = np.stack([found.fs, found.ss, found.intensity, found.snr], axis=1)
    np.testing.assert_allclose(rows, reference, rtol=1e-6, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_small_panels_give_the_peaks_of_the_reference(data: st.DataObject):
    pixels, bad = small_panel(data, 16, finite=True, one_bad_in=4)
    # no distance between whole pixels is twice the inner radius: rounding would decide which of two peaks counts
    radii = data.draw(st.sampled_from([(1.1, 2.0, 3.0), (1.6, 2.0, 2.5), (2.1, 3.0, 4.0), (0.0, 1.0, 2.0)]))
    options = {
        "threshold": data.draw(st.sampled_from([-5.0, 5.0, 20.0])),
        "min_sq_gradient": data.draw(st.sampled_from([0.0, 100.0])),
        "min_snr": data.draw(st.sampled_from([0.1, 1.0, 3.0])),
        "use_saturated": data.draw(st.booleans()),
    }
    found = search(Zaef(peak_radius=radii, **options), pixels, flat_detgeom(*pixels.shape, bad=bad, max_adu=100.0))
    assert_same(found, zaef_reference(pixels, bad, radii=radii, max_adu=100.0, **options))


@pytest.mark.parametrize("dtype", PIXEL_TYPES, ids=lambda t: np.dtype(t).name)
def test_every_pixel_type_gives_the_peaks_of_the_reference(dtype):
    pixels = np.minimum(spotty(1), 120).astype(dtype)
    bad = np.random.default_rng(0).random(pixels.shape) < 0.002
    found = search(Zaef(peak_radius=(3, 4, 6), **EAGER), pixels, flat_detgeom(*pixels.shape, bad=bad))
    assert len(found) > 3
    assert_same(found, zaef_reference(pixels, bad, radii=(3.0, 4.0, 6.0), **EAGER))


def test_panels_are_searched_each_for_itself():
    pixels = spotty(2, (70, 180))
    halves = [pixels[:, :90], pixels[:, 90:]]
    geom = detgeom([{"shape": (70, 90), "place": (0, x), "corner": (x - 90, -35)} for x in (90, 0)])
    found = search(Zaef(**EAGER), pixels, geom)
    assert {*found.panel} == {0, 1}
    for number, half in enumerate(halves[::-1]):
        alone = search(Zaef(**EAGER), half, flat_detgeom(70, 90))
        assert np.array_equal(table(found.select(found.panel == number))[:, 1:], table(alone)[:, 1:])


def test_a_panel_whose_fast_scan_is_the_slower_dimension_gives_the_same_peaks():
    pixels = spotty(3)
    one = search(Zaef(**EAGER), pixels, flat_detgeom(70, 90))
    other = search(Zaef(**EAGER), pixels.T.copy(), flat_detgeom(70, 90, dims=("fs", "ss")))
    assert len(one) > 3
    assert np.array_equal(table(one), table(other))


def one_spot(fs: float = 30.2, ss: float = 20.9) -> np.ndarray:
    pixels = np.random.default_rng(9).poisson(5.0, (60, 80)).astype(float)
    add_spot(pixels, fs, ss, 400.0)
    return np.round(pixels)


def test_a_spot_is_found_where_it_is_and_as_strong_as_it_is():
    found = search(Zaef(threshold=60, min_sq_gradient=1000), one_spot(), flat_detgeom(60, 80))
    assert len(found) == 1
    assert found.fs[0] == pytest.approx(30.2, abs=0.1)
    assert found.ss[0] == pytest.approx(20.9, abs=0.1)
    assert found.intensity[0] == pytest.approx(400 * 2 * np.pi * 0.8**2, rel=0.05)
    assert found.max_pixel[0] == one_spot().max()
    assert found.snr[0] > 20


@pytest.mark.parametrize(("fs", "ss"), [(4.5, 20.5), (75.5, 20.5), (30.5, 4.5), (30.5, 55.5)])
def test_a_spot_whose_rings_leave_the_panel_is_not_found(fs, ss):
    assert len(search(Zaef(threshold=60, min_sq_gradient=1000), one_spot(fs, ss), flat_detgeom(60, 80))) == 0


@pytest.mark.parametrize("where", [(20, 30), (20, 34), (20, 36), (26, 30)])
def test_a_spot_with_a_bad_pixel_in_its_circles_is_not_found(where):
    bad, pixels = np.zeros((60, 80)), one_spot(30.5, 20.5)
    bad[where] = 1
    assert len(search(Zaef(threshold=60, min_sq_gradient=1000), pixels, flat_detgeom(60, 80, bad=bad))) == 0
    pixels[where] = np.nan
    assert len(search(Zaef(threshold=60, min_sq_gradient=1000), pixels, flat_detgeom(60, 80))) == 0


def test_saturated_peaks_are_kept_unless_told_otherwise():
    geom = flat_detgeom(60, 80, max_adu=300.0)
    eager = {"threshold": 60, "min_sq_gradient": 1000}
    assert len(search(Zaef(**eager), one_spot(), geom)) == 1
    assert len(search(Zaef(**eager, use_saturated=False), one_spot(), geom)) == 0
    assert len(search(Zaef(**eager, use_saturated=False), one_spot(), flat_detgeom(60, 80))) == 1


def test_adu_per_photon_counts_in_the_signal_to_noise_ratio():
    eager = {"threshold": 60, "min_sq_gradient": 1000, "min_snr": 1}
    few, many = (
        search(Zaef(**eager), one_spot(), flat_detgeom(60, 80, adu_per_photon=gain)).snr[0] for gain in (1.0, 100.0)
    )
    assert many == pytest.approx(few / 10, rel=0.1)


def test_no_index_panels_and_blank_frames_have_no_peaks():
    eager = Zaef(threshold=60, min_sq_gradient=1000)
    assert len(search(eager, one_spot(), flat_detgeom(60, 80, no_index=True))) == 0
    for value in (0, -5, 70, np.nan, np.inf):
        assert len(search(eager, np.full((60, 80), value), flat_detgeom(60, 80))) == 0
    assert len(search(eager, one_spot(), flat_detgeom(60, 80, bad=np.ones((60, 80))))) == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (3, 3)])
def test_the_smallest_panels_do_no_harm(shape):
    assert len(search(Zaef(), np.full(shape, 999, np.uint16), flat_detgeom(*shape))) == 0


@pytest.mark.parametrize("radii", [(5, 4, 7), (4, 7, 5), (-1, 4, 5), (1, 2), (1, 2, float("nan"))])
def test_radii_that_cannot_be_are_refused(radii):
    with pytest.raises(ValidationError, match="peak_radius"):
        Zaef(peak_radius=radii)


def test_the_contract_and_the_defaults_are_those_of_indexamajig():
    assert contract_of(Zaef).reads == (Image, DetGeom)
    assert contract_of(Zaef).writes == (PeakList,)
    s = Zaef()
    assert (s.threshold, s.min_sq_gradient, s.min_snr, s.use_saturated) == (800, 100000, 5, True)
    assert s.peak_radius == (4, 5, 7)
