"""live/verdict: several ways compared on the same frames, none of them lost."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from specimen_frames import Specimen, merge_frames

from pipeline import Context, Frame, Graph, Joined, Outcome, Rejected, UserError, Variant, run
from pipeline.running.report import Report
from stages.comparison.table import MEASURES
from stages.decode.headers_only import HeadersOnly
from stages.files.cell import cell_text
from stages.geometry_map.map_panels import MapPanels
from stages.index.pairs import Pairs
from stages.live._deciding import UntilDecided
from stages.live.merge import Merge
from stages.live.verdict import Verdict, VerdictWriter
from stages.peaks.from_message import FromMessage
from stages.peaks.hit import HitFinder
from stages.records import Crystals, DetGeom, Hit
from stages.simulation.apparatus import flat_geometry
from stages.simulation.specimen import LYSOZYME
from stages.simulation.truth import read_truth
from stages.sink.memory import Memory
from stages.source.simulate import Simulate


def both(serial: int, **outcomes: Outcome) -> Frame:
    return Frame(serial, f"e // {serial}").with_values(Joined(outcomes))


def rejected(serial: int) -> Rejected:
    frame = Frame(serial, f"e // {serial}")
    return Rejected(serial, frame.event, 0, "decode", "broken", "it is", frame)


def hit(serial: int, is_hit: bool = True) -> Frame:
    return Frame(serial, f"e // {serial}").with_values(Hit(is_hit, 20), Crystals())


def written(stage: Verdict, outcomes: list[Outcome], variants: tuple[Variant, ...] = ()) -> VerdictWriter:
    context = Context(variants=variants)
    encode, writer = stage.open(context), stage.open_writer(context)
    for outcome in outcomes:
        writer.write(encode(outcome))
    return writer


def test_no_frame_is_lost_whatever_becomes_of_it() -> None:
    outcomes = [
        rejected(0),
        rejected(1),
        both(2, left=hit(2), right=hit(2, is_hit=False)),
        both(3, left=rejected(3), right=hit(3)),
        rejected(4),
        both(5, left=hit(5), right=hit(5)),
    ]
    writer = written(Verdict(), outcomes)
    table = writer.rows
    assert table is not None
    assert table.variants == ("left", "right")
    assert table.serial.tolist() == [0, 1, 2, 3, 4, 5]
    assert table.event == [f"e // {n}" for n in range(6)]
    assert table.column("hits").tolist() == [[0, 0], [0, 0], [1, 0], [0, 1], [0, 0], [1, 1]]
    assert table.column("rejected").tolist() == [[1, 1], [1, 1], [0, 0], [1, 0], [1, 1], [0, 0]]
    assert writer.findings().figures["frames"] == 6


def test_a_run_without_a_frame_that_reaches_the_variants_says_so() -> None:
    assert "no frame came" in written(Verdict(), []).findings().text
    assert "all 2 frames were rejected" in written(Verdict(), [rejected(0), rejected(1)]).findings().text


def test_while_the_run_goes_on_the_variants_and_their_means_are_told() -> None:
    assert written(Verdict(), []).figures_now()["rows"] == []
    assert written(Verdict(until=UntilDecided("variants")), []).figures_now()["why"] == "variants decided: not yet"
    outcomes = [both(n, left=hit(n), right=hit(n, is_hit=n % 2 == 0)) for n in range(10)]
    writer = written(Verdict(aim="hits"), outcomes)
    found = writer.figures_now()
    assert found["headline"] == writer.status()
    assert "left" in found["headline"]
    assert [(row["variant"], row["frames"], row["hits"], row["residual"]) for row in found["rows"]] == [
        ("left", 10, 1.0, None),
        ("right", 10, 0.5, None),
    ]
    encode = Verdict().open(Context())
    for n in range(10, 20):
        writer.write(encode(both(n, left=hit(n, is_hit=False), right=hit(n))))
    assert [(row["frames"], row["hits"]) for row in writer.figures_now()["rows"]] == [(20, 0.5), (20, 0.75)]
    assert [column["name"] for column in found["columns"]] == list(MEASURES)
    json.dumps(found, allow_nan=False)


def test_variants_that_are_known_are_judged_even_if_all_frames_are_rejected() -> None:
    variants = (Variant("a", {"peaks": "a"}), Variant("b", {"peaks": "b"}))
    writer = written(Verdict(), [rejected(n) for n in range(5)], variants)
    assert writer.findings().figures["frames"] == 5
    assert writer.rows is not None
    assert writer.rows.variants == ("a", "b")
    assert writer.rows.column("rejected").all()


GRAPH = """
run: {{backend: "{backend}"}}
nodes:
  source:
    stage: source/simulate
    frames: 24
    size: 1024x1024
    distance_mm: 90
    seed: 11
    image: false
    hits: 0.7
    truth: {folder}/truth.jsonl
  decode: decode/headers_only
  geometry: {{stage: geometry_map/map_panels, geometry: {folder}/flat.geom}}
  listed: peaks/from_message
  many: {{stage: peaks/hit, min_peaks: 15, after: listed}}
  many_index: {{stage: index/pairs, cell: {folder}/lysozyme.cell}}
  few: {{stage: peaks/hit, min_peaks: 60, after: listed}}
  few_index: {{stage: index/pairs, cell: {folder}/lysozyme.cell}}
  both: {{stage: graph/join, after: [many_index, few_index]}}
  verdict: {{stage: live/verdict{verdict}}}
"""


def write_files(folder: Path) -> Path:
    """Write the geometry of the simulated detector; return the cell file."""
    (folder / "flat.geom").write_text(flat_geometry(1024, 1024, 5814.0))
    cell = folder / "lysozyme.cell"
    cell.write_text(cell_text(LYSOZYME))
    return cell


def run_graph(folder: Path, backend: str = "threads:2", **verdict: object) -> tuple[Report, VerdictWriter]:
    write_files(folder)
    settings = "".join(f", {name}: {value}" for name, value in verdict.items())
    graph = Graph.from_yaml(GRAPH.format(verdict=settings, folder=folder, backend=backend))
    assert graph.check() is None
    kept: list[VerdictWriter] = []
    opener = Verdict.open_writer
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Verdict, "open_writer", lambda stage, context: kept.append(opener(stage, context)) or kept[0])
        return run(graph), kept[0]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, VerdictWriter, Path]:
    folder = tmp_path_factory.mktemp("verdict")
    return *run_graph(folder), folder


def test_branches_of_a_graph_are_compared_frame_by_frame(compared: tuple[Report, VerdictWriter, Path]) -> None:
    report, writer, _ = compared
    table = writer.rows
    assert table is not None
    assert report.received == len(table) == 24
    assert table.variants == ("many_index", "few_index")
    assert table.serial.tolist() == sorted(table.serial.tolist())
    hits, indexed, peaks = (table.column(name) for name in ("hits", "indexed", "peaks"))
    assert np.array_equal(peaks[:, 0], peaks[:, 1])
    assert np.array_equal(hits, np.stack([peaks[:, 0] >= 15, peaks[:, 1] >= 60], axis=1))
    assert (indexed <= hits).all()
    assert 0 < hits[:, 1].sum() < hits[:, 0].sum()
    both = indexed.all(axis=1)
    assert (table.agreement[both, 0, 1] == 0.0).all()
    assert np.isnan(table.agreement[~both, 0, 1]).all()


def test_right_and_wrong_are_those_of_the_truth_file(compared: tuple[Report, VerdictWriter, Path]) -> None:
    _, writer, folder = compared
    table = writer.rows
    assert table is not None
    truths = read_truth(folder / "truth.jsonl")
    is_hit = np.array([truths[event].hit for event in table.event])
    right, wrong, indexed = (table.column(name) for name in ("right", "wrong", "indexed"))
    assert np.array_equal(np.isnan(right[:, 0]), ~is_hit)
    assert np.array_equal(right[is_hit] + wrong[is_hit], indexed[is_hit])
    assert right[is_hit, 0].sum() >= 0.9 * indexed[is_hit, 0].sum() > 5


def test_the_truth_is_the_same_from_the_file_and_from_the_frames(
    compared: tuple[Report, VerdictWriter, Path], tmp_path: Path
) -> None:
    _, writer, folder = compared
    _, again = run_graph(tmp_path, "serial", truth=folder / "truth.jsonl")
    assert writer.rows is not None
    assert again.rows is not None
    for name in MEASURES.keys() - {"ms"}:
        assert np.array_equal(again.rows.column(name), writer.rows.column(name), equal_nan=True)


def test_a_graph_with_variants_is_judged_and_the_best_is_kept(tmp_path: Path) -> None:
    cell = write_files(tmp_path)
    graph = Graph.chain(
        Simulate(frames=40, size="1024x1024", distance_mm=90, seed=12, image=False, hits=0.7),
        HeadersOnly(),
        MapPanels(geometry=tmp_path / "flat.geom"),
        FromMessage(),
        HitFinder(min_peaks=15),
        Pairs(cell=cell),
        Memory(),
    )
    files = {name: tmp_path / name for name in ("page.html", "frames.csv", "figures.json", "best.yaml")}
    verdict = Verdict(
        page=files["page.html"], table=files["frames.csv"], json=files["figures.json"], keep_best=files["best.yaml"]
    )
    report = run(graph.vary("hit", min_peaks=[15, 90]).add(verdict, name="verdict", after="index"))
    assert report.is_conserved
    assert report.leaves["verdict"].delivered == 40
    figures = json.loads(files["figures.json"].read_text())
    assert figures["frames"] == 40
    assert figures["best"] == "min_peaks=15"
    rows = list(csv.DictReader(files["frames.csv"].read_text().splitlines()))
    assert len(rows) == 2 * 40
    assert all(float(row["ms"]) > 0 for row in rows)
    assert "min_peaks=90" in files["page.html"].read_text()
    kept = Graph.from_yaml(files["best.yaml"].read_text())
    assert kept.node("hit").stage == HitFinder(min_peaks=15)


def test_the_run_ends_as_soon_as_it_is_decided_or_there_are_frames_enough() -> None:
    outcomes = [both(n, left=hit(n), right=hit(n, is_hit=n % 8 == 0)) for n in range(400)]
    decided = written(Verdict(aim="hits", until={"decided": "variants"}), outcomes)
    assert decided.enough().startswith("variants decided after ")
    same = [both(n, left=hit(n), right=hit(n)) for n in range(60)]
    ended = written(Verdict(aim="hits", until={"decided": "variants", "frames": 50}), same)
    assert ended.enough() == "50 frames, and variants not decided"
    assert ended.enough() in ended.findings().text


def test_a_node_that_is_not_varied_cannot_be_decided() -> None:
    variants = tuple(Variant(name, {"peaks": name}) for name in ("zaef", "rings"))
    with pytest.raises(UserError, match="no varied node of this name; did you mean 'peaks'"):
        Verdict(until={"decided": "peak"}).open_writer(Context(variants=variants))


def test_the_best_of_branches_that_have_no_graph_cannot_be_kept(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="write `variants:`"):
        Verdict(keep_best=tmp_path / "best.yaml").open_writer(Context(node="verdict"))


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"aim": "index"}, "'index' is not measured; did you mean 'indexed'"),
        ({"symmetry": "5"}, "5"),
        ({"size": 0}, "greater than 0"),
        ({"until": {"frames": 5}}, "decided"),
        ({"until": {"decide": "peaks"}}, "decide"),
    ],
)
def test_what_makes_no_sense_is_refused(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Verdict(**parameters)


def test_intensities_are_merged_for_each_variant_as_live_merge_does() -> None:
    specimen = Specimen(seed=4)
    frames = [specimen.frame(n) for n in range(60)]
    few = [
        frame if n % 2 else Frame(n, "", 0).with_values(Crystals(), frame[DetGeom]) for n, frame in enumerate(frames)
    ]
    writer = written(
        Verdict(symmetry="4/mmm", polarisation="none"),
        [both(n, all=one, some=other) for n, (one, other) in enumerate(zip(frames, few, strict=True))],
    )
    merged = {name: found["merged"] for name, found in writer.findings().figures["variants"].items()}
    assert {name: found["crystals"] for name, found in merged.items()} == {"all": 60, "some": 30}
    for name, given in {"all": frames, "some": few}.items():
        alone = merge_frames(Merge(symmetry="4/mmm", polarisation="none"), given).findings().figures["overall"]
        assert merged[name]["cc_half"] == alone["cc_half"]
    assert merged["all"]["cc_half"] > merged["some"]["cc_half"]


def test_merged_intensities_of_variants_are_compared_and_said() -> None:
    specimen = Specimen(seed=6)
    chance = np.random.default_rng(7)
    frames = [specimen.frame(n) for n in range(96)]
    outcomes = [both(n, good=one, same=one, bad=noisier(one, chance)) for n, one in enumerate(frames)]
    findings = written(Verdict(symmetry="4/mmm", polarisation="none"), outcomes).findings()
    found = {(d["one"], d["other"]): d for d in findings.figures["differences"] if d["measure"] == "cc_half"}
    assert found["good", "same"]["outcome"] == "identical"
    assert found["good", "bad"]["outcome"] == "better"
    assert found["good", "bad"]["frames"] == 96
    assert 0 < found["good", "bad"]["error"] < found["good", "bad"]["difference"]
    assert "CC1/2" in findings.text


def noisier(frame: Frame, chance: np.random.Generator) -> Frame:
    """The frame with half of each intensity lost or added by chance."""
    (crystal,) = frame[Crystals]
    assert crystal.reflections is not None
    intensity = crystal.reflections.intensity * chance.normal(1, 0.5, len(crystal.reflections))
    return frame.with_values(
        Crystals((replace(crystal, reflections=replace(crystal.reflections, intensity=intensity)),))
    )
