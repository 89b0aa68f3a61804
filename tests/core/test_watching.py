"""Writers that look at the run they belong to: from threads of their own, while frames flow, and when all is over."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest
from contract_stages import WATCHERS, BadWatch, Look, ReadNumber, Sum, SumUp, Watch, Watcher
from every_backend import Backend, body, sender
from toy_stages import Decode, Double, Keep, Numbers

from pipeline import Graph, run
from pipeline.running.report import Report
from pipeline.watching import NodeView


def graph(source: Any, backend: str, decode: Any = ReadNumber, **parameters: Any) -> Graph:
    made = Graph.chain(source, decode(), Double(), Keep()).with_options(backend=backend)
    return made.add(SumUp(**parameters), name="sum", after="double").add(Watch(), name="watch", after="double")


def watched(graph: Graph, **more: Any) -> tuple[Report, Watcher]:
    report = run(graph, **more)
    return report, WATCHERS[-1]


def agree(look: Look) -> bool:
    """Whether what was seen at one time is possible: nothing is lost, and what was found is of what had come."""
    found = look.figures.get("sum", {"sum": 0, "numbers": 0})
    return (
        all(t.delivered + t.rejected + t.dropped <= look.report.received for t in look.report.leaves.values())
        and look.report.as_json()["conserved"]
        and found["numbers"] >= look.report.leaves["sum"].delivered
    )


def test_a_writer_sees_how_its_run_goes_and_what_analyses_find(backend: Backend) -> None:
    with sender(map(body, range(-2, 30))) as source:
        made = graph(source, backend.text).with_options(max_frames=32)
        report, watcher = watched(made, command_line="streamajig run it.yaml")
    assert report.is_conserved
    assert report.failure is None
    first, last = watcher.at_first, watcher.at_last
    assert first is not None
    assert last is not None

    assert (first.progress.received, first.report.received, first.why_ended) == (0, 0, "")
    assert first.progress.sender_lost_since_unix_s is None
    assert len(watcher.outcomes) > 32, "with each frame, and from the thread"
    assert not [seen for seen in watcher.outcomes if not agree(seen)]
    received = [seen.report.received for seen in watcher.outcomes]
    assert max(received) == 32

    assert last.why_ended == report.why_ended == "32 frames, as asked for"
    assert last.report.leaves == report.leaves
    assert last.report.rejections == report.rejections
    assert last.report.drop_reasons == report.drop_reasons
    assert {name: node.durations.count for name, node in last.report.nodes.items()} == {
        name: node.durations.count for name, node in report.nodes.items()
    }
    found = report.findings["sum"].figures
    assert last.figures == {"sum": {"sum": found["sum"], "numbers": len(found["seen"])}}
    assert set(last.statuses) <= {"sum"}


def test_the_graph_is_the_one_that_runs(backend: Backend) -> None:
    with sender(map(body, itertools.repeat(3))) as source:
        made = graph(source, backend.text).with_options(max_frames=5)
        _, watcher = watched(made)
    assert watcher.nodes == (
        NodeView("source", "source/zmq_req", "source", ()),
        NodeView("decode", "decode/contract_map", "stage", ("source",)),
        NodeView("double", "double/toy", "stage", ("decode",)),
        NodeView("sink", "sink/toy", "sink", ("double",)),
        NodeView("sum", "live/toy_sum", "sink", ("double",)),
        NodeView("watch", "live/contract_watch", "sink", ("double",)),
    )


def test_why_a_run_ended_is_known_when_the_writer_is_closed() -> None:
    enough = graph(Numbers(numbers=tuple(range(20, 40)), endless=True), "threads:2", Decode, enough_at=100)
    report, watcher = watched(enough)
    assert watcher.at_last is not None
    assert watcher.at_last.why_ended == report.why_ended
    assert report.why_ended.startswith("sum: the sum is ")

    stopping = threading.Event()
    stopping.set()
    report, watcher = watched(graph(Numbers(endless=True), "serial", Decode), stopping=stopping)
    assert watcher.at_last is not None
    assert (watcher.at_last.why_ended, report.received) == ("stopped", 0)

    full = graph(Numbers(numbers=tuple(range(20, 40))), "serial", Decode).replace("sink", Keep(fail_after=3))
    report, watcher = watched(full)
    assert watcher.at_last is not None
    assert "No space left on device" in watcher.at_last.why_ended
    assert watcher.at_last.report.leaves == report.leaves


def test_a_writer_that_cannot_begin_to_look_keeps_the_run_from_starting() -> None:
    made = graph(Numbers(numbers=(20, 21)), "serial", Decode).add(BadWatch(), name="screen", after="double")
    with pytest.raises(OSError, match="the screen is gone"):
        run(made)
    watcher = WATCHERS[-1]
    assert watcher.at_last is not None, "the others are closed"
    assert (watcher.at_last.report.received, watcher.at_last.why_ended) == (0, "it broke off")


class Puzzled(Sum):
    def figures_now(self) -> Any:
        return ["no", "dict"]


def test_an_analysis_whose_figures_fail_is_a_problem_that_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SumUp, "open_writer", lambda self, context: Puzzled(1_000_000))
    report, watcher = watched(graph(Numbers(numbers=tuple(range(20, 40))), "threads:2", Decode))
    assert report.leaves["sum"].delivered == report.received == 20
    assert "sum: its figures_now failed" in str(report.failure)
    assert watcher.at_last is not None
    assert watcher.at_last.figures == {}
    assert all(seen.figures == {} for seen in watcher.outcomes)
