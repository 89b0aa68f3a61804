"""Sinks that keep state over the frames of a run, say something in its report, and may end it."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from contract_stages import ReadNumber, SumUp
from every_backend import Backend, body, sender
from toy_stages import Decode, Double, Keep, Numbers

from pipeline.command_line.progress import line
from pipeline.composing.graph import Graph, GraphError
from pipeline.running.job import run
from pipeline.watching import Progress


def graph(source: Any, analysis: SumUp, backend: str, decode: Any = ReadNumber) -> Graph:
    made = Graph.chain(source, decode(), Double(), Keep()).with_options(backend=backend)
    return made.add(analysis, name="sum", after="double")


def of_toys(numbers: range, analysis: SumUp) -> Graph:
    return graph(Numbers(tuple(numbers)), analysis, "serial", Decode)


def test_what_an_analysis_found_stands_in_the_report_and_the_law_holds_there(backend: Backend) -> None:
    with sender(map(body, range(-2, 10))) as source:
        report = run(graph(source, SumUp(), backend.text).with_options(max_frames=12))
    seen = report.findings["sum"].figures["seen"]
    assert sorted(seen) == [0, 2, 4, 6, 8, 10, 12, 16, 18]  # 14 cannot be encoded
    assert seen == sorted(seen) or backend.asks, "they come in order"
    assert "sum: the sum is 76\n  of 9 numbers" in report.text()
    found = json.loads(json.dumps(report.as_json(), allow_nan=False))["findings"]["sum"]
    assert (found["sum"], found["nan"], found["deep"]) == (76, None, [{"inf": None}])
    assert report.law_lines() == [
        "sink: received 12 = delivered 10 + rejected 2 + dropped 0",
        "sum: received 12 = delivered 9 + rejected 3 + dropped 0",
    ]
    assert report.rejections["sum", "stage_failed"].count == 1


def test_an_analysis_ends_the_run_when_it_has_enough(backend: Backend) -> None:
    with sender(map(body, itertools.repeat(25))) as source:
        report = run(graph(source, SumUp(enough_at=500), backend.text))
    assert report.is_conserved
    assert report.why_ended == "sum: the sum is 500"
    assert report.received >= 10
    assert report.leaves["sink"].delivered == report.received, "what was received is finished"
    assert report.failure is None


def test_a_run_that_ends_by_itself_says_so_although_there_is_enough() -> None:
    report = run(of_toys(range(20, 31), SumUp(enough_at=550)).with_options(max_frames=11))
    assert report.why_ended == "11 frames, as asked for"


def test_the_progress_line_shows_what_analyses_say() -> None:
    said: list[Progress] = []
    from pipeline.running.job import Job

    show = Job.show_progress

    def always(job: Job, *, every_s: float = 0.0) -> None:
        show(job, every_s=0.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Job, "show_progress", always)
        run(of_toys(range(5, 10), SumUp()), on_progress=said.append)
    assert said[-1].live.startswith("sum ")
    assert said[-1].live in line(said[-1])


def test_a_graph_without_what_an_analysis_reads_is_refused() -> None:
    made = of_toys(range(3), SumUp())
    made = made.add(SumUp(), name="early", after="decode")
    with pytest.raises(GraphError, match=r"node 'early' \(live/toy_sum\) reads Doubled, which nothing upstream writes"):
        made.check()
