"""Stages that take too long are named, and a process that dies leaves a word about the stage that was running."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_stages import Decode, Double, ListWriter, Numbers, Slow, keep

from pipeline import Context, Frame, Outcome, stage
from pipeline.composing.graph import Graph
from pipeline.running.guards import Place
from pipeline.running.job import run
from pipeline.running.watchdog import Watchdog
from pipeline.watching import Progress


class SlowWriter(ListWriter):
    def write(self, encoded: Any) -> None:
        time.sleep(0.5)
        super().write(encoded)


@stage("sink/toy_slow")
class SlowSink:
    """Writes slowly."""

    def open(self, context: Context) -> Callable[[Outcome], Any]:
        return keep

    def open_writer(self, context: Context) -> ListWriter:
        return SlowWriter(None)


@pytest.mark.parametrize("backend", ["serial", "threads:2"])
def test_a_stage_that_takes_long_is_named_with_its_frame_and_where_it_is(
    backend: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pipeline.running.job.SLOW_S", 0.1)
    seen: list[Progress] = []
    graph = Graph.chain(Numbers((1,)), Decode(), Slow(seconds=0.7), Double(), SlowSink()).with_options(backend=backend)
    run(graph, on_progress=seen.append)
    said = [record.getMessage() for record in caplog.records if record.name == "streamajig.watchdog"]
    assert re.match(r"frame 1 has been in slow for 0 s \(in __call__, line \d+ of toy_stages.py\)", said[0])
    assert any(
        re.match(r"frame 1 has been in sink, writing for 0 s \(in write, line \d+ of test_", text) for text in said
    )
    assert backend == "serial" or any("frame 1 has been in slow for" in progress.status for progress in seen)
    assert len(said) <= 8  # at 0.1, 0.2 and 0.4 s, and not at each look


def test_a_call_is_named_again_whenever_it_has_taken_twice_as_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seconds = 0.0
    monkeypatch.setattr("pipeline.running.watchdog.time.perf_counter_ns", lambda: int(seconds * 1e9))
    place: Place = [("count", Frame(17), 0)]
    dog = Watchdog(lambda: [place], slow_s=10.0)
    named_at = []
    for seconds in (*range(100), 200.0, 201.0):
        caplog.clear()
        dog.look()
        named_at += [seconds] * len(caplog.records)
    assert named_at == [10, 20, 40, 80, 200.0]
    assert dog.status() == "frame 17 has been in count for 201 s"
    place[0] = ("count", Frame(18), int(200e9))
    dog.look()
    assert len(caplog.records) == 0
    assert dog.status() == ""


DYING = """
import ctypes, os, time
import pipeline.command_line.crash
from pipeline import stage
from toy_stages import *

pipeline.command_line.crash._SILENT_S, pipeline.command_line.crash._ALIVE_S = 0.5, 0.1

@stage("die/toy")
class Die:
    how: str = ""
    def __call__(self, number: Number) -> None:
        if number == 2:
            fork()
        if number == 3:
            {"read": die_reading, "abort": os.abort, "exit": lambda: os._exit(0), "lock": hold}[self.how]()

def die_reading(): ctypes.string_at(0)
def hold(): ctypes.PyDLL(None).usleep(900_000)

def fork():  # a child of the stage leaves as it likes
    child = os.fork()
    if not child:
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""

DYING_GRAPH = """
modules: [dying.py]
nodes:
  source: {{stage: source/toy, numbers: [1, 2, 3, 4]}}
  decode: decode/toy
  fragile: {{stage: die/toy, how: {how}}}
  double: double/toy
  sink: sink/toy
"""


def test_a_process_that_dies_leaves_a_word_about_the_stage_that_was_running(tmp_path: Path) -> None:
    """Four processes at once, since each takes a second to start."""
    (tmp_path / "dying.py").write_text(DYING)
    ways = {"read": "threads:2", "abort": "serial", "exit": "threads:1", "lock": "threads:1"}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    processes = {}
    for how, backend in ways.items():
        (tmp_path / f"{how}.yaml").write_text(DYING_GRAPH.format(how=how))
        words = [sys.executable, "-m", "pipeline.command_line.cli", "run", f"{how}.yaml", "--backend", backend]
        processes[how] = subprocess.Popen(
            words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    ended = {how: (*process.communicate(timeout=60), process.returncode) for how, process in processes.items()}
    assert not any("os._exit(7)" in said for _, said, _ in ended.values())
    for how, signal_number in (("read", 11), ("abort", 6)):
        _, said, status = ended[how]
        assert status == -signal_number, said
        _, _, stack = said.partition("Current thread")
        assert "in stage fragile" in stack, said
    assert "in die_reading" in ended["read"][1]
    _, said, status = ended["exit"]
    assert status == 1, said
    assert "os._exit(0) was called in stage fragile, on frame 3: the run is over, without a report" in said
    out, said, status = ended["lock"]
    assert status == 0, said
    assert "Timeout" in said
    assert "in stage fragile" in said
    assert out.startswith("received 4 = delivered 4")
