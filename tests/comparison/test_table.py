"""The table of what was measured of each frame."""

import numpy as np
import pytest

from stages.comparison.table import MEASURES, PLACE, Floats, FrameTable


def filled(num_frames: int, variants: tuple[str, ...], seed: int) -> tuple[FrameTable, Floats, Floats]:
    chance = np.random.default_rng(seed)
    num_pairs = len(variants) * (len(variants) - 1) // 2
    values = chance.random((num_frames, len(MEASURES), len(variants)))
    values[:, PLACE["indexed"]] = chance.integers(0, 2, (num_frames, len(variants)))
    angles = chance.random((num_frames, num_pairs)).astype(np.float32).astype(np.float64)
    table = FrameTable(variants)
    for n in range(num_frames):
        table.append(10 * n, f"run // {n}", values[n], angles[n])
    return table, values, angles


@pytest.mark.parametrize("num_frames", [0, 1, 256, 257, 1300])
def test_the_table_holds_what_was_appended_however_often_it_has_grown(num_frames: int) -> None:
    table, values, _ = filled(num_frames, ("a", "b", "c"), seed=num_frames)
    assert len(table) == num_frames
    assert table.serial.tolist() == [10 * n for n in range(num_frames)]
    assert table.event == [f"run // {n}" for n in range(num_frames)]
    for name in MEASURES:
        assert np.array_equal(table.column(name), values[:, PLACE[name]])


def test_the_agreement_is_symmetric_and_in_the_order_of_the_pairs() -> None:
    table, _, angles = filled(300, ("a", "b", "c"), seed=3)
    assert list(table.pairs) == [("a", "b"), ("a", "c"), ("b", "c")]
    found = table.agreement
    for at, (i, j) in enumerate([(0, 1), (0, 2), (1, 2)]):
        assert np.array_equal(found[:, i, j], angles[:, at])
        assert np.array_equal(found[:, j, i], angles[:, at])


def test_a_variant_agrees_with_itself_where_it_has_a_crystal() -> None:
    table, _, _ = filled(300, ("a", "b"), seed=4)
    indexed = table.column("indexed") == 1
    own = np.stack([table.agreement[:, i, i] for i in range(2)], axis=1)
    assert np.array_equal(own == 0.0, indexed)
    assert np.isnan(own[~indexed]).all()


@pytest.mark.parametrize("rows", [slice(None), slice(100, 300), slice(250, 400), slice(300, None)])
def test_the_angles_to_one_variant_are_those_of_the_agreement(rows: slice) -> None:
    table, _, _ = filled(300, ("a", "b", "c", "d"), seed=6)
    for variant in range(4):
        np.testing.assert_array_equal(table.angles_to(variant, rows), table.agreement[rows, variant])


def test_a_frame_and_variant_takes_about_a_hundred_bytes() -> None:
    table, _, _ = filled(256, ("a", "b", "c"), seed=5)
    held = table._values.nbytes + table._angles.nbytes + table._serial.nbytes
    assert held / (256 * 3) <= 110


def test_a_measure_that_no_frame_has_is_known_to_be_missing() -> None:
    table = FrameTable(("a", "b"))
    row = np.full((len(MEASURES), 2), np.nan)
    row[PLACE["hits"], 0] = 0.0
    table.append(0, "", row, np.full(1, np.nan))
    assert table.has("hits")
    assert not table.has("ms")
