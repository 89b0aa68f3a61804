"""Sums in blocks of frames: together they are those of all, and without one those of the other frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stages.merging.crystals import Observed, Polarisation, observe
from stages.merging.merger import Merger
from stages.merging.point_group import point_group
from stages.merging.shells import cc_half_of, quality

GROUP = point_group("4/mmm")
STAR = np.linalg.inv(np.diag([79.1, 79.1, 37.9])).T
BLOCKS = 5


def crystals(num: int, seed: int, reach: int = 12) -> list[Observed]:
    """Crystals of one specimen, one or two of each frame."""
    chance = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    hkl = grid[grid.any(axis=1)].astype(np.int32)
    true = 100.0 + 50.0 * np.cos(np.abs(np.sort(np.abs(hkl[:, :2]), axis=1)) @ [1.0, 2.0] + hkl[:, 2] ** 2)
    found = []
    for n in range(num):
        which = chance.choice(len(hkl), 900, replace=False)
        intensity = true[which] * chance.normal(1.0, 0.4, len(which))
        found.append(replace(observe(hkl[which], intensity, STAR, 9500.0, GROUP, Polarisation(-1.0)), frame=2 * n // 3))
    return found


def merged_of(found: list[Observed]) -> Merger:
    merger = Merger(GROUP, blocks=BLOCKS)
    for n, crystal in enumerate(found):
        merger.add(crystal, 0.5 + 0.1 * (n % 7))
    return merger


def test_all_blocks_together_are_all_frames() -> None:
    merger = merged_of(crystals(80, seed=1))
    whole, blocks = merger.merged(), merger.merged_in_blocks()
    assert np.array_equal(blocks.hkl, whole.hkl)
    assert np.array_equal(blocks.count, whole.count)
    assert np.allclose(blocks.intensity, whole.intensity)
    assert np.allclose(blocks.sigma, whole.sigma, equal_nan=True)


@pytest.mark.parametrize("left_out", range(BLOCKS))
def test_without_a_block_they_are_the_other_frames(left_out: int) -> None:
    found = crystals(60, seed=2)
    scales = [0.5 + 0.1 * (n % 7) for n in range(len(found))]
    alone = Merger(GROUP, blocks=BLOCKS)
    for crystal, scale in zip(found, scales, strict=True):
        if crystal.frame % BLOCKS != left_out:
            alone.add(crystal, scale)
    of_all, of_others = merged_of(found).merged_in_blocks(left_out), alone.merged_in_blocks()
    at = [np.lexsort(merged.hkl.T) for merged in (of_all, of_others)]
    assert np.array_equal(of_all.hkl[at[0]], of_others.hkl[at[1]])
    assert np.array_equal(of_all.half_count[:, at[0]], of_others.half_count[:, at[1]])
    assert np.allclose(of_all.half_intensity[:, at[0]], of_others.half_intensity[:, at[1]], equal_nan=True)


def test_a_frame_is_in_the_same_half_whichever_other_frames_there_are() -> None:
    found = crystals(60, seed=3)
    some = [crystal for crystal in found if crystal.frame % 7]
    one, other = Merger(GROUP, blocks=BLOCKS), Merger(GROUP, blocks=BLOCKS)
    for crystal in found:
        one.add(crystal)
    for crystal in [*some, *(crystal for crystal in found if not crystal.frame % 7)]:
        other.add(crystal)
    assert cc_half_of(one.merged_in_blocks()) == pytest.approx(cc_half_of(other.merged_in_blocks()), rel=1e-12)


def test_blocks_grow_with_the_reflections() -> None:
    merger = merged_of(crystals(40, seed=4, reach=25))
    assert len(merger) > 4096
    assert np.array_equal(merger.merged_in_blocks().count, merger.merged().count)


@pytest.mark.parametrize("d_min", [None, 8.0])
def test_cc_half_alone_is_that_of_all_figures(d_min: float | None) -> None:
    merged = merged_of(crystals(80, seed=5)).merged()
    alone = cc_half_of(merged, d_min_angstrom=d_min)
    assert 0.2 < alone < 1.0
    assert alone == quality(merged, d_min_angstrom=d_min).overall.cc_half
