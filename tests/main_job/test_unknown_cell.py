"""Without a cell, with the wrong one, with crystals from a file, with several lattices: whole runs over a real socket."""

from __future__ import annotations

import logging
import math
import runpy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import streamajig

from pipeline.running.job import run
from pipeline.running.report import Report
from stages.commands.index.graph import graph_from_options
from stages.files.cell import cell_text, read_cell
from stages.files.stream import Stream, read_stream
from stages.lattices.cell import Lattice, UnitCell, misorientation
from stages.lattices.setting import in_setting_of
from stages.records import PeakList
from stages.simulation.apparatus import Apparatus
from stages.simulation.experiment import SimulatedFrame
from stages.simulation.settings import Settings
from stages.wire.serving import FrameServer, serve_in_thread

PROJECT = Path(__file__).resolve().parent.parent.parent
RIGHT = math.pi / 2
CELLS = {
    "tP": UnitCell(79.1, 79.1, 37.9, RIGHT, RIGHT, RIGHT, Lattice("tetragonal", "P", "c")),
    "oI": UnitCell(61.3, 73.9, 86.1, RIGHT, RIGHT, RIGHT, Lattice("orthorhombic", "I")),
    "mP": UnitCell(63.0, 50.0, 66.0, RIGHT, math.radians(106.0), RIGHT, Lattice("monoclinic", "P", "b")),
}
FRAMES = 200


@dataclass(frozen=True)
class Beamline:
    """A simulated beamline: what it sends, and what is true of it."""

    apparatus: Apparatus
    frames: tuple[SimulatedFrame, ...]
    bodies: tuple[bytes, ...]


@lru_cache(maxsize=8)
def beamline(name: str, folder: Path, frames: int = FRAMES, hits: float = 0.7) -> Beamline:
    """Make the frames of a cell once."""
    path = folder / f"{name}.cell"
    path.write_text(cell_text(CELLS[name]))
    settings = Settings(seed=11, hits=hits, energy_jitter=0.0)
    apparatus = Apparatus.make(settings, image=False, size="1024x1024", distance_mm=90.0, cell=path)
    made = tuple(apparatus.simulation.frame(n, pixels=False) for n in range(frames))
    return Beamline(apparatus, made, tuple(bytes(apparatus.wire.body(frame)) for frame in made))


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the cell files of the simulator."""
    return tmp_path_factory.mktemp("cells")


@contextmanager
def served(bodies: Iterable[bytes]) -> Iterator[str]:
    with FrameServer(socket="rep") as server:
        serving = serve_in_thread(server, bodies)
        yield server.address
        serving.stop()


def index(
    line: Beamline, folder: Path, bodies: tuple[bytes, ...] | None = None, **options: Any
) -> tuple[Report, Stream]:
    """Index the frames of a beamline, with these options of the command line."""
    sent = line.bodies if bodies is None else bodies
    (folder / "sim.geom").write_text(line.apparatus.geometry_text)
    with served(sent) as address:
        graph = graph_from_options(
            {
                "zmq_input": address,
                "zmq_request": "next",
                "geometry": folder / "sim.geom",
                "output": folder / "out.stream",
                "no_image_data": True,
                "min_peaks": 15,
                "max_frames": len(sent),
                "no_data_timeout": 60.0,
                **options,
            }
        )
        graph.check()
        report = run(graph)
    assert report.received == len(sent)
    assert report.is_conserved
    return report, read_stream(folder / "out.stream")


def off(found: UnitCell, true: UnitCell) -> float:
    """The largest error of an axis, in percent; the true cell is taken in the axes of the found one."""
    real = in_setting_of(true.real_space_angstrom, true.lattice, found)
    lengths = np.linalg.norm(real, axis=1)
    return float(100 * np.abs(np.array(found.parameters[:3]) / lengths - 1).max())


def right_of(stream: Stream, line: Beamline) -> tuple[int, int]:
    """Crystals that have the true lattice in its true orientation, and all that have been found."""
    truths = {frame.truth.event: frame.truth for frame in line.frames}
    cell = line.apparatus.simulation.specimen.cell
    right = found = 0
    for chunk in stream.chunks:
        true = truths[chunk.event].real_space_angstrom
        for crystal in chunk.crystals:
            found += 1
            if true is not None:
                real = in_setting_of(crystal.real_space_angstrom, crystal.lattice, cell)
                agrees = np.allclose(np.linalg.norm(real, axis=1), cell.parameters[:3], rtol=0.04)
                right += bool(agrees and misorientation(real, true, cell) < math.radians(1.0))
    return right, found


@pytest.mark.parametrize("name", CELLS)
def test_a_run_without_a_cell_finds_the_cell_and_goes_on_with_it(name: str, cells: Path, tmp_path: Path) -> None:
    line = beamline(name, cells)
    report, stream = index(line, tmp_path)
    found, _ = read_cell(tmp_path / "out.cell")
    assert found.lattice == CELLS[name].lattice
    assert off(found, CELLS[name]) < 0.3
    figures = report.findings["cells"].figures
    assert figures["is_stable"]
    assert figures["consensus"]["crystals"] >= 0.95 * figures["crystals"]
    assert figures["methods"]["pairs"] > figures["methods"]["lattice"] >= 20, "it has turned to the known cell"
    assert {chunk.indexed_by for chunk in stream.chunks if chunk.crystals} == {"lattice", "pairs"}
    assert stream.indexing == "lattice,pairs"
    right, crystals = right_of(stream, line)
    assert right >= 0.98 * crystals
    strong = [frame for frame in line.frames if frame.truth.hit and (frame.truth.listed >= 0).sum() >= 30]
    assert report.counts["indexed"] >= 0.95 * len(strong)


def test_the_console_script_without_a_cell_reports_the_cell(cells: Path, tmp_path: Path) -> None:
    line = beamline("oI", cells)
    (tmp_path / "sim.geom").write_text(line.apparatus.geometry_text)
    with served(line.bodies) as address:
        finished = streamajig(
            *("index", f"--zmq-input={address}", "--zmq-request=next", "-g", "sim.geom", "-o", "new.stream"),
            *("--no-image-data", "--min-peaks=15", f"--max-frames={FRAMES}", "-j", "2"),
            cwd=tmp_path,
        )
    assert finished.returncode == 0, finished.stderr
    assert "crystals (" in finished.stdout
    assert "agree on orthorhombic I" in finished.stdout
    assert "the cell is in new.cell" in finished.stdout
    assert "going on with the cell orthorhombic I" in finished.stderr
    assert read_cell(tmp_path / "new.cell")[0].lattice == CELLS["oI"].lattice


def test_a_lattice_type_without_parameters_restricts_what_is_found_and_the_cell_that_is_written(
    cells: Path, tmp_path: Path
) -> None:
    line = beamline("mP", cells)
    given = tmp_path / "given.cell"
    given.write_text("CrystFEL unit cell file version 1.0\nlattice_type = monoclinic\ncentering = P\nunique_axis = c\n")
    report, stream = index(line, tmp_path, pdb=given)
    found, _ = read_cell(tmp_path / "out.cell")
    assert found.lattice == Lattice("monoclinic", "P", "c")
    assert off(found, CELLS["mP"]) < 0.3
    assert {crystal.lattice for chunk in stream.chunks for crystal in chunk.crystals} == {found.lattice}
    right, crystals = right_of(stream, line)
    assert right >= 0.98 * crystals > 100
    given.write_text(given.read_text().replace("monoclinic", "tetragonal"))
    refused, _ = index(line, tmp_path, pdb=given, found_cell=tmp_path / "other.cell", indexing="lattice")
    assert refused.counts["crystals"] <= 1
    assert refused.counts["not_this_lattice"] >= 0.95 * report.counts["indexed"]


def test_a_run_with_a_cell_that_is_too_large_names_what_never_occurs(
    cells: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    doubled = tmp_path / "doubled.cell"
    a, b, c, *angles = CELLS["tP"].parameters
    doubled.write_text(cell_text(UnitCell(a, b, 2 * c, *angles, CELLS["tP"].lattice)))
    with caplog.at_level(logging.WARNING, "streamajig"):
        report, _ = index(beamline("tP", cells), tmp_path, pdb=doubled)
    found = report.findings["cells"]
    assert "HALF OF THE INDICES NEVER OCCUR: l is always even, in " in found.text
    assert "too large: try tetragonal P 79.10 79.10 37.90 A 90.0 90.0 90.0 deg" in found.text
    assert "HALF OF THE INDICES NEVER OCCUR" in caplog.text, "while the run goes on"
    assert report.counts["indexed"] >= 0.9 * report.counts["hits"]


def test_a_run_with_the_wrong_cell_says_so_and_what_it_is_instead(
    cells: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    line = beamline("oI", cells)
    wrong = tmp_path / "wrong.cell"
    wrong.write_text(cell_text(CELLS["tP"]))
    with caplog.at_level(logging.WARNING, "streamajig"):
        report, _ = index(line, tmp_path, pdb=wrong)
    found = report.findings["cells"]
    assert report.counts["indexed"] <= 0.02 * report.counts["hits"]
    assert report.counts["not_this_cell"] == found.figures["elsewhere"] >= 15
    (instead,) = found.figures["elsewhere_cells"][:1]
    assert instead["lattice_type"] == "orthorhombic"
    assert instead["centering"] == "I"
    assert sorted(instead["parameters"][:3]) == pytest.approx([61.3, 73.9, 86.1], rel=5e-3)
    assert "NOT THIS CELL" in found.text
    assert "NOT THIS CELL" in caplog.text
    assert not (tmp_path / "out.cell").exists(), "with -p no cell file is written unless asked for"


def test_looking_for_another_cell_can_be_left_out(cells: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.cell"
    wrong.write_text(cell_text(CELLS["tP"]))
    report, _ = index(beamline("oI", cells), tmp_path, pdb=wrong, no_verify_cell=True)
    assert report.findings["cells"].figures["verified"] == 0
    assert "not_this_cell" not in report.counts


def test_the_right_cell_is_not_called_wrong(cells: Path, tmp_path: Path) -> None:
    report, _ = index(beamline("tP", cells), tmp_path, pdb=cells / "tP.cell")
    found = report.findings["cells"]
    assert found.figures["elsewhere"] <= 1
    assert found.figures["consensus"]["is_given_cell"]
    assert found.figures["consensus"]["crystals"] >= 0.98 * found.figures["crystals"] > 100


def test_crystals_of_a_stream_are_indexed_again_from_a_file_and_what_is_not_there_by_the_next_method(
    cells: Path, tmp_path: Path
) -> None:
    line = beamline("tP", cells)
    once, first = index(line, tmp_path, pdb=cells / "tP.cell", no_refine=True)
    example = runpy.run_path(str(PROJECT / "examples" / "stream_to_solutions.py"))
    solutions = tmp_path / "out.sol"
    written = example["write_solutions"](tmp_path / "out.stream", solutions)
    assert written == once.counts["crystals"] > 100
    options = {"fromfile_input_file": solutions, "no_refine": True}
    again, second = index(line, tmp_path, indexing="file", **options)
    assert again.counts["crystals"] == written
    for event, chunk in first.by_event().items():
        other = second.by_event()[event]
        assert len(other.crystals) == len(chunk.crystals)
        for one, two in zip(chunk.crystals, other.crystals, strict=True):
            assert np.allclose(one.real_space_angstrom, two.real_space_angstrom, atol=2e-3)
            assert one.lattice == two.lattice
            assert other.indexed_by == "file"
    lines = solutions.read_text().splitlines(keepends=True)
    solutions.write_text("".join(lines[::2]))
    mixed, third = index(line, tmp_path, indexing="file,pairs", pdb=cells / "tP.cell", **options)
    assert third.indexing == "file,pairs"
    assert mixed.findings["cells"].figures["methods"] == {"file": len(lines[::2]), "pairs": written - len(lines[::2])}
    assert mixed.counts["hits_not_in_file"] == mixed.counts["hits"] - len(lines[::2])
    tries = {chunk.indexed_by: chunk.keys["n_indexing_tries"] for chunk in third.chunks if chunk.crystals}
    assert int(tries["file"]) < int(tries["pairs"])


def test_two_crystals_in_a_frame_are_both_found_with_multi(cells: Path, tmp_path: Path) -> None:
    line = beamline("tP", cells)
    hits = [frame for frame in line.frames if frame.truth.hit and len(frame.peaks) >= 60]
    pairs = list(zip(hits[::2], hits[1::2], strict=False))[:15]
    bodies = tuple(bytes(line.apparatus.wire.body(replace(a, peaks=_both(a.peaks, b.peaks)))) for a, b in pairs)
    _, alone = index(line, tmp_path, bodies, pdb=cells / "tP.cell")
    assert max(len(chunk.crystals) for chunk in alone.chunks) == 1
    report, stream = index(line, tmp_path, bodies, pdb=cells / "tP.cell", multi=True)
    cell = line.apparatus.simulation.specimen.cell
    found = 0
    chunks = stream.by_event()
    for a, b in pairs:
        crystals = chunks[a.truth.event].crystals
        for true in (a.truth.real_space_angstrom, b.truth.real_space_angstrom):
            assert true is not None
            found += any(misorientation(c.real_space_angstrom, true, cell) < math.radians(1.0) for c in crystals)
    assert found >= 0.95 * 2 * len(pairs)
    assert report.counts["crystals"] - found <= 1


def _both(one: PeakList, other: PeakList) -> PeakList:
    arrays = {
        field.name: np.concatenate([getattr(one, field.name), getattr(other, field.name)])
        for field in fields(PeakList)
        if isinstance(getattr(one, field.name), np.ndarray)
    }
    return PeakList(**arrays)
