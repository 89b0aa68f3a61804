from __future__ import annotations

import gc
import json
import threading
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from plain_loop import run_plainly
from test_graph import graphs
from toy_stages import Compare, Decode, Double, Keep, Numbers, RefuseMultiples, Slow

from pipeline import Context, Frame, Message, UserError
from pipeline.composing.graph import Graph
from pipeline.composing.join import Join
from pipeline.composing.unread import unread_problems
from pipeline.running.job import run
from pipeline.running.report import Report
from pipeline.running.wiring import Replica, Setup
from pipeline.watching import Progress


def assert_conserved(report: Report) -> None:
    assert report.is_conserved, report.law_lines()
    for tally in report.leaves.values():
        assert report.received == tally.delivered + tally.rejected + tally.dropped


def chain(numbers: range | tuple[int, ...]) -> Graph:
    graph = Graph.chain(Numbers(tuple(numbers)), Decode(), Double(), Keep())
    return graph.with_options(backend="serial")


@given(graph=graphs())
@settings(max_examples=60, deadline=None)
def test_the_plain_loop_gives_the_same_as_streamz(graph: Graph) -> None:
    replica = Replica(Setup(graph))
    for serial, number in enumerate([0, 1, 4, 5, 13, -2, 15]):
        frame = Frame(serial, "", 0, {Message: Message(b"", 0, (str(number).encode(),))})
        arrived = {a.leaf: a.encoded for a in replica.process(frame)}
        assert arrived == run_plainly(graph, frame)
    replica.close()


@given(graph=graphs())
@settings(max_examples=25, deadline=None)
def test_the_law_holds_at_every_leaf_of_any_graph(graph: Graph) -> None:
    assume(not list(unread_problems(graph)))
    assert_conserved(run(graph.with_options(backend="threads:2")))


def test_branches_run_side_by_side_and_meet_by_serial() -> None:
    graph = Graph.chain(Numbers(tuple(range(1, 30))), Decode(), Double()).add(RefuseMultiples(n=4), name="picky")
    graph = graph.add(Double(by=10), name="ten", after="decode")
    graph = graph.add(Join(), name="join", after=("picky", "ten")).add(Compare()).add(Keep(in_order=True))
    report = run(graph.with_options(backend="threads:3"))
    assert_conserved(report)
    sums = [what for _, _, what in report.outputs["sink"]]
    assert sums[:3] == [12, 20, 36]
    assert sums[12] == "decode: stage_failed"


def test_a_rejection_in_one_branch_leaves_the_other_alone() -> None:
    graph = Graph.chain(Numbers((1, 2, 5)), Decode(), Double(), RefuseMultiples(n=5), Keep())
    graph = graph.add(Keep(), name="all", after="double")
    report = run(graph)
    assert_conserved(report)
    assert report.leaves["sink"].rejected == 1
    assert report.leaves["all"].delivered == 3
    assert report.law_lines()[0] == "sink: received 3 = delivered 2 + rejected 1 + dropped 0"


def test_serials_start_where_asked() -> None:
    report = run(chain(range(3)).with_options(serial_offset=1000))
    assert [serial for serial, _, _ in report.outputs["sink"]] == [1000, 1001, 1002]


def test_dead_letters_hold_each_rejected_frame_once_with_its_message(tmp_path: Path) -> None:
    graph = chain((1, -1, 13)).add(Keep(), name="second", after="double")
    report = run(graph.with_options(dead_letters=tmp_path / "dead", keep_messages=True))
    assert_conserved(report)
    (index,) = (tmp_path / "dead").glob("*.jsonl")
    lines = [json.loads(line) for line in index.read_text().splitlines()]
    assert [(line["serial"], line["node"], line["reason"]) for line in lines] == [
        (2, "decode", "negative"),
        (3, "decode", "stage_failed"),
    ]
    assert (tmp_path / "dead" / lines[0]["message"][0]).read_bytes() == b"-1"


def test_a_run_without_rejections_makes_no_folder(tmp_path: Path) -> None:
    run(chain((1, 2)).with_options(dead_letters=tmp_path / "dead"))
    assert not (tmp_path / "dead").exists()


def test_dead_letters_that_cannot_be_written_are_counted_and_the_run_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder can be made below it")
    report = run(chain((1, -1, 13, 2)).with_options(dead_letters=tmp_path / "file" / "dead", keep_messages=True))
    assert_conserved(report)
    assert (report.failure, report.why_ended) == (None, run(chain((1,))).why_ended)
    assert [event for _, event, _ in report.outputs["sink"]][-1] == "toy // 2"
    assert f"dead letters: 2 not written to {tmp_path / 'file' / 'dead'}: Not a directory" in report.text().splitlines()
    assert caplog.text.count("cannot write dead letters") == 1


def test_progress_is_told_while_the_run_goes_on() -> None:
    seen: list[Progress] = []
    graph = Graph.chain(Numbers(tuple(range(14, 54))), Decode(), Slow(seconds=0.02), Double(), Keep())
    run(graph, on_progress=seen.append)
    assert len(seen) > 2
    assert seen[-1].received >= seen[0].received
    assert seen[-1].status == "toy"


def test_a_wrong_graph_does_not_open_anything() -> None:
    with pytest.raises(UserError, match="no sink"):
        run(Graph.chain(Numbers(), Decode()))


def test_the_last_frame_is_not_kept_alive_by_the_graph() -> None:
    graph = chain((1,))
    replica = Replica(Setup(graph))

    class Pixels:
        pass

    pixels = Pixels()
    gone = weakref.ref(pixels)
    replica.process(Frame(1, "", 0, {Message: Message(b"", 0, (b"1",), keep_alive=pixels)}))
    del pixels
    gc.collect()
    assert gone() is None
    replica.close()


def test_the_report_reads_the_same_for_people_and_machines() -> None:
    report = run(chain((1, -1, 2)))
    assert report.text(profile=True).splitlines()[0] == report.law_lines()[0]
    machine = json.loads(json.dumps(report.as_json()))
    assert machine["conserved"] is True
    assert machine["leaves"]["sink"] == {"delivered": 2, "rejected": 1, "dropped": 0, "counts": {"hits": 2}}
    assert machine["nodes"]["decode"]["rejected"] == 1


def test_frames_in_flight_never_exceed_what_was_allowed() -> None:
    most = Counter[str]()
    lock = threading.Lock()

    def watch(progress: Progress) -> None:
        with lock:
            most["in flight"] = max(most["in flight"], progress.in_flight)

    graph = Graph.chain(Numbers(tuple(range(14, 200)), batch=0), Decode(), Slow(seconds=0.01), Double(), Keep())
    run(graph.with_options(in_flight=3, backend="threads:2"), on_progress=watch)
    assert 0 < most["in flight"] <= 3


@pytest.mark.parametrize("slow", [True, False])
def test_why_opening_takes_long_is_said_and_only_then(slow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    said = threading.Event()
    said_of: list[str] = []

    def say(setup: Setup) -> None:
        said_of.append(setup.opening)
        said.set()

    monkeypatch.setattr("pipeline.running.job._PATIENCE_S", 0.01 if slow else 60.0)
    monkeypatch.setattr("pipeline.running.job._say_why_it_takes_long", say)
    opened = Keep.open

    def open_slowly(stage: Keep, context: Context) -> Any:
        assert said.wait(120.0) or not slow
        return opened(stage, context)

    if slow:
        monkeypatch.setattr(Keep, "open", open_slowly)
    assert_conserved(run(chain(range(3))))
    assert said_of == (["sink"] if slow else [])
