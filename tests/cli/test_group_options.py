"""``--group-by`` and ``--group-step``: a leaf that counts groups, and merging that tells them apart."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from least_options import LEAST

from pipeline import UserError
from pipeline.composing.graph import Graph
from stages.commands.index.graph import graph_from_options
from stages.live.groups import Groups
from stages.live.merge import Merge

BASE = {**LEAST, "group_by": "laser_on"}
FILES = {"zmq_input": None, "zmq_request": None, "input": "run7.cxi"}


def test_groups_are_counted_behind_the_last_stage_and_merged_by_themselves() -> None:
    graph = graph_from_options({**BASE, "live_merge": "4/mmm", "group_step": 0.5, "monitor": 0})
    assert graph.node("groups").stage == Groups(key="laser_on", step=0.5)
    assert (graph.node("monitor").stage.group_by, graph.node("monitor").stage.group_step) == ("laser_on", 0.5)
    assert graph.node("groups").after == graph.node("sink").after == ("integrate",)
    assert graph.node("merge").stage == Merge(symmetry="4/mmm", group_by="laser_on", group_step=0.5)
    graph.check()
    assert Graph.from_yaml(graph.to_yaml()) == graph


@pytest.mark.parametrize(
    ("more", "after"),
    [({"indexing": "none"}, "index"), ({"no_image_data": True}, "integrate"), ({"no_diagnosis": True}, "integrate")],
)
def test_groups_are_counted_without_merging_and_without_indexing_too(more: dict[str, Any], after: str) -> None:
    graph = graph_from_options({**BASE, **more})
    assert graph.node("groups").after == (after,)
    graph.check()


def test_without_the_option_nothing_is_grouped() -> None:
    graph = graph_from_options({**LEAST, "live_merge": "4/mmm"})
    assert "groups" not in graph.names
    assert graph.node("merge").stage.group_by == ""


def test_the_key_is_copied_to_the_stream_once_and_read_of_files(caplog: pytest.LogCaptureFixture) -> None:
    assert graph_from_options(BASE).node("sink").stage.copy_headers == ("laser_on",)
    both = {**BASE, "copy_header": ["timestamp", "laser_on"]}
    assert graph_from_options(both).node("sink").stage.copy_headers == ("timestamp", "laser_on")
    files = graph_from_options({**BASE, **FILES, "copy_header": ["/entry/x"], "group_by": "/entry/laser/on"})
    assert (
        files.node("decode").stage.headers == files.node("sink").stage.copy_headers == ("/entry/x", "/entry/laser/on")
    )
    assert "no effect" not in caplog.text


def test_each_variant_counts_its_groups(tmp_path: Path) -> None:
    graph = graph_from_options({**BASE, "output": tmp_path / "a.stream", "variant": ("peaks=zaef,peakfinder8",)})
    graph.check()
    assert graph.node("groups").stage == Groups(key="laser_on")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"group_step": -1.0}, "--group-step.*greater than or equal to 0"),
        ({"stop_when": "crystals=5,each_group", "live_merge": "4/mmm", "group_by": None}, "nothing is grouped"),
    ],
)
def test_what_cannot_be_is_said_in_the_words_of_the_command_line(more: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        graph_from_options({**BASE, **more})


def test_a_step_without_groups_has_no_effect_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        graph_from_options({**LEAST, "group_step": 0.5, "live_merge": "4/mmm"})
    assert "--group-step has no effect with live/merge without --group-by" in caplog.text
