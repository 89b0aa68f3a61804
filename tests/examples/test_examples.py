"""Every example runs, on simulated frames of a small detector that come over a socket."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from pipeline.composing.graph import Graph
from pipeline.running.job import run
from pipeline.running.report import Report
from stages import source
from stages.files.geom.detector import Detector
from stages.files.stream import read_stream
from stages.index.file import FromFile
from stages.simulation.apparatus import Apparatus
from stages.simulation.settings import Settings
from stages.sink.memory import Memory
from stages.wire.serving import FrameServer, serve_in_thread

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
ADDRESS = "tcp://127.0.0.1:5002"
FRAMES = 20

TESTED = {
    "Eiger.geom",
    "brightest.py",
    "compare_peak_finders.yaml",
    "in_python.py",
    "light_and_dark.yaml",
    "notebook.ipynb",
    "own_against_built_in.py",
    "request.yaml",
    "stop_when_enough.yaml",
    "stream_to_solutions.py",
    "subscribe.yaml",
    "which_is_better.ipynb",
}


@pytest.fixture(scope="module")
def apparatus() -> Apparatus:
    """A beamline with strong spots, half of whose frames are hits."""
    return Apparatus.make(Settings(seed=3, hits=0.5, photons=3000.0), size="512x512", distance_mm=45.0)


@pytest.fixture(scope="module")
def bodies(apparatus: Apparatus) -> list[bytes]:
    return [bytes(body) for body in apparatus.wire.bodies(apparatus.simulation.frames(FRAMES))]


@pytest.fixture(scope="module")
def hits(apparatus: Apparatus) -> set[str]:
    """Events of the frames with a crystal and at least 15 peaks listed."""
    frames = list(apparatus.simulation.frames(FRAMES, pixels=False))
    found = {frame.truth.event for frame in frames if frame.truth.hit and len(frame.peaks) >= 15}
    assert 5 <= len(found) <= FRAMES - 5
    return found


@pytest.fixture
def folder(tmp_path: Path, apparatus: Apparatus, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the example runs; it holds the files that the examples name."""
    (tmp_path / "Eiger.geom").write_text(apparatus.geometry_text)
    (tmp_path / "lysozyme.cell").write_text(apparatus.cell_text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def served(bodies: list[bytes], socket: Literal["pub", "rep"]) -> Iterator[str]:
    """Serve the frames; the address."""
    with FrameServer(socket=socket) as server:
        serving = serve_in_thread(server, bodies)
        yield server.address
        serving.stop()


def run_example(name: str, bodies: list[bytes], socket: Literal["pub", "rep"]) -> Report:
    """Run a YAML file as it stands but for the address and the number of frames."""
    text = (EXAMPLES / name).read_text()
    assert ADDRESS in text
    with served(bodies, socket) as address:
        graph = Graph.from_yaml(text.replace(ADDRESS, address), name)
        report = run(graph.with_options(max_frames=FRAMES, no_data_timeout_s=60.0))
    for tally in report.leaves.values():
        assert report.received == tally.delivered == FRAMES
    return report


def indexed_events(stream: Path) -> set[str]:
    chunks = read_stream(stream).chunks
    assert len(chunks) == FRAMES
    return {chunk.event for chunk in chunks if chunk.crystals}


def test_every_file_among_the_examples_has_a_test() -> None:
    assert {path.name for path in EXAMPLES.iterdir() if path.is_file()} == TESTED


@pytest.mark.parametrize("name", sorted(name for name in TESTED if name.endswith(".yaml")))
def test_a_graph_is_right_and_says_all_that_it_says_when_it_is_written_again(name: str) -> None:
    graph = Graph.load(EXAMPLES / name)
    graph.check()
    assert Graph.from_yaml(graph.to_yaml()) == graph


@pytest.mark.parametrize(("name", "socket"), [("subscribe.yaml", "pub"), ("request.yaml", "rep")])
def test_the_seeds_command_as_yaml_indexes_the_hits(
    name: str, socket: Literal["pub", "rep"], folder: Path, bodies: list[bytes], hits: set[str]
) -> None:
    run_example(name, bodies, socket)
    found = indexed_events(folder / "output.stream")
    assert found <= hits
    assert len(found) >= 0.7 * len(hits)
    crystals = [chunk.crystals[0] for chunk in read_stream(folder / "output.stream").chunks if chunk.crystals]
    for crystal in crystals:
        assert crystal.reflections is not None
        assert crystal.reflections.intensity.max() > 0


def test_a_run_ends_when_the_data_suffice(folder: Path) -> None:
    text = (EXAMPLES / "stop_when_enough.yaml").read_text()
    strong = Apparatus.make(Settings(seed=3, hits=0.9, photons=3000.0), size="512x512", distance_mm=45.0)
    frames = 3000
    with FrameServer(socket="rep") as server:
        serving = serve_in_thread(
            server, (bytes(body) for body in strong.wire.bodies(strong.simulation.frames(frames)))
        )
        report = run(Graph.from_yaml(text.replace(ADDRESS, server.address)).with_options(no_data_timeout_s=60.0))
        serving.stop()
    assert re.fullmatch(r"merge: completeness 95.0 % and CC1/2 0.5 to 4 A reached with \d+ crystals", report.why_ended)
    assert 100 < report.received < frames
    merged = report.findings["merge"].figures["overall"]
    assert merged["completeness"] >= 0.95
    assert len(read_stream(folder / "output.stream").chunks) == report.received
    assert report.findings["shift"].figures["crystals"] > 100
    assert all(tally.delivered == report.received for tally in report.leaves.values())


def test_light_and_dark_are_told_apart_until_there_is_enough_of_both(folder: Path) -> None:
    text = (EXAMPLES / "light_and_dark.yaml").read_text()
    settings = Settings(seed=3, hits=0.9, photons=3000.0, laser_key="laser_on", laser_change=0.3)
    strong = Apparatus.make(settings, size="512x512", distance_mm=45.0)
    with FrameServer(socket="rep") as server:
        serving = serve_in_thread(server, (bytes(body) for body in strong.wire.bodies(strong.simulation.frames(3000))))
        report = run(Graph.from_yaml(text.replace(ADDRESS, server.address)).with_options(no_data_timeout_s=60.0))
        serving.stop()
    assert report.is_conserved
    assert re.fullmatch(r"merge: completeness 70.0 % to 4 A in each group reached with \d+ crystals", report.why_ended)
    counted = report.findings["groups"].figures["values"]
    assert [group["value"] for group in counted] == ["false", "true"]
    assert sum(group["frames"] for group in counted) == report.received
    merged = report.findings["merge"].figures
    assert min(group["overall"]["completeness"] for group in merged["groups"].values()) >= 0.7
    (difference,) = merged["differences"]
    assert difference["r_iso"] > 2 * difference["r_iso_by_noise"]


def run_python(*words: object) -> subprocess.CompletedProcess[str]:
    """Run an example as a script."""
    python_path = os.pathsep.join(filter(None, [str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        [sys.executable, "-W", "error", *map(str, words)],
        env={**os.environ, "PYTHONPATH": python_path},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_all_variants_of_a_comparison_deliver_every_frame_and_see_the_same_crystals(
    folder: Path, bodies: list[bytes], hits: set[str]
) -> None:
    report = run_example("compare_peak_finders.yaml", bodies, "rep")
    names = ["msgpack", "peakfinder8-threshold=10", "peakfinder8-threshold=20"]
    assert list(report.leaves) == [*(f"sink@{name}" for name in names), "verdict"]
    found = [indexed_events(folder / f"found.{name}.stream") for name in names]
    assert all(events <= hits for events in found)
    assert len(found[0] & found[1]) >= 0.7 * len(hits)
    variants = report.findings["verdict"].figures["variants"]
    assert [round(variants[name]["indexed"]["mean"] * FRAMES) for name in names] == [len(events) for events in found]


def test_a_stage_of_ones_own_is_compared_with_a_built_in_one_in_fifteen_lines(folder: Path) -> None:
    lines = (EXAMPLES / "own_against_built_in.py").read_text()
    assert lines.count("\n", lines.index("@stage")) - lines.count("\n\n", lines.index("@stage")) <= 22
    files = source.Simulate(seed=4, size="512x512", distance_mm=45).set_up()
    (folder / "Eiger.geom").write_text(files.geometry_text)
    (folder / "lysozyme.cell").write_text(files.cell_text)
    done = run_python(EXAMPLES / "own_against_built_in.py")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^. summits-height=20 .*%|^. +summits-height=20 ", done.stdout, re.M)
    assert "peakfinder8 explains" in done.stdout


def test_the_graph_in_python_writes_a_stream_and_prints_the_report(
    folder: Path, bodies: list[bytes], hits: set[str]
) -> None:
    with served(bodies, "rep") as address:
        words = [EXAMPLES / "in_python.py", address, "Eiger.geom", "lysozyme.cell", "output.stream", str(FRAMES)]
        done = run_python(*words)
    assert done.returncode == 0, done.stderr
    assert f"received {FRAMES} = delivered {FRAMES} + rejected 0 + dropped 0" in done.stdout
    yaml = done.stdout.partition("received ")[0]
    assert Graph.from_yaml(yaml).names[0] == "source"
    found = indexed_events(folder / "output.stream")
    assert found <= hits
    assert len(found) >= 0.7 * len(hits)


def test_a_stage_of_ones_own_keeps_the_brightest_peaks(folder: Path, bodies: list[bytes]) -> None:
    from stages.records.peaklist import PeakList

    (folder / "brightest.py").write_text((EXAMPLES / "brightest.py").read_text())
    text = """\
modules: [brightest.py]
nodes:
  source: {stage: source/zmq_req, address: ADDRESS}
  decode: decode/headers_only
  geometry: {stage: geometry_map/map_panels, geometry: Eiger.geom}
  peaks: peaks/from_message
  all: {stage: sink/memory, after: peaks}
  bright: {stage: peaks/brightest, n: 12, after: peaks}
  some: sink/memory
"""
    with served(bodies, "rep") as address:
        graph = Graph.from_yaml(text.replace("ADDRESS", address), folder / "graph.yaml")
        assert graph.node("all").stage == Memory()
        report = run(graph.with_options(max_frames=FRAMES))
    pairs = list(zip(report.outputs["all"], report.outputs["some"], strict=True))
    assert len(pairs) == FRAMES
    for whole, kept in pairs:
        everything, brightest = whole[PeakList].intensity, kept[PeakList].intensity
        assert len(brightest) == min(12, len(everything))
        assert sorted(brightest) == sorted(everything)[len(everything) - len(brightest) :]
    assert max(len(whole[PeakList]) for whole, _ in pairs) > 12


def test_the_example_stage_has_its_ten_lines() -> None:
    code = (EXAMPLES / "brightest.py").read_text().partition('"""\n\n')[2]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10


def test_the_seeds_geometry_describes_an_eiger_4m_and_fits_simulated_frames(tmp_path: Path) -> None:
    detector = Detector.load(EXAMPLES / "Eiger.geom")
    (panel,) = detector.static_panels
    assert (panel.width, panel.height, panel.data) == (2068, 2162, "detector_data")
    assert {"beam_energy", "detector_distance"} <= set(detector.header_keys)
    graph = Graph.from_yaml(
        f"""
nodes:
  source: {{stage: source/simulate, frames: 3, hits: 1.0, geometry: {EXAMPLES / "Eiger.geom"}}}
  decode: decode/msgpack_map
  geometry: {{stage: geometry_map/map_panels, geometry: {EXAMPLES / "Eiger.geom"}}}
  peaks: peaks/from_message
  validate: peaks/validate
  hit: peaks/hit
  sink: {{stage: sink/stream_file, path: {tmp_path / "out.stream"}}}
"""
    )
    report = run(graph)
    assert report.leaves["sink"].delivered == 3
    assert report.counts["peaks"] > 30
    assert report.counts["peaks_dropped"] == 0


def test_the_crystals_of_a_stream_become_a_solution_file_from_which_they_are_indexed_again(
    folder: Path, bodies: list[bytes], hits: set[str]
) -> None:
    run_example("request.yaml", bodies, "rep")
    words = [sys.executable, "-W", "error", EXAMPLES / "stream_to_solutions.py", "output.stream", "output.sol"]
    python_path = os.pathsep.join(filter(None, [str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        words, env={**os.environ, "PYTHONPATH": python_path}, capture_output=True, text=True, timeout=60, check=False
    )
    before = read_stream(folder / "output.stream").by_event()
    num_crystals = sum(len(chunk.crystals) for chunk in before.values())
    assert done.stdout == f"{num_crystals} crystals written to output.sol\n", done.stderr
    text = (EXAMPLES / "request.yaml").read_text().replace("output.stream", "again.stream")
    with served(bodies, "rep") as address:
        graph = Graph.from_yaml(text.replace(ADDRESS, address)).replace("index", FromFile(file=Path("output.sol")))
        report = run(graph.with_options(max_frames=FRAMES, no_data_timeout_s=60.0))
    assert report.received == FRAMES
    assert report.counts["crystals"] == num_crystals > 3
    assert (
        indexed_events(folder / "again.stream") == {event for event, chunk in before.items() if chunk.crystals} <= hits
    )
