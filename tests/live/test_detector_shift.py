"""live/detector_shift: mean and spread of what crystals ask for, and what that means for the geometry file."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from pipeline import Context, Frame
from pipeline.by_type import ByType
from pipeline.composing.graph import Graph
from pipeline.running.job import run
from stages.files.geom.detector import Detector
from stages.live.detector_shift import DetectorShift, DetectorShiftWriter
from stages.records import Crystal, Crystals

GEOM = """photon_energy = 9500 eV
clen = 0.1
data = /data
dim0 = ss
dim1 = fs
{more}
res = 10000
adu_per_photon = 1
a/min_fs = 0
a/max_fs = 99
a/min_ss = 0
a/max_ss = 99
a/corner_x = -50
a/corner_y = -50
a/fs = x
a/ss = y
"""


def writer_of(shifts: list[tuple[float, float]], more: str | None = None, outliers: float = 4.0) -> DetectorShiftWriter:
    stage = DetectorShift(outliers=outliers)
    detector = Detector.parse(GEOM.format(more=more)) if more is not None else None
    upstream = ByType([] if detector is None else [detector])
    encode, writer = stage.open(Context()), stage.open_writer(Context(upstream=upstream))
    for serial, shift in enumerate(shifts):
        frame = Frame(serial, "", 0).with_values(Crystals((Crystal(np.eye(3), det_shift_m=shift),)))
        encoded = encode(frame)
        assert encoded is not None
        writer.write(encoded)
    assert encode(Frame(0, "", 0).with_values(Crystals())) is None
    return writer


def scattered(n: int, mean: tuple[float, float], spread: float) -> list[tuple[float, float]]:
    rng = np.random.default_rng(0)
    return [(float(x), float(y)) for x, y in rng.normal(mean, spread, (n, 2))]


def test_mean_spread_and_error_are_those_of_the_shifts() -> None:
    shifts = scattered(400, (1e-4, -5e-5), 2e-5)
    figures = writer_of(shifts, outliers=100).findings().figures
    for axis, values in zip("xy", np.array(shifts).T, strict=True):
        found = figures[axis]
        assert found["mean_m"] == pytest.approx(values.mean())
        assert found["spread_m"] == pytest.approx(values.std(ddof=1))
        assert found["error_m"] == pytest.approx(values.std(ddof=1) / 20)
        assert found["first_half_m"] == pytest.approx(values[:200].mean())
        assert found["second_half_m"] == pytest.approx(values[200:].mean())
        assert found["is_significant"]


def test_outliers_and_crystals_that_were_not_refined_are_set_aside() -> None:
    shifts = [*scattered(100, (1e-4, 0.0), 1e-5), (5e-3, 0.0), (0.0, 0.0), (math.nan, 0.0), (0.0, math.inf)]
    figures = writer_of(shifts).findings().figures
    assert (figures["outliers"], figures["not_refined"]) == (1, 3)
    assert figures["x"]["mean_m"] == pytest.approx(1e-4, abs=5e-6)
    assert not figures["y"]["is_significant"]


def test_what_to_put_into_the_geometry_file_is_what_it_takes() -> None:
    shifts = scattered(400, (1e-4, -5e-5), 1e-5)
    text = writer_of(shifts, "detector_shift_x = 0.2 mm").findings().text
    set_to = [float(word) for word in re.findall(r"detector_shift_[xy] = (\S+) m", text)]
    assert set_to == pytest.approx([3e-4, -5e-5], abs=2e-6)
    found = re.search(r"corner_x (\S+), corner_y (\S+)", text)
    assert found is not None
    assert [float(word) for word in found.groups()] == pytest.approx([1.0, -0.5], abs=0.02)


def test_where_the_shift_comes_with_the_frames_only_corners_can_be_changed() -> None:
    text = writer_of(scattered(400, (1e-4, -5e-5), 1e-5), "detector_shift_x = shift mm").findings().text
    assert "detector_shift comes with each frame" in text
    assert "detector_shift_x =" not in text
    assert "corner_x +0.99" in text


def test_no_shift_is_no_advice() -> None:
    text = writer_of(scattered(400, (0.0, 0.0), 1e-5), "").findings().text
    assert "leave the geometry file as it is" in text


def test_few_crystals_carry_no_advice() -> None:
    """Neither to change the file nor to leave it: three crystals of a detector that is 4 pixels off once said to."""
    for mean in ((0.0, 0.0), (4e-4, 0.0)):
        text = writer_of(scattered(24, mean, 1e-5), "").findings().text
        assert "24 crystals do not carry advice on the geometry file; 25 are needed" in text
        assert "leave the geometry" not in text
        assert "set:" not in text


def test_too_few_shifts_say_how_to_get_them() -> None:
    writer = writer_of([(0.0, 0.0)] * 5)
    assert writer.status() == ""
    assert "refine_detector_shift: true" in writer.findings().text
    assert writer_of([(1e-4, 1e-4)] * 5).status() == "detector shift x +0.100 y +0.100 mm"
    assert writer_of([(1e-4, 1e-4)] * 5).findings().figures["x"]["spread_m"] == pytest.approx(0.0, abs=1e-12)


def test_while_the_run_goes_on_the_means_are_told() -> None:
    assert writer_of([(1e-4, 1e-4)] * 2).figures_now() == {"n": 2, "x_mm": None, "y_mm": None}
    shifts = scattered(50, (1e-4, -5e-5), 1e-5)
    found = writer_of([*shifts, (0.0, 0.0), (math.nan, 0.0)]).figures_now()
    assert found["n"] == 50
    assert (found["x_mm"], found["y_mm"]) == pytest.approx(tuple(1e3 * np.array(shifts).mean(axis=0)))


def test_a_geometry_that_is_off_is_put_right_by_what_the_report_says(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from pipeline.command_line.cli import app
    from stages.decode.headers_only import HeadersOnly
    from stages.geometry_map.map_panels import MapPanels
    from stages.index.pairs import Pairs
    from stages.peaks.from_message import FromMessage
    from stages.peaks.hit import HitFinder
    from stages.refine.prediction import Prediction
    from stages.sink.memory import Memory
    from stages.source.simulate import Simulate

    size = ["--size", "1024x1024", "--distance", "90"]
    files = ["--write-geometry", str(tmp_path / "a.geom"), "--write-cell", str(tmp_path / "a.cell")]
    assert CliRunner().invoke(app, ["simulate", "--files-only", *size, *files]).exit_code == 0
    text = (tmp_path / "a.geom").read_text()
    assert "detector_shift" not in text
    off_m = (-1.2e-4, 0.9e-4)  # where the file has it, against where it is

    def shift_found(lines: str) -> tuple[float, float, str]:
        (tmp_path / "b.geom").write_text(lines + text)
        graph = Graph.chain(
            Simulate(frames=60, size="1024x1024", distance_mm=90, hits=1, peaks_per_hit=80, spurious=0, image=False),
            HeadersOnly(),
            MapPanels(geometry=tmp_path / "b.geom"),
            FromMessage(),
            HitFinder(min_peaks=15),
            Pairs(cell=tmp_path / "a.cell"),
            Prediction(refine_detector_shift=True),
            Memory(),
        ).add(DetectorShift(), name="shift", after="refine")
        report = run(graph)
        assert report.is_conserved
        found = report.findings["shift"]
        return found.figures["x"]["mean_m"], found.figures["y"]["mean_m"], found.text

    x, y, said = shift_found(f"detector_shift_x = {off_m[0]:.6f} m\ndetector_shift_y = {off_m[1]:.6f} m\n")
    assert (x, y) == pytest.approx((-off_m[0], -off_m[1]), abs=5e-5)
    advice = "\n".join(line.strip() for line in said.splitlines() if "detector_shift_" in line)
    x, y, _ = shift_found(advice + "\n")
    assert math.hypot(x, y) < 0.5 * math.hypot(*off_m)
