"""Where a stage may take only so long: its frame is rejected, another replica goes on, and the late result is thrown away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from toy_stages import Decode, Double, Keep, ListWriter, Number, Numbers, RunningNumbers, keep

from pipeline import Context, Message, Outcome, UserError, stage
from pipeline.composing.graph import Graph
from pipeline.running.job import run
from pipeline.watching import Progress

TIMEOUT_S = 0.5


class Gate:
    """Where calls hang until the test opens it; they come back then, each in its time."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.came_back = threading.Semaphore(0)
        self.first = threading.Semaphore(1)

    def hang(self) -> None:
        self.opened.wait(60.0)
        self.came_back.release()


GATE = Gate()


@pytest.fixture(autouse=True)
def gate(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Gate()
    monkeypatch.setattr(f"{__name__}.GATE", made)
    yield made
    made.opened.set()


@stage("hang/toy")
class Hang:
    """Hangs on multiples of 10."""

    def __call__(self, number: Number) -> None:
        if number % 10 == 0:
            GATE.hang()


@stage("hang/toy_first")
class HangFirst:
    """Hangs on whichever frame comes first."""

    def __call__(self, number: Number) -> None:
        if GATE.first.acquire(blocking=False):
            GATE.hang()


class RunningPaced(RunningNumbers):
    def receive(self, timeout_s: float, credit: int) -> Sequence[Message]:
        time.sleep(0.0005)
        return super().receive(timeout_s, credit)


@stage("source/toy_paced")
class Paced:
    """Sends numbers one by one, two thousand per second at most."""

    when_full: str = "block"

    def open(self, context: Context) -> RunningPaced:
        return RunningPaced(range(14, 20_014), True, context, 1)


@stage("sink/toy_hanging")
class HangingSink:
    """Its encoder hangs on multiples of 10."""

    def open(self, context: Context) -> Callable[[Outcome], Any]:
        def encode(outcome: Outcome) -> Any:
            if outcome.event.endswith("0"):
                GATE.hang()
            return keep(outcome)

        return encode

    def open_writer(self, context: Context) -> ListWriter:
        return ListWriter(None)


@pytest.mark.parametrize("backend", ["threads:1", "threads:3"])
def test_the_frame_is_rejected_the_others_go_on_and_a_late_result_is_thrown_away(backend: str, gate: Gate) -> None:
    stopping = threading.Event()

    def watch(progress: Progress) -> None:
        if progress.rejected == 2 and progress.received >= 30:
            gate.opened.set()
        if gate.opened.is_set() and gate.came_back.acquire(blocking=False):
            stopping.set()

    numbers = (1, 10, 2, 20, *range(101, 153, 2))
    graph = Graph.chain(Numbers(numbers, endless=True), Decode(), Hang(), Double(), Keep(in_order=True))
    graph = graph.add(Keep(), name="other", after="decode").with_options(backend=backend, stage_timeout_s=TIMEOUT_S)
    report = run(graph, on_progress=watch, stopping=stopping)
    assert report.law_lines() == ["received 30 = delivered 28 + rejected 2 + dropped 0"]
    assert report.failure is None
    kept = report.outputs["sink"]
    assert [serial for serial, _, _ in kept] == list(range(1, 31))
    assert kept[1] == (2, "toy // 10", "hang: stage_timeout")
    assert report.rejections["hang", "stage_timeout"].count == report.nodes["hang"].rejected == 2
    assert "had not returned after 0.5 s" in report.rejections["hang", "stage_timeout"].example
    assert sorted(serial for serial, *_ in report.outputs["other"]) == list(range(1, 31))


def test_an_encoder_that_hangs_rejects_its_frame_and_is_not_tried_again() -> None:
    graph = Graph.chain(Numbers((1, 10, 2)), Decode(), Double(), HangingSink())
    report = run(graph.with_options(stage_timeout_s=TIMEOUT_S))
    assert report.law_lines() == ["received 3 = delivered 2 + rejected 1 + dropped 0"]
    assert report.rejections["sink", "stage_timeout"].count == 1
    assert [serial for serial, _, _ in report.outputs["sink"]] == [1, 3]


def test_where_too_many_hang_the_run_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.running.backends.threads._LEFT_BEHIND", 3)
    graph = Graph.chain(Numbers(tuple(range(0, 5000, 10)), endless=True), Decode(), Hang(), Double(), Keep())
    report = run(graph.with_options(stage_timeout_s=0.1, in_flight=2, backend="threads:2"))
    assert report.is_conserved
    assert report.why_ended == "3 threads hang, the last one in hang"
    assert report.leaves["sink"].rejected == report.received >= 3


def test_a_new_replica_that_cannot_be_opened_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Keep.open
    left = [1]

    def open_once(stage: Keep, context: Context) -> Any:
        if not left:
            raise OSError("no memory left")
        left.pop()
        return opened(stage, context)

    monkeypatch.setattr(Keep, "open", open_once)
    graph = Graph.chain(Numbers((1, 10, 2), endless=True), Decode(), Hang(), Double(), Keep())
    report = run(graph.with_options(stage_timeout_s=TIMEOUT_S))
    assert report.is_conserved
    assert str(report.failure) == "no memory left"
    assert report.leaves["sink"].delivered == 1


@pytest.mark.parametrize("when_full", ["block", "drop_newest", "drop_oldest"])
def test_one_frame_that_hangs_holds_back_no_more_than_a_bounded_number_of_others(when_full: str, gate: Gate) -> None:
    """64 may wait for it, 32 for each of the 2 in flight; the source has 20,000."""
    stopping = threading.Event()
    seen: list[Progress] = []

    def watch(progress: Progress) -> None:
        seen.append(progress)
        if progress.received - progress.dropped >= 64 and len(seen) >= 5:
            gate.opened.set()
            stopping.set()

    graph = Graph.chain(Paced(when_full), Decode(), HangFirst(), Double(), Keep(in_order=True))
    report = run(graph.with_options(backend="threads:2", in_flight=2), on_progress=watch, stopping=stopping)
    assert report.is_conserved
    assert all(progress.received - progress.dropped <= 2 + 64 for progress in seen)
    assert report.leaves["sink"].dropped == report.drop_reasons[f"no room ({when_full})"]
    assert (report.leaves["sink"].dropped == 0) == (when_full == "block")
    serials = [serial for serial, _, _ in report.outputs["sink"]]
    assert serials == sorted(serials)
    assert len(serials) == report.leaves["sink"].delivered >= 64


@pytest.mark.parametrize("backend", ["serial", "serial:debug"])
def test_where_no_stage_can_be_left_behind_the_check_says_so(backend: str) -> None:
    graph = Graph.chain(Numbers((1,)), Decode(), Hang(), Double(), Keep())
    with pytest.raises(UserError, match="stage_timeout_s goes with threads:N"):
        graph.with_options(backend=backend, stage_timeout_s=1.0).check()
