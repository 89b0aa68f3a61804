"""peaks/likelihood: its kernels against plain numpy, and frames whose answer is plain."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from peak_frames import add_spot, detgeom, flat_detgeom, search, table
from pydantic import ValidationError

from pipeline import Context
from pipeline.contract import contract_of
from stages.compute.pixel_types import PIXEL_TYPES
from stages.peaks._kernels.likelihood import groups, squares, summit_search
from stages.peaks._kernels.likelihood.tuples import Background, BadPixels, Candidates, RawPixels, SquareLimits
from stages.peaks._polar_cells import PolarCells
from stages.peaks.likelihood import Likelihood
from stages.records.geometry import DetGeom
from stages.records.image import Image
from stages.records.peaklist import PeakList

SPOTS = ((30.2, 20.9), (61.7, 44.4), (15.5, 50.1), (70.3, 12.6))


def spotty(seed: int = 1, background: float = 3.0, photons: float = 300.0, sigma: float = 1.2, shape=(64, 84)):
    rate = np.full(shape, background)
    for fs, ss in SPOTS:
        add_spot(rate, fs, ss, photons / (2 * np.pi * sigma**2), sigma)
    return np.random.default_rng(seed).poisson(rate)


def far(distance: np.ndarray) -> np.ndarray:
    return distance.min(axis=1, initial=np.inf)


def nearest(found: PeakList, spots=SPOTS) -> np.ndarray:
    """How far each spot is from the nearest peak."""
    at = np.array(spots)
    return far(np.hypot(at[:, :1] - found.fs, at[:, 1:] - found.ss))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_candidates_are_the_pixels_around_which_a_square_exceeds_its_limit(data: st.DataObject):
    dtype = np.dtype(data.draw(st.sampled_from(PIXEL_TYPES)))
    height, width = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 70)))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    pixels = rng.poisson(3.0, (height, width)).astype(dtype)
    for _ in range(data.draw(st.integers(0, 4))):
        pixels[rng.integers(height), rng.integers(width)] = 100
    if dtype.kind == "f" and data.draw(st.booleans()):
        pixels[rng.integers(height), rng.integers(width)] = data.draw(st.sampled_from([np.nan, np.inf]))
    bad = rng.random((height, width)) < data.draw(st.sampled_from([0.0, 0.1, 1.0]))
    cells = PolarCells.make(flat_detgeom(height, width))
    mean = rng.uniform(1, 5, cells.num_cells)
    limit = rng.uniform(70, 160, cells.num_cells).astype(np.float32)
    tile_limit = np.array(
        [limit[cells.tile_cells[a:b]].min() for a, b in zip(cells.tile_first, cells.tile_first[1:], strict=False)]
    )
    out = np.empty(pixels.size, np.int32)
    n = squares.screen(
        RawPixels(
            pixels.reshape(-1).view(np.uint8),
            PIXEL_TYPES.index(dtype.type),
            np.array([[0, width, 1, width, height, 0]]),
            bad.reshape(-1).astype(np.uint8),
        ),
        BadPixels(np.flatnonzero(bad).astype(np.int32), cells.cell[np.flatnonzero(bad)]),
        Background(cells.cell, mean, mean),
        SquareLimits(limit, tile_limit, np.array([0])),
        np.empty(squares.N_LINES * (width + 4), np.float32),
        out,
    )
    cell = cells.cell.reshape(height, width)
    clean = np.where(bad | ~np.isfinite(pixels.astype(float)), mean[cell], pixels).astype(np.float32)
    padded = np.pad(clean.astype(float), 2, mode="edge")
    sums = np.lib.stride_tricks.sliding_window_view(padded, (5, 5)).sum(axis=(2, 3))
    above = sums > limit[cell]
    above[1::2] = False
    above[1::2] = above[::2][: height // 2]
    sure = np.abs(sums - limit[cell]) > 1e-3
    sure[1::2] = sure[::2][: height // 2]
    expected = np.zeros((height, width), bool)
    expected.reshape(-1)[out[:n]] = True
    assert np.array_equal(expected[sure], (above & ~bad)[sure])


def rings_and_sectors(geom: DetGeom) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ring, sectors of that ring, and direction as a part of a turn, of each pixel in packed order."""
    xy = []
    for number, panel in enumerate(geom.panels):
        ss, fs = np.mgrid[: panel.height, : panel.width] + 0.5
        xy.append(geom.lab_m(np.full(fs.size, number), fs.reshape(-1), ss.reshape(-1))[:, :2] / 1e-4)
    x, y = np.concatenate(xy).T
    ring = np.floor(np.hypot(x, y) / 2)
    return ring, np.clip(np.floor(2 * np.pi * (ring + 0.5) * 4 / 400), 1, 8), np.arctan2(y, x) / (2 * np.pi) % 1.0


@settings(max_examples=30, deadline=None)
@given(
    corners=st.lists(
        st.tuples(*[st.sampled_from([-900.3, -400.7, -150.2, -31.4, 0.3, 250.8, 1e8])] * 2), min_size=1, max_size=3
    ),
    angle=st.floats(0, 6.28),
)
def test_cells_are_the_sectors_of_rings_two_pixels_wide(corners, angle):
    """Wherever the panels are, and one of them may lie a long way off."""
    fs, ss = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))
    geom = detgeom([{"shape": (61, 83), "corner": corner, "fs": fs, "ss": ss} for corner in corners])
    cells = PolarCells.make(geom)
    ring, sectors, turn = rings_and_sectors(geom)
    assert np.array_equal(np.unique(cells.cell), np.arange(cells.num_cells))
    # the edges of rings and sectors are not told apart, nor what is so far out that single precision does not reach
    off_edge = (np.abs(turn * sectors % 1.0 - 0.5) < 0.499) & (np.abs(cells.radius_px / 2 % 1.0 - 0.5) < 0.499)
    clear = (ring < 1e6) & off_edge
    name, cell = (ring * 8 + np.floor(turn * sectors))[clear], cells.cell[clear]
    of_name = dict(zip(name, cell, strict=True))
    assert len(set(of_name.values())) == len(of_name)
    assert np.array_equal([of_name[n] for n in name], cell)
    ring_of = dict(zip(cell, ring[clear], strict=True))
    for beside, step in ((cells.inner, -1), (cells.outer, 1)):
        pairs = [(ring_of[c], ring_of[beside[c]]) for c in ring_of if beside[c] in ring_of]
        assert all(other == mine + step for mine, other in pairs)
        assert pairs or len(corners) == sum(corner[0] > 1e6 or corner[1] > 1e6 for corner in corners)


@settings(deadline=None)
@given(st.floats(0.01, 500), st.floats(0.01, 5000), st.floats(0.01, 5))
def test_the_significance_is_the_likelihood_ratio_of_two_poisson_means(on, off, ratio):
    def log_likelihood(mean_on, mean_off):
        return on * math.log(mean_on) - mean_on + off * math.log(mean_off) - mean_off

    found = summit_search.significance_of(on, off, ratio)
    common = (on + off) / (1 + ratio)
    expected = 2 * (log_likelihood(on, off) - log_likelihood(ratio * common, common))
    assert found == (0.0 if on <= ratio * off else pytest.approx(math.sqrt(max(expected, 0)), abs=1e-3))


@settings(max_examples=30, deadline=None)
@given(
    level=hnp.arrays(float, (6, 7), elements=st.integers(0, 30), unique=False),
    there=hnp.arrays(bool, (6, 7), elements=st.booleans()),
)
def test_summits_of_the_joined_candidates_stand_out_from_every_pass_to_a_higher_one(level, there):
    places = np.flatnonzero(there).astype(np.int32)
    n = len(places)
    heights = level.reshape(-1)[places] + 1e-6 * np.arange(n)
    label, parent = np.zeros(42, np.int32), np.empty(n, np.int64)
    where = np.array([[0, 7, 1, 7, 6, 0]])
    background = Background(np.zeros(42, np.int32), np.zeros(1), np.array([4.0]))
    groups.join(where, background, 1.0, Candidates(places, heights, np.zeros(n, np.int64), parent, label))
    height_at = dict(zip(places.tolist(), heights.tolist(), strict=True))

    def depth(k):
        """How deep one must go down from candidate k to reach a higher one; infinite if there is none to be reached."""
        for bound in sorted(heights, reverse=True):
            seen, todo = {int(places[k])}, [int(places[k])]
            for p in todo:
                for y in range(max(p // 7 - 1, 0), min(p // 7 + 2, 6)):
                    for x in range(max(p % 7 - 1, 0), min(p % 7 + 2, 7)):
                        q = 7 * y + x
                        if q not in seen and height_at.get(q, -1.0) >= bound:
                            seen.add(q)
                            todo.append(q)
            if any(height_at[q] > heights[k] for q in seen):
                return heights[k] - bound
        return math.inf

    for k in range(n):
        scatter = groups.DIP * math.sqrt(2 / (4 * math.pi) * (4.0 + max(heights[k], 0.0)))
        assert (parent[k] == k) == (depth(k) > scatter)
        assert parent[parent[k]] == parent[k]


@pytest.mark.parametrize("dtype", PIXEL_TYPES, ids=lambda t: np.dtype(t).name)
def test_every_pixel_type_gives_the_same_peaks(dtype):
    pixels = np.minimum(spotty(), 120)
    found = search(Likelihood(), pixels.astype(dtype), flat_detgeom(*pixels.shape))
    assert nearest(found).max() < 0.5
    assert len(found) == len(SPOTS)
    assert np.array_equal(table(found), table(search(Likelihood(), pixels, flat_detgeom(*pixels.shape))))


def test_peaks_are_where_they_are_and_as_strong_as_they_are():
    for sigma in (0.8, 1.2, 2.0):
        at, strength = [], []
        for seed in range(12):
            found = search(Likelihood(), spotty(seed, photons=800.0, sigma=sigma), flat_detgeom(64, 84))
            assert len(found) == len(SPOTS)
            order = np.argmin(np.hypot(np.array(SPOTS)[:, :1] - found.fs, np.array(SPOTS)[:, 1:] - found.ss), axis=1)
            at.append(np.stack([found.fs, found.ss], axis=1)[order] - SPOTS)
            strength.append(found.intensity)
        assert np.abs(np.mean(at, axis=(0, 1))).max() < 0.05
        assert np.std(at) < 0.12
        assert np.mean(strength) == pytest.approx(800, rel=0.06)


def test_noise_alone_makes_no_peaks():
    for background in (0.02, 0.3, 5.0, 300.0):
        pixels = np.random.default_rng(5).poisson(background, (400, 500))
        assert len(search(Likelihood(), pixels, flat_detgeom(400, 500))) == 0
    noise = np.random.default_rng(6).normal(0.0, 3.0, (400, 500)).astype(np.float32)
    assert len(search(Likelihood(), noise, flat_detgeom(400, 500))) == 0


def test_adu_offset_and_read_noise_change_little():
    photons = spotty(background=1.0, photons=150.0)
    rng = np.random.default_rng(3)
    adu = (20.0 * photons + rng.normal(0, 4.0, photons.shape) + 100.0).astype(np.float32)
    found = search(Likelihood(), adu, flat_detgeom(64, 84, adu_per_photon=20.0))
    plain = search(Likelihood(), photons, flat_detgeom(64, 84))
    assert len(found) == len(plain) == len(SPOTS)
    np.testing.assert_allclose(found.intensity, 20 * plain.intensity, rtol=0.1)
    np.testing.assert_allclose(table(found)[:, 1:3], table(plain)[:, 1:3], atol=0.15)


def test_an_added_constant_changes_nothing_but_the_highest_pixel():
    pixels = spotty().astype(np.float32)
    one, other = (search(Likelihood(), pixels + c, flat_detgeom(64, 84)) for c in (0, 512))
    np.testing.assert_allclose(table(one), table(other), rtol=1e-4)
    np.testing.assert_allclose(one.max_pixel + 512, other.max_pixel)


def test_the_order_of_panels_and_arrays_does_not_matter():
    pixels = spotty()
    left = {"shape": (64, 42), "corner": (-42, -32)}
    right = {"shape": (64, 42), "corner": (0, -32)}
    one = detgeom([left, {**right, "place": (0, 42)}])
    other = detgeom([{**right, "place": (0, 42)}, left])
    apart = detgeom([{**left, "data": "a"}, {**right, "data": "b"}])
    found = search(Likelihood(), pixels, one)
    assert len(found) == len(SPOTS)
    swapped = search(Likelihood(), pixels, other)
    for panel in (0, 1):
        mirror = table(swapped.select(swapped.panel == 1 - panel))[:, 1:]
        np.testing.assert_allclose(table(found.select(found.panel == panel))[:, 1:], mirror, rtol=1e-9)
    halves = {"a": pixels[:, :42].copy(), "b": pixels[:, 42:].copy()}
    np.testing.assert_allclose(table(search(Likelihood(), halves, apart)), table(found), rtol=1e-9)


def test_a_panel_whose_fast_scan_is_the_slower_dimension_gives_the_same_peaks():
    pixels = spotty()
    one = search(Likelihood(), pixels, flat_detgeom(64, 84))
    other = search(Likelihood(), pixels.T.copy(), flat_detgeom(64, 84, dims=("fs", "ss")))
    assert np.array_equal(table(one), table(other))


def one_spot(fs=30.2, ss=20.9, photons=600.0) -> np.ndarray:
    rate = np.full((60, 80), 3.0)
    add_spot(rate, fs, ss, photons / (2 * np.pi * 1.2**2), 1.2)
    return np.random.default_rng(9).poisson(rate)


@pytest.mark.parametrize(("fs", "ss"), [(1.0, 20.5), (79.0, 20.5), (30.5, 0.7), (30.5, 59.3), (1.0, 1.0)])
def test_a_spot_at_the_edge_of_a_panel_is_found_and_made_up_for(fs, ss):
    found = search(Likelihood(), one_spot(fs, ss), flat_detgeom(60, 80))
    assert len(found) == 1
    assert nearest(found, ((fs, ss),))[0] < 1.0
    assert found.intensity[0] == pytest.approx(600, rel=0.35)


def test_a_bad_pixel_in_a_peak_is_left_out_and_made_up_for():
    whole = search(Likelihood(), one_spot(), flat_detgeom(60, 80))
    pixels, bad = one_spot(), np.zeros((60, 80))
    pixels[21, 31], bad[21, 31] = 60000, 1
    for found in (
        search(Likelihood(), pixels, flat_detgeom(60, 80, bad=bad)),
        search(Likelihood(), np.where(bad, np.nan, pixels), flat_detgeom(60, 80)),
    ):
        assert len(found) == 1
        assert found.intensity[0] == pytest.approx(whole.intensity[0], rel=0.15)
        assert nearest(found, ((30.2, 20.9),))[0] < 0.4
        assert found.max_pixel[0] < 1000


def test_a_defective_pixel_is_no_peak():
    for value in (40, 100, 60000):
        pixels = one_spot()
        pixels[40, 60] = value
        assert len(search(Likelihood(), pixels, flat_detgeom(60, 80))) == 1


def test_an_edge_in_the_background_is_no_peak():
    rate = np.full((200, 240), 2.0)
    rate[:, 100:] = 12.0
    rate[150:] = 0.1
    assert len(search(Likelihood(), np.random.default_rng(2).poisson(rate), flat_detgeom(200, 240))) == 0


@pytest.mark.parametrize("distance", [5.0, 6.0, 8.0])
def test_two_touching_peaks_are_two(distance):
    rate = np.full((60, 80), 2.0)
    centres = ((30.5, 30.5), (30.5 + distance, 30.9))
    for fs, ss in centres:
        add_spot(rate, fs, ss, 60.0, 1.2)
    found = search(Likelihood(), np.random.default_rng(4).poisson(rate), flat_detgeom(60, 80))
    assert len(found) == 2
    assert nearest(found, centres).max() < 0.7


def test_one_broad_peak_is_one():
    for seed in range(20):
        rate = np.full((60, 80), 2.0)
        add_spot(rate, 61.3, 16.2, 12.0, 2.5)
        assert len(search(Likelihood(), np.random.default_rng(seed).poisson(rate), flat_detgeom(60, 80))) == 1


def test_saturated_peaks_are_kept_unless_told_otherwise():
    geom = flat_detgeom(60, 80, max_adu=50.0)
    assert len(search(Likelihood(), one_spot(), geom)) == 1
    assert len(search(Likelihood(use_saturated=False), one_spot(), geom)) == 0
    assert len(search(Likelihood(use_saturated=False), one_spot(), flat_detgeom(60, 80))) == 1


def test_limits_of_snr_width_resolution_and_number_are_kept():
    pixels, geom = spotty(photons=600), flat_detgeom(64, 84)
    distance = np.hypot(np.array(SPOTS)[:, 0] - 42, np.array(SPOTS)[:, 1] - 32)
    assert len(search(Likelihood(min_res=28), pixels, geom)) == (distance > 28).sum()
    assert len(search(Likelihood(max_res=28), pixels, geom)) == (distance < 28).sum()
    assert len(search(Likelihood(max_peaks=2), pixels, geom)) == 2
    assert len(search(Likelihood(min_snr=100), pixels, geom)) == 0
    assert len(search(Likelihood(spot_sigma=(0.4, 0.9)), pixels, geom)) == 0


def test_no_index_panels_blank_and_masked_frames_have_no_peaks():
    assert len(search(Likelihood(), one_spot(), flat_detgeom(60, 80, no_index=True))) == 0
    for value in (0, -5, 70, 1e9, np.nan, np.inf):
        assert len(search(Likelihood(), np.full((60, 80), value), flat_detgeom(60, 80))) == 0
    assert len(search(Likelihood(), one_spot(), flat_detgeom(60, 80, bad=np.ones((60, 80))))) == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (3, 3)])
def test_the_smallest_panels_do_no_harm(shape):
    assert len(search(Likelihood(), np.full(shape, 999, np.uint16), flat_detgeom(*shape))) == 0
    pixels = np.zeros(shape)
    pixels[0, 0] = 1e6
    assert len(search(Likelihood(), pixels, flat_detgeom(*shape))) <= 1


def test_256_panels_are_searched():
    panels, pixels = [], np.random.default_rng(1).poisson(2.0, (256 * 24, 32))
    rate = np.zeros((24, 32))
    add_spot(rate, 15.5, 12.5, 60.0, 1.1)
    for n in range(256):
        corner = (36 * (n % 16) - 290, 28 * (n // 16) - 230)
        panels.append({"shape": (24, 32), "place": (24 * n, 0), "corner": corner})
        pixels[24 * n : 24 * n + 24] += np.round(rate).astype(int)
    found = search(Likelihood(), pixels, detgeom(panels))
    assert found.panel.tolist() == list(range(256))
    assert np.abs(found.fs - 15.5).max() < 0.6


def test_one_search_serves_frames_of_different_geometry_and_mask():
    running = Likelihood().open(Context())
    pixels = one_spot()
    for _ in range(2):
        for geom, number in (
            (flat_detgeom(60, 80), 1),
            (flat_detgeom(60, 80, corner=(-10, -10)), 1),
            (flat_detgeom(60, 80, bad=np.ones((60, 80))), 0),
        ):
            assert len(running(Image.of(data=pixels), geom)) == number
    assert len(running(Image.of(data=pixels[:30].copy()), flat_detgeom(30, 80))) == 1


def test_every_peak_says_snr_pixels_and_highest():
    found = search(Likelihood(), one_spot(), flat_detgeom(60, 80))
    assert found.max_pixel[0] == one_spot()[18:24, 27:33].max()
    assert 12 < found.num_pixels[0] < 30
    assert 15 < found.snr[0] < 30


def test_widths_that_cannot_be_are_refused():
    for widths in ((2.0, 1.0), (0.0, 3.0), (1.0, 9.0)):
        with pytest.raises(ValidationError, match="spot_sigma"):
            Likelihood(spot_sigma=widths)


def test_the_contract_is_that_of_a_peak_search():
    assert contract_of(Likelihood).reads == (Image, DetGeom)
    assert contract_of(Likelihood).writes == (PeakList,)
