"""How far it is to merged data that are good enough: told from how they have grown, or not told."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from specimen_frames import Specimen, merge_frames

from pipeline import Context
from stages.live._forecast import PoissonTail, crystals_for, odds
from stages.live._growth import Growth
from stages.live.merge import Merge, MergeWriter, Until
from stages.merging.shells import Quality, Shell


def shell(completeness: float = 0.5, cc_half: float = 0.5, multiplicity: float = 5.0, d_min: float = 2.0) -> Shell:
    measured = round(completeness * 1000)
    return Shell(math.inf, d_min, 1000, measured, round(multiplicity * measured), cc_half, 0.3, 4.0)


def grown(until: Until | None, looks: list[tuple[int, Shell]], seconds_each: float = 100.0) -> Growth:
    clock = iter(np.arange(0.0, 1e6, seconds_each).tolist())
    growth = Growth(until, 2, lambda: next(clock))
    for crystals, overall in looks:
        growth.add(Quality((overall, overall), overall, crystals))
    return growth


def looks(law: Any, numbers: range = range(100, 301, 20)) -> list[tuple[int, Shell]]:
    return [(n, law(n)) for n in numbers]


@pytest.mark.parametrize("least", [1, 2, 3])
@pytest.mark.parametrize("part", [0.01, 0.5, 0.999])
def test_the_part_that_was_measured_often_enough_is_that_of_counts_at_random(least: int, part: float) -> None:
    x = PoissonTail(least)(part)
    rng = np.random.default_rng(0)
    assert (rng.poisson(x, 200_000) >= least).mean() == pytest.approx(part, abs=0.004)


@pytest.mark.parametrize("wanted", [0.8, 0.95, 0.99])
def test_reflections_that_are_measured_at_random_are_told_when(wanted: float) -> None:
    tail = PoissonTail(2)
    found = crystals_for([100, 120, 140, 160], [tail.part(n / 80) for n in (100, 120, 140, 160)], wanted, tail)
    assert found == pytest.approx(max(160.0, 80 * tail(wanted)), rel=1e-6)


def test_of_noise_that_averages_out_it_is_told_when_the_halves_agree() -> None:
    rng = np.random.default_rng(1)
    numbers = list(range(100, 320, 10))
    correlations = [1 / (1 + (60 / n) * math.exp(rng.normal(0, 0.1))) for n in numbers]
    found = crystals_for(numbers, correlations, 0.95, odds)
    assert found == pytest.approx(60 * 19, rel=0.25)


def test_what_cannot_be_told_is_not() -> None:
    never = [0.61, 0.611, 0.612, 0.611, 0.612]
    numbers = [200, 240, 280, 320, 360]
    assert crystals_for(numbers, never, 0.9, odds) == "it hardly grows"
    assert crystals_for(numbers[:3], never[:3], 0.9, odds) == "too few looks"
    assert crystals_for([], [], 0.9, odds) == "too few looks"
    assert crystals_for(numbers, [math.nan] * 5, 0.9, odds) == "too few looks"
    assert crystals_for(numbers, [-0.1, 0.0, 1.0, -0.2, math.nan], 0.9, odds) == "too few looks"
    tail = PoissonTail(1)
    slowly = [tail.part(n / 1e5) for n in numbers]
    assert crystals_for(numbers, slowly, 0.9, tail) == "it takes more than 30 times as many"
    assert (
        crystals_for(numbers, [tail.part(n / 100) for n in numbers], 1.0, tail) == "it takes more than 30 times as many"
    )


def test_of_all_that_is_asked_for_what_takes_longest_counts() -> None:
    tail = PoissonTail(2)
    seen = looks(lambda n: shell(tail.part(n / 150), 1 / (1 + 100 / n), n / 20))
    to_go = grown(Until(completeness=0.9, cc_half=0.9, multiplicity=20.0), seen).figures(300)["to_go"]
    assert to_go["what"] == "CC1/2 0.9 with about 900 crystals"
    assert to_go["crystals"] == pytest.approx(600, abs=5)
    assert to_go["seconds"] is None, "none has come since the last look"
    to_go = grown(Until(completeness=0.9, multiplicity=50.0), seen).figures(300)["to_go"]
    assert to_go["what"].startswith("multiplicity 50.0 with about 1,000")
    to_go = grown(Until(crystals=5000, cc_half=0.9), seen).figures(300)["to_go"]
    assert to_go["what"] == "5000 crystals"
    assert to_go["crystals"] == 4700


def test_the_time_is_that_which_so_many_crystals_have_taken_lately() -> None:
    seen = looks(lambda n: shell(cc_half=1 / (1 + 100 / n)))  # 20 crystals in 100 s
    growth = grown(Until(cc_half=0.9), seen)
    to_go = growth.figures(320)["to_go"]
    assert to_go["crystals"] == 580
    assert to_go["seconds"] == pytest.approx(580 / (20 / 100))
    assert growth.figures(301)["to_go"]["seconds"] > to_go["seconds"], "fewer have come in a longer time"
    for _ in range(3):
        growth.figures(300)
    assert growth.figures(300)["to_go"]["seconds"] is None, "none come, so nobody knows"


def test_where_the_resolution_limit_moves_looks_are_not_compared() -> None:
    moving = looks(lambda n: shell(cc_half=1 / (1 + 100 / n), d_min=300.0 / n))
    to_go = grown(Until(cc_half=0.9), moving).figures(300)["to_go"]
    assert (to_go["crystals"], to_go["seconds"]) == (None, None)
    assert to_go["what"] == "CC1/2 0.9: it cannot be told when (too few looks)"


def test_each_shell_is_asked_if_so_wished() -> None:
    growth = Growth(Until(cc_half=0.9, each_shell=True), 2)
    for n in range(100, 301, 20):
        inner = shell(cc_half=1 / (1 + 20 / n), d_min=4.0)
        outer = replace(shell(cc_half=1 / (1 + 200 / n)), d_max_angstrom=4.0)
        growth.add(Quality((inner, outer), shell(cc_half=1 / (1 + 50 / n)), n))
    to_go = growth.figures(300)["to_go"]
    assert to_go["what"] == "CC1/2 0.9 in the shell to 2.00 A with about 1,800 crystals"


def test_nothing_asked_for_is_nothing_to_go_and_before_the_first_look_nothing_is_known() -> None:
    assert grown(None, []).figures(0)["to_go"] is None
    found = grown(Until(cc_half=0.9), []).figures(3)
    assert found["to_go"] == {"crystals": None, "seconds": None, "what": "it cannot be told before the first look"}
    assert found["targets"] == {"cc_half": 0.9}
    assert all(len(column) == 0 for column in (*found["looks"].values(), *found["shells"].values()))
    there = grown(Until(cc_half=0.9), looks(lambda n: shell(cc_half=0.95))).figures(300)["to_go"]
    assert there == {"crystals": 0, "seconds": 0.0, "what": "what is asked for: about now"}


def as_they_come(stage: Merge, most: int) -> Iterator[MergeWriter]:
    specimen = Specimen(3)
    encode, writer = stage.open(Context()), stage.open_writer(Context())
    for serial in range(1, most + 1):
        encoded = encode(specimen.frame(serial, n=40, scale=float(specimen.rng.lognormal(0, 0.7))))
        assert encoded is not None
        writer.write(encoded)
        yield writer


@pytest.mark.parametrize("until", [Until(cc_half=0.98), Until(completeness=0.95), Until(multiplicity=15.0)], ids=str)
def test_while_crystals_are_merged_the_forecast_comes_true_within_a_factor_of_two(until: Until) -> None:
    stage = Merge(symmetry="4/mmm", highres=7.0, until=until)
    told: list[int] = []
    needed = 0
    for needed, writer in enumerate(as_they_come(stage, 2000), 1):
        found = writer.figures_now()
        assert found["crystals"] == needed
        if needed % 50 == 0 and found["to_go"]["crystals"] is not None:
            told.append(needed + found["to_go"]["crystals"])
        if writer.enough():
            break
    else:
        pytest.fail("it was never enough")
    assert len(told) >= 3
    assert 0.5 * needed < np.median(told) < 2.0 * needed


def test_the_looks_and_the_shells_of_the_last_are_told_as_columns_without_another_look() -> None:
    specimen = Specimen()
    writer = merge_frames(Merge(symmetry="4/mmm", shells=4), [specimen.frame(n) for n in range(127)])
    found = writer.figures_now()
    assert (found["symmetry"], found["crystals"], found["until"], found["to_go"]) == ("4/mmm", 127, None, None)
    assert found["looks"]["crystals"].tolist() == list(range(10, 121, 10))
    assert len(writer.looks) == 12
    last = writer.looks[-1]
    assert found["looks"]["cc_half"][-1] == pytest.approx(last.overall.cc_half)
    assert found["shells"]["completeness"].tolist() == pytest.approx([one.completeness for one in last.shells])
    assert found["shells"]["d_max"][0] == math.inf
    assert {len(column) for column in found["shells"].values()} == {4}
    assert all(column.dtype == np.float32 for column in (*found["looks"].values(), *found["shells"].values()))
