"""A run as an object: started, looked at, iterated over, stopped."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from toy_stages import Decode, Double, Doubled, Keep, Number, Numbers, Slow

from pipeline import Frame, Graph, Message, RunOptions, UserError, run

SOME = tuple(range(20, 60))


def graph(numbers: tuple[int, ...] = SOME, *, endless: bool = False, backend: str = "threads:2") -> Graph:
    source = Numbers(numbers=numbers, endless=endless)
    return Graph.chain(source, Decode(), Double(), Keep(), options=RunOptions(backend=backend))


@pytest.mark.parametrize("backend", ["serial", "serial:debug", "threads:2"])
def test_a_run_that_was_started_reports_what_run_reports(backend: str) -> None:
    numbers = (*SOME, 13, -1)
    handle = graph(numbers, backend=backend).start()
    report = handle.wait()
    direct = run(graph(numbers, backend=backend))
    assert not handle.is_running
    assert report is handle.report
    assert report.leaves == direct.leaves
    assert list(report.nodes) == list(direct.nodes)
    assert sorted(report.outputs["sink"]) == sorted(direct.outputs["sink"])
    assert report.is_conserved


def test_while_it_goes_on_it_says_how_and_what_was_last() -> None:
    handle = graph(endless=True).start()
    with handle:
        stream_seen = threading.Event()
        for _ in range(1000):
            if handle.report.leaves["sink"].delivered == len(SOME):
                break
            stream_seen.wait(0.01)
        assert handle.is_running
        assert handle.report.received == len(SOME)
        assert handle.report.is_conserved
        assert handle.progress.received <= len(SOME)
        last = handle.latest()
        assert isinstance(last, Frame)
        assert handle.latest(Doubled) == 2 * last[Number]
        assert handle.latest(Slow) is None
        assert "running" in repr(handle)
    assert not handle.is_running
    assert handle.report.why_ended == "stopped"
    assert "ended, received 40 = delivered 40" in repr(handle)


def test_waiting_for_some_time_returns_the_report_so_far() -> None:
    with graph(endless=True).start() as handle:
        assert handle.wait(0.01).why_ended == "it has not ended"
        assert handle.is_running
        handle.stop()
        assert handle.wait().why_ended == "stopped"


def test_an_exception_in_the_block_stops_the_run_and_is_raised() -> None:
    with pytest.raises(ZeroDivisionError), graph(endless=True).start() as handle:
        raise ZeroDivisionError
    assert not handle.is_running
    assert handle.report.is_conserved


def test_what_cannot_be_opened_is_raised_by_start(tmp_path: Path) -> None:
    from stages.source.replay import Replay

    wrong = graph().replace("source", Replay(files=(tmp_path / "not_there",)))
    with pytest.raises(UserError, match="not_there"):
        wrong.start()
    with pytest.raises(UserError, match="no node 'doubel'"):
        graph().start(after="doubel")


@pytest.mark.parametrize("backend", ["serial", "serial:debug", "threads:2"])
def test_frames_are_iterated_over_in_order_and_none_is_lost(backend: str) -> None:
    numbers = (*range(20, 120), -1, 13, *range(200, 250))
    frames = graph(numbers, backend=backend).frames()
    assert frames.report.received == 0
    seen = [int(frame[Doubled]) for frame in frames]
    assert seen == [2 * n for n in numbers if n not in (-1, 13)]
    assert frames.report.leaves["sink"].rejected == 2
    assert frames.report.is_conserved


def test_frames_need_no_sink_and_may_be_taken_anywhere() -> None:
    bare = Graph.chain(Numbers(numbers=SOME), Decode(), Double())
    assert [int(frame[Doubled]) for frame in bare.frames()] == [2 * n for n in SOME]
    early = next(bare.frames(after="decode"))
    assert Doubled not in early
    assert Message not in early
    assert Message in next(bare.frames(keep_image=True))


def test_who_takes_his_time_holds_the_source_back() -> None:
    limited = graph(tuple(range(20, 1020))).with_options(in_flight=5)
    frames = limited.frames()
    next(frames)
    waiting = threading.Event()
    waiting.wait(0.3)
    received = frames.report.received
    assert received <= 1 + 5 + 1
    assert sum(1 for _ in frames) == 999
    assert frames.report.leaves["sink"].delivered == 1000


def test_a_loop_that_takes_its_time_is_not_taken_for_a_sender_that_is_silent() -> None:
    patient = graph(tuple(range(20, 60))).with_options(in_flight=2, no_data_timeout_s=0.2)
    frames = patient.frames()
    next(frames)
    threading.Event().wait(0.6)
    assert sum(1 for _ in frames) == 39
    assert frames.report.why_ended == "the source has no more"


def test_what_was_received_is_finished_when_the_block_is_left() -> None:
    slow = Graph.chain(Numbers(numbers=SOME, endless=True), Decode(), Slow(seconds=0.1), Double(), Keep())
    with slow.with_options(in_flight=8).start() as handle:
        while not handle.report.received:
            pass
    assert handle.report.received == handle.report.leaves["sink"].delivered > 0
    with pytest.raises(ZeroDivisionError), slow.start() as handle:
        raise ZeroDivisionError
    assert handle.report.is_conserved


def test_leaving_the_loop_stops_the_run() -> None:
    frames = graph(endless=True).frames()
    for frame in frames:
        if frame[Number] == 25:
            break
    frames.close()
    assert frames.report.why_ended == "stopped"
    assert frames.report.is_conserved
    for _ in graph(endless=True).frames():
        break
    assert not [thread.name for thread in threading.enumerate() if thread.name == "run"]
    assert list(frames) == []


def test_an_output_that_fails_is_raised_behind_the_last_frame() -> None:
    failing = graph().replace("sink", Keep(fail_after=10))
    with pytest.raises(OSError, match="No space left"):
        list(failing.frames())


END = """
import sys
sys.path.insert(0, {here!r})
from pipeline import Graph
from toy_stages import Decode, Double, Keep, Numbers
graph = Graph.chain(Numbers(numbers=tuple(range(20, 40)), endless=True), Decode(), Double(), Keep())
handle = graph.start()
{rest}
"""


@pytest.mark.parametrize(
    ("rest", "status"),
    [
        ("raise ValueError('of the script')", 1),
        ("import os, signal, threading\nthreading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
         "with handle:\n    handle.wait()", -2),
    ],
)  # fmt: skip
def test_an_interpreter_that_ends_neither_hangs_nor_loses_frames(rest: str, status: int) -> None:
    said = "import atexit\natexit.register(lambda: print(handle.report.law_lines()[0], handle.is_running))"
    # handlers run last in, first out: this one is registered before the run's own, which comes with the import
    code = textwrap.dedent(said) + END.format(here=str(Path(__file__).parent), rest=rest)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stderr
    found = re.fullmatch(r"received (\d+) = delivered (\d+) \+ rejected 0 \+ dropped 0 False\n", done.stdout)
    assert found is not None, done.stdout
    assert found[1] == found[2]
