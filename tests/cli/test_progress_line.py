"""The progress line: what it says, and how often where nobody watches."""

from __future__ import annotations

import io
import logging
import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.command_line import logs
from pipeline.command_line.progress import ProgressLine, fitted, line
from pipeline.watching import Progress
from stages.records.crystal import Crystals
from stages.records.peaklist import Hit

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


def progress(
    received: int = 100,
    in_flight: int = 0,
    rejected: int = 0,
    dropped: int = 0,
    hits: int = 50,
    indexed: int = 25,
    latency_ms: float = 10.0,
    status: str = "",
    live: str = "",
) -> Progress:
    return Progress(
        received=received,
        in_flight=in_flight,
        rejected=rejected,
        dropped=dropped,
        counts={"hits": hits, "indexed": indexed},
        frames_per_s=20.0,
        latency_ms=latency_ms,
        latency_99_ms=2.5 * latency_ms,
        elapsed_s=5.0,
        status=status,
        live=live,
        shown=(*Hit.shown, *Crystals.shown),
    )


def test_it_says_frames_rates_speed_and_the_time_from_receipt_to_disk() -> None:
    assert (
        line(progress())
        == "100 frames, hits 50.0 %, indexed 50.0 % of hits, 20.0 frames/s, receipt to disk 10 ms (99 %: 25 ms)"
    )


def test_it_says_what_went_wrong_and_where_the_source_stands() -> None:
    said = line(progress(in_flight=3, rejected=4, dropped=5, status="nobody listens on tcp://127.0.0.1:1; trying on"))

    assert ", 4 rejected, 5 dropped, 20.0 frames/s, " in said
    assert said.endswith(", 3 in flight, nobody listens on tcp://127.0.0.1:1; trying on")


def test_what_is_lost_on_the_way_here_is_said_as_it_happens() -> None:
    assert ", 4 rejected, 12 lost before receipt, 20.0" in line(replace(progress(rejected=4), lost=12))


def test_before_the_first_frame_there_are_no_rates() -> None:
    said = line(progress(received=0, hits=0, indexed=0, latency_ms=math.nan))

    assert said == "0 frames, hits -, indexed - of hits, 20.0 frames/s, receipt to disk -"


LONG = progress(
    received=1_234_567,
    in_flight=12,
    rejected=321,
    dropped=7,
    status="connected to tcp://exflonc12.desy.de:5002; 9 requests unanswered, 3 asked again; last answer 0 s ago",
    live="cell tetragonal P 79.12 79.12 38.01 A, 90.0 90.0 90.0 deg of 51234 crystals, merged 51234: 99.3 % complete, "
    "CC1/2 0.993, detector shift x -0.123 y +0.045 mm",
)
"""As much as a run can have to say."""


def letters(text: str) -> str:
    return re.sub("[ ,;]", "", text)


@pytest.mark.parametrize("width", [40, 80, 132, 200])
def test_a_terminal_shows_all_of_it_whatever_its_width(width: int) -> None:
    lines = fitted(LONG, width).splitlines()

    assert all(len(each) <= width for each in lines)
    counts = line(replace(LONG, live=""))
    assert letters("".join(lines)) == letters(counts + LONG.live)
    assert len(lines) <= -(-2 * len(line(LONG)) // width)


def test_at_80_columns_what_matters_is_in_the_first_lines() -> None:
    first, second, third, *_ = fitted(LONG, 80).splitlines()

    assert first == "1234567 frames, hits 0.0 %, indexed 50.0 % of hits, 321 rejected, 7 dropped"
    assert second == "20.0 frames/s, receipt to disk 10 ms (99 %: 25 ms), 12 in flight"
    assert third.startswith("connected to tcp://exflonc12.desy.de:5002; 9 requests unanswered")


def test_a_low_terminal_is_not_filled_with_progress() -> None:
    assert len(fitted(LONG, 40, height=7).splitlines()) == 5


@given(
    received=st.integers(0, 1000),
    lost=st.integers(0, 1200),
    hits=st.integers(0, 1000),
    share=st.floats(0, 1),
    flight=st.integers(0, 9),
)
def test_no_share_exceeds_100_per_cent(received: int, lost: int, hits: int, share: float, flight: int) -> None:
    said = line(progress(received, flight, lost, 0, hits, int(hits * share)))

    shares = [float(part.split()[1]) for part in said.split(", ")[1:3] if not part.split()[1].startswith("-")]
    assert all(0 <= each <= 100 for each in shares)


def test_where_nobody_watches_a_line_is_written_only_now_and_then() -> None:
    stream = io.StringIO()
    with ProgressLine(stream, every_s=1000) as show:
        for received in range(50):
            show(progress(received=received))
    assert stream.getvalue() == ""

    stream = io.StringIO()
    with ProgressLine(stream, every_s=0) as show:
        for received in (1, 2, 2, 3):
            show(progress(received=received))
    written = stream.getvalue().splitlines()
    assert [re.sub(f"^{TIME} ", "", each).split(",")[0] for each in written] == ["1 frames", "2 frames", "3 frames"]


def test_what_is_new_is_said_sooner_but_not_every_count_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    stream = io.StringIO()
    with ProgressLine(stream, every_s=10) as show:
        for status in ("nobody listens", "last answer 2 s ago", "last answer 4 s ago", "last answer 6 s ago"):
            show(progress(received=0, hits=0, status=status))

    assert [text.rpartition(", ")[2] for text in stream.getvalue().splitlines()] == [
        "nobody listens",
        "last answer 2 s ago",
    ]


def test_on_a_terminal_the_line_is_rewritten_in_place_and_logs_stand_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    console = Console(file=stream, force_terminal=True, width=120)
    monkeypatch.setattr(logs, "console", lambda: console)
    monkeypatch.setattr("sys.stderr", stream)
    logs.start("info")
    try:
        with ProgressLine(stream) as show:
            show(progress(received=41))
            logging.getLogger("streamajig.test").warning("something to know")
            show(progress(received=42))
    finally:
        logs.stop()

    shown = stream.getvalue()
    assert "41 frames" in shown
    assert "42 frames" in shown
    assert "something to know" in shown
    assert shown.index("something to know") < shown.index("42 frames")
    assert "\x1b[" in shown


def test_where_nobody_watches_each_line_of_the_log_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    logs.start("warning")
    try:
        logging.getLogger("streamajig.run").info("not this")
        logging.getLogger("streamajig.run").warning("but this")
    finally:
        logs.stop()

    assert re.fullmatch(TIME + r" streamajig\.run: warning: but this\n", stream.getvalue())
