"""Whatever a user's code raises, and wherever: the frame is rejected, or the run ends with its law, and never silently."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from toy_stages import Decode, Double, Doubled, Keep, ListWriter, Number, Numbers, RunningNumbers, keep

from pipeline import Context, Findings, Outcome, RejectFrame, UserError, stage
from pipeline.composing.graph import Graph
from pipeline.running.job import run
from pipeline.running.report import Report
from pipeline.running.signals import Ending
from pipeline.running.wiring import Replica

BACKENDS = ["serial", "threads:2"]


class Odd(BaseException):
    """What no `except Exception` sees."""


class Mute(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise SystemExit(0)

    __repr__ = __str__


class Unreasonable(RejectFrame):
    """Its reason cannot be had."""

    def __init__(self) -> None:
        Exception.__init__(self)

    @property
    def reason(self) -> str:
        raise KeyError("no reason")


def raise_by(number: int) -> None:
    """0 to 6 raise; the other numbers do not."""
    raised = (SystemExit(0), KeyboardInterrupt(), GeneratorExit(), Odd("odd"), Mute(), Unreasonable(), MemoryError())
    if number < len(raised):
        raise raised[number]


@stage("raise/toy")
class Raise:
    """Raises."""

    def __call__(self, number: Number) -> None:
        raise_by(number)


class Uncountable(int):
    def counts(self) -> Mapping[str, int]:
        raise_by(self)
        return {"hits": 1}


@stage("uncountable/toy")
class MakeUncountable:
    """Adds a value that cannot be counted."""

    def __call__(self, number: Number) -> Uncountable:
        return Uncountable(number)


class RaisingWriter(ListWriter):
    def write(self, encoded: Any) -> None:
        raise_by(encoded[2] // 2)
        super().write(encoded)


@stage("sink/toy_raising")
class RaisingSink:
    """Raises in one of its halves."""

    in_writer: bool = False
    in_order: bool = False

    def open(self, context: Context) -> Callable[[Outcome], Any]:
        def encode(outcome: Outcome) -> Any:
            kept = keep(outcome)
            if not self.in_writer:
                raise_by(kept[2] // 2)
            return kept

        return encode

    def open_writer(self, context: Context) -> ListWriter:
        return RaisingWriter(None) if self.in_writer else ListWriter(None)


GRAPHS = {
    "stage": Graph.chain(Numbers(tuple(range(10))), Decode(), Raise(), Double(), Keep()),
    "counts": Graph.chain(Numbers(tuple(range(10))), Decode(), MakeUncountable(), Double(), Keep()),
    "encoder": Graph.chain(Numbers(tuple(range(10))), Decode(), Double(), RaisingSink()),
    "writer": Graph.chain(Numbers(tuple(range(10))), Decode(), Double(), RaisingSink(in_writer=True)),
    "writer in order": Graph.chain(Numbers(tuple(range(10))), Decode(), Double(), RaisingSink(True, True)),
}


@pytest.fixture(autouse=True)
def signals_are_handled() -> Iterator[None]:
    """As on the command line: a KeyboardInterrupt is then nobody's Ctrl-C."""
    with Ending():
        yield


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("where", GRAPHS)
def test_whatever_is_raised_rejects_its_frame_and_no_other(where: str, backend: str) -> None:
    report = run(GRAPHS[where].with_options(backend=backend))
    assert report.law_lines() == ["received 10 = delivered 3 + rejected 7 + dropped 0"]
    assert report.failure is None
    assert sorted(serial for serial, *_ in report.outputs["sink"])[-3:] == [8, 9, 10]
    ((node, reason),) = report.rejections
    assert (node, reason) == ("raise" if where == "stage" else "sink", "stage_failed")


def test_what_was_raised_is_said_also_where_it_cannot_say_it_itself() -> None:
    letters = [run(Graph.chain(Numbers((n,)), Decode(), Raise(), Double(), Keep())) for n in range(6)]
    said = [next(iter(report.rejections.values())).example for report in letters]
    beginnings = ["SystemExit: 0 (raise_by, line", "KeyboardInterrupt: ", "GeneratorExit: ", "Odd: odd (raise_by"]
    beginnings += ["Mute: (its text cannot be had: __str__ raises SystemExit) (raise_by", "KeyError: 'no reason'"]
    assert [text[: len(begin)] for text, begin in zip(said, beginnings, strict=True)] == beginnings


def test_the_users_own_ctrl_c_ends_a_serial_run_where_python_handles_it() -> None:
    import signal

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(Graph.chain(Numbers((1,)), Decode(), Raise(), Double(), Keep()).with_options(backend="serial"))
    finally:
        signal.signal(signal.SIGINT, before)


class RaisingAnalysis(ListWriter):
    def __init__(self, method: str) -> None:
        super().__init__(None)
        self._method = method
        self.asked: list[str] = []

    def _do(self, method: str, otherwise: Any = None) -> Any:
        self.asked.append(method)
        if method == self._method:
            raise SystemExit(0)
        return otherwise

    def status(self) -> str:
        return str(self._do("status", "fine"))

    def enough(self) -> str:
        return str(self._do("enough", ""))

    def findings(self) -> Findings:
        found: Findings = self._do("findings", Findings("found"))
        return found

    def close(self) -> None:
        self._do("close")


@stage("live/toy_raising")
class Analyse:
    """An analysis of which one method raises."""

    method: str = ""

    def open(self, context: Context) -> Callable[[Outcome], Any]:
        return keep

    def open_writer(self, context: Context) -> RaisingAnalysis:
        if self.method == "open_writer":
            raise SystemExit(0)
        return RaisingAnalysis(self.method)


@pytest.mark.parametrize("method", ["status", "enough", "findings", "close"])
def test_an_analysis_that_fails_is_named_and_the_run_goes_on(method: str) -> None:
    graph = Graph.chain(Numbers(tuple(range(20))), Decode(), Double(), Keep())
    report = run(graph.add(Analyse(method), name="analysis", after="double"), on_progress=lambda _: None)
    assert report.law_lines() == ["received 20 = delivered 19 + rejected 1 + dropped 0"]
    assert report.why_ended == "the source has no more"
    assert f"analysis: its {method} failed: SystemExit: 0" in report.text()
    assert len(report.outputs["sink"]) == 20


class RunningFragile:
    def __init__(self, when: str) -> None:
        self._when = when

    def __call__(self, doubled: Doubled) -> None:
        pass

    def close(self) -> None:
        if self._when == "close":
            raise Odd("at the end")


@stage("fragile/toy")
class Fragile:
    """Raises when it opens or closes."""

    when: str = "close"

    def open(self, context: Context) -> RunningFragile:
        if self.when == "open":
            raise SystemExit(0)
        return RunningFragile(self.when)


def test_a_stage_that_cannot_be_closed_leaves_the_law_and_a_failure() -> None:
    report = run(Graph.chain(Numbers((1, 2)), Decode(), Double(), Fragile(), Keep()))
    assert report.law_lines() == ["received 2 = delivered 2 + rejected 0 + dropped 0"]
    assert str(report.failure).startswith("fragile could not be closed: Odd: at the end (close, line")


class FragileSource(RunningNumbers):
    def receive(self, timeout_s: float, credit: int) -> Any:
        if not self._numbers:
            raise SystemExit(0)
        return super().receive(timeout_s, credit)


@stage("source/toy_fragile")
class BreakOff:
    """Sends three numbers and then raises."""

    when: str = "receive"

    def open(self, context: Context) -> FragileSource:
        if self.when == "open":
            raise SystemExit(0)
        return FragileSource((1, 2, 3), False, context, 1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_source_that_fails_ends_the_run_with_its_law(backend: str) -> None:
    report = run(Graph.chain(BreakOff(), Decode(), Double(), Keep()).with_options(backend=backend))
    assert report.law_lines() == ["received 3 = delivered 3 + rejected 0 + dropped 0"]
    assert report.why_ended.startswith("source failed: SystemExit: 0 (receive, line")


@pytest.mark.parametrize("where", ["fragile", "analysis", "source"])
def test_what_exits_while_it_opens_is_named(where: str) -> None:
    source = BreakOff("open") if where == "source" else Numbers((1,))
    fragile = Fragile("open" if where == "fragile" else "")
    graph = Graph.chain(source, Decode(), Double(), fragile)
    graph = graph.add(Analyse("open_writer" if where == "analysis" else ""), name="analysis")
    with pytest.raises(UserError, match=f"{where} could not be opened: SystemExit: 0"):
        run(graph)


def dying_at(serial: int) -> Callable[[Replica, Any], Any]:
    whole = Replica.process

    def process(replica: Replica, frame: Any) -> Any:
        if frame.serial >= serial:
            raise SystemExit(0)
        return whole(replica, frame)

    return process


@pytest.mark.parametrize("backend", ["serial", "threads:1", "threads:3"])
def test_a_thread_that_dies_ends_the_run_with_its_law(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Replica, "process", dying_at(4))
    graph = Graph.chain(Numbers(tuple(range(100)), endless=True), Decode(), Double(), Keep())
    report: Report = run(graph.with_options(backend=backend))
    assert report.is_conserved
    assert report.leaves["sink"].delivered == 3
    assert report.abandoned == report.leaves["sink"].dropped == report.received - 3 > 0
    assert "SystemExit: 0" in str(report.failure)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_fault_of_whoever_watches_ends_the_run_with_its_law(backend: str) -> None:
    def watch(progress: object) -> None:
        raise SystemExit(0)

    graph = Graph.chain(Numbers(tuple(range(20)), endless=True), Decode(), Double(), Keep())
    report = run(graph.with_options(backend=backend), on_progress=watch)
    assert report.is_conserved
    assert str(report.failure).startswith("the run broke off: SystemExit: 0 (watch, line")
