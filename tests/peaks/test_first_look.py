"""What a search says of its parameters when it has seen the first frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peak_frames import add_spot, detgeom, flat_detgeom

from pipeline import Context
from stages.peaks._first_look import Noise
from stages.peaks.peakfinder8 import Peakfinder8
from stages.peaks.zaef import Zaef
from stages.records.image import Image


def frame(level: float, sigma: float, shape=(300, 400)) -> np.ndarray:
    return np.random.default_rng(8).normal(level, sigma, shape)


@settings(max_examples=25, deadline=None)
@given(level=st.floats(-50, 500), sigma=st.floats(0.1, 40), spots=st.integers(0, 25))
def test_level_and_noise_are_those_of_the_background_whatever_the_spots(level, sigma, spots):
    pixels, rng = frame(level, sigma), np.random.default_rng(spots)
    for _ in range(spots):
        add_spot(pixels, *rng.uniform(5, 295, 2), 500.0 * sigma, 1.5)
    noise = Noise.of(Image.of(data=pixels), flat_detgeom(300, 400))
    assert noise is not None
    assert noise.level == pytest.approx(level, abs=0.2 * sigma)
    assert noise.sigma == pytest.approx(sigma, rel=0.06)
    assert 0.8 * sigma < noise.quiet_sigma < noise.sigma


def test_bad_pixels_and_panels_take_no_part_and_the_least_photon_counts():
    pixels = np.concatenate([frame(10, 2, (64, 200)), frame(10, 2, (64, 200))])
    pixels[100:, :] = 1e6
    pixels[3, 5] = np.nan
    bad = np.zeros((64, 200))
    bad[36:, :] = 1
    panels = [
        {"shape": (64, 200), "place": (0, 0), "corner": (0, 0), "adu_per_photon": 30.0},
        {"shape": (64, 200), "place": (64, 0), "corner": (0, 64), "adu_per_photon": 20.0, "bad": bad},
    ]
    noise = Noise.of(Image.of(data=pixels), detgeom(panels))
    assert noise is not None
    assert (noise.photon, noise.level, noise.sigma) == (20.0, pytest.approx(10, abs=0.3), pytest.approx(2, rel=0.06))
    hidden = [{**panel, "bad": np.ones((64, 200))} for panel in panels]
    assert Noise.of(Image.of(data=pixels), detgeom(hidden)) is None
    assert Noise.of(Image.of(data=np.zeros((5, 5))), flat_detgeom(5, 5)) is None


SEARCHES = {
    "peakfinder8 on photons": (Peakfinder8(), 1.0, "threshold=800 ADU asks for 797 photons"),
    "zaef on photons": (Zaef(), 1.0, "threshold=800 ADU asks for 797 photons"),
    "zaef, the gradient": (Zaef(threshold=12), 1.0, "min_sq_gradient=100000 ADU^2 is as if threshold"),
    "peakfinder8 on 10 ADU per photon": (Peakfinder8(), 10.0, "about 120 ADU goes with this frame"),
    "peakfinder8, right for photons": (Peakfinder8(threshold=12), 1.0, ""),
    "zaef, right for photons": (Zaef(threshold=12, min_sq_gradient=40), 1.0, ""),
    "peakfinder8 at 100 ADU per photon": (Peakfinder8(), 100.0, ""),
}


@pytest.mark.parametrize(("search", "gain", "said"), SEARCHES.values(), ids=SEARCHES)
def test_a_threshold_far_above_the_noise_is_said_once(search, gain, said, caplog):
    pixels = (gain * np.random.default_rng(3).poisson(3.0, (200, 300))).astype(np.float32)
    geom, context = flat_detgeom(200, 300, adu_per_photon=gain), Context(node="peaks")
    for running in [search.open(context) for _ in range(2)] * 2:
        running(Image.of(data=pixels), geom)
    assert [said in record.getMessage() for record in caplog.records] == ([True] if said else [])
