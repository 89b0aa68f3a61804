"""Two sets of merged data: figures that say something only where they differ by more than noise makes them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from crystals_of_truth import NONE, Specimen, star_of
from hypothesis import given
from hypothesis import strategies as st

from stages.merging.crystals import observe, pack, unpack
from stages.merging.difference import Difference, difference
from stages.merging.merger import Merged, Merger

LYSOZYME = (79.1, 79.1, 37.9, 90.0, 90.0, 90.0)
CRYSTALS, REFLECTIONS, NOISE = 60, 150, 0.3


def specimen(seed: int = 1) -> Specimen:
    return Specimen("4/mmm", LYSOZYME, "P 4 2 2", 5.0, seed)


def merged(of: Specimen, scale: float = 1.0, crystals: int = CRYSTALS, noise: float = NOISE) -> Merged:
    merger = Merger(of.group)
    for _ in range(crystals):
        merger.add(of.crystal(REFLECTIONS, scale, noise))
    return merger.merged()


def changed(of: Specimen, by: float) -> Specimen:
    """The same crystals with other structure factors: relative changes of this standard deviation."""
    other = specimen()
    other.rng = np.random.default_rng(99)
    other.truth = of.truth * (1.0 + by * other.rng.standard_normal(len(of.truth))) ** 2
    return other


@given(st.lists(st.tuples(*[st.integers(-(2**20), 2**20 - 1)] * 3), max_size=20))
def test_keys_are_made_of_indices_and_indices_of_keys(indices: list[tuple[int, int, int]]) -> None:
    hkl = np.array(indices, np.int32).reshape(-1, 3)
    assert np.array_equal(unpack(pack(hkl)), hkl)


def test_keys_are_those_that_merging_makes() -> None:
    of = specimen()
    seen = observe(of.unique, of.truth, of.star, 9500.0, of.group, NONE)
    assert np.array_equal(pack(unpack(seen.keys)), seen.keys)


def test_two_sets_of_the_same_crystals_differ_by_noise_alone_and_the_figures_say_so() -> None:
    of = specimen()
    found = difference(merged(of), merged(of))
    assert found.reflections > 300
    assert found.correlation == pytest.approx(found.correlation_by_noise, abs=0.01)
    assert found.r_iso == pytest.approx(found.r_iso_by_noise, rel=0.1)
    assert found.difference_over_sigma == pytest.approx(found.difference_over_sigma_by_noise, rel=0.1)
    assert found.difference_over_sigma_by_noise == pytest.approx(math.sqrt(2 / math.pi), rel=0.1)
    assert found.scale == pytest.approx(1.0, abs=0.05)


def test_what_differs_is_seen_beside_the_noise_and_the_more_the_better_the_data_are() -> None:
    of = specimen()
    few = difference(merged(of, crystals=40), merged(changed(of, 0.15), crystals=40))
    many = difference(merged(of, crystals=200), merged(changed(of, 0.15), crystals=200))
    for found in (few, many):
        assert found.correlation < found.correlation_by_noise - 0.01
        assert found.r_iso > 1.2 * found.r_iso_by_noise
        assert found.difference_over_sigma > 1.2 * found.difference_over_sigma_by_noise
    assert many.difference_over_sigma > 1.5 * few.difference_over_sigma
    assert many.difference_over_sigma_by_noise == pytest.approx(few.difference_over_sigma_by_noise, rel=0.1)
    assert many.r_iso_by_noise < 0.6 * few.r_iso_by_noise


def test_it_is_what_the_formulas_say() -> None:
    of = specimen()
    one, other = merged(of), merged(changed(of, 0.2), scale=3.0)
    found = difference(one, other)
    first = {tuple(h): n for n, h in enumerate(one.hkl.tolist())}
    pairs = [(first[tuple(h)], n) for n, h in enumerate(other.hkl.tolist()) if tuple(h) in first]
    pairs = [
        (a, b)
        for a, b in pairs
        if min(*one.half_count[:, a], *other.half_count[:, b]) >= 2 and one.inverse_d_per_angstrom[a] > 0
    ]
    a, b = np.array(pairs).T
    s = one.inverse_d_per_angstrom[a]
    factor = found.scale * np.exp(-found.b_factor * s**2 / 2)
    i1, i2 = one.intensity[a], other.intensity[b] * factor
    f1, f2 = np.sqrt(i1), np.sqrt(i2)
    assert found.reflections == len(pairs)
    assert found.correlation == pytest.approx(np.corrcoef(i1, i2)[0, 1])
    assert found.r_iso == pytest.approx(2 * np.abs(f1 - f2).sum() / (f1 + f2).sum())
    assert found.difference_over_sigma == pytest.approx(
        np.mean(np.abs(i1 - i2) / np.sqrt(one.sigma[a] ** 2 + (factor * other.sigma[b]) ** 2))
    )
    halves = [np.corrcoef(*merged.half_intensity[:, at])[0, 1] for merged, at in ((one, a), (other, b))]
    assert found.correlation_by_noise == pytest.approx(math.sqrt(math.prod(2 * cc / (1 + cc) for cc in halves)))


@pytest.mark.parametrize(("scale", "b"), [(0.2, 0.0), (7.0, 15.0), (1.0, -30.0)])
def test_scale_and_b_factor_are_taken_out(scale: float, b: float) -> None:
    of = specimen()
    one = merged(of, noise=0.05)
    s = np.linalg.norm(of.unique @ star_of(LYSOZYME), axis=1)
    other = specimen()
    other.rng = np.random.default_rng(3)
    other.truth = of.truth * np.exp(b * s**2 / 2) / scale
    found = difference(one, merged(other, noise=0.05))
    plain = difference(one, merged(of, noise=0.05))
    assert found.scale == pytest.approx(scale, rel=0.15)
    assert found.b_factor == pytest.approx(b, abs=4.0)
    assert found.r_iso == pytest.approx(plain.r_iso, abs=0.01)


def test_between_limits_only_what_lies_there_is_compared() -> None:
    of = specimen()
    one, other = merged(of), merged(of)
    whole = difference(one, other)
    low = difference(one, other, d_min_angstrom=8.0)
    high = difference(one, other, d_max_angstrom=8.0)
    assert low.reflections + high.reflections == whole.reflections
    assert 0 < low.reflections < high.reflections


def test_where_nothing_is_in_common_nothing_is_told() -> None:
    of = specimen()
    nothing = Merger(of.group).merged()
    for found in (
        difference(merged(of), nothing),
        difference(nothing, nothing),
        difference(merged(of, crystals=2), merged(of)),
    ):
        assert found.reflections == 0
        assert math.isnan(found.correlation)
        assert math.isnan(found.r_iso)
        assert math.isnan(found.difference_over_sigma)


def test_intensities_that_are_all_negative_or_all_the_same_harm_nothing() -> None:
    of = specimen()
    good = merged(of)
    of.truth = -of.truth
    negative = difference(good, merged(of))
    assert isinstance(negative, Difference)
    assert math.isnan(negative.scale)
    of.truth = np.ones(len(of.truth))
    same = difference(good, merged(of, noise=0.0))
    assert math.isfinite(same.r_iso)
