"""Verdicts are right: on frames with a known difference in 95 of 100 runs, and without one they claim one in at most 5 of
100."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from simulated_outcomes import MEAN_STRENGTH, crystals, rates, times

from stages.comparison.leaders import leaders
from stages.comparison.paired import compare
from stages.comparison.sequential import Deciding
from stages.comparison.table import MEASURES

NAMES = ("A", "B", "C", "D", "E", "F")
RUNS = 100
GAIN = 0.04
"""So many more of all frames are indexed in the first way."""

Making = Callable[[int, int, np.random.Generator], np.ndarray]


def with_gain(frames: int, ways: int, rng: np.random.Generator) -> np.ndarray:
    return rates(frames, [0.0] + [GAIN / MEAN_STRENGTH] * (ways - 1), rng)


def alike(frames: int, ways: int, rng: np.random.Generator) -> np.ndarray:
    return rates(frames, [0.0] * ways, rng)


def faster(frames: int, ways: int, rng: np.random.Generator) -> np.ndarray:
    return times(frames, [1.0] + [1.1] * (ways - 1), rng)


def as_fast(frames: int, ways: int, rng: np.random.Generator) -> np.ndarray:
    return times(frames, [1.0] * ways, rng)


def as_many_crystals(frames: int, ways: int, rng: np.random.Generator) -> np.ndarray:
    return crystals(frames, [0.0] * ways, rng)


def fixed_runs(making: Making, measure: str, ways: int, frames: int, seed: int, runs: int = RUNS) -> Counter[str]:
    """Who is best, in runs of a fixed length; and in how many runs any pair is said to differ."""
    found: Counter[str] = Counter()
    names = NAMES[:ways]
    for run in range(runs):
        column = making(frames, ways, np.random.default_rng([seed, run]))
        differences = compare(MEASURES[measure], names, column)
        found["".join(leaders(names, differences))] += 1
        found["claimed"] += any(d.outcome in ("better", "worse") for d in differences)
    return found


def runs_until_decided(making: Making, measure: str, ways: int, most: int, seed: int) -> Counter[str]:
    """The same in runs that end when it has been decided: every ten frames it is looked at first, then at each 5 % more."""
    found: Counter[str] = Counter()
    names = NAMES[:ways]
    for run in range(RUNS):
        column = making(most, ways, np.random.default_rng([seed, run]))
        deciding = Deciding(MEASURES[measure], names, size=0.03 if measure == "indexed" else None)
        frames, claimed, best = 0, False, ""
        while frames < most and not best:
            more = max(10, frames // 20)
            deciding.add(column[frames : frames + more])
            frames += more
            differences = deciding.differences()
            claimed |= any(d.outcome in ("better", "worse") for d in differences)
            best = "".join(leaders(names, differences))
        found[best] += 1
        found["claimed"] += claimed
    return found


@pytest.mark.parametrize("ways", [2, 6])
def test_a_run_of_fixed_length_knows_the_better_of_rates(ways: int) -> None:
    assert fixed_runs(with_gain, "indexed", ways, 3000, 101)["A"] >= 95


@pytest.mark.parametrize("ways", [2, 6])
def test_a_run_of_fixed_length_claims_no_difference_of_rates_that_is_not_there(ways: int) -> None:
    assert fixed_runs(alike, "indexed", ways, 1000, 102)["claimed"] <= 5


@pytest.mark.parametrize("ways", [2, 6])
def test_a_run_of_fixed_length_knows_who_is_faster(ways: int) -> None:
    assert fixed_runs(faster, "ms", ways, 1000, 103)["A"] >= 95


@pytest.mark.parametrize("ways", [2, 6])
@pytest.mark.parametrize(("making", "measure"), [(as_fast, "ms"), (as_many_crystals, "crystals")])
def test_a_run_of_fixed_length_claims_no_difference_of_numbers_that_is_not_there(
    making: Making, measure: str, ways: int
) -> None:
    """The test of times is exact, so that 5 % is what is expected; 27 of 400 is the 95 % quantile of that."""
    assert fixed_runs(making, measure, ways, 300, 204, runs=400)["claimed"] <= 27


def test_a_run_that_ends_when_it_is_decided_knows_the_better_of_two() -> None:
    assert runs_until_decided(with_gain, "indexed", 2, 8000, 105)["A"] >= 95


@pytest.mark.slow
def test_a_run_that_ends_when_it_is_decided_knows_the_better_of_six() -> None:
    assert runs_until_decided(with_gain, "indexed", 6, 12000, 106)["A"] >= 95


@pytest.mark.slow
@pytest.mark.parametrize("ways", [2, 6])
def test_however_often_one_looks_no_difference_is_claimed_that_is_not_there(ways: int) -> None:
    """And in 95 of 100 runs it is found that there is none larger than 3 %."""
    found = runs_until_decided(alike, "indexed", ways, 12000, 107)
    assert found["claimed"] <= 5
    assert found["".join(NAMES[:ways])] >= 95


@pytest.mark.slow
@pytest.mark.parametrize("ways", [2, 6])
@pytest.mark.parametrize(("making", "measure"), [(as_fast, "ms"), (as_many_crystals, "crystals")])
def test_however_often_one_looks_at_numbers_no_difference_is_claimed_that_is_not_there(
    making: Making, measure: str, ways: int
) -> None:
    assert runs_until_decided(making, measure, ways, 3000, 108)["claimed"] <= 5


@pytest.mark.slow
@pytest.mark.parametrize("ways", [2, 6])
def test_a_run_that_ends_when_it_is_decided_knows_who_is_faster(ways: int) -> None:
    assert runs_until_decided(faster, "ms", ways, 8000, 109)["A"] >= 95


@pytest.mark.slow
@pytest.mark.parametrize("ways", [2, 6])
def test_a_difference_as_large_as_the_size_is_not_called_none(ways: int) -> None:
    """The worst case of "no difference larger than ...": the first way differs by just so much from all others."""
    size = 0.03
    wrong = 0
    for run in range(RUNS):
        rng = np.random.default_rng([110, run])
        column = rates(3000, [0.0] + [size / MEAN_STRENGTH] * (ways - 1), rng)
        differences = compare(MEASURES["indexed"], NAMES[:ways], column, size=size)
        wrong += any(d.one == "A" and d.outcome == "no_difference" for d in differences)
    assert wrong <= 5
