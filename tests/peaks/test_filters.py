"""Filters before a peak search, against plain numpy, and what becomes of the image after it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from peak_frames import add_spot, detgeom, flat_detgeom, search, table

from pipeline import Context, RejectFrame
from pipeline.contract import contract_of
from stages.compute.pixel_types import PIXEL_TYPES
from stages.peaks.bin import Bin
from stages.peaks.likelihood import Likelihood
from stages.peaks.median_filter import MedianFilter
from stages.peaks.noise_filter import NoiseFilter
from stages.peaks.peakfinder8 import Peakfinder8
from stages.peaks.restore import Restore
from stages.peaks.zaef import Zaef
from stages.records.geometry import DetGeom
from stages.records.image import Image
from stages.records.peaklist import PeakList

FILTERS = [MedianFilter(radius=2), NoiseFilter(), Bin(bin=2)]


def spotty(seed: int = 0) -> np.ndarray:
    rate = np.full((80, 100), 6.0) + np.arange(100) / 10
    for fs, ss in ((20.4, 30.6), (70.2, 20.1), (60.5, 60.3)):
        add_spot(rate, fs, ss, 150.0, 1.6)
    return np.random.default_rng(seed).poisson(rate).astype(np.float32)


panels = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), shape=panels, radius=st.integers(1, 4))
def test_the_median_of_the_good_pixels_around_is_subtracted(data, shape, radius):
    dtype = np.dtype(data.draw(st.sampled_from(PIXEL_TYPES)))
    pixels = data.draw(hnp.arrays(dtype, shape, elements=st.integers(0, 100).map(dtype.type)))
    if dtype.kind == "f":
        pixels[0, 0] = np.nan
    bad = data.draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 0, 1])))
    found = MedianFilter(radius=radius).open(Context())(Image.of(data=pixels), flat_detgeom(*shape, bad=bad))
    for ss, fs in np.ndindex(*shape):
        box = np.s_[max(ss - radius, 0) : ss + radius + 1, max(fs - radius, 0) : fs + radius + 1]
        values = np.sort(pixels[box][(bad[box] == 0) & np.isfinite(pixels[box].astype(float))].astype(float))
        median = values[len(values) // 2] if len(values) else 0.0
        np.testing.assert_equal(found.arrays["data"][ss, fs], np.float32(float(pixels[ss, fs]) - median))


@settings(max_examples=40, deadline=None)
@given(pixels=hnp.arrays(np.int32, panels, elements=st.integers(-2, 40)))
def test_pixels_beside_negative_ones_become_zero(pixels):
    found = NoiseFilter().open(Context())(Image.of(data=pixels), flat_detgeom(*pixels.shape)).arrays["data"]
    for ss, fs in np.ndindex(*pixels.shape):
        inside = 0 < ss < pixels.shape[0] - 1 and 0 < fs < pixels.shape[1] - 1
        square = pixels[ss - 1 : ss + 2, fs - 1 : fs + 2] if inside else pixels[ss, fs]
        assert found[ss, fs] == (0 if np.min(square) < 0 else pixels[ss, fs])


@settings(max_examples=40, deadline=None)
@given(data=st.data(), shape=panels, size=st.integers(1, 4))
def test_blocks_are_averaged_over_their_good_pixels(data, shape, size):
    pixels = data.draw(hnp.arrays(np.int16, shape, elements=st.integers(-50, 500)))
    bad = data.draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 1])))
    image, geom = Bin(bin=size).open(Context())(Image.of(data=pixels), flat_detgeom(*shape, bad=bad))
    height, width = shape[0] // size, shape[1] // size
    found = geom.views(image)[0]
    assert found.shape == (height, width) == geom.bad[0].shape
    for ss, fs in np.ndindex(height, width):
        block = np.s_[ss * size : (ss + 1) * size, fs * size : (fs + 1) * size]
        good = pixels[block][bad[block] == 0]
        assert geom.bad[0][ss, fs] == (len(good) == 0)
        assert found[ss, fs] == pytest.approx(good.mean(), rel=1e-6) if len(good) else np.isnan(found[ss, fs])


def through(filters, finder, pixels, geom):
    """Filter, search, restore; return the peaks and what image and geometry are afterwards."""
    image, original = Image.of(data=pixels), geom
    came = image
    for each in filters:
        result = each.open(Context())(image, geom)
        image, geom = result if isinstance(result, tuple) else (result, geom)
    found, image, geom = Restore()(finder.open(Context())(image, geom), image, geom)
    assert image is came
    assert geom is original
    return found


@pytest.mark.parametrize(
    "finder",
    [Zaef(threshold=25, min_sq_gradient=100), Peakfinder8(threshold=25), Likelihood()],
    ids=lambda f: f.stage_name,
)
@pytest.mark.parametrize(
    "filters",
    [[MedianFilter(radius=5)], [Bin(bin=2)], [MedianFilter(radius=5), Bin(bin=2)]],
    ids=["median", "bin", "median and bin"],
)
def test_every_search_finds_the_same_spots_behind_every_filter(finder, filters):
    geom = flat_detgeom(80, 100)
    plain = table(search(finder, spotty(), geom))
    found = table(through(filters, finder, spotty(), geom))
    assert len(plain) == len(found) == 3
    np.testing.assert_allclose(found[:, 1:3], plain[:, 1:3], atol=0.7)
    np.testing.assert_allclose(found[:, 3], plain[:, 3], rtol=0.35)


def test_binned_panels_keep_their_place_in_the_laboratory():
    turned = {"shape": (40, 51), "corner": (3, 7), "fs": (0.0, -1.0), "ss": (1.0, 0.0)}
    geom = detgeom([{"shape": (40, 51), "corner": (-60, -20)}, {**turned, "place": (0, 51)}], static_key="k")
    image, binned = Bin(bin=3).open(Context())(Image.of(data=np.zeros((40, 102))), geom)
    assert [view.shape for view in binned.views(image)] == [(13, 17)] * 2
    for panel in (0, 1):
        p, fs, ss = np.array([panel]), np.array([4.5]), np.array([7.2])
        np.testing.assert_allclose(binned.lab_m(p, fs, ss), geom.lab_m(p, 3 * fs, 3 * ss))
    assert binned.adu_per_photon(0) == pytest.approx(1 / 9)
    assert binned.static_key != geom.static_key


@pytest.mark.parametrize("each", FILTERS, ids=lambda f: f.stage_name)
def test_the_pixels_that_came_are_not_touched(each):
    pixels = spotty()
    before = pixels.copy()
    result = each.open(Context())(Image.of(data=pixels), flat_detgeom(80, 100))
    image = result[0] if isinstance(result, tuple) else result
    assert np.array_equal(pixels, before)
    assert all(not array.flags.writeable for array in image.arrays.values())
    assert image.before.image.arrays["data"] is pixels


@pytest.mark.parametrize("each", FILTERS, ids=lambda f: f.stage_name)
def test_pixels_that_are_no_numbers_reject_the_frame(each):
    with pytest.raises(RejectFrame, match="type"):
        each.open(Context())(Image.of(data=np.zeros((80, 100), np.complex64)), flat_detgeom(80, 100))


def test_without_a_filter_nothing_is_restored():
    found, image, geom = PeakList.make([0], [1], [2], [3]), Image.of(data=spotty()), flat_detgeom(80, 100)
    assert Restore()(found, image, geom) == (found, image, geom)


def test_the_contracts_let_filters_stand_before_a_search():
    for each in (MedianFilter, NoiseFilter, Bin):
        assert contract_of(each).reads == (Image, DetGeom)
    assert contract_of(Bin).writes == (Image, DetGeom)
    assert contract_of(MedianFilter).writes == contract_of(NoiseFilter).writes == (Image,)
    assert contract_of(Restore).writes == (PeakList, Image, DetGeom)
