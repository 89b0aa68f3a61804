"""The demo runs simulator and pipeline together and judges the result honestly."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import registry
from pipeline.command_line.cli import run as command_line
from pipeline.composing.graph import Graph
from pipeline.running.job import run as run_graph
from stages.commands.score import score
from stages.decode.headers_only import HeadersOnly as HeadersOnlyDecode
from stages.drawing.pattern import Marks, assemble, draw, plane
from stages.files.cell import read_cell
from stages.files.stream import Chunk, StreamCrystal, read_stream
from stages.geometry_map.map_panels import MapPanels
from stages.index.pairs import Pairs
from stages.lattices.cell import Lattice, misorientation
from stages.peaks.from_message import FromMessage
from stages.peaks.hit import HitFinder
from stages.records import Crystals
from stages.simulation.apparatus import Apparatus
from stages.simulation.settings import Settings
from stages.simulation.specimen import LYSOZYME
from stages.simulation.truth import Truth, read_truth
from stages.sink.memory import Memory
from stages.source.simulate import Simulate
from stages.wire.formats import DECODERS


def turned(basis: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """The basis turned about the beam."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return basis @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])


def crystal(basis: NDArray[np.float64]) -> StreamCrystal:
    lattice = Lattice("tetragonal", "P", "c")
    reciprocal = 10 * np.linalg.inv(basis).T
    return StreamCrystal(reciprocal, (math.nan,) * 6, lattice, 0.02, 3.0, (0.0, 0.0), None, {})


def chunk(event: str, *bases: NDArray[np.float64]) -> Chunk:
    return Chunk("sim", event, 1, True, "pairs", 9500.0, None, tuple(crystal(basis) for basis in bases), {})


@pytest.fixture(scope="module")
def truths() -> dict[str, Truth]:
    apparatus = Apparatus.make(Settings(seed=1, hits=0.7), size="1024x1024", distance_mm=120.0)
    return {frame.truth.event: frame.truth for frame in apparatus.simulation.frames(12, pixels=False)}


def bases(truths: dict[str, Truth]) -> dict[str, NDArray[np.float64]]:
    return {event: t.real_space_angstrom for event, t in truths.items() if t.real_space_angstrom is not None}


def test_the_true_orientations_are_right_and_blanks_without_crystals_too(truths: dict[str, Truth]) -> None:
    chunks = [chunk(event, *([t.real_space_angstrom] if t.hit else [])) for event, t in truths.items()]  # type: ignore[list-item]
    result = score(chunks, truths, LYSOZYME)
    assert (result.right, result.wrong, result.missed, result.blanks_indexed) == (result.hits, 0, 0, 0)
    assert result.hits + result.blanks == 12
    assert result.strong_hits == result.strong_right > 0
    assert max(result.errors_rad) < 1e-6
    assert "wrong 0" in result.text()


def test_an_equivalent_setting_is_right_and_a_slightly_turned_one_too(truths: dict[str, Truth]) -> None:
    symmetric = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]])
    chunks = [chunk(event, turned(symmetric @ basis, 0.4)) for event, basis in bases(truths).items()]
    result = score(chunks, truths, LYSOZYME)
    assert result.right == result.hits
    assert result.errors_rad == pytest.approx([math.radians(0.4)] * result.hits, rel=1e-6)


def test_a_crystal_turned_by_more_than_half_a_degree_is_wrong(truths: dict[str, Truth]) -> None:
    chunks = [chunk(event, turned(basis, 0.6)) for event, basis in bases(truths).items()]
    result = score(chunks, truths, LYSOZYME)
    assert (result.right, result.wrong, result.missed) == (0, result.hits, 0)
    assert result.false_crystals == result.hits


def test_missing_chunks_empty_chunks_and_indexed_blanks_are_counted(truths: dict[str, Truth]) -> None:
    hits = list(bases(truths))
    blank = next(event for event, t in truths.items() if not t.hit)
    some = bases(truths)[hits[0]]
    chunks = [chunk(hits[0], turned(some, 20), some), chunk(hits[1]), chunk(blank, some)]
    result = score(chunks, truths, LYSOZYME)
    assert (result.right, result.wrong, result.missed) == (1, 0, len(hits) - 1)
    assert result.false_crystals == 1
    assert result.blanks_indexed == 1
    assert result.absent == 12 - 3
    assert "several at once: 1" in result.text()
    assert "without a chunk in the stream: 9" in result.text()


def test_panels_are_put_in_their_places(tmp_path: Path) -> None:
    file = tmp_path / "two.geom"
    file.write_text(
        "photon_energy = 9500 eV\nclen = 0.1\nres = 1000\nadu_per_photon = 1\ndata = d\n"
        "a/min_fs = 0\na/max_fs = 3\na/min_ss = 0\na/max_ss = 1\na/corner_x = 1\na/corner_y = 2\na/fs = x\na/ss = y\n"
        "b/min_fs = 0\nb/max_fs = 3\nb/min_ss = 2\nb/max_ss = 3\nb/corner_x = -1\nb/corner_y = -2\nb/fs = -x\nb/ss = -y\n"
    )
    apparatus = Apparatus.make(Settings(), geometry=file)
    geom = apparatus.simulation.geom
    data = np.arange(16, dtype=np.int32).reshape(4, 4)
    picture, (left, right, bottom, top) = assemble(geom, {"d": data})

    def at(x: float, y: float) -> float:
        row = int((y - bottom) / (top - bottom) * picture.shape[0])
        return float(picture[row, int((x - left) / (right - left) * picture.shape[1])])

    for p, panel in enumerate(geom.panels):
        view = panel.view(data)
        for ss in range(2):
            for fs in range(4):
                ((x, y),) = plane(geom, np.array([p]), np.array([fs + 0.5]), np.array([ss + 0.5]))
                assert at(x, y) == view[ss, fs]
    assert np.isnan(at(0.0, 0.0))
    # what lies bad is left empty
    bad = (np.ones((2, 4), np.uint8), geom.bad[1])
    assert np.isfinite(assemble(replace(geom, bad=bad), {"d": data})[0]).sum() == 8


def test_a_picture_is_drawn_even_if_nothing_was_found(tmp_path: Path) -> None:
    apparatus = Apparatus.make(Settings(hits=0.0), size="80x60", res=600.0)
    frame = apparatus.simulation.frame(0)
    nothing = np.zeros((0, 2))
    draw(tmp_path / "blank.png", frame.geom, frame.arrays, Marks(nothing, nothing), "blank", "nothing")
    assert (tmp_path / "blank.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("peaks", ["peakfinder8", "msgpack"])
def test_the_demo_gets_orientations_right_and_leaves_its_files(
    peaks: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert command_line(["demo", "--frames", "12", "--seed", "1", "--peaks", peaks, "--output", str(output)]) == 0
    text = capsys.readouterr().out
    assert "received 12 = delivered 12 + rejected 0 + dropped 0" in text
    assert {path.name for path in output.iterdir()} == {
        *("demo.stream", "demo.yaml", "demo.geom", "lysozyme.cell", "truth.jsonl", "pattern.png")
    }
    truths = read_truth(output / "truth.jsonl")
    chunks = read_stream(output / "demo.stream").by_event()
    cell, _ = read_cell(output / "lysozyme.cell")
    assert chunks.keys() == truths.keys()
    for event, truth in truths.items():
        if not truth.hit:
            assert not chunks[event].crystals
        elif (truth.listed >= 0).sum() >= 30:
            (found,) = chunks[event].crystals
            assert truth.real_space_angstrom is not None
            angle = misorientation(found.real_space_angstrom, truth.real_space_angstrom, cell)
            assert math.degrees(angle) < 0.5
            assert found.reflections is not None
            assert len(found.reflections) > 50
    graph = Graph.load(output / "demo.yaml")
    assert graph.options.max_frames == 12
    assert "streamajig simulate" in (output / "demo.yaml").read_text()
    assert (output / "pattern.png").stat().st_size > 50_000
    assert f"right {sum(t.hit for t in truths.values())}, wrong 0" in text


QUICK = ("cbf", "dectris2", "npy")
"""One that is asked for, one that is pushed, and one whose frames have no names."""


@pytest.mark.parametrize(
    "data_format",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in DECODERS if name != "msgpack"],
)
def test_the_demo_speaks_each_format(data_format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    number = 20  # more than a train has
    asked = ["--frames", str(number), "--seed", "1", "--data-format", data_format, "--output", str(tmp_path)]
    assert command_line(["demo", *asked]) == 0
    text = capsys.readouterr().out
    assert f"received {number} = delivered {number} + rejected 0 + dropped 0" in text
    truths = read_truth(tmp_path / "truth.jsonl")
    assert f"right {sum(truth.hit for truth in truths.values())}, wrong 0, missed 0; blanks indexed 0" in text
    graph = Graph.load(tmp_path / "demo.yaml")
    assert graph.node("decode").stage == registry.load(DECODERS[data_format])()
    assert (tmp_path / "pattern.png").stat().st_size > 50_000


def test_peaks_that_came_with_jungfraujochs_messages_are_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--frames", "12", "--seed", "1", "--data-format", "dectris2", "--peaks", "msgpack", "-o", str(tmp_path)]
    assert command_line(["demo", *asked]) == 0
    assert "wrong 0, missed 0" in capsys.readouterr().out


def test_simulated_frames_need_no_network(tmp_path: Path) -> None:
    beamline: dict[str, Any] = {"seed": 6, "hits": 0.6, "spurious": 0.25, "size": "1024x1024", "distance_mm": 120.0}
    settings = Settings(seed=6, hits=0.6, spurious=0.25)
    apparatus = Apparatus.make(settings, size="1024x1024", distance_mm=120.0)
    (tmp_path / "sim.geom").write_text(apparatus.geometry_text)
    (tmp_path / "sim.cell").write_text(apparatus.cell_text)
    graph = Graph.chain(
        Simulate(frames=15, image=False, truth=tmp_path / "truth.jsonl", **beamline),
        HeadersOnlyDecode(),
        MapPanels(geometry=tmp_path / "sim.geom"),
        FromMessage(),
        HitFinder(min_peaks=15),
        Pairs(cell=tmp_path / "sim.cell"),
        Memory(),
    )
    report = run_graph(graph)
    assert report.law_lines() == ["received 15 = delivered 15 + rejected 0 + dropped 0"]
    truths = read_truth(tmp_path / "truth.jsonl")
    outcomes = report.outputs["sink"]
    assert [outcome.event for outcome in outcomes] == list(truths)
    checked = 0
    for outcome in outcomes:
        truth = truths[outcome.event]
        if not truth.hit:
            assert len(outcome[Crystals]) == 0
        elif (truth.listed >= 0).sum() >= 30:
            (found,) = outcome[Crystals]
            assert truth.real_space_angstrom is not None
            angle = misorientation(found.real_space_angstrom, truth.real_space_angstrom, LYSOZYME)
            assert math.degrees(angle) < 0.5
            checked += 1
    assert checked > 5


def test_a_demo_that_cannot_write_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert command_line(["demo", "--output", str(tmp_path / "file" / "out")]) == 2
    assert "choose another --output" in capsys.readouterr().err
    assert command_line(["demo", "--peaks", "guess"]) == 2
    assert "peakfinder8 and msgpack" in capsys.readouterr().err
    assert command_line(["demo", "--data-format", "cbff"]) == 2
    assert "did you mean 'cbf'" in capsys.readouterr().err
    assert command_line(["demo", "--data-format", "cbf", "--peaks", "msgpack"]) == 2
    assert "--data-format=cbf has none" in capsys.readouterr().err
