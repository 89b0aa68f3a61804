"""Frames made small, against a slow reference: the highest of each square, masked only where all of it is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from numpy.typing import NDArray

from stages.monitor.blob import DTYPES
from stages.monitor.pixel_sums import PixelSums
from stages.monitor.pooling import MASKED, num_squares, pooled, side_for

Array = NDArray[Any]


def squares_of(panel: Array, side: int) -> Any:
    """Row, column and slices of each square."""
    for row in range(math.ceil(panel.shape[0] / side)):
        for column in range(math.ceil(panel.shape[1] / side)):
            yield row, column, np.s_[row * side : (row + 1) * side, column * side : (column + 1) * side]


def highest_reference(panel: Array, bad: Array | None, side: int) -> Array:
    """The highest good pixel of each square as float64, NaN where there is none."""
    shape = (math.ceil(panel.shape[0] / side), math.ceil(panel.shape[1] / side))
    found = np.full(shape, np.nan)
    for row, column, where in squares_of(panel, side):
        values = panel[where].astype(float)
        good = np.isfinite(values) & (True if bad is None else bad[where] == 0)
        if good.any():
            found[row, column] = values[good].max()
    return found


def unpacked(written: dict[str, Any]) -> Array:
    """What a browser makes of a panel."""
    data = written["data"]
    if data.dtype == np.uint16:
        return np.where(data == MASKED, np.nan, data.astype(float) + written["offset"])
    assert data.dtype == np.float32
    assert written["offset"] == 0
    return data.astype(float)


@st.composite
def panels_and_masks(draw: st.DrawFn) -> tuple[list[Array], list[Array]]:
    dtype = np.dtype(draw(st.sampled_from(sorted(DTYPES))))
    width = 24 if dtype.itemsize <= 4 else 30
    values = (
        st.integers(max(np.iinfo(dtype).min, -(2**width)), min(np.iinfo(dtype).max, 2**width))
        if dtype.kind in "iu"
        else st.floats(-(2.0**30), 2.0**30, width=32) | st.sampled_from([math.nan, math.inf, -math.inf])
    )
    panels, bad = [], []
    for _ in range(draw(st.integers(1, 3))):
        shape = draw(arrays_of.array_shapes(min_dims=2, max_dims=2, max_side=9))
        panels.append(draw(arrays_of.arrays(dtype, shape, elements=values)))
        bad.append(draw(arrays_of.arrays(np.uint8, shape, elements=st.integers(0, 1))))
    return panels, bad


@given(panels_and_masks(), st.integers(1, 5), st.booleans())
def test_each_square_has_the_highest_of_its_good_pixels(
    drawn: tuple[list[Array], list[Array]], side: int, is_masked: bool
) -> None:
    panels, bad = drawn
    found = pooled(panels, bad if is_masked else [], side)

    assert len({written["data"].dtype for written in found}) == 1
    assert len({written["offset"] for written in found}) == 1
    for written, panel, masked in zip(found, panels, bad, strict=True):
        expected = highest_reference(panel, masked if is_masked else None, side)
        np.testing.assert_array_equal(unpacked(written), expected.astype("f4").astype(float))


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_pixels_that_are_read_only_are_pooled_as_others_are(dtype: str) -> None:
    panel = np.arange(12).reshape(3, 4).astype(dtype)
    panel.flags.writeable = False

    (found,) = pooled([panel], [], 2)

    assert unpacked(found).tolist() == [[5, 7], [9, 11]]


@pytest.mark.parametrize("dtype", ["<u2", "<i4", "<u4"])
def test_sixteen_bits_are_enough_for_values_that_are_near_each_other(dtype: str) -> None:
    low = 0 if dtype == "<u2" else 70000
    (found,) = pooled([np.array([[low, low + MASKED - 1]], dtype)], [], 1)

    assert found["data"].dtype == np.uint16
    assert unpacked(found).tolist() == [[low, low + MASKED - 1]]


def test_values_that_are_far_from_each_other_become_floats_on_all_panels() -> None:
    found = pooled([np.array([[0, 1]], "i4"), np.array([[-5, MASKED]], "i4")], [], 1)

    assert [written["data"].dtype for written in found] == [np.float32, np.float32]
    assert [unpacked(written).tolist() for written in found] == [[[0, 1]], [[-5, MASKED]]]


def test_a_pixel_that_is_the_highest_there_is_and_not_masked_is_not_written_as_masked() -> None:
    (found,) = pooled([np.array([[0, 65535]], "u2")], [], 1)

    assert unpacked(found).tolist() == [[0, 65535]]


def test_values_beyond_those_of_small_floats_are_the_largest_of_these() -> None:
    (found,) = pooled([np.array([[1e300, -1e300, np.nan]])], [], 1)

    largest = float(np.finfo("f4").max)
    np.testing.assert_array_equal(unpacked(found), [[largest, -largest, np.nan]])


def test_a_frame_that_is_masked_altogether_is_written_as_such() -> None:
    (found,) = pooled([np.full((3, 3), 7, "u2")], [np.ones((3, 3), "u1")], 2)

    assert (found["data"] == MASKED).all()


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=5), st.integers(1, 5000))
def test_squares_are_the_smallest_of_which_there_are_not_too_many(shapes: list[tuple[int, int]], most: int) -> None:
    side = side_for(shapes, most)

    assert num_squares(shapes, side) <= max(most, len(shapes))
    assert side == 1 or num_squares(shapes, side - 1) > most


@pytest.mark.parametrize("dtype", sorted(DTYPES))
@pytest.mark.parametrize("is_masked", [True, False])
def test_sums_over_frames_are_those_of_their_good_pixels(dtype: str, is_masked: bool) -> None:
    rng = np.random.default_rng(5)
    shapes = [(3, 4), (5, 2)]
    frames = [[rng.integers(0, 100, shape).astype(dtype) for shape in shapes] for _ in range(3)]
    masks = [
        [rng.integers(0, 2, shape).astype("u1") if is_masked else np.zeros(shape) for shape in shapes] for _ in range(3)
    ]
    if np.dtype(dtype).kind == "f":
        for first, _ in frames:
            first[0, :2] = math.nan, math.inf
    sums = PixelSums()
    for panels, bad in zip(frames, masks, strict=True):
        sums.add(panels, bad if is_masked else [])

    figures = sums.figures()

    assert (figures["frames"], figures["bin"]) == (3, 1)
    for n in range(2):
        over = np.stack([panels[n].astype(float) for panels in frames])
        good = np.isfinite(over) & (np.stack([bad[n] for bad in masks]) == 0)
        num = good.sum(axis=0)
        with np.errstate(invalid="ignore"):
            mean = np.where(good, over, 0).sum(axis=0) / num
        highest = np.where(num > 0, np.where(good, over, -np.inf).max(axis=0), np.nan)
        np.testing.assert_allclose(figures["mean"][n], mean, rtol=1e-6)
        np.testing.assert_array_equal(figures["maximum"][n], highest)


def test_sums_are_taken_of_squares_where_there_are_many_pixels() -> None:
    rng = np.random.default_rng(3)
    frames = [rng.integers(0, 50, (1001, 1203)).astype("u2") for _ in range(3)]
    bad = (rng.random((1001, 1203)) < 0.3).astype("u1")
    sums = PixelSums()
    for frame in frames:
        sums.add([frame], [bad])

    figures = sums.figures()

    assert figures["bin"] == 2
    mean, maximum = figures["mean"][0], figures["maximum"][0]
    assert mean.shape == maximum.shape == (501, 602)
    over = np.where(bad, np.nan, np.stack(frames).astype(float))
    for row, column in [(0, 0), (17, 300), (500, 601), (500, 3), (250, 601)]:
        values = over[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        good = values[np.isfinite(values)]
        expected = (good.mean(), good.max()) if good.size else (np.nan, np.nan)
        np.testing.assert_allclose((mean[row, column], maximum[row, column]), expected, rtol=1e-6)


def test_sums_begin_anew_with_panels_of_another_size() -> None:
    sums = PixelSums()
    sums.add([np.full((4, 4), 9, "u2")], [])
    sums.add([np.full((2, 3), 5, "u2")], [])

    figures = sums.figures()

    assert figures["frames"] == 1
    np.testing.assert_array_equal(figures["mean"][0], np.full((2, 3), 5))
