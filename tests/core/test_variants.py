"""Variants: several ways of doing a node's work, on the same frames, in one graph."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from toy_stages import (
    ComparisonWriter,
    Decode,
    Double,
    Doubled,
    Keep,
    Number,
    Numbers,
    RefuseMultiples,
    ToyVerdict,
    keep,
)

from pipeline import Context, Frame, Graph, Joined, Outcome, RunOptions, Spent, UserError, run, stage
from pipeline.composing.expansion import dependencies


class Level(int):
    """What the toy analysis has found."""


class Posting:
    def __init__(self, context: Context) -> None:
        self._board = context.board
        self._highest = 0
        self.outcomes: list[Any] = []

    def write(self, encoded: Any) -> None:
        self._highest = max(self._highest, encoded[2] if isinstance(encoded[2], int) else 0)
        self._board.post(Level(self._highest))
        self.outcomes.append(self._highest)

    def close(self) -> None:
        pass


@stage("live/toy_posting", posts=(Level,))
class Analyse:
    """Posts the highest number that it has seen."""

    in_order: ClassVar[bool] = True

    def open(self, context: Context) -> Callable[[Outcome], Any]:
        return keep

    def open_writer(self, context: Context) -> Posting:
        return Posting(context)


class RunningReader:
    def __init__(self, context: Context) -> None:
        self._board = context.board

    def __call__(self, number: Number) -> Number:
        return Number(number + (self._board.get(Level) or 0))


@stage("geometry/toy_reader", awaits=(Level,))
class Reader:
    """Adds what was posted."""

    def open(self, context: Context) -> RunningReader:
        return RunningReader(context)


@stage("double/toy_other")
class Other:
    """Another way to double: not at all."""

    by: int = 2
    shift: float = 0.5

    def __call__(self, number: Number) -> Doubled:
        return Doubled(number)


SERIAL = RunOptions(backend="serial")


def toy_graph(*numbers: int) -> Graph:
    chain = Graph.chain(Numbers(numbers=numbers), Decode(), Double(), RefuseMultiples(), Keep(), options=SERIAL)
    return chain.add(ToyVerdict(), name="verdict")


def test_a_sink_may_follow_a_sink_and_then_comes_beside_it():
    assert toy_graph(1).node("verdict").after == ("refuse",)


def test_what_stands_before_is_shared_and_what_follows_is_repeated():
    graph = toy_graph(1, 2, 3).vary("double", by=[2, 3, 4])
    assert [node.name for node in graph.expanded().nodes if "@" not in node.name] == [
        "source",
        "decode",
        "variants",
        "verdict",
    ]
    report = run(graph)
    assert report.nodes["decode"].durations.count == 3
    assert {name: len(kept) for name, kept in report.outputs.items()} == {
        "sink@by=2": 3,
        "sink@by=3": 3,
        "sink@by=4": 3,
        "verdict": 4,
    }
    assert report.is_conserved


def test_each_variant_makes_what_it_makes_on_its_own():
    graph = toy_graph(*range(1, 30)).vary("double", by=[1, 2, 3]).vary("refuse", n=[2, 7])
    together = run(graph).outputs
    assert [variant.name for variant in graph.variants] == [f"by={by}+n={n}" for by in (1, 2, 3) for n in (2, 7)]
    for variant in graph.variants:
        assert variant.graph is not None
        alone = run(variant.graph).outputs["sink"]
        assert alone == [
            (*kept[:2], str(kept[2]).replace(f"@{variant.name}", "") if isinstance(kept[2], str) else kept[2])
            for kept in together[f"sink@{variant.name}"]
        ]


def test_a_grid_repeats_a_node_for_those_ways_alone_that_it_depends_on():
    graph = toy_graph(1).vary("double", by=[1, 2]).vary("refuse", n=[2, 3, 7]).expanded()
    kinds = [node.name.partition("@")[0] for node in graph.nodes]
    assert (kinds.count("double"), kinds.count("refuse"), kinds.count("sink")) == (2, 6, 6)


def test_the_comparison_gets_each_variants_outcome_by_its_name_with_the_time_spent():
    graph = toy_graph(1, 5, -1).vary("double", by=[2, 3])
    said = run(graph).outputs["verdict"]
    assert said == [
        ("by=2", "by=3"),
        {"by=2": (2, True), "by=3": (3, True)},
        "rejected in all",
        "rejected in all",
    ]


def test_a_frame_rejected_in_one_variant_is_compared():
    said = run(toy_graph(5).vary("refuse", n=[10, 3])).outputs["verdict"]
    assert said[1] == {"n=10": ("multiple", True), "n=3": (10, True)}


def test_no_time_is_kept_where_nobody_compares():
    graph = Graph.chain(Numbers(numbers=(1,)), Decode(), Double(), options=SERIAL)

    @stage("sink/toy_looks_for_time")
    class Looks:
        """Says whether the time was kept."""

        def open(self, context: Context) -> Callable[[Outcome], Any]:
            return lambda outcome: Spent in outcome if isinstance(outcome, Frame) else None

        def open_writer(self, context: Context) -> ComparisonWriter:
            return ComparisonWriter(())

    assert run(graph.add(Looks())).outputs["sink"][1:] == [False]


def test_no_variant_sees_what_another_has_posted():
    chain = Graph.chain(Numbers(numbers=(1, 1, 1)), Decode(), Reader(), Double(), Analyse(), options=SERIAL)
    graph = chain.add(ToyVerdict(), name="verdict").vary("double", by=[10, 1])
    assert dependencies(graph)["geometry"] == {"double"}, "it waits for what is posted behind the node that is varied"
    report = run(graph)
    for variant in graph.variants:
        assert variant.graph is not None
        assert run(variant.graph).outputs["live"] == report.outputs[f"live@{variant.name}"]
    assert report.outputs["live@by=1"] == [1, 2, 3]


def test_ways_are_named_by_what_tells_them_apart():
    def names(*specs: Any) -> list[str]:
        return [variant.name for variant in toy_graph(1).vary("double", list(specs)).variants]

    assert names({"by": [3, 4]}) == ["by=3", "by=4"]
    assert names("toy_other") == ["toy", "toy_other"], "one alone is compared with the node as it is"
    assert names("toy", "double/toy_other", {"by": 7}) == ["toy-by=2", "toy_other", "toy-by=7"]
    assert names(Other(shift=1.0), {"stage": "toy_other", "shift": [2, 3]}, {"name": "a b", "by": 5}) == [
        "toy_other-shift=1",
        "toy_other-shift=2",
        "toy_other-shift=3",
        "a_b",
    ]


def test_another_stage_keeps_the_parameters_that_both_have():
    varied = toy_graph(1).replace("double", Double(by=5)).vary("double", ["toy", {"stage": "toy_other", "shift": 1}])
    assert [way.stage.by for way in varied.varied[0].ways] == [5, 5]


@pytest.mark.parametrize(
    ("node", "ways", "parameters", "said"),
    [
        ("doubel", None, {"by": [1]}, "no node 'doubel'; did you mean 'double'?"),
        ("double", None, {"bye": [1]}, "double/toy has no parameter 'bye'; did you mean 'by'?"),
        ("double", "toi", {}, "there is no stage 'double/toi'"),
        ("double", None, {"by": ["x"]}, "by: .*found 'x'"),
        ("double", [{"by": 1}, {"by": 1}], {}, "two ways are the same"),
        ("double", Double, {}, r"write Double\(\)"),
        ("double", None, {}, "say in which ways"),
        ("double", [3], {}, "is no way of doing"),
    ],
)
def test_what_is_wrong_with_a_variant_is_said(node: str, ways: Any, parameters: dict[str, Any], said: str):
    with pytest.raises(UserError, match=said):
        toy_graph(1).vary(node, ways, **parameters)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda g: g.vary("source", endless=[True, False]), "is a source, and all variants share it"),
        (lambda g: g.vary("double", by=list(range(300))), "300 of double are 300 variants"),
        (lambda g: g.vary("double", by=[2]), "has one way of doing its work"),
        (lambda g: g.vary("double", by=[1, 2]).replace("verdict", ToyVerdict(path=Path("-"))), None),
    ],
)
def test_check_says_what_is_wrong_with_what_is_varied(change: Callable[[Graph], Graph], said: str | None):
    graph = change(toy_graph(1))
    if said is None:
        graph.check()
        return
    with pytest.raises(UserError, match=said):
        graph.check()


def test_what_is_wrong_in_all_variants_is_said_once():
    wrong = Graph.chain(Numbers(), Decode(), RefuseMultiples(), Keep(), options=SERIAL).add(
        ToyVerdict(), name="verdict"
    )
    with pytest.raises(UserError) as caught:
        wrong.vary("refuse", n=[2, 3]).check()
    assert str(caught.value).count("reads Doubled, which nothing upstream writes") == 1
    assert "refuse@" not in str(caught.value)


YAML = """
nodes:
  source: {stage: source/toy, numbers: [1, 2]}
  decode: decode/toy
  double: {stage: double/toy, by: 7}
  refuse: refuse/toy
  sink: sink/toy
  verdict: live/toy_verdict
variants:
  double:
    - {by: [1, 2]}
    - {stage: double/toy, by: 9, name: nine}
  refuse.n: [3, 5]
"""


def test_yaml_has_variants_in_six_lines_and_gives_them_back():
    graph = Graph.from_yaml(YAML)
    assert [variant.name for variant in graph.variants][:3] == ["by=1+n=3", "by=1+n=5", "by=2+n=3"]
    assert graph.variants[-1].name == "nine+n=5"
    text = graph.to_yaml()
    assert Graph.from_yaml(text) == graph
    assert len(text[text.index("variants:") :].splitlines()) < 20
    assert run(graph.with_options(backend="serial")).is_conserved


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            "variants: {doble: [{by: 1}]}",
            "3:12: variants of 'doble', and there is no such node; did you mean 'double'?",
        ),
        ("variants: {double: [{bi: 1}]}", "3:12: variants of 'double': double/toy has no parameter 'bi'"),
        ("variants: [double]", "3:1: 'variants' should be a map of node names"),
        ("variants: {double.by: [1, 2], double: [{by: 3}]}", "3:31: variants of 'double': say all ways of 'double'"),
        ("variants: {double: [{by: [1, a]}]}", "by: "),
        ("variants: {double: 3}", "3 is no way of doing"),
    ],
)
def test_yaml_says_where_variants_are_wrong(lines: str, said: str):
    text = "nodes:\n  {source: source/toy, decode: decode/toy, double: double/toy, sink: sink/toy}\n" + lines
    with pytest.raises(UserError) as caught:
        Graph.from_yaml(text, "g.yaml")
    assert said in str(caught.value)


def test_outputs_are_named_after_the_variant(tmp_path: Path):
    from stages.sink import HeadersOnly

    graph = Graph.chain(Numbers(numbers=(1,)), Decode(), Double(), options=SERIAL)
    graph = graph.add(HeadersOnly(path=tmp_path / "out.stream")).add(ToyVerdict()).vary("double", by=[1, 2])
    _, writes = graph.expanded().files()
    assert [named.path.name for named in writes] == ["out.by=1.stream", "out.by=2.stream"]
    to_stdout = graph.replace("sink", HeadersOnly(path=Path("-")))
    with pytest.raises(UserError, match="do not go to standard output"):
        to_stdout.check()


def test_the_short_form_is_shown(tmp_path: Path):
    graph = Graph.from_yaml(textwrap.dedent(YAML))
    assert "by=1<br/>by=2<br/>nine" in graph.to_mermaid()


def test_a_parameter_that_is_set_is_set_in_all_ways_that_have_it():
    graph = toy_graph(1).vary("refuse", [{"n": 3, "name": "mine"}, {"n": 4}]).vary("double", ["toy", "toy_other"])
    assert [way.stage.by for way in graph.set("double", by=8).varied[1].ways] == [8, 8]
    assert graph.set("double", by=8).variants[0].name == "mine+toy"
    with pytest.raises(UserError, match="two ways are the same"):
        graph.set("refuse", n=5)


def test_ways_name_their_files_so_that_the_yaml_may_lie_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("graphs").mkdir()
    Path("graphs/g.yaml").write_text(
        "nodes: {source: source/toy, decode: decode/toy, index: reads/toy_file, sink: sink/toy}\n"
        "variants: {index: [{file: a.cell}, {file: b.cell}]}"
    )
    graph = Graph.load("graphs/g.yaml")
    assert [way.stage.file for way in graph.varied[0].ways] == [Path("graphs/a.cell"), Path("graphs/b.cell")]
    graph.save("graphs/again.yaml")
    assert "- a.cell" in Path("graphs/again.yaml").read_text()
    assert Graph.load("graphs/again.yaml").variants == graph.variants


@stage("reads/toy_file")
class ReadsFile:
    """Reads a file."""

    file: Path = Path("some.cell")

    def __call__(self, number: Number) -> Doubled:
        return Doubled(number)


def test_frames_of_a_graph_with_variants_have_what_each_of_them_made():
    graph = Graph.chain(Numbers(numbers=(1, 2)), Decode(), Double(), options=SERIAL).add(ToyVerdict())
    frames = list(graph.vary("double", by=[2, 3]).frames())
    assert [{name: int(one[Doubled]) for name, one in frame[Joined].items()} for frame in frames] == [
        {"by=2": 2, "by=3": 3},
        {"by=2": 4, "by=3": 6},
    ]
    assert all(Joined not in frame for frame in graph.vary("double", by=[2, 3]).frames(after="decode"))
