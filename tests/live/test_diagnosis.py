"""live/diagnosis: what is said and when, the corrected file, and going on with the detector where it is found to be."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import Context, Frame, Rejected, UserError
from pipeline.by_type import ByType
from pipeline.composing.graph import Graph
from pipeline.running.job import run
from pipeline.running.report import Report
from stages.diagnosis.finding import Finding
from stages.diagnosis.place.fit import Fitted
from stages.diagnosis.place.place import Place
from stages.diagnosis.rings.words import RING_CENTRE
from stages.diagnosis.steps import Steps
from stages.diagnosis.subject import About
from stages.files.geom.detector import Detector
from stages.files.geom.edits import Edit
from stages.files.stream import MOVED_KEY, Chunk, read_stream
from stages.live import diagnosis
from stages.live.diagnosis import Diagnosis, DiagnosisWriter
from stages.records import DetGeom, Displacement, Header
from stages.records.told import DetectorMoved
from stages.simulation.beamline import Beamline

RIGHT = """photon_energy = 9500 eV
clen = 0.08
res = 10000
adu_per_photon = 1
data = detector_data
peak_list = peak_list
p/min_fs = 0
p/max_fs = 767
p/min_ss = 0
p/max_ss = 767
p/corner_x = -384
p/corner_y = -384
p/fs = x
p/ss = y
"""
OFF = Displacement((5e-4, -3e-4), 0.0008)
"""The right detector as seen from the wrong file: 5.8 pixels and 1 % of the distance."""
WRONG = (
    RIGHT.replace("clen = 0.08\n", "clen = 0.0792 ; by tape\n")
    .replace("corner_x = -384", "corner_x = -389")
    .replace("corner_y = -384", "corner_y = -381")
)


@dataclass
class Toy:
    """A subject that has told findings from a number of frames on."""

    told: Mapping[int, Sequence[Finding]]
    name: str = "toy"
    num_seen: int = 0
    displacements: set[Displacement] = field(default_factory=set)
    fails: bool = False
    place: Place | None = None

    def look(self, about: About) -> Any:
        return lambda frame: geom.displacement if (geom := frame.get(DetGeom)) is not None else True

    def watch(self, about: About) -> Toy:
        return self

    def take(self, seen: Any) -> None:
        self.num_seen += 1
        self.displacements.add(seen)
        if self.fails:
            raise ZeroDivisionError("of the subject")

    def findings(self) -> Sequence[Finding]:
        latest = max((n for n in self.told if n <= self.num_seen), default=None)
        return self.told[latest] if latest is not None else ()

    conclude = findings

    def figures(self) -> Mapping[str, Any]:
        return {"seen": self.num_seen, "nothing": float("nan"), "array": np.arange(2)}

    def close(self) -> None:
        pass


def finding(key: str = "ice", brief: str = "ice", num_frames: int = 30, **more: Any) -> Finding:
    return Finding(key, f"There is {brief}.", brief, num_frames, **more)


def writer_of(toy: Toy, monkeypatch: pytest.MonkeyPatch, path: Path | None = None, **context: Any) -> DiagnosisWriter:
    monkeypatch.setattr(diagnosis, "SUBJECTS", (toy,))
    upstream = ByType([Detector.parse(WRONG, "wrong.geom")])
    return Diagnosis(path=path).open_writer(Context(node="diagnosis", upstream=upstream, **context))


def feed(writer: DiagnosisWriter, num_frames: int) -> None:
    for _ in range(num_frames):
        writer.write((True,))


def test_what_is_found_is_said_once_and_so_is_its_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    toy = Toy({30: [finding()], 100: [finding(), finding("known", "tetragonal", is_wrong=False)], 300: []})
    writer = writer_of(toy, monkeypatch)
    with caplog.at_level(logging.INFO, "streamajig"):
        feed(writer, 29)
        assert writer.status() == ""
        feed(writer, 100)
        assert writer.status() == "ice"
        feed(writer, 400)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "after 32 frames: There is ice."),
        ("INFO", "after 104 frames: There is tetragonal."),
        ("INFO", "after 323 frames: no longer: ice"),
    ]


def test_what_has_changed_is_said_again_only_with_twice_the_evidence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    toy = Toy({
        25: [finding(brief="3 px")], 40: [finding(brief="3.1 px", num_frames=40)], 90: [finding(brief="3.2 px", num_frames=90)],
    })  # fmt: skip
    writer = writer_of(toy, monkeypatch)
    feed(writer, 200)
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "There is 3 px.",
        "There is 3.2 px.",
    ]


def test_the_progress_line_has_two_findings_and_counts_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = writer_of(Toy({1: [finding(str(n), f"wrong {n}") for n in range(4)]}), monkeypatch)
    feed(writer, 25)
    assert writer.status() == "wrong 0, wrong 1, and 2 more"


def test_findings_are_json_with_the_frame_and_the_time_of_their_first_word(monkeypatch: pytest.MonkeyPatch) -> None:
    found = finding(figures={"share": np.float64(0.5), "spread": float("nan")}, edits=(Edit("max_adu", "9", "w"),))
    writer = writer_of(Toy({1: [found]}), monkeypatch)
    feed(writer, 60)
    figures = json.loads(json.dumps(writer.findings().figures, allow_nan=False))
    (told,) = figures["findings"]
    assert told["since_frame"] == 10
    assert told["since"][:2] == "20"
    assert told["figures"] == {"share": 0.5, "spread": None}
    assert told["edits"] == [{"directive": "max_adu", "value": "9", "why": "w"}]
    assert figures["toy"] == {"seen": 60, "nothing": None, "array": [0, 1]}


@dataclass
class Slow(Toy):
    """A subject that takes so many steps until it tells what it knew when it was asked."""

    num_steps: int = 7

    def findings_in_steps(self) -> Steps[Sequence[Finding]]:
        known = self.findings()
        for _ in range(self.num_steps):
            yield 0.5
        if self.fails:
            raise ZeroDivisionError("of the subject")
        return known


def test_what_takes_long_is_concluded_in_steps_with_several_frames(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And whoever is asked again meanwhile is asked when it is done."""
    slow = Slow({10: [finding()], 16: []}, num_steps=14)
    writer = writer_of(slow, monkeypatch)
    with caplog.at_level(logging.INFO, "streamajig"):
        feed(writer, 40)
    assert [record.getMessage() for record in caplog.records] == [
        "after 17 frames: There is ice.",
        "after 32 frames: no longer: ice",
    ]
    slow.told, slow.num_steps = {25: [finding("late")], 41: [finding("last")]}, 60
    feed(writer, 2)
    assert [one["key"] for one in writer.findings().figures["findings"]] == ["last"], "the end waits for no step"


def test_a_conclusion_that_fails_at_one_of_its_steps_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow({1: [finding()]})
    writer = writer_of(slow, monkeypatch)
    feed(writer, 12)
    slow.fails = True
    slow.take = lambda seen: None  # type: ignore[method-assign]
    feed(writer, 50)
    assert "toy could not be told: ZeroDivisionError: of the subject" in writer.findings().text


def test_nothing_wrong_is_said_too(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = writer_of(Toy({}), monkeypatch)
    feed(writer, 12)
    assert writer.findings().text == "nothing wrong was seen in 12 frames"


def test_rejected_frames_are_no_frames_in_which_nothing_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all were rejected nothing could be judged, and the main reason is there."""
    toy = Toy({})
    writer = writer_of(toy, monkeypatch)
    look = Diagnosis().open(Context(node="diagnosis"))
    assert writer.findings().text == "nothing could be judged: there was no frame"
    for serial, reason in enumerate(["missing_key", "missing_key", "image_too_small"]):
        writer.write(look(Rejected(serial, "", 0, "geometry_map", reason, "", Frame(serial, "", 0))))
    told = writer.findings()
    assert told.text == ("nothing could be judged: all 3 frames were rejected, 2 of them at geometry_map (missing_key)")
    assert told.figures["frames_rejected"] == 3
    feed(writer, 12)
    assert writer.findings().text == "nothing wrong was seen in 12 frames"
    assert toy.num_seen == 12


def test_a_subject_that_fails_is_left_out_and_named_and_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    toy = Toy({1: [finding()]}, fails=True)
    writer = writer_of(toy, monkeypatch)
    feed(writer, 30)
    assert toy.num_seen == 1
    assert "toy could not be told: ZeroDivisionError: of the subject" in writer.findings().text
    assert "the diagnosis of toy has failed" in caplog.text


# --- the corrected file -----------------------------------------------------------------------------------------------


def test_the_corrected_file_is_there_while_something_is_to_be_corrected(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "a.corrected.geom"
    off = finding("detector", "detector off by 5.8 px", displacement=OFF)
    gaps = finding("gaps", "gaps", edits=(Edit("flag_morethan", "65534", "gaps"),))
    harmless = finding("known", "known", is_wrong=False, edits=(Edit("max_adu", "1", "no"),))
    writer = writer_of(Toy({1: [off, gaps, harmless], 100: [gaps], 200: []}), monkeypatch, path)
    feed(writer, 60)
    text = path.read_text()
    assert text.startswith("; corrected by streamajig;")
    assert "; There is detector off by 5.8 px.\n" in text
    assert "clen = 0.08 m ; detector off by 5.8 px; was: clen = 0.0792 ; by tape\n" in text
    corrected = Detector.parse(text)
    right, header = Detector.parse(RIGHT), Header({})
    np.testing.assert_allclose(corrected.geom_for(header).origin_m, right.geom_for(header).origin_m, atol=1e-9)
    assert corrected.static_panels[0].flag_morethan == 65534
    assert corrected.static_panels[0].max_adu == np.inf
    feed(writer, 80)
    assert "clen = 0.0792 ; by tape\n" in path.read_text()
    assert f"the corrections are in {path}" in writer.findings().text
    feed(writer, 200)
    assert not path.exists()


def test_a_file_of_somebody_else_is_refused_and_one_of_an_earlier_run_goes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "a.corrected.geom"
    path.write_text(RIGHT)
    with pytest.raises(UserError, match="streamajig has not written it"):
        writer_of(Toy({}), monkeypatch, path)
    assert path.read_text() == RIGHT
    path.write_text("; corrected by streamajig; before\n" + RIGHT)
    writer_of(Toy({}), monkeypatch, path)
    assert not path.exists()


def test_a_correction_that_cannot_be_written_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = writer_of(Toy({1: [finding(displacement=OFF)]}), monkeypatch, tmp_path / "nowhere" / "a.geom")
    feed(writer, 300)
    assert "cannot write the corrected geometry file" in writer.findings().text
    assert caplog.text.count("cannot write the corrected geometry file") == 1


# --- following --------------------------------------------------------------------------------------------------------


def test_where_the_detector_is_is_posted_and_again_when_it_has_moved_by_a_third_of_a_pixel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def at(x_px: float, **more: Any) -> Finding:
        return finding("detector", displacement=Displacement((x_px * 1e-4, 0.0)), **more)

    told = {26: [at(0.2)], 50: [at(4.0, is_wrong=False)], 80: [at(4.0)], 130: [at(4.2)], 200: [at(4.6)], 300: []}
    context = {"board": Context().board}
    writer = writer_of(Toy(told), monkeypatch, **context)
    seen = []
    for _ in range(400):
        feed(writer, 1)
        posted = context["board"].get(DetectorMoved)
        if posted is not None and (not seen or seen[-1] is not posted):
            seen.append(posted)
    assert [(moved.number, round(moved.displacement.shift_m[0], 9)) for moved in seen] == [(1, 4e-4), (2, 4.6e-4)]


def test_while_the_run_goes_on_findings_and_places_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def at(x_px: float) -> Finding:
        return finding("detector", displacement=Displacement((x_px * 1e-4, -2e-4), 1e-3))

    known = finding("known", "tetragonal", is_wrong=False)
    writer = writer_of(Toy({26: [at(4.0), known], 200: [at(5.0)], 300: []}), monkeypatch)
    found = writer.figures_now()
    assert (found["frames"], found["findings"], found["shift_mm"]) == (0, [], None)
    assert found["follows"] == {"time": []}
    feed(writer, 60)
    found = writer.figures_now()
    assert [(each["subject"], each["text"], each["is_wrong"]) for each in found["findings"]] == [
        ("detector", "There is ice.", True),
        ("known", "There is tetragonal.", False),
    ]
    assert found["shift_mm"] == pytest.approx([0.4, -0.2, 1.0])
    feed(writer, 200)
    found = writer.figures_now()
    follows = found["follows"]
    assert follows["x_mm"] == pytest.approx([0.4, 0.5])
    assert (follows["y_mm"], follows["z_mm"]) == (pytest.approx([-0.2, -0.2]), pytest.approx([1.0, 1.0]))
    assert follows["time"] == sorted(follows["time"])
    feed(writer, 100)
    assert (writer.figures_now()["findings"], writer.figures_now()["shift_mm"]) == ([], None)
    assert writer.figures_now()["follows"] == follows, "where it was is remembered"
    json.dumps(writer.figures_now())


def test_crystals_tell_better_than_anything_else_where_the_detector_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from_hits = finding("hits", displacement=Displacement((9e-4, 0.0)))
    context = {"board": Context().board}
    writer = writer_of(Toy({1: [from_hits, finding("detector", displacement=OFF)]}), monkeypatch, **context)
    feed(writer, 25)
    assert context["board"][DetectorMoved].displacement == OFF


@pytest.mark.parametrize("crystals_tell", [False, True])
def test_a_centre_of_rings_is_followed_only_while_crystals_tell_no_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, crystals_tell: bool
) -> None:
    """Crystals, once they tell a place, have the detector where the file has it; rings have it elsewhere."""
    figures = {
        "shift_x_m": 9e-4,
        "shift_y_m": 0.0,
        "shift_error_m": 1e-5,
        "along_m": None,
        "pixel_m": 1e-4,
        "clen_m": 0.08,
    }
    by_rings = finding(RING_CENTRE, displacement=Displacement((9e-4, 0.0)), figures=figures)
    errors = np.diag([1e-5, 1e-5, 1e-4, 1e-4, 1e-4]) ** 2
    fit = Fitted(Displacement(), errors, np.eye(3), np.zeros(6), 50, 900, 0.5, 0.8, 0.003, 1e-4, 0.08)
    toy = Toy({1: [by_rings]}, name="detector", place=Place(fit) if crystals_tell else None)
    context = {"board": Context().board}
    writer = writer_of(toy, monkeypatch, tmp_path / "corrected.geom", **context)
    feed(writer, 30)
    assert (context["board"].get(DetectorMoved) is None) == crystals_tell
    assert (tmp_path / "corrected.geom").exists() != crystals_tell
    assert ("crystals are believed" in writer.findings().text) == crystals_tell


def simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, geometry: str, toy: Toy, backend: str = "serial"
) -> tuple[Report, list[Chunk]]:
    """A run over 80 simulated hits on the detector of RIGHT, whose geometry file is another one."""
    monkeypatch.setattr(diagnosis, "SUBJECTS", (toy,))
    (tmp_path / "right.geom").write_text(RIGHT)
    (tmp_path / "used.geom").write_text(geometry)
    (tmp_path / "a.cell").write_text(Beamline(size="64x64").set_up().cell_text)
    graph = Graph.from_yaml(f"""
nodes:
  source: {{stage: source/simulate, frames: 80, geometry: {tmp_path}/right.geom, hits: 1.0, image: false}}
  decode: decode/headers_only
  geometry: {{stage: geometry_map/map_panels, geometry: {tmp_path}/used.geom}}
  follow: geometry_map/follow_detector
  peaks: peaks/from_message
  hit: {{stage: peaks/hit, min_peaks: 15}}
  index: {{stage: index/pairs, cell: {tmp_path}/a.cell, verify: false}}
  refine: refine/prediction
  integrate: integrate/predict_only
  sink: {{stage: sink/headers_only, path: {tmp_path}/out.stream, in_order: true}}
  diagnosis: {{stage: live/diagnosis, after: integrate}}
run: {{backend: "{backend}"}}
""")
    report = run(graph)
    return report, list(read_stream(tmp_path / "out.stream").chunks)


def lengths_of(chunks: Sequence[Chunk]) -> np.ndarray[Any, Any]:
    return np.array([crystal.cell_nm_deg[:3] for chunk in chunks for crystal in chunk.crystals])


@pytest.mark.parametrize("backend", ["serial:debug", "threads:2"])
def test_after_following_rates_and_cells_are_as_with_the_right_geometry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    """Frames that are off by 5.8 pixels and 1 % of the distance; the subject of the test knows so from frame 25 on."""
    toy = Toy({25: [finding("detector", displacement=OFF)]})
    report, chunks = simulated(tmp_path, monkeypatch, WRONG, toy, backend)
    _, right = simulated(tmp_path, monkeypatch, RIGHT, Toy({}))

    assert report.is_conserved
    assert len(chunks) == len(right) == 80
    moved = [MOVED_KEY in chunk.keys for chunk in chunks]
    assert not any(moved[:25])
    first = moved.index(True)
    assert first < 40
    assert all(moved[first:])
    assert {Displacement.parse(chunk.keys[MOVED_KEY]) for chunk in chunks[first:]} == {OFF}
    assert toy.displacements == {Displacement(), OFF}
    assert {chunk.keys["average_camera_length"] for chunk in chunks[first:]} == {"0.080000 m"}
    after, wanted = chunks[first:], right[first:]
    assert [len(chunk.crystals) for chunk in after] == [len(chunk.crystals) for chunk in wanted]
    np.testing.assert_allclose(lengths_of(after), lengths_of(wanted), rtol=2e-4)
    before = lengths_of(chunks[:first]).mean() / lengths_of(right[:first]).mean()
    assert before == pytest.approx(0.99, abs=0.003)


def test_readers_of_the_stream_find_reflections_with_its_geometry_and_the_shift(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Geometry file and det_shift together put the detector where it was followed to: rays hit it where the stream says."""
    shifted = WRONG.replace("clen = 0.0792", "clen = 0.08")
    toy = Toy({1: [finding("detector", displacement=Displacement(OFF.shift_m))]})
    _, chunks = simulated(tmp_path, monkeypatch, shifted, toy)
    stream = read_stream(tmp_path / "out.stream")
    header_geometry = Detector.parse(stream.geometry).geom_for(Header({}))
    num_checked = 0
    for chunk in chunks:
        if MOVED_KEY not in chunk.keys:
            continue
        for crystal in chunk.crystals:
            x_mm, y_mm = crystal.det_shift_mm
            assert (x_mm, y_mm) == pytest.approx((0.5, -0.3), abs=2e-3)
            listed = crystal.reflections
            assert listed is not None
            g = listed.hkl @ crystal.reciprocal_per_nm / 10
            geom = header_geometry.shifted((1e-3 * x_mm, 1e-3 * y_mm))
            panel, fs, ss = geom.locate(g)
            assert (panel == 0).mean() > 0.99
            # reflections lie a little off the Ewald sphere, and printed axes have seven decimals
            off_px = np.hypot(fs - listed.fs, ss - listed.ss)[panel == 0]
            assert np.median(off_px) < 0.3
            unshifted = header_geometry.locate(g)
            assert np.nanmedian(np.hypot(unshifted[1] - listed.fs, unshifted[2] - listed.ss)) > 5
            num_checked += 1
    assert num_checked > 20
