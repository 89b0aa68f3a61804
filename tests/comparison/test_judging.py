"""What is said of differences, and who is called best."""

import json
from dataclasses import replace

import numpy as np
import pytest
from simulated_outcomes import rates, table_of, times

from stages.comparison.leaders import leaders
from stages.comparison.paired import Difference, compare
from stages.comparison.sequential import Deciding
from stages.comparison.table import MEASURES
from stages.comparison.verdict import judge

INDEXED, TIME = MEASURES["indexed"], MEASURES["ms"]


def of_counts(both: int, one: int, other: int, neither: int) -> np.ndarray:
    return np.repeat([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], [both, one, other, neither], axis=0)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((700, 80, 31, 389), "A indexes 4.1 +- 0.9 % more frames than B (1,200 frames, p = 4e-6)"),
        ((700, 31, 80, 389), "B indexes 4.1 +- 0.9 % more frames than A (1,200 frames, p = 4e-6)"),
        ((800, 6, 5, 1189), "no difference larger than 1 % after 2,000 frames (A and B, frames indexed)"),
        ((600, 0, 0, 600), "A and B gave the same on every frame (frames indexed, 1,200 frames)"),
        ((60, 4, 4, 32), "too few frames (100): a difference of 1 % would need some 6,300 (A and B, frames indexed)"),
        (
            (6000, 530, 470, 3000),
            "undecided after 10,000 frames: the difference is between -0.02 and 1.22 % (A less B, frames indexed)",
        ),
        (
            (60000, 300, 200, 39500),
            "A indexes 0.10 +- 0.02 % more frames than B (100,000 frames, p = 9e-6), which is less than 1 %",
        ),
        ((0, 0, 0, 0), "no frame has a number of both (A and B, frames indexed)"),
    ],
)
def test_a_rate_is_said_as_people_say_it(counts: tuple[int, int, int, int], said: str) -> None:
    (d,) = compare(INDEXED, ("A", "B"), of_counts(*counts))
    assert d.sentence() == said


def test_less_time_is_better_and_is_said_of_the_other_ones_mean() -> None:
    rng = np.random.default_rng(4)
    common = 10 + rng.random(500)
    column = np.stack([common, 1.25 * common + 0.1 * rng.standard_normal(500)], axis=1)
    (d,) = compare(TIME, ("A", "B"), column)
    assert d.outcome == "better"
    assert d.sentence().startswith("A takes 19.99 +- 0.03 % less time than B (500 frames, p = ")


def test_what_is_neither_better_nor_worse_differs() -> None:
    (d,) = compare(MEASURES["hits"], ("A", "B"), of_counts(700, 31, 80, 389))
    assert d.outcome == "differs"
    assert d.sentence() == "B finds 4.1 +- 0.9 % more hits than A (1,200 frames, p = 4e-6)"


def test_a_variant_that_is_better_is_said_to_be_so_at_what_time_it_takes() -> None:
    rng = np.random.default_rng(6)
    table = table_of(("A", "B"), indexed=of_counts(700, 80, 31, 389), ms=times(1200, [1.3, 1.0], rng, stalls=0.0))
    verdict = judge(table)
    assert verdict.best == "A"
    assert verdict.why == "A indexes 4.1 +- 0.9 % more frames than B (1,200 frames, p = 4e-6), at 1.3 times the time"
    assert json.loads(json.dumps(verdict.figures(), allow_nan=False))["best"] == "A"
    seen = verdict.between("ms", "B", "A")
    assert seen is not None
    assert seen.outcome == "better"


def test_of_variants_without_a_difference_the_faster_one_is_best() -> None:
    rng = np.random.default_rng(7)
    indexed = of_counts(800, 6, 5, 1189)
    verdict = judge(table_of(("A", "B"), indexed=indexed, ms=times(2000, [1.3, 1.0], rng)))
    assert verdict.leaders == ("A", "B")
    assert verdict.best == "B"
    assert verdict.why.startswith("no difference larger than 1 % after 2,000 frames")
    assert verdict.why.endswith("; B takes less time")
    assert judge(table_of(("A", "B"), indexed=indexed)).best is None


def test_of_six_variants_the_best_is_compared_with_the_next() -> None:
    rng = np.random.default_rng(9)
    names = ("one", "two", "three", "four", "five", "six")
    verdict = judge(table_of(names, indexed=rates(4000, [0.5, 0.4, 0.0, 0.3, 0.1, 0.6], rng)))
    assert verdict.best == "three"
    assert verdict.why.startswith("three is best: three indexes ")
    assert "more frames than five (4,000 frames" in verdict.why
    assert len(verdict.differences) == 15


def test_what_was_not_asked_does_not_weaken_what_was() -> None:
    """p of the aim counts the pairs of the aim alone, p of anything else all pairs of all other measures."""
    rng = np.random.default_rng(10)
    names = ("A", "B", "C")
    columns = {name: rates(500, [0, 0.02, 0.04], rng) for name in ("indexed", "hits", "right", "wrong")}
    verdict = judge(table_of(names, **columns))
    alone = compare(INDEXED, names, columns["indexed"])
    assert [d for d in verdict.differences if d.measure is INDEXED] == alone
    others = [d for d in verdict.differences if d.measure is not INDEXED]
    least = min(others, key=lambda d: d.p)
    assert least.p_adjusted == pytest.approx(min(1.0, 9 * least.p))


def difference(one: str, other: str, outcome: str, p_equal: float = 1.0) -> Difference:
    (d,) = compare(INDEXED, (one, other), of_counts(1, 1, 1, 1))
    return replace(d, outcome=outcome, p_equal_adjusted=p_equal)


@pytest.mark.parametrize(
    ("outcomes", "wanted"),
    [
        (("better", "better", "undecided"), ("A",)),
        (("better", "undecided", "better"), ()),
        (("no_difference", "better", "better"), ("A", "B")),
        (("no_difference", "no_difference", "no_difference"), ("A", "B", "C")),
        (("no_difference", "better", "undecided"), ("A", "B")),
        (("worse", "undecided", "better"), ("B",)),
        (("better", "no_difference", "undecided"), ("A", "C")),
        (("undecided", "better", "better"), ()),
    ],
)
def test_who_leads_follows_from_all_pairs(outcomes: tuple[str, str, str], wanted: tuple[str, ...]) -> None:
    """The outcomes are those of A with B, A with C, and B with C."""
    pairs = zip(("AB", "AC", "BC"), outcomes, strict=True)
    found = [difference(*pair, outcome, 0.01 if outcome == "no_difference" else 1.0) for pair, outcome in pairs]
    assert leaders(("A", "B", "C"), found) == wanted


def test_the_same_on_few_frames_does_not_end_a_run_and_on_many_it_does() -> None:
    deciding = Deciding(INDEXED, ("A", "B"))
    deciding.add(np.ones((50, 2)))
    assert deciding.decided() == ""
    deciding.add(np.ones((1500, 2)))
    assert deciding.decided() == "A and B do not differ by more than 1 % in frames indexed"


def test_what_is_no_better_is_decided_when_all_pairs_are() -> None:
    deciding = Deciding(MEASURES["hits"], ("A", "B"))
    deciding.add(of_counts(0, 40, 0, 40))
    assert deciding.decided() == "it is known of all pairs whether they differ in hits"


def test_frames_one_by_one_say_the_same_as_all_at_once() -> None:
    rng = np.random.default_rng(12)
    column = times(200, [1.0, 1.05, 1.1], rng)
    deciding = Deciding(TIME, ("A", "B", "C"))
    for row in column:
        deciding.add(row[None])
        deciding.differences()
    for one, other in zip(deciding.differences(), compare(TIME, ("A", "B", "C"), column, sequential=True), strict=True):
        assert (one.p, one.p_equal, one.outcome) == pytest.approx((other.p, other.p_equal, other.outcome))
