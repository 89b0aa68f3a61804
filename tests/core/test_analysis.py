"""Sinks that keep state over the frames of a run, say something in its report, and may end it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from toy_stages import Decode, Double, Doubled, Keep, Numbers

from pipeline import Context, Findings, Frame, Outcome, stage
from pipeline.graph import Graph, GraphError
from pipeline.job import run
from pipeline.progress import line
from pipeline.report import Progress

BACKENDS = ["serial", "serial:debug", "threads:1", "threads:4"]


def extract(outcome: Outcome) -> Any:
    if not isinstance(outcome, Frame):
        return None
    if outcome[Doubled] == 14:
        raise ZeroDivisionError("fourteen")
    return int(outcome[Doubled])


class Sum:
    def __init__(self, enough_at: int) -> None:
        self._enough_at = enough_at
        self.total = 0
        self.seen: list[int] = []

    def write(self, encoded: int) -> None:
        self.total += encoded
        self.seen.append(encoded)

    def status(self) -> str:
        return f"sum {self.total}"

    def enough(self) -> str:
        return f"the sum is {self.total}" if self.total >= self._enough_at else ""

    def findings(self) -> Findings:
        figures = {"sum": self.total, "nan": math.nan, "seen": self.seen, "deep": [{"inf": math.inf}]}
        return Findings(f"the sum is {self.total}\nof {len(self.seen)} numbers", figures)

    def close(self) -> None:
        pass


@stage("live/toy_sum")
class SumUp:
    """Sums up."""

    enough_at: int = 1_000_000
    in_order: bool = True
    reads: ClassVar[tuple[type, ...]] = (Doubled,)

    def open(self, context: Context) -> Callable[[Outcome], Any]:
        return extract

    def open_writer(self, context: Context) -> Sum:
        return Sum(self.enough_at)


def graph(numbers: range, analysis: SumUp, backend: str, *, endless: bool = False) -> Graph:
    made = Graph.chain(Numbers(tuple(numbers), endless=endless), Decode(), Double(), Keep()).with_options(
        backend=backend
    )
    return made.add(analysis, name="sum", after="double")


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_an_analysis_found_stands_in_the_report(backend: str) -> None:
    report = run(graph(range(-2, 10), SumUp(), backend))
    assert report.findings["sum"].figures["seen"] == [0, 2, 4, 6, 8, 10, 12, 16, 18]  # in order; 14 cannot be encoded
    assert "sum: the sum is 76\n  of 9 numbers" in report.text()
    found = json.loads(json.dumps(report.as_json(), allow_nan=False))["findings"]["sum"]
    assert (found["sum"], found["nan"], found["deep"]) == (76, None, [{"inf": None}])


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_law_holds_at_an_analysis_as_at_every_leaf(backend: str) -> None:
    report = run(graph(range(-2, 10), SumUp(), backend))
    assert report.law_lines() == [
        "sink: received 12 = delivered 10 + rejected 2 + dropped 0",
        "sum: received 12 = delivered 9 + rejected 3 + dropped 0",
    ]
    assert report.rejections["sum", "stage_failed"].count == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_analysis_ends_the_run_when_it_has_enough(backend: str) -> None:
    report = run(graph(range(20, 10_000), SumUp(enough_at=500), backend, endless=True))
    assert report.is_conserved
    assert report.why_ended == "sum: the sum is 550"
    assert 11 <= report.received < 200
    assert report.leaves["sink"].delivered == report.received, "what was received is finished"
    assert report.failure is None


def test_a_run_that_ends_by_itself_says_so_although_there_is_enough() -> None:
    report = run(graph(range(20, 31), SumUp(enough_at=550), "serial").with_options(max_frames=11))
    assert report.why_ended == "11 frames, as asked for"


def test_the_progress_line_shows_what_analyses_say() -> None:
    said: list[Progress] = []
    from pipeline.job import Job

    show = Job.show_progress

    def always(job: Job, *, every_s: float = 0.0) -> None:
        show(job, every_s=0.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Job, "show_progress", always)
        run(graph(range(5, 10), SumUp(), "serial"), on_progress=said.append)
    assert said[-1].live.startswith("sum ")
    assert said[-1].live in line(said[-1])


def test_a_graph_without_what_an_analysis_reads_is_refused() -> None:
    made = graph(range(3), SumUp(), "serial")
    made = made.add(SumUp(), name="early", after="decode")
    with pytest.raises(GraphError, match=r"node 'early' \(live/toy_sum\) reads Doubled, which nothing upstream writes"):
        made.check()
