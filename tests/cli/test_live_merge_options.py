"""``--live-merge`` and ``--stop-when``: a second leaf beside the stream."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from least_options import LEAST

from pipeline import UserError
from pipeline.composing.graph import Graph
from stages.commands.index.graph import graph_from_options
from stages.live.merge import Merge, Until

BASE = {**LEAST, "live_merge": "4/mmm"}


def test_merging_comes_after_integration_and_beside_the_stream() -> None:
    graph = graph_from_options({**BASE, "stop_when": "completeness=0.99, cc_half=0.9, resolution=2.0, each_shell"})
    until = Until(completeness=0.99, cc_half=0.9, resolution=2.0, each_shell=True)
    assert graph.node("merge").stage == Merge(symmetry="4/mmm", until=until)
    assert graph.node("merge").after == graph.node("sink").after == ("integrate",)
    graph.check()
    assert Graph.from_yaml(graph.to_yaml()) == graph


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"live_merge": "4/mm"}, "--live-merge.*did you mean '4/mmm'"),
        ({"stop_when": "completness=0.9"}, "--stop-when.*nexpected"),
        ({"stop_when": "completeness=much"}, "--stop-when: 'completeness=much' should be a name and a number"),
        ({"stop_when": "completeness=99"}, "--stop-when.*less than or equal to 1"),
        ({"stop_when": "resolution=2"}, "--stop-when.*say what there should be"),
        ({"no_image_data": True}, "--live-merge merges integrated intensities"),
        ({"indexing": "none"}, "--live-merge merges integrated intensities"),
    ],
)
def test_what_cannot_be_is_said_in_the_words_of_the_command_line(more: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        graph_from_options({**BASE, **more})


def test_conditions_without_merging_have_no_effect_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        graph_from_options({**BASE, "live_merge": None, "stop_when": "crystals=5"})
    assert "--stop-when has no effect without merge" in caplog.text
