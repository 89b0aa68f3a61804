"""Light that spreads over several pixels: how peaks/likelihood finds out, and that noise is then no peak."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peak_frames import add_spot, detgeom, flat_detgeom, search

from pipeline import Context
from stages.peaks._clumping import SURE, Clumping
from stages.peaks.likelihood import Likelihood
from stages.records.geometry import DetGeom
from stages.records.image import Image
from stages.simulation.apparatus import Apparatus
from stages.simulation.settings import Settings


def factor(pixels: np.ndarray, geom: DetGeom, monkeypatch: pytest.MonkeyPatch) -> float:
    """What the search takes the factor for."""
    measured = []
    measure = Clumping.measure
    with monkeypatch.context() as patch:
        patch.setattr(Clumping, "measure", lambda self, *given: measured.append(measure(self, *given)) or measured[-1])
        running = Likelihood().open(Context())
        measured.clear()
        running(Image.of(data=pixels), geom)
    return measured[-1]


def blurred(pixels: np.ndarray, side: int) -> np.ndarray:
    """The mean over squares of side x side pixels around every pixel, as light that spreads evenly would give."""
    padded = np.pad(pixels.astype(float), (0, side - 1), mode="wrap")
    return np.lib.stride_tricks.sliding_window_view(padded, (side, side)).mean(axis=(2, 3))


@settings(max_examples=10, deadline=None)
@given(
    rate=st.sampled_from([0.02, 0.3, 1.0, 7.0, 200.0]), noise=st.sampled_from([0.0, 0.4, 3.0]), seed=st.integers(0, 999)
)
def test_pixels_that_know_nothing_of_each_other_have_the_factor_one(rate, noise, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.poisson(rate, (500, 500)) + rng.normal(0, 1, (500, 500)) * noise
    with pytest.MonkeyPatch.context() as patch:
        assert factor(pixels, flat_detgeom(500, 500), patch) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("side", [2, 3])
def test_the_factor_is_that_by_which_sums_over_squares_scatter_more(side, monkeypatch):
    rng = np.random.default_rng(5)
    pixels = blurred(rng.poisson(20.0, (700, 700)), side)
    sums = np.lib.stride_tricks.sliding_window_view(pixels, (5, 5))[::5, ::5].sum(axis=(2, 3))
    expected = sums.var() / (25 * pixels.var())
    assert expected > SURE
    assert factor(pixels, flat_detgeom(700, 700), monkeypatch) == pytest.approx(expected, rel=0.2)


def test_spots_and_bad_pixels_do_not_pass_for_light_that_spreads(monkeypatch):
    rng = np.random.default_rng(6)
    rate = np.full((600, 600), 3.0)
    for _ in range(110):  # as dense as on a real frame of 1600 spots on 5 megapixels
        add_spot(rate, *rng.uniform(5, 595, 2), rng.exponential(40.0), 1.5)
    pixels = rng.poisson(rate).astype(float)
    bad = rng.random(pixels.shape) < 0.01
    pixels[bad] = 1e6
    assert factor(pixels, flat_detgeom(600, 600, bad=bad), monkeypatch) == pytest.approx(1.0, abs=0.1)


def test_panels_are_compared_each_for_itself_wherever_they_lie(monkeypatch):
    rng = np.random.default_rng(7)
    panels = [
        {"shape": (300, 150), "place": (0, x), "corner": (x - 300, -150), **more}
        for x, more in ((450, {}), (0, {}), (300, {}), (150, {"dims": ("ss", "fs")}))
    ]
    pixels = blurred(rng.poisson(20.0, (300, 600)), 3)
    whole = factor(pixels, flat_detgeom(300, 600), monkeypatch)
    pixels += 500 * (np.arange(600) // 150)
    assert factor(pixels, detgeom(panels), monkeypatch) == pytest.approx(whole, rel=0.15)
    assert factor(pixels[:40, :40], flat_detgeom(40, 40), monkeypatch) > 1.5
    assert factor(pixels[:4, :40], flat_detgeom(4, 40), monkeypatch) == 1.0


CCD = Settings(
    seed=11, adu_per_photon=4.0, read_noise_adu=3.0, pedestal_adu=10.0, charge_sigma_px=0.7, background=4.0, dtype="u2"
)


def test_the_noise_of_a_phosphor_is_no_peak_and_its_spots_are(monkeypatch):
    made = Apparatus.make(CCD, size="900x900", distance_mm=80.0).simulation
    is_hit = [made.frame(number, pixels=False).truth.hit for number in range(8)]
    blank, hit = (made.frame(is_hit.index(wanted)) for wanted in (False, True))
    found = search(Likelihood(), dict(blank.arrays), blank.geom)
    assert len(found) <= 3
    spots, peaks = hit.truth.spots, search(Likelihood(), dict(hit.arrays), hit.geom)
    apart = np.hypot(peaks.fs[:, None] - spots.fs, peaks.ss[:, None] - spots.ss)
    assert np.mean(apart[:, spots.photons > 5].min(axis=1) < 3) > 0.97
    assert np.mean(apart[:, spots.photons > 300].min(axis=0) < 3) > 0.97
    monkeypatch.setattr(Clumping, "measure", lambda *given: 1.0)
    assert len(search(Likelihood(), dict(blank.arrays), blank.geom)) > 20
