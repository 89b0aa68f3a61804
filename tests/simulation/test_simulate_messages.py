"""What the simulator sends is what it has made, whatever reads it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq

from pipeline import Context, EndOfStream, Message, UserError
from pipeline.command_line.cli import run as command_line
from stages.commands.simulate import simulate
from stages.decode.msgpack_map import MsgpackMap
from stages.files.cell import read_cell
from stages.files.geom.detector import Detector
from stages.peaks.from_message import FromMessage
from stages.records import Header, Image
from stages.simulation.apparatus import Apparatus, flat_geometry, header_values, parse_size
from stages.simulation.settings import Settings
from stages.simulation.specimen import LYSOZYME
from stages.simulation.truth import read_truth
from stages.source.simulate import Simulate

TWO_PANELS = """
photon_energy = energy_kev keV
clen = stage_position m
coffset = 0.02
adu_per_photon = 2
res = 5000
peak_list = found/peaks
data = pixels
left/min_fs = 0
left/max_fs = 99
left/min_ss = 0
left/max_ss = 149
left/corner_x = -101
left/corner_y = -75
left/fs = x
left/ss = y
right/min_fs = 105
right/max_fs = 204
right/min_ss = 0
right/max_ss = 149
right/corner_x = 101
right/corner_y = 75
right/fs = -x
right/ss = -y
"""


def small(**changes: Any) -> Apparatus:
    return Apparatus.make(
        Settings(seed=4, hits=1.0, **changes.pop("settings", {})), size="200x180", res=1000.0, **changes
    )


def decoded(body: bytearray) -> tuple[str, Header, Image]:
    event, header, image = _decoder()(Message(b"", 0, (bytes(body),)))
    return str(event), header, image


def _decoder() -> Callable[..., Any]:
    stage: Any = MsgpackMap()
    return stage.open(Context()) if hasattr(stage, "open") else stage  # type: ignore[no-any-return]


def test_the_seeds_format_is_an_array_of_one_map_with_text_keys() -> None:
    apparatus = small()
    frame = apparatus.simulation.frame(0)
    (message,) = msgpack.unpackb(apparatus.wire.body(frame, timestamp_s=17.0))
    image = message["detector_data"]
    assert image["type"] == "<i4"
    assert image["shape"] == [180, 200]
    assert np.array_equal(np.frombuffer(image["data"], "<i4").reshape(180, 200), frame.arrays["detector_data"])
    assert message["event_id"] == "sim // 0000" == frame.truth.event
    assert message["timestamp"] == 17.0
    assert message["beam_energy"] == frame.geom.photon_energy_ev
    assert message["detector_distance"] == 130.0


def test_oms_format_is_one_map_whose_image_has_binary_keys() -> None:
    apparatus = small(style="om")
    frame = apparatus.simulation.frame(0)
    message = msgpack.unpackb(apparatus.wire.body(frame), strict_map_key=False)
    assert set(message) == {
        *("peak_list", "beam_energy", "detector_distance", "event_id", "timestamp", "source", "configuration_file"),
        *("detector_data", "true_real_space_angstrom", "sequence_number"),
    }
    assert message["sequence_number"] == frame.number
    assert set(message["detector_data"]) == {b"nd", b"type", b"kind", b"shape", b"data"}
    assert set(message["peak_list"]) == {
        "num_peaks",
        "fs",
        "ss",
        "intensity",
        "num_pixels",
        "max_pixel_intensity",
        "snr",
    }
    assert message["peak_list"]["num_peaks"] == len(frame.peaks) == len(message["peak_list"]["snr"])
    assert np.allclose(message["peak_list"]["fs"], frame.peaks.fs - 0.5)


def test_without_image_the_message_is_that_of_oms_crystallography_layer() -> None:
    apparatus = small(style="om", image=False)
    message = msgpack.unpackb(apparatus.wire.body(apparatus.simulation.frame(0, pixels=False)))
    assert "detector_data" not in message
    assert len(message["peak_list"]["fs"]) > 10


@pytest.mark.parametrize("style", ["seed", "om"])
@pytest.mark.parametrize("dtype", ["i4", "f4", "u2"])
def test_the_decoder_reads_what_was_made(style: Any, dtype: str) -> None:
    apparatus = small(style=style, settings={"dtype": dtype})
    detector = Detector.parse(apparatus.geometry_text)
    for number in range(3):
        frame = apparatus.simulation.frame(number)
        event, header, image = decoded(apparatus.wire.body(frame))
        geom = detector.geom_for(header)
        assert event == frame.truth.event
        assert np.array_equal(image.array("detector_data"), frame.arrays["detector_data"])
        assert image.array("detector_data").dtype == np.dtype(dtype)
        assert geom.photon_energy_ev == frame.geom.photon_energy_ev
        assert np.allclose(geom.origin_m, frame.geom.origin_m)
        peaks = FromMessage().open(Context())(header, geom)
        assert np.allclose(peaks.fs, frame.peaks.fs)
        assert np.allclose(peaks.intensity, frame.peaks.intensity)


def test_a_geometry_file_decides_keys_units_shapes_and_panels(tmp_path: Path) -> None:
    file = tmp_path / "two.geom"
    file.write_text(TWO_PANELS)
    apparatus = Apparatus.make(Settings(seed=4, hits=1.0), geometry=file, energy_ev=9000.0, distance_mm=80.0)
    frame = apparatus.simulation.frame(1)
    _, header, image = decoded(apparatus.wire.body(frame))
    geom = Detector.load(file).geom_for(header)
    assert header.number("energy_kev") == pytest.approx(9.0, rel=0.01)
    assert header.number("stage_position") == pytest.approx(0.06)
    assert geom.photon_energy_ev == pytest.approx(frame.geom.photon_energy_ev, rel=1e-12)
    assert geom.mean_clen_m == pytest.approx(0.08)
    assert geom.peak_list == "found/peaks"
    pixels = image.array("pixels")
    assert pixels.shape == (150, 205)
    assert (pixels[:, 100:105] == -1).all()
    assert (pixels[:, :100] % 2 == 0).all()
    peaks = FromMessage().open(Context())(header, geom)
    assert np.array_equal(peaks.panel, frame.peaks.panel)
    assert np.allclose(peaks.ss, frame.peaks.ss)
    # a listed true peak's position leads to its reflection
    true = frame.truth.listed >= 0
    assert true.sum() > 5
    basis = frame.truth.real_space_angstrom
    assert basis is not None
    hkl = geom.q_per_angstrom(peaks.panel, peaks.fs, peaks.ss)[true] @ basis.T
    assert np.abs(hkl - frame.truth.spots.hkl[frame.truth.listed[true]]).max() < 0.3


def test_what_the_geometry_file_fixes_is_what_is_simulated(tmp_path: Path) -> None:
    file = tmp_path / "fixed.geom"
    text = TWO_PANELS.replace("energy_kev keV", "8000 eV").replace("stage_position m", "0.1")
    file.write_text(text)
    apparatus = Apparatus.make(Settings(), geometry=file)
    assert {apparatus.simulation.frame(n, pixels=False).geom.photon_energy_ev for n in range(3)} == {8000.0}
    assert apparatus.wire.distance_mm == pytest.approx(120.0)
    assert len(apparatus.notes) == 2


def test_peaks_that_would_not_name_their_panel_are_not_sent(tmp_path: Path) -> None:
    file = tmp_path / "stack.geom"
    file.write_text(TWO_PANELS.replace("right/min_fs = 105", "right/data = other\nright/min_fs = 105"))
    apparatus = Apparatus.make(Settings(hits=1.0), geometry=file)
    (message,) = msgpack.unpackb(apparatus.wire.body(apparatus.simulation.frame(0)))
    assert {"pixels", "other"} <= set(message)
    assert "found/peaks" not in message
    assert any("peak lists" in note for note in apparatus.notes)


def test_a_wavelength_in_the_header_is_that_of_the_frame() -> None:
    detector = Detector.parse(TWO_PANELS.replace("photon_energy = energy_kev keV", "wavelength = lambda A"))
    values = header_values(detector, 80.0, 12398.419843320026)
    assert values["lambda"] == pytest.approx(1.0)
    assert detector.geom_for(Header(values)).photon_energy_ev == pytest.approx(12398.419843320026)


def test_electrons_are_refused() -> None:
    detector = Detector.parse(TWO_PANELS.replace("photon_energy = energy_kev keV", "electron_voltage = volts V"))
    with pytest.raises(UserError, match="electrons are not simulated"):
        header_values(detector, 80.0, 9500.0)


@pytest.mark.parametrize("text", ["2068", "axb", "0x5", "10x20x30", "-5x5", ""])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="2068x2162"):
        parse_size(text)


def test_the_geometry_that_is_written_is_the_seeds_example() -> None:
    detector = Detector.parse(flat_geometry(2068, 2162, 5814.0))
    (placed,) = detector.panels
    assert placed.corner_px == (-1034.0, -1081.0)
    assert (placed.panel.max_fs, placed.panel.max_ss, placed.res_per_m) == (2067, 2161, 5814.0)
    assert detector.header_keys == ("beam_energy", "detector_distance")
    assert detector.warnings == ()


def test_the_source_makes_the_same_frames_and_ends(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    stage = Simulate(frames=3, seed=4, hits=1.0, size="200x180", res=1000.0, truth=truth)
    source = stage.open(Context())
    assert source.receive(0.01, credit=0) == ()
    messages = [message for _ in range(3) for message in source.receive(0.01, credit=5)]
    with pytest.raises(EndOfStream):
        source.receive(0.01, credit=5)
    source.close()
    source.close()
    apparatus = small()
    for number, message in enumerate(messages):
        event, _, image = decoded(message.parts[0])  # type: ignore[arg-type]
        frame = apparatus.simulation.frame(number)
        assert event == frame.truth.event
        assert np.array_equal(image.array("detector_data"), frame.arrays["detector_data"])
    assert list(read_truth(truth)) == [f"sim // {n:04d}" for n in range(3)]


def test_the_source_stops_when_told() -> None:
    source = Simulate(frames=0, size="20x20").open(Context())
    assert len(source.receive(0.01, credit=1)) == 1
    assert source.stop_asking() == 0
    with pytest.raises(EndOfStream):
        source.receive(0.01, credit=1)
    assert "1 frames" in source.status()
    source.close()


def test_the_command_answers_requests_and_writes_files(tmp_path: Path, free_port: int) -> None:
    address = f"tcp://127.0.0.1:{free_port}"
    files = {name: tmp_path / name for name in ("truth.jsonl", "sim.geom", "lysozyme.cell")}
    serving = threading.Thread(
        target=command_line,
        args=(
            [
                *("simulate", "--bind", address, "--rep", "--format", "msgpack", "--frames", "3", "--size", "64x50"),
                *("--truth", str(files["truth.jsonl"]), "--write-geometry", str(files["sim.geom"])),
                *("--write-cell", str(files["lysozyme.cell"]), "--seed", "9", "--dtype", "f4"),
            ],
        ),
    )
    serving.start()
    events = []
    with zmq.Context() as context, context.socket(zmq.REQ) as client:
        client.setsockopt(zmq.LINGER, 0)
        client.setsockopt(zmq.RCVTIMEO, 60_000)
        client.connect(address)
        for _ in range(3):
            client.send(b"next")
            event, header, image = decoded(client.recv())  # type: ignore[arg-type]
            events.append(event)
            assert image.array("detector_data").shape == (50, 64)
            assert image.array("detector_data").dtype == np.float32
            assert Detector.load(files["sim.geom"]).geom_for(header).panels[0].width == 64
    serving.join(30)
    assert not serving.is_alive()
    assert events == list(read_truth(files["truth.jsonl"]))
    assert "tetragonal" in files["lysozyme.cell"].read_text()


def test_the_command_publishes_under_its_topic(free_port: int) -> None:
    address = f"tcp://127.0.0.1:{free_port}"
    arguments = ["simulate", "--bind", address, "--pub", "--frames", "4", "--size", "32x32", "--no-image"]
    serving = threading.Thread(target=command_line, args=(arguments,))
    serving.start()
    with zmq.Context() as context, context.socket(zmq.SUB) as client:
        client.setsockopt(zmq.LINGER, 0)
        client.setsockopt(zmq.RCVTIMEO, 60_000)
        client.subscribe(b"ondaframedata")
        client.connect(address)
        received = [client.recv_multipart() for _ in range(4)]
    serving.join(30)
    assert not serving.is_alive()
    assert {parts[0] for parts in received} == {b"ondaframedata"}
    assert [msgpack.unpackb(parts[1])[0]["event_id"] for parts in received] == [f"sim // {n:04d}" for n in range(4)]


def test_an_interrupted_simulator_says_how_many_frames_it_has_sent(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    command = [
        sys.executable,
        "-m",
        "pipeline.command_line.cli",
        "simulate",
        "--bind",
        "tcp://127.0.0.1:*",
        "--size",
        "32x32",
    ]
    process = subprocess.Popen([*command, "--truth", str(truth)], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        address = next(word.strip(",") for word in line.split() if word.startswith("tcp://"))
        with zmq.Context() as context, context.socket(zmq.REQ) as client:
            client.setsockopt(zmq.LINGER, 0)
            client.setsockopt(zmq.RCVTIMEO, 60_000)
            client.connect(address)
            for _ in range(5):
                client.send(b"next")
                client.recv()
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert "5 frames sent" in rest
    assert process.returncode == 0
    assert [*read_truth(truth)][:5] == [f"sim // {n:04d}" for n in range(5)]


def test_files_only_writes_the_files_and_serves_nothing(tmp_path: Path) -> None:
    files = ["--write-geometry", str(tmp_path / "a.geom"), "--write-cell", str(tmp_path / "a.cell")]
    assert command_line(["simulate", "--files-only", "--size", "30x20", "--bind", "tcp://nonsense", *files]) == 0
    assert Detector.load(tmp_path / "a.geom").panels[0].panel.width == 30
    assert read_cell(tmp_path / "a.cell")[0] == LYSOZYME


GEOMETRIES = (
    "EuXFEL-SPB__AGIPD-1M__cca6e0c8.geom",
    "EuXFEL__AGIPD-1M-2D__4e38cd8a.geom",
    "LCLS-AMO__pnCCD__81e8f296.geom",
    "LCLS__CSPAD__9779e410.geom",
    "PAL-XFEL__RayonixMX225HS-stream-embedded.geom",
)


@pytest.mark.shared_data
@pytest.mark.parametrize("name", GEOMETRIES)
def test_real_detectors_are_simulated_panel_by_panel(name: str, shared_data: Path) -> None:
    apparatus = Apparatus.make(Settings(seed=1, hits=1.0, dtype="f4"), geometry=shared_data / "geom" / name)
    frame = apparatus.simulation.frame(0)
    event, header, image = decoded(apparatus.wire.body(frame))
    geom = Detector.load(shared_data / "geom" / name).geom_for(header)
    assert event == frame.truth.event
    assert np.allclose(geom.origin_m, frame.geom.origin_m)
    spots, basis = frame.truth.spots, frame.truth.real_space_angstrom
    assert basis is not None
    assert len(spots) > 50
    hkl = geom.q_per_angstrom(spots.panel, spots.fs, spots.ss) @ basis.T
    assert np.abs(hkl - spots.hkl).max() < 0.1
    bright = np.flatnonzero(spots.photons > 300)
    views = geom.views(image)
    for i in bright:
        p, x, y = spots.panel[i], int(spots.fs[i]), int(spots.ss[i])
        around = views[p][max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        assert around.max() > 5 * geom.adu_per_photon(p)
    if apparatus.wire.peak_list:
        peaks = FromMessage().open(Context())(header, replace(geom, peak_list=apparatus.wire.peak_list))
        assert np.array_equal(peaks.panel, frame.peaks.panel)
        assert np.allclose(peaks.fs, frame.peaks.fs)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--format", "pickle"], "--format=pickle: input should be 'seed', 'om', 'hdf5'"),
        (["--jitter", "-1"], "--jitter=-1.0: input should be greater than or equal to 0"),
        (["--size", "many"], "WIDTHxHEIGHT"),
        (["--dtype", "complex64"], "cannot be of type"),
        (["--geometry", "/nowhere/no.geom"], "no.geom"),
        (["--truth", "/nowhere/truth.jsonl", "--size", "8x8"], "truth"),
        (["--write-cell", "/nowhere/x.cell", "--size", "8x8"], "--write-cell"),
        (["--bind", "tcp://nonsense", "--size", "8x8"], "cannot serve"),
        (["--space-group", "Q 5"], "no space group"),
    ],
)
def test_what_the_user_must_mend_is_said(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(["simulate", *arguments]) == 2
    assert complaint in capsys.readouterr().err


def test_the_help_of_the_command_explains_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line(["simulate", "--help"]) == 0
    text = capsys.readouterr().out
    for option in ("--bind", "--pub", "--rep", "--topic", "--request", "--format", "--truth", "--write-geometry"):
        assert option in text
    assert simulate.__doc__


CELL = """CrystFEL unit cell file version 1.0

lattice_type = monoclinic
centering = C
unique_axis = b
a = 60 A
b = 40 A
c = 50 A
al = 90 deg
be = 100 deg
ga = 90 deg
"""


def test_a_cell_file_decides_what_the_crystals_are(tmp_path: Path) -> None:
    file = tmp_path / "other.cell"
    file.write_text(CELL)
    apparatus = small(cell=file)
    assert apparatus.cell_text == CELL
    truth = apparatus.simulation.frame(0, pixels=False).truth
    assert truth.real_space_angstrom is not None
    assert np.linalg.norm(truth.real_space_angstrom, axis=1) == pytest.approx([60, 40, 50], rel=0.006)
    assert (truth.spots.hkl[:, :2].sum(axis=1) % 2 == 0).all()


def test_lysozyme_is_what_is_in_the_beam_without_a_cell_file(tmp_path: Path) -> None:
    apparatus = small()
    (tmp_path / "lysozyme.cell").write_text(apparatus.cell_text)
    cell, _ = read_cell(tmp_path / "lysozyme.cell")
    assert cell == LYSOZYME
