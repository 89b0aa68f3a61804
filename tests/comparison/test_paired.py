"""Differences of pairs, against slow references and laws."""

import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.comparison import always_valid
from stages.comparison.blocks import CC_HALF, NUM_BLOCKS, block_of, compare_blocks
from stages.comparison.fixed import mcnemar, sign_flip
from stages.comparison.pair_sums import PairSums
from stages.comparison.paired import Difference, compare, holm
from stages.comparison.table import MEASURES

INDEXED, TIME, CRYSTALS = MEASURES["indexed"], MEASURES["ms"], MEASURES["crystals"]
FIGURES = ("mean_one", "mean_other", "difference", "error", "low", "high", "p_adjusted", "p_equal_adjusted")


def of_counts(both: int, one: int, other: int, neither: int) -> np.ndarray:
    return np.repeat([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], [both, one, other, neither], axis=0)


@pytest.mark.parametrize(("plus", "minus"), [(0, 0), (0, 7), (3, 9), (40, 60), (500, 610)])
def test_p_of_a_rate_is_twice_the_tail_of_a_binomial_distribution(plus: int, minus: int) -> None:
    n = plus + minus
    tail = sum(math.comb(n, k) for k in range(min(plus, minus) + 1))
    assert mcnemar(plus, minus) == pytest.approx(min(1.0, 2 * tail / 2**n), rel=1e-9)


def test_p_of_numbers_is_that_of_all_signs_where_the_saddlepoint_is_used_as_well() -> None:
    """With 16 differences the saddlepoint is used; all 65,536 sums are the reference."""
    rng = np.random.default_rng(3)
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=16)))
    for size in (rng.random(16) + 0.5, rng.standard_cauchy(16), np.ones(16)):
        for likely in (0.5, 0.7, 0.95):
            d = np.abs(size) * np.where(rng.random(16) < likely, 1.0, -1.0)
            exact = float(np.mean(np.abs(signs @ np.abs(d)) >= abs(d.sum()) - 1e-9))
            assert 0.75 * exact < sign_flip(d) < 1.35 * exact + 0.01


@pytest.mark.parametrize(("plus", "minus"), [(30, 12), (200, 100), (1000, 880)])
def test_p_of_numbers_is_mcnemars_where_all_differences_are_one(plus: int, minus: int) -> None:
    d = np.concatenate([np.ones(plus), -np.ones(minus), np.zeros(50)])
    assert sign_flip(d) == pytest.approx(mcnemar(plus, minus), rel=0.05)


@pytest.mark.parametrize("counts", [(10, 0, 0, 10), (30, 5, 1, 4), (300, 40, 25, 600), (0, 7, 0, 93)])
def test_the_interval_of_a_rate_ends_where_the_score_test_rejects(counts: tuple[int, int, int, int]) -> None:
    """The likeliest rates with a given difference are found here by trying all on a grid."""
    n, one, other = sum(counts), counts[1], counts[2]
    (d,) = compare(INDEXED, ("A", "B"), of_counts(*counts))
    for end, sign in ((d.low, 1), (d.high, -1)):
        q = np.linspace(max(0.0, -end), (1 - end) / 2, 400001)[1:-1]  # of the second alone; q + end of the first alone
        likelihood = one * np.log(q + end) + other * np.log(q) + (n - one - other) * np.log(1 - 2 * q - end)
        best = q[np.argmax(likelihood)]
        score = (one - other - n * end) / math.sqrt(n * (2 * best + end - end**2))
        assert score == pytest.approx(sign * NormalDist().inv_cdf(0.975), rel=2e-3)


def test_the_interval_of_rates_that_never_differ_is_that_of_tango() -> None:
    (d,) = compare(INDEXED, ("A", "B"), of_counts(40, 0, 0, 60))
    z = NormalDist().inv_cdf(0.975)
    assert (d.low, d.high) == pytest.approx((-(z**2) / (100 + z**2), z**2 / (100 + z**2)))
    assert (d.outcome, d.p) == ("identical", 1.0)


@pytest.mark.parametrize("mean", [0.0, 0.1, -0.3])
def test_who_bets_on_a_rate_is_not_expected_to_win_if_there_is_no_more(mean: float) -> None:
    """The expectation of E over all outcomes of 12 frames is 1."""
    n, alone = 12, 0.2 + abs(mean)
    p = ((alone + mean) / 2, (alone - mean) / 2)
    expected = 0.0
    for plus in range(n + 1):
        for minus in range(n + 1 - plus):
            ways = math.comb(n, plus) * math.comb(n - plus, minus)
            chance = ways * p[0] ** plus * p[1] ** minus * (1 - alone) ** (n - plus - minus)
            column = of_counts(0, plus, minus, n - plus - minus)
            sums = PairSums(INDEXED, 2)
            sums.add(column)
            expected += chance * math.exp(always_valid._log_e(sums, np.array([mean]), 0.0)[0])
    assert expected == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("heavy", [False, True])
def test_who_bets_on_numbers_is_not_expected_to_win_if_signs_are_chance(heavy: bool) -> None:
    """The expectation of E over all signs of 10 differences is at most 1, however heavy their tails."""
    rng = np.random.default_rng(5)
    size = np.abs(rng.standard_cauchy(10)) if heavy else rng.random(10) + 0.5
    log_e = []
    for signs in itertools.product([-1.0, 1.0], repeat=10):
        sums = PairSums(CRYSTALS, 2)
        d = size * signs
        sums.add(np.stack([np.maximum(d, 0), np.maximum(-d, 0)], axis=1))
        log_e.append(always_valid._log_e(sums, np.zeros(1), 0.0)[0])
    assert 0.5 < np.mean(np.exp(log_e)) <= 1.0 + 1e-9


def test_several_p_are_adjusted_as_holm_does_it() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("measure", [INDEXED, TIME, CRYSTALS], ids=lambda measure: measure.name)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_laws_of_pairs(measure, sequential: bool, data: st.DataObject) -> None:
    """Exchanging the two mirrors all, the order of frames does not count, and frames without both numbers are left out."""
    values = st.sampled_from([0.0, 1.0] if measure.is_rate else [0.5, 1.0, 1.25, 3.0, 40.0])
    rows = data.draw(st.lists(st.tuples(values, values), max_size=40))
    column = np.array(rows, np.float64).reshape(-1, 2)

    def compared(of: np.ndarray) -> Difference:
        return compare(measure, ("A", "B"), of, sequential=sequential)[0]

    def same(found: Difference, wanted: Difference) -> bool:
        of_both = [[getattr(d, name) for name in FIGURES] for d in (found, wanted)]
        return found.outcome == wanted.outcome and np.allclose(*of_both, rtol=1e-6, atol=1e-9, equal_nan=True)

    found = compared(column)
    assert same(compared(column[:, ::-1]), found.mirrored())
    lone = np.array([[np.nan, 1.0], [0.5, np.nan], [np.nan, np.nan]])
    assert same(compared(np.insert(column, 0, lone, axis=0)), found)
    if not sequential or measure.is_rate:  # how large differences of numbers are is said by the first ones
        order = data.draw(st.permutations(range(len(column))))
        assert same(compared(column[list(order)]), found)


def test_a_difference_of_means_is_a_part_of_their_mean_where_the_measure_says_so() -> None:
    rng = np.random.default_rng(8)
    common = 10 + rng.random(400)
    column = np.stack([1.2 * common, common], axis=1) + 0.1 * rng.standard_normal((400, 2))
    (d,) = compare(TIME, ("A", "B"), column)
    assert d.difference == pytest.approx(0.2 / 1.1, abs=0.002)
    assert d.low < d.difference < d.high < d.low + 0.01
    assert d.ratio == pytest.approx(1.2, abs=0.002)
    assert d.outcome == "worse"


def test_so_many_frames_are_needed_as_show_the_difference_in_80_of_100_runs() -> None:
    rng = np.random.default_rng(21)

    def frames(n: int) -> np.ndarray:
        """5 % of frames have it in the first way alone, 2 % in the second alone."""
        luck = rng.random(n)
        return np.stack([luck < 0.55, (luck < 0.5) | (luck > 0.98)], axis=1).astype(np.float64)

    (d,) = compare(INDEXED, ("A", "B"), frames(100000), size=0.03)
    assert d.frames_needed is not None
    seen = [compare(INDEXED, ("A", "B"), frames(d.frames_needed))[0].p <= 0.05 for _ in range(150)]
    assert 0.72 < np.mean(seen) < 0.88


def test_merged_figures_are_compared_by_leaving_out_blocks() -> None:
    """The correlation of two sums over frames, in two ways that share most of their noise: the error is that of repeated
    runs."""
    rng = np.random.default_rng(31)
    truth = rng.standard_normal(2000)

    def run() -> Difference:
        halves = rng.standard_normal((2, NUM_BLOCKS, 2000))
        noise = np.stack([4.0 * halves, 4.6 * halves + 0.6 * rng.standard_normal(halves.shape)], axis=-1)
        sums = truth[:, None] + noise  # (halves, blocks, reflections, ways)

        def correlation(which: np.ndarray) -> np.ndarray:
            first, second = sums[:, which].mean(axis=1)
            return np.array([np.corrcoef(first[:, way], second[:, way])[0, 1] for way in (0, 1)])

        every = np.arange(NUM_BLOCKS)
        without = np.array([correlation(every[every != k]) for k in every])
        return compare_blocks(("A", "B"), correlation(every), without, frames=1600, size=0.001)[0]

    runs = [run() for _ in range(30)]
    spread = np.std([d.difference for d in runs])
    assert 0.7 < np.mean([d.error for d in runs]) / spread < 1.4
    assert all(d.outcome == "better" for d in runs)
    assert runs[0].measure is CC_HALF
    assert runs[0].sentence().startswith("A has a CC1/2 0.")
    assert "higher than B (1,600 frames" in runs[0].sentence()


def test_neighbouring_frames_are_in_different_blocks() -> None:
    assert [block_of(serial) for serial in range(NUM_BLOCKS)] == list(range(NUM_BLOCKS))
