"""A hit is one thing: report, live/groups and monitor count the same frames, whether a stage judges them or none does."""

from __future__ import annotations

from pathlib import Path

import pytest
from listening import files, listening

from pipeline import Graph, run
from stages.decode import MsgpackMap
from stages.geometry_map import MapPanels
from stages.live import Groups, Monitor
from stages.peaks import FromMessage, HitFinder
from stages.sink import Memory
from stages.source import Simulate


@pytest.mark.parametrize("is_judged", [True, False])
def test_report_groups_and_monitor_count_the_same_hits(is_judged: bool, tmp_path: Path) -> None:
    geometry, _ = files(tmp_path)
    source = Simulate(frames=30, size="512x512", distance_mm=45.0, hits=0.7, seed=41)
    graph = Graph.chain(
        source, MsgpackMap(), MapPanels(geometry=geometry), FromMessage(), HitFinder(min_peaks=5), Memory()
    )
    address = f"ipc://{tmp_path}/monitor"
    for name, sink in (
        ("groups", Groups(key="event_id")),
        ("monitor", Monitor(page=False, address=address, group_by="event_id", report=tmp_path / "report.html")),
    ):
        graph = graph.add(sink, name=name, after="hit")
    if not is_judged:
        graph = graph.remove("hit")
    with listening(address, "run", "powder") as listener:
        report = run(graph)
        listener.wait_for(lambda: any(blob["ended"] for blob in listener.of("run")))
        listener.wait_for(lambda: listener.of("powder"))
    hits = report.counts.get("hits", 0)
    assert (hits > 0) == is_judged
    assert report.counts["peaks"] > 0

    assert sum(one["hits"] for one in report.findings["groups"].figures["values"]) == hits
    last, powder = listener.of("run")[-1], listener.of("powder")[-1]
    assert sum(one["hits"] for one in last["groups"]["values"]) == last["counts"]["hits"] == powder["hits"] == hits
    assert powder["frames"] == (hits if is_judged else report.received)
    assert float(powder["peak_counts"][0]["data"].sum()) > 0
