"""Stages of one's own: functions as stages, and what is refused before the first frame, on the command line and in Python."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pydantic
import pytest
from pydantic import Field
from toy_stages import Compare, Decode, Double, Doubled, Keep, Number, Numbers

from pipeline import Context, Graph, Outcome, RejectFrame, UserError, registry, run, stage
from pipeline.command_line import cli
from pipeline.command_line.manual import manual
from pipeline.composing.graph import GraphError
from pipeline.contract import contract_of
from pipeline.stage import DECLARED


@stage("own/times")
def times(
    number: Number, earlier: Doubled | None, *, by: Annotated[int, Field(gt=1, description="factor")] = 3
) -> Doubled:
    """Multiply."""
    if number == 2:
        raise RejectFrame("two", "two is not multiplied")
    return Doubled(number * by + (earlier or 0))


@stage("own/power")
def power(number: Number, *, exponent: int) -> Doubled:
    """Raise to a power."""
    return Doubled(number**exponent)


def problems_of(graph: Graph) -> list[str]:
    with pytest.raises(GraphError) as caught:
        graph.check()
    return caught.value.problems


@pytest.fixture(autouse=True)
def _names_of_these_tests_are_forgotten() -> Iterator[None]:
    known = dict(DECLARED)
    yield
    for name in DECLARED.keys() - known.keys():
        if not DECLARED[name].__module__.startswith(("stages.", "pipeline.")):
            del DECLARED[name]


def results(graph: Graph) -> list[Any]:
    return [value for _, _, value in sorted(run(graph).outputs["sink"])]


def test_a_function_is_a_stage_whose_keyword_parameters_are_its_fields() -> None:
    assert repr(contract_of(times)) == "Contract(reads=(Number, Doubled,), optional=(Doubled,), writes=(Doubled,))"
    assert times(by=5)(Number(4), None) == 20
    assert times() == times(by=3) != times(by=4)
    assert pickle.loads(pickle.dumps(times(by=7))) == times(by=7)
    assert "Multiply." in manual("own/times")
    assert "by: int = 3  (more than 1)\n      factor" in manual("own/times")


def test_a_graph_takes_the_function_itself_for_the_stage_with_its_defaults() -> None:
    graph = Graph.chain(Numbers((1, 2, 3)), Decode(), times, Keep(in_order=True))
    assert graph == Graph.chain(Numbers((1, 2, 3)), Decode(), times(), Keep(in_order=True))
    assert results(graph) == [3, "own: two", 9]
    assert graph.names == ("source", "decode", "own", "sink")
    assert results(graph.replace("own", times(by=2)).replace("own", times)) == [3, "own: two", 9]
    assert Graph.from_yaml(graph.to_yaml()) == graph
    assert "own/times" in graph.to_yaml()


def test_a_function_with_a_parameter_that_must_be_given_is_answered_with_how_to_give_it() -> None:
    graph = Graph.chain(Numbers((1, 3)), Decode(), power, Keep())
    assert problems_of(graph) == [
        "node 'own': power is the class of a stage: write power(exponent=...), with its parameters"
    ]
    assert results(graph.replace("own", power(exponent=2))) == [1, 9]


def test_whoever_calls_the_function_with_a_value_is_told_what_makes_the_stage() -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        times(Number(3))
    assert "times(...) makes the stage with its parameters" in caught.value.__notes__[0]
    with pytest.raises(pydantic.ValidationError, match="greater than 1"):
        times(by=1)


def one(number: Number, by: int = 3) -> Doubled: ...  # type: ignore[empty-body]
def other(number: Number, *, by=3) -> Doubled: ...  # type: ignore[no-untyped-def,empty-body]


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (one, r"one has a default for 'by', which is taken from the frame: write '\*' before it"),
        (other, r"other does not say of which type its parameter 'by' is: write 'by: int'"),
    ],
)
def test_a_function_whose_parameters_cannot_be_told_is_refused_where_it_stands(
    function: Callable[..., Any], said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        stage("mistake/function")(function)


def silent(number: Number): ...  # type: ignore[no-untyped-def]
def untyped(number) -> Doubled: ...  # type: ignore[no-untyped-def,empty-body]
async def later(number: Number) -> Doubled: ...  # type: ignore[empty-body]
def misspelt(number: Numbr) -> Doubled: ...  # type: ignore[name-defined,empty-body]  # noqa: F821


def several(number: Number) -> Iterator[Doubled]:
    yield Doubled(number)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (silent, "does not say what it returns: write '-> ItsType:'"),
        (untyped, "does not say of which type 'number' is: write 'number: ItsType'"),
        (later, "is async or yields: it returns once for each frame"),
        (several, "is async or yields"),
        (misspelt, "names Numbr, which is not there; did you mean 'Number'?"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_function_without_the_types_of_a_stage_is_a_problem_of_its_node(
    function: Callable[..., Any], said: str
) -> None:
    made = stage(f"mistake/{function.__name__}")(function)
    (problem,) = problems_of(Graph.chain(Numbers(), Decode(), made, Keep()))
    assert problem.startswith(f"node 'mistake' (mistake/{function.__name__}): stage {function.__name__}: ")
    assert said in problem


class Lonely(int):
    """What no stage and no sink reads."""


@stage("own/lonely")
def lonely(number: Number) -> Lonely:
    """Make what nobody reads."""
    return Lonely(number)


@stage("own/hermit")
def hermit(lonely: Lonely) -> Lonely:
    """Read it, for nobody."""
    return lonely


@stage("own/careful")
class Careful(Keep):
    """A sink that says all that it reads."""

    may_read = (Doubled,)


def test_a_stage_whose_results_nobody_reads_is_refused() -> None:
    graph = Graph.chain(Numbers((1,)), Decode(), lonely, Double(), Careful())
    assert problems_of(graph) == [
        "node 'own' (own/lonely): nobody reads the Lonely that it makes (no node behind it does): put a stage or a sink that "
        "does behind it, or take it out"
    ]
    Graph.chain(Numbers((1,)), Decode(), lonely, Double(), Keep()).check()  # a sink that does not say may read anything
    (problem,) = problems_of(graph.add(hermit, after="own").add(Careful()))
    assert problem.startswith("node 'hermit'"), "the first one is read now"


def test_results_that_are_made_anew_before_anybody_reads_them_are_refused() -> None:
    graph = Graph.chain(Numbers((1,)), Decode(), Double(), Double(by=3), Keep())
    assert problems_of(graph) == [
        "node 'double' (double/toy): nobody reads the Doubled that it makes ('toy' makes it anew without reading it): put a "
        "stage or a sink that does behind it, or take it out"
    ]
    Graph.chain(Numbers((1,)), Decode(), Double(), times, Keep()).check()


def test_what_branches_make_that_are_joined_for_somebody_is_read() -> None:
    from pipeline.composing.join import Join

    graph = Graph.chain(Numbers(), Decode(), Double()).add(lonely, name="lonely", after="decode")
    graph.add(Join(), name="join", after=("double", "lonely")).add(Compare()).add(Careful()).check()


NAMED_AS_BUILT_IN = """
from pipeline import Graph, Message, UserError, stage
from stages import sink, source

@stage("peaks/hit")
def hit(message: Message) -> int:
    return 3

try:
    Graph.chain(source.Simulate(), hit, sink.Memory()).check()
except UserError as error:
    print(error)
"""


def test_the_name_of_a_built_in_stage_is_refused_by_check_in_python_too(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(NAMED_AS_BUILT_IN)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "mine.py")], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.startswith(
        f"node 'peaks' (peaks/hit): two stages are called 'peaks/hit': hit in {tmp_path}/mine.py and"
    )
    assert "stages/peaks/hit.py" in done.stdout
    assert done.stderr == ""


class RunningWithout:
    def receive(self, timeout_s: float) -> list[Any]: ...
    def status(self) -> str: ...
    def close(self) -> None: ...


class Pupil:
    def open(self) -> RunningWithout: ...


class NoWriter:
    def write(self, encoded: Any) -> None: ...


class NoEncoder: ...


class Half:
    def open(self, context: Context) -> NoEncoder: ...
    def open_writer(self, context: Context) -> NoWriter: ...


class TakesMore:
    def __call__(self, outcome: Outcome, more: int) -> None: ...


class Greedy:
    def open(self, context: Context) -> TakesMore: ...
    def open_writer(self, context: Context) -> Any: ...


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (
            Pupil,
            [
                "Pupil.open does not take the context: write 'def open(self, context: Context) -> ...'",
                "RunningWithout.receive takes other arguments: write 'def receive(self, timeout_s: float, credit: int) -> "
                "Sequence[Message]'",
                "RunningWithout has no stop_asking: write 'def stop_asking(self) -> int'",
            ],
        ),
        (
            Half,
            [
                "NoEncoder has no __call__: write 'def __call__(self, outcome: Outcome) -> ...'",
                "NoWriter has no close: write 'def close(self) -> None'",
            ],
        ),
        (Greedy, ["TakesMore.__call__ takes other arguments: write 'def __call__(self, outcome: Outcome) -> ...'"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_a_source_or_a_sink_lacks_is_said_before_it_is_opened(cls: type, said: list[str]) -> None:
    made = stage(f"mistake/{cls.__name__.lower()}")(type(cls.__name__, (cls,), {"__doc__": "wrong"}))()
    ends = (made, Decode(), Keep()) if cls is Pupil else (Numbers(), Decode(), made)
    assert [problem.partition(": ")[2] for problem in problems_of(Graph.chain(*ends))] == said


FUNCTION = """
from pipeline import stage
from stages.records import PeakList

@stage("peaks/{name}")
def {name}(found: PeakList, *, n: int = 5){arrow}:
    return found.brightest(n)
"""

GRAPH = """
modules: [mine.py]
nodes:
  source: source/simulate
  decode: decode/msgpack_map
  geometry: {stage: geometry_map/map_panels, geometry: Eiger.geom}
  peaks: peaks/from_message
  mine: {stage: peaks/mine, n: 9}
  hit: peaks/hit
  sink: {stage: sink/stream_file, path: out.stream}
"""


@pytest.mark.parametrize(
    ("module", "status", "said"),
    [
        (FUNCTION.format(name="mine", arrow=" -> PeakList"), 0, "nothing wrong"),
        (
            FUNCTION.format(name="mine", arrow=""),
            2,
            "node 'mine' (peaks/mine): stage mine: __call__ does not say what it returns",
        ),
        (FUNCTION.format(name="hit", arrow=" -> PeakList"), 2, "two stages are called 'peaks/hit'"),
        (
            FUNCTION.format(name="mine", arrow=" -> list").replace("found.brightest(n)", "[n]"),
            2,
            "node 'mine' (peaks/mine): nobody reads the list that it makes (no node behind it does)",
        ),
        ("import sys\nsys.exit(3)\n", 2, "mine.py:2: it failed while it was loaded: SystemExit: 3"),
    ],
    ids=["right", "no result type", "a built-in's name", "nobody reads it", "leaves"],
)
def test_check_on_the_command_line_says_each_in_a_sentence(
    module: str, status: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(module)
    (tmp_path / "graph.yaml").write_text(GRAPH)
    assert cli.run(["check", "--trust", str(tmp_path / "graph.yaml")]) == status
    printed = "".join(capsys.readouterr())
    assert said in printed
    assert "Traceback" not in printed


def test_a_module_by_name_is_as_safe_as_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine_by_name.py").write_text(FUNCTION.format(name="hit", arrow=" -> PeakList"))
    (tmp_path / "broken_by_name.py").write_text("1 / 0\n")
    with pytest.raises(UserError, match="two stages are called 'peaks/hit'"):
        registry.load_module("mine_by_name")
    with pytest.raises(UserError, match="module 'broken_by_name': it failed while it was loaded: ZeroDivisionError"):
        registry.load_module("broken_by_name")
    with pytest.raises(UserError, match="module 'nowhere_at_all' cannot be imported"):
        registry.load_module("nowhere_at_all")
