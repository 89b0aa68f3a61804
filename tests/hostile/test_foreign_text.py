"""Text that a sender chose stays on its line, and has its limits, in the report, the log and the dead letters."""

from __future__ import annotations

import json
import logging
import pickle
import tracemalloc
from pathlib import Path

import msgpack
import pytest
from hostile_catalogue import GOOD, GOOD_BODY
from hypothesis import given
from hypothesis import strategies as st

from pipeline import Frame, Message, Rejected, RejectFrame
from pipeline.composing.graph import Graph, RunOptions
from pipeline.frame import LONGEST_EVENT, Event
from pipeline.running.collect import MOST_REASONS, OTHER_REASONS
from pipeline.running.job import run
from pipeline.running.report import Report
from pipeline.stage import stage
from pipeline.texts import LONGEST_TEXT, LONGEST_WORD, one_line
from stages.decode.headers_only import HeadersOnly
from stages.records import Header
from stages.sink.memory import Memory
from stages.source.replay import Replay
from stages.wire.message import StandIn, body_of, read_map, stand_in

ESCAPES = "\x1b[2J\x1b]0;title\x07"
DIRECTION = "\u202e\u2066"
LAW = "received 999 = delivered 999 + rejected 0 + dropped 0"
FORGED = f"x\n{LAW}\r\u2028\x85{ESCAPES}{DIRECTION}"


@stage("hostile/needs_distance")
class NeedsDistance:
    """Asks the header for what the hostile messages lack."""

    def __call__(self, header: Header) -> None:
        """Read the detector's distance."""
        header.number("detector_distance")


@stage("hostile/quotes")
class Quotes:
    """Fails with what the message says, as a user's own stage might."""

    def __call__(self, header: Header) -> Event:
        """Raise, reject or rename, as the message says, with the message's text."""
        if "raise" in header:
            raise ValueError(header["raise"])
        if "reason" in header:
            raise RejectFrame(header["reason"], "a reason of its own")
        return Event(header["rename"])


def run_on(folder: Path, bodies: list[bytes], *stages: object, **options: object) -> Report:
    folder.mkdir(exist_ok=True)
    for n, body in enumerate(bodies):
        (folder / f"{n:06d}.msgpack").write_bytes(body)
    graph = Graph.chain(Replay(files=(folder,)), HeadersOnly(), *stages, Memory(), options=RunOptions(**options))
    return run(graph)


def assert_harmless(text: str, most: int = 2000) -> None:
    assert len(text) < most
    assert all(character.isprintable() for character in text)


@given(st.text(st.characters(), max_size=300), st.integers(40, 120))
def test_any_text_becomes_one_line_of_the_length_asked_for(text: str, most: int) -> None:
    line = one_line(text, most)
    assert len(line) <= most
    assert line.splitlines() in ([line], [])
    assert not any(character in line for character in "\x1b\x9b\x00\x7f\u202e\u2066\u200b\ufeff")
    line.encode()
    assert one_line(line, most) == line


def test_plain_text_of_any_language_stays_as_it_is() -> None:
    for text in ("run 3 // 12", "Gerät, Å⁻¹, 検出器, عربي, 5\u00a0keV", r"C:\data\x0a"):
        assert one_line(text) == text


def test_texts_are_escaped_and_cut_where_they_enter() -> None:
    rejected = RejectFrame(FORGED * 100, FORGED * 100_000)
    assert_harmless(rejected.reason, LONGEST_WORD + 1)
    assert_harmless(rejected.detail, LONGEST_TEXT + 1)
    assert_harmless(str(rejected), LONGEST_WORD + LONGEST_TEXT + 3)
    assert str(pickle.loads(pickle.dumps(rejected))) == str(rejected)
    event = Frame(1).with_values(Event(FORGED * 100)).event
    assert_harmless(event, LONGEST_EVENT + 1)
    whole = Rejected(1, FORGED * 100, 0, FORGED * 100, FORGED, FORGED * 100, Frame(1))
    assert_harmless(str(whole), LONGEST_EVENT + LONGEST_TEXT + 500)


def test_a_key_with_line_ends_and_escapes_adds_no_line_to_report_log_or_dead_letters(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bodies = [
        msgpack.packb({FORGED: 1}),
        msgpack.packb({"raise": FORGED}),
        msgpack.packb({"reason": FORGED}),
        msgpack.packb({"rename": FORGED}),
    ]
    with caplog.at_level(logging.INFO, "streamajig"):
        named = run_on(tmp_path / "key", bodies[:1], NeedsDistance(), dead_letters=tmp_path / "dead")
        quoted = run_on(tmp_path / "values", bodies[1:], Quotes(), dead_letters=tmp_path / "dead")
    for report in (named, quoted):
        lines = report.text().splitlines()
        assert sum(line.startswith("received ") for line in lines) == 1
        assert len(lines) == 2 + len(report.rejections)
        for line in lines:
            assert_harmless(line)
    for record in caplog.records:
        assert_harmless(record.getMessage())
    for index in (tmp_path / "dead").glob("*.jsonl"):
        for line in index.read_text().splitlines():
            assert_harmless(line)
            assert_harmless(json.loads(line)["detail"])
    renamed = next(outcome for outcome in quoted.outputs["sink"] if isinstance(outcome, Frame))
    assert_harmless(renamed.event)


def test_a_key_of_megabytes_is_named_by_its_ends_and_is_not_copied_again_and_again(tmp_path: Path) -> None:
    body = msgpack.packb({"k" * 5_000_000: 1, "v": {"w" * 1_000_000: "x" * 1_000_000}})
    report = run_on(tmp_path / "long", [body], NeedsDistance(), dead_letters=tmp_path / "dead")
    assert len(report.text()) < 3000
    assert "kkk...[5000000 characters]...kkk" in report.text()
    assert sum(file.stat().st_size for file in (tmp_path / "dead").iterdir()) < 3000
    header = Header({"v": {"w" * 1_000_000: b"x" * 5_000_000, "l": [["y" * 5_000_000]]}})
    tracemalloc.start()
    with pytest.raises(RejectFrame, match="not_a_number"):
        header.number("v")
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


def test_a_sender_cannot_make_up_a_stand_in() -> None:
    ours = stand_in("too_large", f"the message has 5 GB {FORGED}")
    for body in (ours, pickle.loads(pickle.dumps(ours))):
        with pytest.raises(RejectFrame, match=r"^too_large: the message has 5 GB x\\x0areceived") as caught:
            read_map(body_of(Message(b"", 0, (body,))))
        assert_harmless(caught.value.detail)
    for forged in (bytes(ours), b"\xc1streamajig too_large the message has 5 GB, as it seems", bytearray(ours)):
        assert not isinstance(forged, StandIn)
        with pytest.raises(RejectFrame) as caught:
            read_map(body_of(Message(b"", 0, (forged,))))
        assert caught.value.reason == "not_msgpack"


def test_reasons_that_a_sender_invents_are_counted_under_one_line(tmp_path: Path) -> None:
    num = 5 * MOST_REASONS
    bodies = [msgpack.packb({"reason": f"reason_{n}"}) for n in range(num)]
    report = run_on(tmp_path / "reasons", [*bodies, GOOD_BODY, b""], Quotes(), NeedsDistance())
    assert report.law_lines() == [f"received {num + 2} = delivered 0 + rejected {num + 2} + dropped 0"]
    assert sum(tally.count for tally in report.rejections.values()) == num + 2
    assert report.rejections["hostile", OTHER_REASONS].count == num + 1 - MOST_REASONS
    assert len(report.text().splitlines()) < MOST_REASONS + 10
    assert json.loads(json.dumps(report.as_json()))["conserved"]


def test_dead_letters_have_a_limit_in_number_and_in_bytes_and_the_rest_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bodies = [b"rubbish " * 1000] * 30
    letters = {"keep_messages": True, "dead_letters": tmp_path / "dead"}
    with caplog.at_level(logging.WARNING, "streamajig.collect"):
        report = run_on(tmp_path / "in", bodies, dead_letter_bytes=50_000, **letters)
    kept = list((tmp_path / "dead").glob("*.msgpack"))
    assert 1 <= len(kept) <= 6
    assert sum(file.stat().st_size for file in (tmp_path / "dead").iterdir()) <= 50_000
    assert report.letters_not_kept == 30 - len(kept)
    assert f"dead letters: {30 - len(kept)} rejected frames were beyond the limits and are not kept" in report.text()
    assert sum("counted and not kept" in record.getMessage() for record in caplog.records) == 1
    assert report.law_lines() == ["received 30 = delivered 0 + rejected 30 + dropped 0"]
    few = run_on(tmp_path / "in", bodies, max_dead_letters=7, dead_letters=tmp_path / "few")
    (index,) = (tmp_path / "few").glob("*.jsonl")
    assert len(index.read_text().splitlines()) == 7
    assert few.letters_not_kept == 23


def test_a_list_of_very_many_peaks_is_rejected_with_the_limit() -> None:
    import numpy as np
    from test_hostile_messages import GEOMETRY, PEAKS

    for many in (np.zeros(200_000), [0.0] * 200_000, np.zeros((400, 500))):
        peaks = {"fs": many, "ss": many, "intensity": many}
        with pytest.raises(
            RejectFrame, match=r"too_many_peaks: 'fs' of key 'peak_list' has 200000 values, and max_peaks = 100000"
        ):
            PEAKS(Header({**GOOD, "peak_list": peaks}), GEOMETRY)
