from __future__ import annotations

from pathlib import Path

import pytest
import toy_stages  # noqa: F401 - declares the stages that the YAML names

from pipeline.composing.graph import Graph
from pipeline.composing.yaml.spec import schema
from pipeline.composing.yaml.text import SpecError
from pipeline.registry import load

GOOD = """
run: {backend: serial}
nodes:
  source: {stage: source/toy, numbers: [1, 2]}
  decode: decode/toy
  double:
    stage: double/toy
    by: 3
  sink: {stage: sink/toy}
"""


def error_of(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        Graph.from_yaml(text, "g.yaml")
    return str(caught.value)


def test_a_node_may_be_just_its_stage_name() -> None:
    graph = Graph.from_yaml(GOOD)
    assert graph.node("decode").after == ("source",)
    assert graph.node("double").stage.by == 3


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        (
            "stage: double/toy",
            "stage: doubel/toy",
            "g.yaml:7:12: node 'double': there is no stage 'doubel/toy'; did you mean 'double/toy'?",
        ),
        ("by: 3", "bye: 3", "g.yaml:8:5: node 'double' (double/toy) has no parameter 'bye'; did you mean 'by'?"),
        ("by: 3", "by: three", "g.yaml:8:9: node 'double' (double/toy): by: input should be a valid integer"),
        ("by: 3", "by: [3", "this is not YAML"),
        ("run: {backend: serial}", "rum: {backend: serial}", "g.yaml:2:1: unknown key 'rum'; did you mean 'run'?"),
        (
            "backend: serial",
            "max_frames: 0",
            "g.yaml:2:19: run: max_frames: input should be greater than or equal to 1",
        ),
        ("backend: serial", "bakcend: serial", "g.yaml:2:7: run has no parameter 'bakcend'; did you mean 'backend'?"),
        (
            "by: 3",
            "after: doble",
            "g.yaml:8:5: node 'double' comes after 'doble', which is not there; did you mean 'double'?",
        ),
        ("decode: decode/toy", "decode: 7", "g.yaml:5:3: node 'decode' should be a map with the key 'stage', and is 7"),
        ("  double:", "  decode:", "this is not YAML: found duplicate key"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(old: str, new: str, wanted: str) -> None:
    assert wanted in error_of(GOOD.replace(old, new))


def test_all_that_is_wrong_is_said_at_once() -> None:
    text = error_of(GOOD.replace("by: 3", "bye: 3").replace("decode/toy", "decode/tyo"))
    assert len(text.splitlines()) == 2


@pytest.mark.parametrize(
    "text", ["", "nodes:", "nodes: []", "[1, 2]", "just words", "\x00", "a: !!python/object:os.system {}"]
)
def test_text_that_is_no_graph_is_refused_with_a_place(text: str) -> None:
    assert error_of(text).startswith("g.yaml:1:")


def test_a_users_module_beside_the_file_gives_its_stages(tmp_path: Path) -> None:
    (tmp_path / "mine_yaml.py").write_text(
        "from pipeline import stage\nfrom toy_stages import Doubled\n"
        "@stage('mine/plus_one_yaml')\nclass PlusOne:\n    '''One more.'''\n"
        "    def __call__(self, d: Doubled) -> Doubled:\n        return Doubled(d + 1)\n"
    )
    text = GOOD.replace("run:", "modules: [mine_yaml.py]\nrun:").replace(
        "  sink:", "  plus: mine/plus_one_yaml\n  sink:"
    )
    graph = Graph.from_yaml(text, tmp_path / "g.yaml")
    assert graph.node("plus").stage == load("mine/plus_one_yaml")()


def test_a_module_that_fails_is_named() -> None:
    assert "there is no file" in error_of(GOOD.replace("run:", "modules: [nowhere.py]\nrun:"))


def test_the_schema_describes_each_stage_with_its_parameters() -> None:
    described = schema(["double/toy", "source/toy"])
    first = described["properties"]["nodes"]["additionalProperties"]["oneOf"][0]
    assert first["properties"]["by"]["type"] == "integer"
    assert first["properties"]["stage"] == {"const": "double/toy"}


def test_the_schema_knows_graphs_that_extend_another() -> None:
    described = schema(["double/toy"])
    assert described["anyOf"] == [{"required": ["nodes"]}, {"required": ["extends"]}]
    changes = described["properties"]["nodes"]["additionalProperties"]["oneOf"][1:]
    assert [change["type"] for change in changes] == ["object", "null"]
