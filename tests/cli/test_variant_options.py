"""--variant and what goes with it: the graph that a command line with variants asks for, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline import Graph, UserError, stage
from stages.commands.index.graph import graph_from_options
from stages.records import PeakList


@stage("peaks/from_this_test")
def from_this_test(found: PeakList) -> PeakList:
    """Leaves the peaks as they are."""
    return found


def graph_of(**options: Any) -> Graph:
    usual = {"zmq_input": "tcp://127.0.0.1:1", "zmq_request": "next", "geometry": "a.geom", "pdb": Path("a.cell")}
    return graph_from_options({**usual, "output": "out.stream", "peaks": "peakfinder8", **options})


def names(*variants: str, **options: Any) -> list[str]:
    return [variant.name for variant in graph_of(variant=list(variants), **options).variants]


def test_ways_are_named_in_indexamajigs_words_and_make_a_grid():
    assert names("peaks=msgpack,zaef", "hit.min_peaks=5,10") == [
        "msgpack+min_peaks=5",
        "msgpack+min_peaks=10",
        "zaef+min_peaks=5",
        "zaef+min_peaks=10",
    ]


def test_one_way_alone_is_compared_with_what_the_command_line_says_without_it():
    assert names("peaks=zaef") == ["peakfinder8", "zaef"]
    assert names("peaks.threshold=20") == ["threshold=800", "threshold=20"]


def test_a_way_has_the_options_that_its_stage_would_have_alone():
    graph = graph_of(variant=["peaks=zaef,msgpack"], threshold=33.0, min_squared_gradient=7.0)
    alone = graph_of(peaks="zaef", threshold=33.0, min_squared_gradient=7.0)
    assert graph.varied[0].ways[0].stage == alone.node("peaks").stage


def test_values_follow_their_stages():
    assert names("peaks=zaef,peakfinder8", "peaks.threshold=10,20") == [
        "zaef-threshold=10",
        "zaef-threshold=20",
        "peakfinder8-threshold=10",
        "peakfinder8-threshold=20",
    ]
    with pytest.raises(UserError, match="name all stages of 'peaks' in one --variant"):
        names("peaks.threshold=10,20", "peaks=zaef,peakfinder8")


def test_a_stage_of_ones_own_is_a_way():
    assert names("peaks=from_this_test,zaef") == ["from_this_test", "zaef"]


def test_what_is_wished_goes_to_the_verdict():
    graph = graph_of(
        variant=["peaks=zaef,msgpack"],
        verdict=[Path("a.html"), Path("a.json"), Path("a.csv")],
        keep_best=Path("best.yaml"),
        aim="ms",
        until_decided="peaks",
        set=["verdict.size=0.02", "hit.min_peaks=7"],
    )
    verdict = graph.node("verdict").stage
    assert (verdict.page, verdict.json, verdict.table) == (Path("a.html"), Path("a.json"), Path("a.csv"))
    assert (verdict.keep_best, verdict.aim, verdict.until.decided, verdict.size) == (
        Path("best.yaml"),
        "ms",
        "peaks",
        0.02,
    )
    assert graph.node("hit").stage.min_peaks == 7
    assert Graph.from_yaml(graph.to_yaml()).variants == graph.variants


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"variant": ["peaks=mien"]}, "--variant=peaks=mien: --peaks=mien: there is no such method"),
        ({"variant": ["peeks=zaef"]}, "the graph has no node 'peeks'; did you mean 'peaks'?"),
        ({"variant": ["peaks"]}, "write NODE=STAGE,STAGE or NODE.PARAMETER=VALUE,VALUE"),
        ({"variant": ["hit.min_peak=3,4"]}, "peaks/hit has no parameter 'min_peak'; did you mean 'min_peaks'?"),
        ({"variant": ["hit.min_peaks=3,x"]}, "min_peaks: .*found 'x'"),
        ({"keep_best": Path("b.yaml")}, "--keep-best: nothing is varied"),
        ({"verdict": [Path("b.txt")], "variant": ["hit.min_peaks=3,4"]}, "should end in .html"),
        ({"verdict": [Path("a.csv"), Path("a.parquet")], "variant": ["hit.min_peaks=3,4"]}, "are of one kind"),
        ({"aim": "hitz", "variant": ["hit.min_peaks=3,4"]}, "did you mean 'hits'"),
    ],
)
def test_what_is_wrong_is_said_in_the_words_of_the_command_line(options: dict[str, Any], said: str):
    with pytest.raises(UserError, match=said):
        graph_of(**options)
