"""--monitor and --report: the node that shows a run, on the command lines of index and of run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from least_options import INDEX, LEAST

from pipeline import Graph, UserError
from pipeline.command_line import cli
from pipeline.command_line.abbreviations import completed
from pipeline.command_line.monitor_options import with_wishes
from stages.commands.index.graph import graph_from_options

GRAPH = """
nodes:
  source: {stage: source/simulate, frames: 20, size: 64x64}
  decode: decode/msgpack_map
  sink: {stage: sink/stream_file, path: out.stream}
"""


def monitor_of(graph: Graph) -> Any:
    return graph.node("monitor").stage


def printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> Graph:
    assert cli.run([*INDEX, *words]) == 0
    return Graph.from_yaml(capsys.readouterr().out)


def graph_of(tmp_path: Path, text: str = GRAPH) -> Graph:
    (tmp_path / "graph.yaml").write_text(text)
    return Graph.load(tmp_path / "graph.yaml")


def test_without_these_options_nothing_is_shown() -> None:
    assert "monitor" not in graph_from_options(LEAST).names


def test_the_page_is_there_with_the_option_alone_and_at_a_port_with_one(capsys: pytest.CaptureFixture[str]) -> None:
    alone = monitor_of(printed(["--monitor", "-o", "a.stream"], capsys))
    with_port = monitor_of(printed(["-o", "a.stream", "--monitor=8000"], capsys))

    assert (alone.page, alone.port) == (True, 0)
    assert (with_port.page, with_port.port) == (True, 8000)


def test_what_follows_the_option_is_not_taken_for_a_port(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*INDEX, "-o", "a.stream", "--monitor", "8000"]) == 2
    assert "8000" in capsys.readouterr().err


def test_the_option_can_be_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    assert monitor_of(printed(["-o", "a.stream", "--monit"], capsys)).page
    assert completed("--monit", {"--monitor": 1, "--module": 2}) == "--monitor"


def test_a_report_alone_has_no_page() -> None:
    stage = monitor_of(graph_from_options({**LEAST, "report": Path("a.html")}))

    assert not stage.page
    assert stage.report == Path("a.html")


@pytest.mark.parametrize(
    ("more", "after"),
    [
        ({}, "integrate"),
        ({"indexing": "none", "pdb": None}, "index"),
        ({"integration": "none"}, "integrate"),
        ({"no_image_data": True}, "integrate"),
    ],
)
def test_it_comes_after_the_last_that_changes_a_frame(more: dict[str, Any], after: str) -> None:
    graph = graph_from_options({**LEAST, "monitor": 0, **more})

    assert graph.node("monitor").after == (after,)
    assert graph.node("sink").after == (after,)


def test_a_header_key_by_which_is_counted_is_that_of_the_page() -> None:
    assert monitor_of(graph_from_options({**LEAST, "monitor": 0, "group_by": "laser_on"})).group_by == "laser_on"


def test_a_port_that_is_none_is_refused_in_the_words_of_the_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=r"--monitor: .*65535 \(found 70000"):
        graph_from_options({**LEAST, "monitor": 70000})
    with pytest.raises(UserError, match=r"--monitor, --report: .*port.*65535"):
        with_wishes(graph_of(tmp_path), port=70000)
    assert cli.run([*INDEX, "-o", "a.stream", "--monitor=first"]) == 2
    assert "first" in capsys.readouterr().err


def test_a_graph_gets_the_node_beside_its_sink(tmp_path: Path) -> None:
    graph = graph_of(tmp_path)
    assert with_wishes(graph) == graph

    stage = monitor_of(with_wishes(graph, port=8000, report=Path("a.html")))

    assert (stage.page, stage.port, stage.report) == (True, 8000, Path("a.html"))
    assert with_wishes(graph, port=0).node("monitor").after == graph.node("sink").after
    assert not monitor_of(with_wishes(graph, report=Path("a.html"))).page


def test_a_graph_that_has_the_node_keeps_it_with_what_it_says(tmp_path: Path) -> None:
    text = (
        GRAPH
        + "  shown: {stage: live/monitor, after: decode, address: 'tcp://127.0.0.1:5599', page: true, port: 7000}\n"
    )
    graph = with_wishes(graph_of(tmp_path, text), report=Path("a.html"))

    assert "monitor" not in graph.names
    stage: Any = graph.node("shown").stage
    assert (stage.address, stage.page, stage.port, stage.report) == ("tcp://127.0.0.1:5599", True, 7000, Path("a.html"))
