"""The panel that a terminal shows: that it fits, that nothing of it is cut off, and that nothing in it jumps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.command_line.curves import bars, round_top
from pipeline.command_line.history import History
from pipeline.command_line.panel import LOWEST, NARROWEST, Panel
from pipeline.watching import Progress
from stages.records.crystal import Crystals
from stages.records.peaklist import Hit

STATUSES = {
    "cells": "cell tetragonal P 79.12 79.12 38.01 A 90.0 90.0 90.0 deg of 51234 crystals",
    "merge": "merged 51234: 99.3 % complete, CC1/2 0.993",
    "diagnosis": "detector off by 5.8 px, ice, and 2 more",
    "shift": "detector shift x -0.123 y +0.045 mm",
}
REASONS = {("decode", "missing_key"): 134, ("geometry", "image_too_small"): 61, ("peaks", "stage_failed"): 17}


def at(second: float, received: int = 0, hits: int = 0, indexed: int = 0, **more: object) -> Progress:
    plain = Progress(
        received=received,
        in_flight=0,
        rejected=0,
        dropped=0,
        counts={"hits": hits, "indexed": indexed},
        frames_per_s=0.0,
        latency_ms=23.2,
        latency_99_ms=51.7,
        elapsed_s=second,
        status="connected to tcp://exflonc12.desy.de:5002",
        shown=(*Hit.shown, *Crystals.shown),
    )
    return replace(plain, **more)  # type: ignore[arg-type]


def full(second: float = 700.0, reasons: Mapping[tuple[str, str], int] = REASONS) -> Progress:
    """As much as a run of many hours can have to say."""
    rejected = sum(reasons.values())
    return at(
        second, 1_234_567, 654_321, 400_000, rejected=rejected, rejections=reasons, statuses=STATUSES, lost=4, dropped=7
    )


def shown(panel: Panel, progress: Progress, width: int = 80, height: int = 24) -> list[str]:
    panel.take(progress)
    return [line.plain for line in panel.lines(progress, width, height)]


def letters(text: str) -> str:
    return "".join(letter for letter in text if letter.isalnum())


@pytest.mark.parametrize(("width", "height"), [(80, 24), (140, 50), (200, 60)])
def test_it_fits_and_all_that_is_said_is_there(width: int, height: int) -> None:
    lines = shown(Panel(), full(), width, height)
    assert len(lines) <= height - 3
    assert all(len(line) <= width for line in lines)
    there = letters("".join(line.strip() for line in lines))
    for text in (*STATUSES.values(), "connected to tcp://exflonc12.desy.de:5002", "4 lost before receipt", "7 dropped"):
        assert letters(text) in there, text
    for (node, reason), count in REASONS.items():
        assert letters(f"{count} {reason} at {node}") in there
    for word in ("1,234,567", "53.0 %", "61.1 %", "0:11:40", "23 ms", "52 ms"):
        assert any(word in line for line in lines), word


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(NARROWEST, 250),
    height=st.integers(LOWEST, 100),
    text=st.text("abc ,;.:", max_size=300),
    reasons=st.dictionaries(
        st.tuples(st.text("xyz", max_size=30), st.text("uvw_", max_size=50)), st.integers(1, 10**9), max_size=40
    ),
)
def test_whatever_is_said_no_line_is_too_long_and_the_log_has_room(
    width: int, height: int, text: str, reasons: dict[tuple[str, str], int]
) -> None:
    progress = replace(full(reasons=reasons), statuses={"a": text, "a_node_of_a_very_long_name": text}, status=text)
    lines = shown(Panel(), progress, width, height)
    assert len(lines) <= height - 3
    assert all(len(line) <= width for line in lines)
    assert not any("\n" in line for line in lines)


def test_a_larger_window_has_longer_and_higher_curves() -> None:
    panel = Panel()
    for second in range(200):
        panel.take(at(second, 10 * second, 5 * second, 4 * second))
    progress = at(200, 2000, 1000, 800)
    low, high = (
        [line for line in shown(panel, progress, width, height) if "█" in line or "▅" in line]
        for width, height in ((80, 24), (160, 60))
    )
    assert len(high) > 2 * len(low)
    assert max(map(len, high)) > max(map(len, low))


def test_numbers_have_their_columns_and_lines_that_were_there_stay() -> None:
    panel = Panel()
    before = shown(panel, at(1, 5, 3, 1, statuses={"cells": "one two three, " * 8, "diagnosis": "ice"}))
    after = shown(panel, at(900, 1_234_567, 654_321, 400_000, statuses={"cells": "one"}))
    assert len(after) == len(before)
    assert [line.split()[0] for line in after[2:6]] == ["frames", "hits", "indexed", "rejected"]
    for one, other in zip(before[2:6], after[2:6], strict=True):
        assert one.index("%" if "%" in one else "/s") == other.index("%" if "%" in other else "/s")
    assert [line[:9] for line in after if line.startswith("diagnosis")] == ["diagnosis"], (
        "though it has nothing to say now"
    )


def test_a_scale_that_has_grown_does_not_shrink_and_grows_in_round_steps() -> None:
    panel = Panel()
    scales = []
    finished = 0
    for second in range(1, 400):
        finished += 130 if 50 < second < 60 else 30
        line = next(line for line in shown(panel, at(second, finished)) if line.startswith("frames"))
        scales.append(line.split()[-1])
    seen = list(dict.fromkeys(scales))
    assert seen == ["50/s", "200/s"]


def test_a_sender_that_is_lost_is_seen_and_one_that_waits_is_not_alarming() -> None:
    def style(progress: Progress) -> str:
        panel = Panel()
        panel.take(progress)
        (line,) = (line for line in panel.lines(progress, 80, 24) if line.plain.startswith("source"))
        return ", ".join(str(span.style) for span in line.spans[1:])

    assert style(at(5, 5, sender_lost_since_unix_s=1.0)) == "bold red"
    assert style(at(5, 5)) == style(at(5, 5, silent_s=6.0)) == ""
    assert style(at(5, 5, silent_s=40.0)) == "yellow"


def test_more_reasons_than_there_is_room_for_are_counted_and_the_most_frequent_are_named() -> None:
    reasons = {(f"node{n}", f"reason_{n}"): n for n in range(1, 41)}
    lines = shown(Panel(), full(reasons=reasons))
    said = " ".join(lines[next(n for n, line in enumerate(lines) if line.startswith("rejections")) :])
    assert "40 reason_40 at node40" in said
    assert "reasons more" in said
    assert "reason_1 at" not in said


def test_a_recording_that_rejects_nothing_has_no_lines_for_it() -> None:
    lines = shown(Panel(), at(5, 5, shown=(), live="12 MB on disk"))
    assert not any("reject" in line for line in lines)
    assert any("12 MB on disk" in line for line in lines)


def test_a_terminal_that_has_ascii_alone_is_shown_ascii() -> None:
    panel = Panel(ascii_only=True)
    for second in range(100):
        panel.take(at(second, 10 * second, 5 * second))
    assert all(line.isascii() for line in shown(panel, at(100, 1000, 500)))


# --- curves -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 50), min_size=1, max_size=400), st.integers(1, 100))
def test_no_frame_falls_out_of_a_curve_however_long_the_run(each_second: list[int], columns: int) -> None:
    history = History(most=16)
    total = 0
    for second, more in enumerate(each_second):
        history.add(at(second, total, hits=total // 2))
        total += more
    history.add(at(len(each_second), total, hits=total // 2))
    rates = history.frames_per_s(columns)
    assert len(rates) <= columns
    drawn = sum(rates) * history.column_s(columns)
    lasts = history.column_s(columns)
    assert drawn <= total + 1e-6
    covered = len(rates) * lasts
    assert drawn == pytest.approx(sum(each_second[: int(covered)]))
    assert len(each_second) - covered < lasts or len(each_second) < lasts


def test_shares_of_nothing_are_not_drawn_and_now_is_the_last_ten_seconds() -> None:
    history = History()
    for second in range(61):
        moving = min(second, 30)
        history.add(at(second, 10 * moving, hits=2 * moving, indexed=moving, rejected=moving))
    assert history.frames_per_s(60)[:30] == [10.0] * 30
    assert history.frames_per_s(60)[30:] == [0.0] * 30
    assert history.shares("indexed", "hits", 60)[:30] == [0.5] * 30
    assert all(map(math.isnan, history.shares("hits", "", 60)[30:]))
    assert history.rejected(60)[0] == 0.1
    assert history.frames_per_s_now() == 0.0
    assert math.isnan(history.share_now("hits", ""))
    history.add(at(62, 320, hits=76))
    assert history.share_now("hits", "") == pytest.approx(16 / 20)


@given(st.floats(0, 1e9), st.floats(1e-3, 1e9), st.integers(1, 4))
def test_a_bar_is_as_high_as_its_value_and_never_nothing(value: float, top: float, lines: int) -> None:
    (column,) = zip(*bars([value], top, lines), strict=True)
    filled = sum("▁▂▃▄▅▆▇█".find(letter) + 1 for letter in column)
    assert 1 <= filled <= 8 * lines
    assert filled == pytest.approx(1 + (8 * lines - 1) * min(1.0, value / top), abs=0.5 + 1e-9)


@given(st.floats(1e-6, 1e12))
def test_a_round_scale_is_enough_and_not_much_more(largest: float) -> None:
    assert largest * (1 - 1e-9) <= round_top(largest) <= 2.5 * largest * (1 + 1e-9)
