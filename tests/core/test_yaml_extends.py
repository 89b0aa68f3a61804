from __future__ import annotations

import os
from pathlib import Path

import pytest
import toy_stages  # noqa: F401 - declares the stages that the YAML names
from toy_stages import Double, Keep

from pipeline import Graph, RunOptions, UserError
from pipeline.composing.yaml.text import SpecError

BASE = """\
run: {backend: serial, max_frames: 5}
nodes:
  source: {stage: source/toy, numbers: [1, 2]}
  decode: decode/toy
  double:
    stage: double/toy
    by: 3
  wait: slow/toy
  sink: {stage: sink/toy}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "base.yaml").write_text(BASE)
    return tmp_path


def extended(folder: Path, text: str, name: str = "mine.yaml") -> Graph:
    (folder / name).write_text(f"extends: base.yaml\n{text}")
    return Graph.load(folder / name)


def complaint(folder: Path, text: str) -> str:
    (folder / "mine.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        Graph.load(folder / "mine.yaml")
    return str(caught.value).replace(f"{folder}{os.sep}", "")


def afters(graph: Graph) -> dict[str, tuple[str, ...]]:
    return {node.name: node.after for node in graph.nodes}


def test_a_graph_that_changes_nothing_is_the_one_that_it_extends(folder: Path) -> None:
    assert extended(folder, "") == Graph.load(folder / "base.yaml")
    assert extended(folder, "nodes:\nrun:\n") == Graph.load(folder / "base.yaml")


def test_a_node_that_is_given_parameters_has_only_these_changed(folder: Path) -> None:
    graph = extended(folder, "nodes: {source: {batch: 7}, sink: {in_order: true}}")

    base = Graph.load(folder / "base.yaml")
    assert graph == base.set("source", batch=7).set("sink", in_order=True)


def test_a_node_with_a_stage_is_replaced_in_its_place(folder: Path) -> None:
    base = Graph.load(folder / "base.yaml")
    assert extended(folder, "nodes: {double: {stage: double/toy}}") == base.replace("double", Double())
    assert extended(folder, "nodes: {double: double/toy}") == base.replace("double", Double())
    graph = extended(folder, "nodes: {double: {stage: double/toy, after: source}}")
    assert afters(graph) == {**afters(base), "double": ("source",)}


def test_a_node_that_is_null_is_taken_out_and_those_behind_it_come_after_its_parents(folder: Path) -> None:
    base = Graph.load(folder / "base.yaml")
    assert extended(folder, "nodes: {wait: null}") == base.remove("wait")
    assert extended(folder, "nodes: {double: null, wait: null}") == base.remove("double").remove("wait")


def test_new_nodes_come_where_they_say_or_after_the_one_before_them_in_their_file(folder: Path) -> None:
    text = (
        "nodes: {triple: {stage: double/toy, by: 9, after: decode}, rest: sink/toy, wait: {seconds: 0}, last: sink/toy}"
    )
    graph = extended(folder, text)

    base = Graph.load(folder / "base.yaml")
    wanted = base.set("wait", seconds=0).add(Double(by=9), name="triple", after="decode").add(Keep(), name="rest")
    assert graph == wanted.add(Keep(), name="last", after="wait")
    graph.check()


def test_a_new_node_is_put_between_two_of_the_base(folder: Path) -> None:
    graph = extended(folder, "nodes: {refuse: {stage: refuse/toy, after: double}, wait: {after: refuse}}")

    assert afters(graph) == {**afters(Graph.load(folder / "base.yaml")), "refuse": ("double",), "wait": ("refuse",)}
    graph.check()


def test_options_of_the_run_are_changed_one_by_one(folder: Path) -> None:
    assert extended(folder, "run: {max_frames: 9}").options == RunOptions(backend="serial", max_frames=9)
    assert extended(folder, "run: {max_frames: null}").options == RunOptions(backend="serial")


def test_files_extend_files_that_extend_others_each_in_its_folder(folder: Path) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "middle.yaml").write_text("extends: ../base.yaml\nnodes: {double: {by: 4}, wait: null}\n")
    (folder / "mine.yaml").write_text("extends: more/middle.yaml\nnodes: {source: {batch: 2}, wait: slow/toy}\n")

    graph = Graph.load(folder / "mine.yaml")
    assert graph.node("double").stage.by == 4
    assert graph.node("source").stage.batch == 2
    assert graph.names == ("source", "decode", "double", "wait", "sink")
    assert graph.node("sink").after == ("wait",)
    assert graph == Graph.from_yaml(graph.to_yaml())


def test_modules_of_both_files_are_loaded_each_from_its_folder(folder: Path) -> None:
    code = (
        "from pipeline import stage\nfrom toy_stages import Doubled\n@stage('extends/{0}')\nclass {0}:\n    '''One.'''\n"
        "    def __call__(self, d: Doubled) -> Doubled:\n        return d\n"
    )
    (folder / "shared").mkdir()
    (folder / "shared" / "below.py").write_text(code.format("Below"))
    (folder / "above.py").write_text(code.format("Above"))
    (folder / "shared" / "base.yaml").write_text("modules: [below.py]\n" + BASE.replace("slow/toy", "extends/Below"))
    (folder / "mine.yaml").write_text(
        "extends: shared/base.yaml\nmodules: [above.py]\nnodes: {double: {by: 2}, more: {stage: extends/Above, after: wait}, "
        "sink: {after: more}}\n"
    )
    graph = Graph.load(folder / "mine.yaml")
    assert graph.modules == (str(folder / "shared" / "below.py"), str(folder / "above.py"))
    graph.check()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "nodes: {double: {bye: 3}}",
            "mine.yaml:2:18: node 'double' (double/toy) has no parameter 'bye'; did you mean",
        ),
        ("nodes: {double: {by: x}}", "mine.yaml:2:22: node 'double' (double/toy): by: input should be a valid integer"),
        (
            "nodes: {doubel: {by: 3}}",
            "mine.yaml:2:9: there is no node 'doubel' in base.yaml that could have parameters changed (a new one has the key "
            "'stage'); did you mean 'double'?",
        ),
        (
            "nodes: {wat: null}",
            "mine.yaml:2:9: there is no node 'wat' in base.yaml that could be taken out; did you mean 'wait'?",
        ),
        (
            "nodes: {new: slow/toy}",
            "mine.yaml:2:9: node 'new' is new, and the first here: say 'after' which node it comes",
        ),
        ("nodes: {double: {stage: doubel/toy}}", "mine.yaml:2:25: node 'double': there is no stage 'doubel/toy'"),
        ("nodes: {double: 7}", "mine.yaml:2:9: node 'double' should be a map with the key 'stage', and is 7"),
        ("nodes: [1]", "mine.yaml:2:1: 'nodes' should be a map of node names to stages, and is a list"),
        ("run: {max_frame: 3}", "mine.yaml:2:7: run has no parameter 'max_frame'; did you mean 'max_frames'?"),
        ("nods: {}", "mine.yaml:2:1: unknown key 'nods'; did you mean 'nodes'?"),
    ],
)
def test_what_is_wrong_above_is_named_with_its_place(folder: Path, text: str, wanted: str) -> None:
    assert complaint(folder, f"extends: base.yaml\n{text}\n").startswith(wanted)


def test_what_is_wrong_below_is_named_with_its_file(folder: Path) -> None:
    (folder / "base.yaml").write_text(BASE.replace("by: 3", "bye: 3").replace("decode/toy", "decode/tyo"))
    said = complaint(folder, "extends: base.yaml\nnodes: {double: {by: 4}, sink: {no: 1}}\n").splitlines()
    assert [line.partition(" ")[0] for line in said] == ["base.yaml:4:11:", "base.yaml:7:5:", "mine.yaml:2:33:"]
    (folder / "base.yaml").write_text("nodes: {a: [")
    assert complaint(folder, "extends: base.yaml\n").startswith("base.yaml:1:13: this is not YAML")
    (folder / "base.yaml").write_text("just words")
    assert complaint(folder, "extends: base.yaml\n").startswith("base.yaml:1:1: this is extended and is no graph")


def test_files_that_cannot_be_extended_are_said_where_they_are_named(folder: Path) -> None:
    assert complaint(folder, "\nextends: bose.yaml\n") == (
        "mine.yaml:2:10: cannot read bose.yaml, which it extends: No such file or directory"
    )
    assert complaint(folder, "extends: /dev/zero\n") == "mine.yaml:1:10: /dev/zero, which it extends, is no file"
    assert complaint(folder, "extends: [base.yaml]\n").startswith(
        "mine.yaml:1:10: 'extends' should be the name of a YAML"
    )
    (folder / "base.yaml").write_text("extends: mine.yaml\n" + BASE)
    assert complaint(folder, "extends: base.yaml\n") == (
        "base.yaml:1:10: these files extend each other in a circle: mine.yaml -> base.yaml -> mine.yaml"
    )
    assert complaint(folder, "extends: ./mine.yaml\n").endswith("in a circle: mine.yaml -> mine.yaml")


def test_an_output_does_not_take_the_place_of_a_file_that_is_extended(folder: Path) -> None:
    from stages.sink.stream_file import StreamFile

    graph = Graph.load(folder / "base.yaml").replace("sink", StreamFile(path=folder / "base.yaml"))
    with pytest.raises(UserError, match=r"would be written over .*base\.yaml, which the graph reads"):
        extended(folder, f"nodes: {{sink: {{stage: sink/stream_file, path: {folder / 'base.yaml'}}}}}")
    assert graph.files()[1]


def test_an_untrusted_graph_loads_no_module_of_the_file_that_it_extends(folder: Path) -> None:
    (folder / "harm.py").write_text("raise SystemExit(3)\n")
    (folder / "base.yaml").write_text("modules: [harm.py]\n" + BASE.replace("slow/toy", "harm/what"))
    (folder / "mine.yaml").write_text("extends: base.yaml\n")
    graph = Graph.load(folder / "mine.yaml", trust=False)
    assert graph.modules == (str(folder / "harm.py"),)


def test_what_is_wrong_with_the_whole_graph_is_said_with_the_place_of_the_node(folder: Path) -> None:
    graph = extended(folder, "nodes:\n  more: {stage: refuse/toy, after: decode}\n  double: null\n")
    with pytest.raises(UserError) as caught:
        graph.check()
    said = str(caught.value).replace(f"{folder}{os.sep}", "").splitlines()
    assert said == [
        "mine.yaml:3:3: node 'more' (refuse/toy) leads nowhere: what it makes is lost; add a sink after it",
    ]
    graph = Graph.from_yaml(BASE.replace("  decode: decode/toy\n", ""), "g.yaml")
    with pytest.raises(UserError, match=r"^g\.yaml:4:3: node 'double' \(double/toy\) reads Number"):
        graph.check()


def test_the_places_of_nodes_make_no_two_graphs_different(folder: Path) -> None:
    graph = Graph.load(folder / "base.yaml")
    assert graph.node("double").place == f"{folder / 'base.yaml'}:5:3"
    assert graph == Graph.from_yaml("\n" + BASE)
    assert "base.yaml" not in repr(graph)
    with pytest.raises(SpecError):
        Graph.from_yaml("nodes: 3")
