"""``streamajig diagnose``: what live/diagnosis says, of a stream or of recorded messages that are there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from pipeline import UserError
from pipeline.composing.graph import Graph
from pipeline.running.job import run
from stages.commands.diagnose import diagnose
from stages.commands.diagnosis_picture import gather
from stages.commands.stream_frames import StreamFrames
from stages.diagnosis.finding import Finding
from stages.diagnosis.subject import About
from stages.files.geom.detector import Detector
from stages.live import diagnosis
from stages.records import Crystals, DetGeom, Displacement, Header, Hit, PeakList
from stages.simulation.beamline import Beamline

GEOM = """photon_energy = 9500 eV
clen = detector_distance mm
res = 10000
adu_per_photon = 1
data = detector_data
peak_list = peak_list
p/min_fs = 10
p/max_fs = 777
p/min_ss = 0
p/max_ss = 767
p/corner_x = -384
p/corner_y = -384
p/fs = x
p/ss = y
"""
MOVED = Displacement((4e-4, 0.0), 0.001)


@dataclass
class Counting:
    """A subject that keeps the frames it has seen, and says that the detector is off from 20 of them on."""

    name: str = "counting"
    seen: list[tuple[int, int]] = field(default_factory=list)

    def look(self, about: About) -> Any:
        return lambda frame: (len(frame[PeakList]), len(frame[Crystals]))

    def watch(self, about: About) -> Counting:
        return self

    def take(self, seen: Any) -> None:
        self.seen.append(seen)

    def findings(self) -> Sequence[Finding]:
        if len(self.seen) < 20:
            return ()
        return [Finding("detector", "The detector is off.", "detector off", len(self.seen), displacement=MOVED)]

    conclude = findings

    def figures(self) -> Mapping[str, Any]:
        return {"frames": len(self.seen)}

    def close(self) -> None:
        pass


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    subject = Counting()
    monkeypatch.setattr(diagnosis, "SUBJECTS", (subject,))
    return subject


def said(*words: object) -> str:
    app = typer.Typer()
    app.command()(diagnose)
    finished = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert finished.exit_code == 0, finished.output
    return finished.stdout


def graph_of(folder: Path, source: str) -> Graph:
    (folder / "a.geom").write_text(GEOM)
    (folder / "a.cell").write_text(Beamline(size="64x64").set_up().cell_text)
    return Graph.from_yaml(f"""
nodes:
  source: {source}
  decode: decode/headers_only
  geometry: {{stage: geometry_map/map_panels, geometry: {folder}/a.geom}}
  peaks: peaks/from_message
  hit: {{stage: peaks/hit, min_peaks: 15}}
  index: {{stage: index/pairs, cell: {folder}/a.cell, verify: false}}
  refine: refine/prediction
  sink: {{stage: sink/headers_only, path: {folder}/out.stream, in_order: true}}
  memory: {{stage: sink/memory, after: refine}}
""")


@pytest.fixture
def frames(tmp_path: Path) -> list[Any]:
    """Thirty simulated frames as they went into tmp_path/out.stream."""
    source = f"{{stage: source/simulate, frames: 30, geometry: {tmp_path}/a.geom, image: false, distance_mm: 80}}"
    return list(run(graph_of(tmp_path, source)).outputs["memory"])


def test_frames_of_a_stream_are_those_that_were_written(tmp_path: Path, frames: list[Any]) -> None:
    again = list(StreamFrames(tmp_path / "out.stream"))
    assert len(again) == len(frames) == 30
    assert sum(len(frame[Crystals]) for frame in again) > 5
    for written, read in zip(frames, again, strict=True):
        np.testing.assert_allclose(read[DetGeom].origin_m, written[DetGeom].origin_m, atol=1e-9)
        assert read[DetGeom].photon_energy_ev == written[DetGeom].photon_energy_ev
        assert read[Hit] == written[Hit]
        np.testing.assert_allclose(read[PeakList].fs, written[PeakList].fs, atol=0.006)
        for one, other in zip(read[Crystals], written[Crystals], strict=True):
            np.testing.assert_allclose(one.real_space_angstrom, other.real_space_angstrom, atol=0.01)
            assert one.lattice == other.lattice


def test_a_stream_without_the_headers_of_its_geometry_has_the_distance_that_it_prints(
    tmp_path: Path, frames: list[Any]
) -> None:
    path = tmp_path / "out.stream"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("header/")))
    for written, read in zip(frames, StreamFrames(path), strict=True):
        np.testing.assert_allclose(read[DetGeom].origin_m, written[DetGeom].origin_m, atol=1e-6)


def test_a_stream_that_was_followed_has_its_frames_where_they_were(tmp_path: Path, frames: list[Any]) -> None:
    path = tmp_path / "out.stream"
    text = path.read_text().replace(
        "average_camera_length", f"streamajig/detector_moved = {MOVED}\naverage_camera_length"
    )
    path.write_text(text.replace("det_shift x = 0.000", "det_shift x = 0.400"))
    for written, read in zip(frames, StreamFrames(path), strict=True):
        geom = read[DetGeom]
        assert geom.displacement == MOVED
        np.testing.assert_allclose(geom.origin_m, written[DetGeom].displaced(MOVED).origin_m, atol=1e-9)
        assert all(abs(crystal.det_shift_m[0]) < 1e-9 for crystal in read[Crystals])


def test_a_stream_is_diagnosed_in_words_figures_a_corrected_file_and_a_picture(
    tmp_path: Path, frames: list[Any], counting: Counting
) -> None:
    stream, corrected, picture = (tmp_path / name for name in ("out.stream", "c.geom", "d.png"))
    text = said(stream, "-o", corrected, "--picture", picture)
    assert text.splitlines()[0] == "The detector is off."
    assert counting.seen == [(len(frame[PeakList]), len(frame[Crystals])) for frame in frames]
    assert picture.read_bytes().startswith(b"\x89PNG")
    header = Header({"detector_distance": 80.0})
    moved = Detector.load(corrected).geom_for(header).origin_m
    np.testing.assert_allclose(moved, Detector.parse(GEOM).geom_for(header).displaced(MOVED).origin_m, atol=1e-9)
    counting.seen.clear()
    figures = json.loads(said(stream, "--json"))
    assert figures["findings"][0]["displacement"]["along_m"] == 0.001
    assert figures["counting"] == {"frames": 30}


def test_recorded_messages_are_indexed_and_diagnosed(tmp_path: Path, counting: Counting) -> None:
    (tmp_path / "a.geom").write_text(GEOM)
    apparatus = Beamline(geometry=tmp_path / "a.geom", distance_mm=80, hits=1.0).set_up()
    (tmp_path / "a.cell").write_text(apparatus.cell_text)
    recorded = tmp_path / "recorded"
    recorded.mkdir()
    for n in range(3):
        (recorded / f"{n}.msgpack").write_bytes(apparatus.wire.body(apparatus.simulation.frame(n)))
    text = said(recorded, "-g", tmp_path / "a.geom", "-p", tmp_path / "a.cell", "--picture", tmp_path / "d.png")
    assert text == "nothing wrong was seen in 3 frames\n"
    assert len(counting.seen) == 3
    assert sum(crystals for _, crystals in counting.seen) >= 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.cell", "a.geom", "d.png", "recorded"]


def test_deviations_in_the_picture_are_those_of_the_detector(tmp_path: Path) -> None:
    """Frames of a detector 4 pixels to the right of where the file has it: so far off is each peak from its reflection."""
    (tmp_path / "right.geom").write_text(GEOM.replace("corner_x = -384", "corner_x = -380"))
    source = f"{{stage: source/simulate, frames: 20, geometry: {tmp_path}/right.geom, image: false, distance_mm: 80}}"
    run(graph_of(tmp_path, source))
    found = gather(StreamFrames(tmp_path / "out.stream"))
    assert len(found.shift_px) > 5
    assert np.median(np.concatenate(found.off_px), axis=0) == pytest.approx((4.0, 0.0), abs=0.5)
    assert np.median(found.share) > 0.7


def test_what_makes_no_sense_is_refused(tmp_path: Path, frames: list[Any], counting: Counting) -> None:
    stream = tmp_path / "out.stream"
    with pytest.raises(UserError, match="give one stream"):
        said(stream, stream)
    with pytest.raises(UserError, match="which has its own geometry file"):
        said(stream, "-g", tmp_path / "a.geom")
    (tmp_path / "m.msgpack").write_bytes(b"\x80")
    with pytest.raises(UserError, match="there is no geometry file"):
        said(tmp_path / "m.msgpack")
