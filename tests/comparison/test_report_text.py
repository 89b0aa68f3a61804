"""A verdict in the report, and in the progress line."""

import re

import numpy as np
import pytest
from made_tables import HOSTILE, clear_table, drawn_table, equal_table, open_table

from stages.comparison.chosen import sentences
from stages.comparison.estimates import course, estimate, wilson
from stages.comparison.report_text import text_of
from stages.comparison.standing import Standing
from stages.comparison.table import MEASURES, FrameTable
from stages.comparison.verdict import judge
from stages.comparison.words import said, with_error


def test_the_report_has_a_row_for_each_variant_with_the_means_of_the_table_and_marks_the_winner() -> None:
    table = clear_table()
    verdict = judge(table)
    assert verdict.best == "peakfinder8"
    text = text_of(verdict, table)
    for i, name in enumerate(table.variants):
        (row,) = (line for line in text.splitlines() if re.match(rf"[* ] {name} ", line))
        assert row.startswith("*") == (name == "peakfinder8")
        numbers = [float(number) for number in re.findall(r"[\d.]+(?= \+-)", row)]
        for measure, scale in (("indexed", 100.0), ("ms", 1.0), ("explained", 100.0)):
            mean = scale * float(np.nanmean(table.column(measure)[:, i]))
            assert any(number == pytest.approx(mean, abs=0.6) for number in numbers), (name, measure)


def test_the_report_of_six_variants_says_few_sentences_and_fits_a_terminal() -> None:
    names = [f"peakfinder8-threshold-{10 * n}" for n in range(6)]
    table = drawn_table(names, [0.3 + 0.05 * n for n in range(6)], [4.0 + n for n in range(6)], 300, seed=1)
    verdict = judge(table)
    assert len(verdict.differences) > 60
    assert 0 < len(sentences(verdict, table)) <= 6
    lines = text_of(verdict, table).splitlines()
    assert all(len(line) <= 100 for line in lines if "+-" in line and re.match(r"[* ] ", line))


def test_what_the_best_variant_is_worse_in_is_said_before_what_else_it_is_better_in() -> None:
    table = clear_table()
    said_first = sentences(judge(table), table)
    time = next(i for i, sentence in enumerate(said_first) if "less time than peakfinder8" in sentence)
    assert all("peakfinder8" in sentence for sentence in said_first)
    assert time < 3


def test_no_sentence_is_said_twice() -> None:
    for table in (clear_table(), open_table(), equal_table()):
        verdict = judge(table)
        assert not [sentence for sentence in sentences(verdict, table) if sentence in verdict.why]


def test_variants_that_gave_the_same_are_said_to_have_done_so() -> None:
    table = equal_table()
    assert "left and right gave the same on every frame" in text_of(judge(table), table)


def test_names_cannot_write_lines_of_their_own_into_the_report() -> None:
    table = drawn_table((HOSTILE, "zaef"), (0.4, 0.6), (4.0, 5.0), 50, seed=2, event=HOSTILE.replace("{", ""))
    text = text_of(judge(table), table)
    standing = Standing(table, "indexed").words()
    assert "\x1b" not in text + standing
    assert "\u202e" not in text + standing
    assert not any(line.lstrip().startswith("$x_1$") for line in text.splitlines())
    assert "\n" not in standing


def test_the_progress_line_says_the_rates_and_the_paired_difference() -> None:
    table = drawn_table(("zaef", "peakfinder8"), (0.4, 0.6), (4.0, 9.0), 400, seed=9)
    one, other = table.column("indexed").T
    difference = other - one
    error = float(difference.std(ddof=1)) / len(difference) ** 0.5
    lead = with_error(100 * float(difference.mean()), 100 * error, sign="+")
    words = Standing(table, "indexed").words()
    assert words == f"zaef {100 * one.mean():.0f} %, peakfinder8 {100 * other.mean():.0f} % indexed, {lead} %"


def test_the_progress_line_is_the_same_whether_it_is_looked_at_often_or_once() -> None:
    whole = clear_table()
    values = np.stack([whole.column(name) for name in MEASURES], axis=1)
    for aim in ("indexed", "ms", "explained"):
        growing = FrameTable(whole.variants)
        watched = Standing(growing, aim)
        for n in range(len(whole)):
            growing.append(n, "", values[n], np.full(3, np.nan))
            if n % 7 == 0:
                watched.words()
        assert watched.words() == Standing(whole, aim).words()


def test_the_progress_line_of_many_variants_names_the_best_ones() -> None:
    table = drawn_table([f"way{n}" for n in range(6)], [0.1, 0.2, 0.3, 0.9, 0.5, 0.6], [4.0] * 6, 200, seed=4)
    words = Standing(table, "indexed").words()
    assert "way3" in words
    assert "3 more" in words
    assert "way0" not in words


def test_before_the_first_frame_there_is_nothing_to_say() -> None:
    table = FrameTable(("a", "b"))
    assert Standing(table, "indexed").words() == ""
    assert text_of(judge(table), table)


def test_estimates_leave_out_frames_without_a_number() -> None:
    values = np.array([1.0, np.nan, 3.0])
    found = estimate(values, is_rate=False)
    assert (found.frames, found.mean, found.error) == (2, 2.0, pytest.approx(1.0))
    assert estimate(np.array([np.nan]), is_rate=True).frames == 0


def test_a_rate_of_all_frames_is_not_certain() -> None:
    assert estimate(np.ones(40), is_rate=True).error > 0.01
    assert said(MEASURES["indexed"], 1.0, estimate(np.ones(40), is_rate=True).error) == "100 +- 3"


def test_wilsons_interval_holds_the_true_rate_in_95_of_100_runs() -> None:
    chance = np.random.default_rng(11)
    for rate in (0.05, 0.5, 0.93):
        seen = chance.binomial(60, rate, 4000) / 60
        low, high = wilson(seen, np.full(4000, 60.0))
        assert 0.93 < float(((low <= rate) & (rate <= high)).mean()) < 0.98


def test_the_course_ends_at_the_mean_of_all_frames_and_its_interval_narrows() -> None:
    values = clear_table().column("explained")[:, 0]
    way = course(values, is_rate=False)
    assert way.frames[-1] == len(values)
    assert way.mean[-1] == pytest.approx(np.nanmean(values))
    assert way.high[-1] - way.low[-1] < 0.5 * (way.high[20] - way.low[20])
    assert len(way.frames) <= 200
