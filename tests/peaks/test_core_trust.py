"""Cores of rings that follow from the frame before: when they do, and that this changes nothing."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from peak_frames import add_spot, flat_detgeom, search, table

from pipeline import Context
from stages.peaks._core_trust import LONGEST, CoreTrust
from stages.peaks.peakfinder8 import Peakfinder8
from stages.records.image import Image

SHAPE = (180, 190)
OPTIONS = {"threshold": 4.0, "min_snr": 4.0}


def frame(seed: int, background: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rate = np.full(SHAPE, background)
    for _ in range(12):
        add_spot(rate, rng.uniform(0, SHAPE[1]), rng.uniform(0, SHAPE[0]), 20 * np.sqrt(background) + 30, 1.0)
    return rng.poisson(rate).astype(np.int32)


@settings(max_examples=25, deadline=None)
@given(
    backgrounds=st.lists(st.sampled_from([0.05, 2.0, 9.0, 10.0, 12.0, 40.0, 900.0]), min_size=2, max_size=8),
    dtype=st.sampled_from([np.uint16, np.int32, np.float32]),
)
def test_peaks_do_not_depend_on_the_frames_that_came_before(backgrounds, dtype):
    geom = flat_detgeom(*SHAPE)
    running = Peakfinder8(**OPTIONS).open(Context())
    for seed, background in enumerate(backgrounds):
        pixels = frame(seed, background).astype(dtype)
        alone = search(Peakfinder8(**OPTIONS), pixels, geom)
        np.testing.assert_array_equal(table(running(Image.of(data=pixels), geom)), table(alone))


def test_samples_are_looked_up_once_where_the_background_stays_and_again_where_it_jumps(monkeypatch):
    geom = flat_detgeom(*SHAPE)
    running = Peakfinder8(**OPTIONS).open(Context())
    looked = []
    for seed in (90, 91):
        running(Image.of(data=frame(seed, 10.0)), geom)
    samples, take = running.thresholds.layout.samples, running.thresholds.layout.samples.take
    monkeypatch.setattr(samples, "take", lambda arrays: (looked.append(1), take(arrays)))
    numbers = []
    for seed, background in enumerate([10.0, 10.0, 10.0, 1000.0, 1000.0, 1000.0]):
        running(Image.of(data=frame(seed + 1, background)), geom)
        numbers.append(len(looked))
    assert numbers == [0, 0, 0, 0, 1, 1]


def test_sums_that_are_rounded_get_cores_of_their_own_frame():
    geom = flat_detgeom(*SHAPE)
    running = Peakfinder8(**OPTIONS).open(Context())
    running(Image.of(data=frame(1, 10.0).astype(np.float32)), geom)
    assert not running.thresholds._trust.holds
    running(Image.of(data=frame(1, 10.0)), geom)
    assert running.thresholds._trust.holds


def test_cores_that_do_not_serve_are_tried_more_and_more_rarely():
    trust, waits = CoreTrust(1000), []
    for _ in range(14):
        waits.append(0)
        while not trust.holds:
            trust.sampled(20, good=True)
            waits[-1] += 1
        trust.followed(20, good=False)
    assert waits[:6] == [1, 1, 2, 4, 8, 16]
    assert waits[-1] == LONGEST


def test_cores_that_serve_for_long_are_trusted_like_new_ones():
    trust = CoreTrust(1000)
    for _ in range(5):
        while not trust.holds:
            trust.sampled(20, good=True)
        trust.followed(20, good=False)
    while not trust.holds:
        trust.sampled(20, good=True)
    for _ in range(LONGEST):
        trust.followed(20, good=True)
    trust.followed(500, good=True)
    assert not trust.holds
    trust.sampled(20, good=True)
    assert trust.holds


def test_cores_that_did_not_serve_on_their_own_frame_do_not_serve_for_another():
    trust = CoreTrust(1000)
    trust.sampled(20, good=False)
    assert not trust.holds
