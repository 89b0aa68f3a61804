"""The pass over a frame that finds each block's highest pixel and takes the samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.compute.pixel_types import COMMON_TYPES
from stages.peaks._kernels.panels import ArrayPixels
from stages.peaks._kernels.rings import ring_blocks
from stages.peaks._kernels.rings.ring_survey import survey
from stages.peaks._kernels.rings.ring_tuples import Blocks
from stages.peaks._kernels.samples import Located, locate_samples

WIDTH, HEIGHT = ring_blocks.BLOCK + 40, 3


@settings(max_examples=40, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("dtype", COMMON_TYPES, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("step", [1, 2])
def test_each_block_gets_its_highest_good_pixel_and_each_slot_its_sample(dtype, step, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    lowest, highest = data.draw(st.sampled_from([(-90, -5), (-9, 90), (0, 1), (0, 9), (2000, 30000)]))
    whole = rng.integers(lowest, highest, (HEIGHT, WIDTH * step)).astype(dtype)
    if dtype is np.float32:
        strange = data.draw(st.sampled_from([[], [np.nan], [np.inf], [-np.inf], [np.nan, -np.inf, np.inf, -0.0]]))
        for value in strange:
            whole[rng.integers(HEIGHT), rng.integers(WIDTH * step)] = value
    frame = whole[:, ::step].astype(np.float32)
    ring = rng.integers(0, 5, (HEIGHT, WIDTH)).astype(np.uint16)
    bad = (rng.random((HEIGHT, WIDTH)) < data.draw(st.sampled_from([0, 0.002, 0.5, 1]))).astype(np.uint8)
    ring[bad == 1] = 5
    where = np.array([[0, WIDTH * step, step, WIDTH, HEIGHT, 0]])
    table = np.empty((2 * HEIGHT, ring_blocks.N_COLUMNS), np.int32)
    starts = np.array([0, HEIGHT * WIDTH])
    ring_blocks.describe_blocks(ring.ravel(), bad.ravel(), np.array([WIDTH]), starts, 5, table)
    places = np.flatnonzero(rng.random(HEIGHT * WIDTH) < 0.2).astype(np.int32)
    slot = rng.permutation(len(places)).astype(np.int32)
    located = Located(np.empty_like(places), np.empty_like(places), np.empty(HEIGHT + 1, np.int64))
    locate_samples(where, ring.ravel(), places, slot, 5, located)
    found, out = np.full(len(table), -np.inf, np.float32), np.full(len(places), np.nan, np.float32)

    survey(ArrayPixels(whole.ravel(), where), ring.ravel(), 5, Blocks(table, np.array([0])), located, found, out)

    for b, (ss, begin) in enumerate((ss, begin) for ss in range(HEIGHT) for begin in (0, ring_blocks.BLOCK)):
        good = frame[ss, begin : begin + ring_blocks.BLOCK][ring[ss, begin : begin + ring_blocks.BLOCK] != 5]
        may_be_nan = np.isnan(found[b]) and np.isnan(good).any()  # which says that the block must be looked at
        assert may_be_nan or found[b] == np.max(good, where=~np.isnan(good), initial=-np.inf)
    expected = np.where(np.isfinite(frame) & (ring != 5), frame, np.nan).ravel()[places]
    np.testing.assert_array_equal(out[slot], expected)
