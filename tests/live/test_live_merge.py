"""live/merge: the same as merging at the end, whatever comes; and the end of a run when there is enough."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from specimen_frames import CELL, STAR, Specimen, crystal, frame_of, merge_frames

from pipeline import Context, Rejected
from pipeline.composing.graph import Graph, GraphError
from pipeline.running.job import run
from stages.decode.msgpack_map import MsgpackMap
from stages.geometry_map.map_panels import MapPanels
from stages.live.merge import Merge, Until
from stages.merging.crystals import Polarisation, observe
from stages.merging.merger import Merger
from stages.merging.point_group import point_group
from stages.merging.shells import quality
from stages.peaks.from_message import FromMessage
from stages.records import Crystal, Crystals
from stages.sink.memory import Memory
from stages.source.simulate import Simulate


def test_unscaled_it_is_the_mean_of_all() -> None:
    specimen = Specimen()
    frames = [specimen.frame(n, crystals=1 + n % 2) for n in range(60)]
    writer = merge_frames(Merge(symmetry="4/mmm", scale=False, polarisation="none"), frames)
    merger = Merger(point_group("4/mmm"))
    for frame in frames:
        for found in frame[Crystals]:
            assert found.reflections is not None
            merger.add(
                observe(
                    found.reflections.hkl, found.reflections.intensity, STAR, 9500.0, merger.group, Polarisation(-1.0)
                )
            )
    expected = quality(merger.merged())
    figures = writer.findings().figures
    assert figures["crystals"] == 90
    assert figures["overall"] == pytest.approx(expected.overall.figures(), nan_ok=True)
    assert figures["looks"][-1]["crystals"] == 90


def test_scaled_as_they_come_crystals_are_nearly_as_good_as_scaled_together() -> None:
    specimen = Specimen()
    scales = specimen.rng.lognormal(0, 0.8, 200)
    frames = [specimen.frame(n, scale=scale) for n, scale in enumerate(scales)]
    running = merge_frames(Merge(symmetry="4/mmm", scale_after=30), frames).findings().figures
    together = merge_frames(Merge(symmetry="4/mmm", scale_after=1000), frames).findings().figures
    plain = merge_frames(Merge(symmetry="4/mmm", scale=False), frames).findings().figures
    assert together["overall"]["cc_half"] > plain["overall"]["cc_half"] + 0.02
    assert running["overall"]["cc_half"] > together["overall"]["cc_half"] - 0.01
    assert running["overall"]["measured"] == together["overall"]["measured"] == plain["overall"]["measured"]


def test_figures_improve_with_the_number_of_crystals_and_are_all_there() -> None:
    specimen = Specimen()
    writer = merge_frames(Merge(symmetry="4/mmm", shells=4), [specimen.frame(n) for n in range(130)])
    findings = writer.findings()
    looks = findings.figures["looks"]
    assert [look["crystals"] for look in looks] == list(range(10, 131, 10))
    assert looks[-1]["cc_half"] > looks[1]["cc_half"]
    assert looks[-1]["multiplicity"] > 5 * looks[0]["multiplicity"]
    assert len(findings.figures["shells"]) == 4
    json.dumps(findings.figures)
    assert findings.text.startswith("merged over 4/mmm, scaled: 130 crystals, 38999 observations of 1181")
    milestones = [line.split()[0] for line in findings.text.splitlines()[3:8]]
    assert milestones == ["10", "20", "50", "100", "130"]
    assert "partialator" in findings.text
    assert writer.status() == f"merged 130: {100 * looks[-1]['completeness']:.1f} % complete, CC1/2 " + (
        f"{looks[-1]['cc_half']:.3f}"
    )


def test_it_says_when_there_is_enough() -> None:
    specimen = Specimen()
    stage = Merge(symmetry="4/mmm", until=Until(completeness=0.9, cc_half=0.9, resolution=7.0))
    encode, writer = stage.open(Context()), stage.open_writer(Context())
    serial = 0
    while not writer.enough():
        serial += 1
        encoded = encode(specimen.frame(serial))
        assert encoded is not None
        writer.write(encoded)
        assert serial < 2000
    figures = writer.findings().figures
    before, last = figures["looks"][-2:]
    assert last["completeness"] >= 0.9
    assert last["cc_half"] >= 0.9
    assert before["completeness"] < 0.9 or before["cc_half"] < 0.9
    assert last["d_min_angstrom"] == pytest.approx(7.0)
    assert writer.enough() == f"completeness 90.0 % and CC1/2 0.9 to 7 A reached with {last['crystals']} crystals"
    assert figures["reached"]


def test_every_shell_is_asked_if_so_wished() -> None:
    specimen = Specimen()
    frames = [specimen.frame(n) for n in range(40)]
    writer = merge_frames(Merge(symmetry="4/mmm", highres=2.0, until=Until(completeness=0.05)), frames)
    assert writer.enough()
    writer = merge_frames(Merge(symmetry="4/mmm", highres=2.0, until=Until(completeness=0.05, each_shell=True)), frames)
    assert not writer.enough()
    assert "in each shell not reached" in writer.findings().text


def test_crystals_that_are_no_use_are_counted_and_harm_nothing() -> None:
    specimen = Specimen()
    hkl = specimen.hkl[:300]
    bad = np.ones(300)
    bad[::3], bad[1::3] = math.nan, math.inf
    broken = [
        Crystals((Crystal(CELL),)),
        Crystals((crystal(hkl, np.zeros(300)),)),
        Crystals((crystal(hkl, np.full(300, math.nan)),)),
        Crystals((crystal(hkl, np.ones(300), np.full((3, 3), math.nan)),)),
        Crystals((crystal(hkl, np.ones(300), np.zeros((3, 3))),)),
        Crystals((crystal(hkl[:0], np.zeros(0)),)),
        Crystals((crystal(hkl, bad),)),
        Crystals(),
    ]
    frames = [specimen.frame(n) for n in range(20)]
    frames[10:10] = [frame_of(100 + n, crystals) for n, crystals in enumerate(broken)]
    writer = merge_frames(Merge(symmetry="4/mmm"), frames)
    figures = writer.findings().figures
    assert figures["crystals"] == 21
    assert figures["crystals_without_reflections"] == 5
    assert figures["crystals_without_intensity"] == 1
    assert figures["reflections_left_out"] == 200
    assert figures["overall"]["cc_half"] > 0.5
    text = writer.findings().text
    assert "5 crystals have no reflections that could be used" in text
    assert "1 crystals have no intensity but 0" in text


def test_crystals_that_are_there_twice_are_left_out_once_and_that_is_said() -> None:
    specimen = Specimen()
    frames = [specimen.frame(n) for n in range(41)]  # an odd number: what is there twice comes into both halves
    once = merge_frames(Merge(symmetry="4/mmm"), frames).findings()
    twice = merge_frames(Merge(symmetry="4/mmm"), [*frames, *frames[:15]]).findings()
    assert twice.figures["duplicates"] == 15
    assert twice.figures["overall"] == once.figures["overall"]
    assert "15 crystals are there twice, with the same intensities, and were left out once" in twice.text
    assert "are there twice" not in once.text
    kept = merge_frames(Merge(symmetry="4/mmm", keep_duplicates=True), [*frames, *frames[:15]]).findings()
    assert kept.figures["crystals"] == 56
    assert kept.figures["overall"]["cc_half"] > once.figures["overall"]["cc_half"]


def test_several_samples_and_a_point_group_that_the_cells_contradict_are_named() -> None:
    specimen = Specimen()
    frames = [specimen.frame(n) for n in range(30)]
    other = [frame_of(n, Crystals((crystal(specimen.hkl[:300], specimen.rng.exponential(9.0, 300), 2.0 * CELL),)))
             for n in range(8)]  # fmt: skip
    found = merge_frames(Merge(symmetry="4/mmm"), [*frames, *other]).findings()
    assert "SEVERAL SAMPLES: 30 crystals are of the (reduced) cell 37.9 79.1 79.1 A" in found.text
    assert "8 of 75.8 158.2 158.2 A 90.0 90.0 90.0; the latter were merged all the same" in found.text
    assert [cell["crystals"] for cell in found.figures["other_samples"]] == [8]
    contradicted = merge_frames(Merge(symmetry="m-3m"), frames).findings().text
    assert "THE POINT GROUP m-3m DOES NOT GO WITH THE CELL of 30 crystals" in contradicted
    assert "SEVERAL SAMPLES" not in contradicted


def test_rejected_frames_and_frames_without_crystals_bring_nothing() -> None:
    encode = Merge(symmetry="4/mmm").open(Context())
    frame = frame_of(1, Crystals())
    assert encode(frame) is None
    assert encode(Rejected(1, "", 0, "peaks", "why", "", frame)) is None


def test_nothing_at_all_is_reported_as_nothing() -> None:
    findings = Merge(symmetry="4/mmm").open_writer(Context()).findings()
    assert findings.text == "merged over 4/mmm, scaled: 0 crystals, 0 observations of 0 reflections"
    assert findings.figures["crystals"] == 0


def test_what_makes_no_sense_is_refused_at_once() -> None:
    with pytest.raises(ValidationError, match="did you mean '4/mmm'"):
        Merge(symmetry="4/mm")
    with pytest.raises(ValidationError, match="polarisation"):
        Merge(symmetry="4/mmm", polarisation="round")
    with pytest.raises(ValidationError, match="say what there should be"):
        Merge(symmetry="4/mmm", until=Until(resolution=2.0))
    with pytest.raises(ValidationError):
        Merge(symmetry="4/mmm", until={"completness": 0.9})


def test_in_a_graph_without_crystals_it_is_refused() -> None:
    graph = Graph.chain(
        Simulate(frames=1), MsgpackMap(), MapPanels(geometry=Path("a.geom")), FromMessage(), Merge(symmetry="1")
    )
    with pytest.raises(GraphError, match=r"\(live/merge\) reads Crystals, which nothing upstream writes"):
        graph.check()


@pytest.fixture(scope="module")
def beamline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A geometry file and a cell file for what source/simulate makes."""
    from typer.testing import CliRunner

    from pipeline.command_line.cli import app

    folder = tmp_path_factory.mktemp("beamline")
    size = ["--size", "1024x1024", "--distance", "90"]
    files = ["--write-geometry", str(folder / "a.geom"), "--write-cell", str(folder / "a.cell")]
    finished = CliRunner().invoke(app, ["simulate", "--files-only", *size, *files])
    assert finished.exit_code == 0, finished.output
    return folder


@pytest.mark.parametrize("backend", ["serial:debug", "threads:2"])
def test_it_ends_a_run_of_simulated_frames(beamline: Path, backend: str) -> None:
    from stages.index.pairs import Pairs
    from stages.integrate.rings import Rings
    from stages.peaks.hit import HitFinder
    from stages.refine.prediction import Prediction

    graph = Graph.chain(
        Simulate(frames=0, size="1024x1024", distance_mm=90, hits=0.9, peaks_per_hit=60),
        MsgpackMap(),
        MapPanels(geometry=beamline / "a.geom"),
        FromMessage(),
        HitFinder(min_peaks=15),
        Pairs(cell=beamline / "a.cell"),
        Prediction(),
        Rings(),
        Memory(),
    ).with_options(backend=backend)
    stage = Merge(symmetry="4/mmm", until=Until(crystals=40, resolution=4.0))
    graph = Graph.from_yaml(graph.add(stage, name="merge", after="integrate").to_yaml())
    report = run(graph)
    assert report.is_conserved
    assert report.why_ended.startswith("merge: 40 crystals to 4 A reached with ")
    found = report.findings["merge"].figures
    assert found["crystals"] >= 40
    assert found["crystals"] + found["crystals_not_scaled"] == report.leaves["merge"].counts["crystals"]
    assert report.leaves["merge"].delivered == report.received == len(report.outputs["sink"])
    assert found["overall"]["completeness"] > 0.1
    assert found["overall"]["cc_half"] > 0.3
    assert "merge: merged over 4/mmm" in report.text()
    json.dumps(report.as_json(), allow_nan=False)
