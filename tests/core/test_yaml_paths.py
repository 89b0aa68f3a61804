"""Where files are looked for that a graph names: what it reads beside its YAML file, what it writes where one is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toy_stages import Decode, Number, Numbers

from pipeline import Context, Graph, UserError, stage
from pipeline.composing.graph import GraphError

WHAT = """\
nodes:
  source: {stage: source/toy, numbers: [1, 2]}
  decode: decode/toy
  table: {stage: table/paths, table: table.txt, more: [one.txt, /tmp/two.txt, "-"]}
  sink: {stage: sink/paths, path: out.txt}
"""


@stage("table/paths")
class Table:
    """Reads files."""

    table: Path = Path("usual.txt")
    more: tuple[Path, ...] = ()

    def __call__(self, number: Number) -> None:
        self.table.read_text()


@stage("sink/paths")
class Text:
    """Writes a file."""

    path: Path
    folder: Path | None = None

    def open(self, context: Context) -> Any:
        return repr

    def open_writer(self, context: Context) -> Any:
        raise NotImplementedError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("here", "graphs"):
        (tmp_path / name).mkdir()
    (tmp_path / "graphs" / "what.yaml").write_text(WHAT)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def test_what_is_read_lies_beside_the_yaml_and_what_is_written_where_one_is(folder: Path) -> None:
    for file in (folder / "graphs" / "what.yaml", Path("../graphs/what.yaml")):
        graph = Graph.load(file)
        table = graph.node("table").stage
        assert table.table == file.parent / "table.txt"
        assert table.more == (file.parent / "one.txt", Path("/tmp/two.txt"), Path("-"))
        assert graph.node("sink").stage.path == Path("out.txt")


def test_a_file_that_is_where_one_is_and_not_beside_the_yaml_is_told_from_the_one_that_is_meant(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Path("table.txt").write_text("here")
    graph = Graph.load("../graphs/what.yaml")
    assert graph.node("table").stage.table == Path("../graphs/table.txt")
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "../graphs/table.txt (table of table/paths) is not there, and table.txt is"
    ]


def test_what_the_yaml_does_not_name_is_left_as_the_stage_has_it(folder: Path) -> None:
    text = WHAT.replace("table: table.txt, ", "")
    assert Graph.from_yaml(text, folder / "graphs" / "x.yaml").node("table").stage.table == Path("usual.txt")


def test_in_the_current_folder_and_without_a_file_names_are_as_written(folder: Path) -> None:
    for graph in (Graph.from_yaml(WHAT), Graph.from_yaml(WHAT, "x.yaml"), Graph.from_yaml(WHAT, "./x.yaml")):
        assert graph.node("table").stage.table == Path("table.txt")
        assert Graph.from_yaml(graph.to_yaml()) == graph


def test_each_file_of_a_graph_that_extends_another_names_what_lies_beside_itself(folder: Path) -> None:
    Path("mine.yaml").write_text(
        "extends: ../graphs/what.yaml\nnodes: {table: {more: [three.txt]}, sink: {path: mine.txt}}\n"
    )
    graph = Graph.load("mine.yaml")
    assert graph.node("table").stage == Table(Path("../graphs/table.txt"), (Path("three.txt"),))
    assert graph.node("sink").stage.path == Path("mine.txt")


def test_a_setting_names_files_from_where_it_is_typed(folder: Path) -> None:
    from pipeline.composing.settings import with_settings

    graph = with_settings(Graph.load("../graphs/what.yaml"), ["table.table=other.txt"])
    assert graph.node("table").stage.table == Path("other.txt")


@pytest.mark.parametrize("place", ["../graphs/again.yaml", "again.yaml", "/tmp/{0}/far/away/again.yaml"])
def test_a_graph_that_is_saved_is_the_same_wherever_it_lies(folder: Path, place: str) -> None:
    file = Path(place.replace("/tmp/{0}", str(folder)))
    file.parent.mkdir(parents=True, exist_ok=True)
    graph = Graph.load("../graphs/what.yaml")

    graph.save(file)
    again = Graph.load(file)
    table = again.node("table").stage
    assert table.table.resolve() == folder / "graphs" / "table.txt"
    assert table.more[1:] == (Path("/tmp/two.txt"), Path("-"))
    assert again.set("table", table=graph.node("table").stage.table, more=graph.node("table").stage.more) == graph
    if file.parent.resolve() == folder / "graphs":
        assert "table: table.txt" in file.read_text()


def test_a_portable_graph_may_be_written_anywhere(folder: Path) -> None:
    graph = Graph.load("../graphs/what.yaml").portable()
    for place in (folder, folder / "graphs", Path()):
        assert Graph.from_yaml(graph.to_yaml(), place / "x.yaml") == graph
    assert graph.node("table").stage.table == folder / "graphs" / "table.txt"


def test_a_graph_comes_from_standard_input(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(WHAT))
    assert Graph.load("-") == Graph.from_yaml(WHAT)
    monkeypatch.setattr("sys.stdin", io.StringIO(WHAT.replace("table/paths", "table/path")))
    with pytest.raises(UserError, match=r"^<stdin>:4:18: node 'table': there is no stage 'table/path'"):
        Graph.load("-")


def test_a_file_that_is_read_twice_is_no_clash_and_one_that_is_written_over_is(folder: Path) -> None:
    text = WHAT.replace("path: out.txt", "path: table.txt")
    Graph.from_yaml(text, "../graphs/x.yaml").check()
    with pytest.raises(GraphError, match=r"would be written over table\.txt, which node 'table'"):
        Graph.from_yaml(text, "x.yaml").check()


def test_a_stage_in_python_names_files_from_where_one_is() -> None:
    graph = Graph.chain(Numbers(), Decode(), Table(Path("a.txt")))
    assert graph.node("table").stage.table == Path("a.txt")
