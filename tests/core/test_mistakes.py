"""Mistakes in stages and graphs, in Python as in YAML: each is named where it is, with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union

import pydantic
import pytest
from toy_stages import Compare, Decode, Double, Doubled, Keep, Number, Numbers

from pipeline import Frame, Graph, RejectFrame, UserError, registry, run, stage
from pipeline.command_line import cli
from pipeline.composing.graph import GraphError
from pipeline.composing.join import Join
from pipeline.composing.node import Node
from pipeline.stage import DECLARED
from stages.records import Crystals

TOY_STAGES = Path(__file__).parent / "toy_stages.py"


@pytest.fixture(autouse=True)
def _nothing_is_declared_for_good() -> Iterator[None]:
    yield
    for name, cls in list(DECLARED.items()):
        if cls.__qualname__ in {each.__name__ for each in SIGNATURES}:
            del DECLARED[name]


def problems_of(graph: Graph) -> list[str]:
    with pytest.raises(GraphError) as caught:
        graph.check()
    return caught.value.problems


class NoAnnotation:
    def __call__(self, number) -> Number: ...  # type: ignore[no-untyped-def]


class NoResult:
    def __call__(self, number: Number): ...  # type: ignore[no-untyped-def]


class AnyThing:
    def __call__(self, number: Any) -> Number: ...


class Maybe:
    def __call__(self, number: Number) -> Union[Number, None]: ...  # noqa: UP007


class Several:
    def __call__(self, number: Number) -> tuple[Number, ...]: ...


class Starred:
    def __call__(self, *numbers: Number) -> Number: ...


class WholeFrame:
    def __call__(self, frame: Frame) -> Number: ...


class Misspelt:
    def __call__(self, number: Numbr) -> Number: ...  # type: ignore[name-defined]  # noqa: F821


class OpensSomething:
    def open(self, context):  # type: ignore[no-untyped-def]
        return NoAnnotation()


SIGNATURES: dict[type, str] = {
    NoAnnotation: "NoAnnotation: __call__ does not say of which type 'number' is: write 'number: ItsType'",
    NoResult: "NoResult: __call__ does not say what it returns: write '-> ItsType:', or '-> None:'",
    AnyThing: "AnyThing: __call__ has for 'number' typing.Any, which is no class",
    Maybe: "Maybe: __call__ may return one thing or another",
    Several: "Several: __call__ returns a tuple of any length",
    Starred: "Starred: __call__ takes *numbers: give each value a parameter with its type",
    WholeFrame: "WholeFrame: __call__ takes the whole frame as 'frame': name the types",
    Misspelt: "Misspelt: an annotation of __call__ names Numbr, which is not there; did you mean 'Number'?",
    OpensSomething: "OpensSomething.open must say in its return annotation which class runs",
}


@pytest.mark.parametrize("cls", SIGNATURES, ids=lambda cls: cls.__name__)
def test_a_signature_that_does_not_say_all_is_a_problem_of_its_node_alone(cls: type) -> None:
    made = stage(f"mistake/{cls.__name__.lower()}")(type(cls.__name__, (cls,), {"__doc__": "wrong"}))
    graph = Graph.chain(Numbers(), Decode(), made(), Keep())

    (problem,) = problems_of(graph)
    assert problem.startswith(f"node 'mistake' (mistake/{cls.__name__.lower()}): ")
    assert SIGNATURES[cls] in problem
    graph_without = Graph.chain(Numbers(), Double(), Keep())
    assert "reads Number" in problems_of(graph_without)[0], "other graphs are checked as ever"


def test_what_is_no_stage_is_answered_with_what_a_stage_is() -> None:
    def shout(number: Number) -> Number:
        return number

    with pytest.raises(TypeError, match=r"stage 'mistake/shout': 3 is neither a class nor a function"):
        stage("mistake/shout")(3)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r'write the name of the stage: @stage\("kind/which"\) above Number'):
        stage(Number)  # type: ignore[arg-type]
    assert problems_of(Graph.chain(Numbers(), Decode, shout, Keep())) == [
        "node 'decode': Decode is the class of a stage: write Decode(), with its parameters",
        "node 'function': the function shout is not a stage (declare it, or a class, with @stage(\"kind/which\"))",
    ]


DECLARES = (
    "from pipeline import stage\n@stage({name!r})\nclass {cls}:\n    def __call__(self, number: int) -> None: ...\n"
)


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"a.py": [("mine/one", "A")], "b.py": [("mine/one", "B")]}, "A in {folder}/a.py and B in {folder}/b.py"),
        ({"a.py": [("mine/one", "A"), ("mine/one", "B")]}, "A in {folder}/a.py and B in {folder}/a.py"),
        (
            {"a.py": [("mine/one", "A")], "more/a.py": [("mine/one", "B")]},
            "A in {folder}/a.py and B in {folder}/more/a.py",
        ),
        ({"a.py": [("peaks/restore", "A")]}, "stages/peaks/restore.py"),
        ({"a.py": [("graph/join", "A")]}, "pipeline/composing/join.py"),
    ],
    ids=["two files", "one file", "files of one name", "a built-in stage", "the engine's own"],
)
def test_a_stage_that_is_there_twice_is_one_sentence_whichever_came_first(
    files: dict[str, list[tuple[str, str]]], wanted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, stages in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("".join(DECLARES.format(name=each, cls=cls) for each, cls in stages))
    modules = [f"--module={tmp_path / name}" for name in files]

    assert cli.run(["stages", *modules]) == 2
    said = capsys.readouterr().err
    assert "two stages are called" in said
    assert wanted.format(folder=tmp_path) in said
    assert said.count("\n") == 1
    assert "mine/one" not in registry.names() or len(files) == 2, "a module that failed has declared nothing"


def test_a_copy_of_a_file_is_the_file(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(DECLARES.format(name="mine/copied", cls="Copied"))
        registry.load_module(tmp_path / name / "mine.py")
    assert "mine/copied" in registry.names()


def test_a_module_that_fails_is_named_with_its_line_and_nothing_is_said_of_the_stages_in_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(DECLARES.format(name="mine/one", cls="One") + "from pipeline import Fraim\n")
    graph = (
        "modules: [mine.py]\nnodes: {a: source/toy, b: {stage: mine/one, n: 3}, c: {stage: peaks/hit, min_peeks: 3}}\n"
    )
    with pytest.raises(UserError) as caught:
        Graph.from_yaml(graph, tmp_path / "graph.yaml")

    module, parameter = str(caught.value).splitlines()
    assert f"{tmp_path}/mine.py:5: it failed while it was loaded: ImportError" in module
    assert "did you mean 'Frame'?" in module
    assert "did you mean 'min_peaks'?" in parameter
    assert "mine/one" not in DECLARED


def test_branches_that_are_joined_for_nobody_are_a_problem() -> None:
    graph = Graph.chain(Numbers(), Decode(), Double()).add(Double(by=3), name="triple", after="decode")
    joined = graph.add(Join(), name="join", after=("double", "triple"))

    (problem,) = problems_of(joined.add(Keep()))
    assert problem.startswith("node 'join' (graph/join): nothing behind it reads Joined")
    joined.add(Compare()).add(Keep()).check()


def test_a_circle_is_said_as_such_and_not_as_what_follows_from_it() -> None:
    circle = (Node("a", Decode(), ("b",)), Node("b", Double(), ("a",)))
    alone = Graph((Node("source", Numbers()), *circle))
    assert "circle: a -> b -> a" in problems_of(alone)[0]
    assert "leads nowhere" not in str(problems_of(alone))

    behind = Graph((Node("source", Numbers()), *circle, Node("s", Keep(), ("b",)), Node("c", Decode(), ("c",))))
    (problem,) = problems_of(behind)
    assert "circle" in problem
    with pytest.raises(UserError, match=r"comes after 'nobody', which is not there"):
        Graph((Node("source", Numbers()), Node("a", Decode(), ("nobody",)), Node("s", Keep(), ("a",)))).check()


def test_check_draws_the_arrows_that_are_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "graph.yaml"
    file.write_text(
        f"modules: ['{TOY_STAGES}']\nnodes:\n  source: source/toy\n  decode: decode/toy\n  double: double/toy\n"
        "  sink: sink/toy\n  triple: {stage: double/toy, by: 3, after: decode}\n"
        "  both: {stage: graph/join, after: [double, triple]}\n"
        "  compare: compare/toy\n  second: sink/toy\n"
    )
    assert cli.run(["check", str(file)]) == 0
    assert capsys.readouterr().out == (
        f"{file}: 8 nodes, nothing wrong: source -> decode -> double -> sink; "
        "double -> both -> compare -> second; decode -> triple -> both\n"
    )


def test_a_frame_asked_for_what_is_no_type_says_how_to_ask() -> None:
    frame = Frame(3).with_values(Number(2))
    for ask in (frame.__getitem__, frame.get, frame.__contains__):
        with pytest.raises(TypeError, match=r"as in frame\[Message\]: write Number without quotes"):
            ask("Number")  # type: ignore[operator]
    assert (frame.get(Doubled), Doubled in frame) == (None, False)
    assert frame.with_values(Crystals(("the first",)))[Crystals][0] == "the first"  # type: ignore[arg-type,comparison-overlap]


def test_a_misspelt_stage_in_python_is_answered_with_the_one_that_is_there() -> None:
    from stages import peaks

    with pytest.raises(AttributeError, match=r"stages\.peaks has no HitFinderr; did you mean 'HitFinder'\?"):
        peaks.HitFinderr  # noqa: B018
    assert not hasattr(peaks, "__wrapped__")


def test_a_misspelt_parameter_in_python_is_answered_with_the_one_that_is_there() -> None:
    with pytest.raises(UserError, match=r"^Double has no parameter 'buy'; did you mean 'by'\?$") as caught:
        Double(buy=3)  # type: ignore[call-arg]
    assert isinstance(caught.value, pydantic.ValidationError)
    with pytest.raises(UserError, match=r"^run has no parameter 'max_frame'; did you mean 'max_frames'\?$"):
        Graph.chain(Numbers()).with_options(max_frame=3)


@stage("mistake/names")
class MistakenNames:
    """Asks a number for what it has not."""

    def __call__(self, number: Number) -> Doubled:
        if number == 1:
            return number.conjugat()  # type: ignore[attr-defined,no-any-return]
        if number == 2:
            return Doubled(nmber)  # type: ignore[name-defined]  # noqa: F821
        raise RejectFrame("enough", "three is enough")


def test_a_misspelt_name_in_a_stage_is_rejected_with_the_one_that_was_meant() -> None:
    report = run(Graph.chain(Numbers((1, 2, 3)), Decode(), MistakenNames(), Keep()))

    examples = " ".join(tally.example for tally in report.rejections.values())
    assert "has no attribute 'conjugat'; did you mean 'conjugate'?" in examples
