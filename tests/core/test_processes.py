"""Replicas in processes of their own: what ends one of them ends no more than its frame."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dangerous_stages import Danger, FailsToOpen, KeepPixels, KeepStubbornly
from toy_stages import Decode, Double, Keep, Numbers

from pipeline import UserError
from pipeline.composing.graph import Graph
from pipeline.running.job import run

HERE = Path(__file__).parent


def graph_with(danger: Danger, **options: object) -> Graph:
    graph = Graph.chain(Numbers(tuple(range(40, 70))), Decode(), danger, Double(), Keep(in_order=True))
    return graph.with_options(**{"backend": "processes:2", **options})


TIMEOUT_S = 3.0
"""No other frame takes so long, however busy the machine: that a worker grows has to be seen before."""

DANGERS = {
    45: ("exit", "worker_died", "the process that worked on it left with exit status 3 in danger"),
    50: ("crash", "worker_died", "the process that worked on it was killed by SIGSEGV in danger"),
    55: ("kill", "worker_died", "the process that worked on it was killed by SIGKILL in danger"),
    60: ("hang", "stage_timeout", f"the stage had not returned after {TIMEOUT_S:g} s, and was killed"),
    65: ("grow", "worker_memory", "(max_worker_memory = 120000000)"),
}


def test_whatever_ends_a_worker_rejects_its_frame_and_no_other(tmp_path: Path) -> None:
    danger = Danger({number: how for number, (how, _, _) in DANGERS.items()})
    limits = {"stage_timeout_s": TIMEOUT_S, "max_worker_memory": "120MB"}
    report = run(graph_with(danger, dead_letters=tmp_path, keep_messages=True, **limits))
    assert report.law_lines() == ["received 30 = delivered 25 + rejected 5 + dropped 0"]
    assert [serial for serial, _, _ in report.outputs["sink"]] == list(range(1, 31)), "all are written, in their order"
    letters = [json.loads(line) for path in tmp_path.glob("*.jsonl") for line in path.read_text().splitlines()]
    told = {int((tmp_path / letter["message"][0]).read_bytes()): letter for letter in letters}
    assert told.keys() == DANGERS.keys()
    for number, (_, reason, says) in DANGERS.items():
        assert (told[number]["node"], told[number]["reason"]) == ("danger", reason)
        assert says in told[number]["detail"]


def test_pixels_that_a_stage_keeps_beyond_its_frame_stay_what_they_were() -> None:
    graph = Graph.chain(Numbers(tuple(range(100, 400))), Decode(), KeepPixels(), Keep())
    report = run(graph.with_options(backend="processes:1"))
    assert report.law_lines() == ["received 300 = delivered 300 + rejected 0 + dropped 0"], report.text()


def test_nothing_is_left_when_a_run_has_ended() -> None:
    """Shared memory has no name, and goes with the last descriptor."""
    before, files = descendants(os.getpid()), len(os.listdir("/proc/self/fd"))
    run(graph_with(Danger({})))
    assert descendants(os.getpid()) == before
    assert len(os.listdir("/proc/self/fd")) == files


PROGRAM = """
import sys
from toy_stages import Decode, Keep, Numbers, Slow
from pipeline.composing.graph import Graph
from pipeline.running.job import run
graph = Graph.chain(Numbers(tuple(range(20, 10000))), Decode(), Slow(0.05), Keep()).with_options(backend="processes:2")
run(graph, on_start=lambda job: None, on_progress=lambda progress: print(progress.received, flush=True))
"""


def test_no_process_outlives_the_one_that_started_it_even_if_that_is_killed() -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])},
        text=True,
    )
    assert program.stdout is not None
    program.stdout.readline()
    below = descendants(program.pid)
    assert len(below) == 4, "the fork server, the process that receives, two workers"
    program.send_signal(signal.SIGKILL)
    program.wait()
    program.stdout.close()
    until = time.monotonic() + 20
    while any(is_alive(pid) for pid in below) and time.monotonic() < until:
        time.sleep(0.05)
    assert not [pid for pid in below if is_alive(pid)]


def descendants(pid: int) -> set[int]:
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            child, _, rest = stat.read_text().rpartition(")")
            parents[int(child.split()[0])] = int(rest.split()[1])
    below, before = {pid}, 0
    while len(below) != before:
        before = len(below)
        below |= {child for child, parent in parents.items() if parent in below}
    return {one for one in below if one != pid and is_alive(one)}


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_stage_of_a_script_reaches_the_workers(tmp_path: Path) -> None:
    """What is defined in ``__main__`` stands in no module that a worker could import."""
    script = tmp_path / "script.py"
    script.write_text(
        "from toy_stages import Decode, Doubled, Keep, Number, Numbers\n"
        "from pipeline import stage\nfrom pipeline.composing.graph import Graph\nfrom pipeline.running.job import run\n"
        "class Trebled(int):\n    def counts(self):\n        return {'trebled': 1}\n"
        "@stage('treble/toy')\nclass Treble:\n    def __call__(self, number: Number) -> Trebled:\n"
        "        return Trebled(3 * number)\n"
        "print(run(Graph.chain(Numbers((1, 2)), Decode(), Treble(), Keep()).with_options(backend='processes:1')).text())\n"
    )
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert "received 2 = delivered 2 + rejected 0 + dropped 0" in done.stdout, done.stderr
    assert "trebled 2" in done.stdout


def test_opening_that_fails_in_a_worker_is_the_error_of_the_run() -> None:
    graph = Graph.chain(Numbers((1, 2)), Decode(), FailsToOpen(), Keep()).with_options(backend="processes:2")
    with pytest.raises(UserError, match="no such file"):
        run(graph)


def test_a_worker_that_does_not_come_to_an_answer_is_replaced() -> None:
    graph = Graph.chain(Numbers(tuple(range(40, 70))), Decode(), Double(), KeepStubbornly(at=100))
    report = run(graph.with_options(backend="processes:2", stage_timeout_s=TIMEOUT_S))
    assert report.law_lines() == ["received 30 = delivered 29 + rejected 1 + dropped 0"]
    (kept,) = report.rejections.values()
    assert f"its process had not answered after {TIMEOUT_S:g} s" in kept.example
