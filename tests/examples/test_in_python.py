"""Runs, frames, tables and pictures in Python, as a notebook has them; the frames are simulated and come over a socket."""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import Frame, Graph, Joined, Rejected, RunOptions, UserError, run
from stages.decode.msgpack_map import MsgpackMap
from stages.geometry_map.map_panels import MapPanels
from stages.index.pairs import Pairs
from stages.integrate.predict_only import PredictOnly
from stages.peaks.from_message import FromMessage
from stages.peaks.hit import HitFinder
from stages.records import Crystal, Crystals, DetGeom, Header, Image, PeakList, Reflections
from stages.simulation.apparatus import Apparatus
from stages.simulation.settings import Settings
from stages.sink.memory import Memory
from stages.source.zmq_req import ZmqReq
from stages.wire.serving import FrameServer, serve_in_thread

FRAMES = 12


@pytest.fixture(scope="module")
def apparatus() -> Apparatus:
    return Apparatus.make(Settings(seed=5, hits=1.0, photons=3000.0), size="512x512", distance_mm=45.0)


@pytest.fixture
def graph(apparatus: Apparatus, tmp_path: Path) -> Iterator[Graph]:
    """Without a sink; there are twelve frames to be asked for, every one a hit."""
    (tmp_path / "d.geom").write_text(apparatus.geometry_text)
    (tmp_path / "l.cell").write_text(apparatus.cell_text)
    with FrameServer(socket="rep") as server:
        frames = [bytes(body) for body in apparatus.wire.bodies(apparatus.simulation.frames(FRAMES))]
        serving = serve_in_thread(server, iter(frames))
        yield Graph.chain(
            ZmqReq(address=server.address, request="next"),
            MsgpackMap(),
            MapPanels(geometry=tmp_path / "d.geom"),
            FromMessage(),
            HitFinder(min_peaks=10),
            Pairs(cell=tmp_path / "l.cell"),
            PredictOnly(),
            options=RunOptions(backend="threads:2", max_frames=FRAMES, no_data_timeout_s=30.0),
        )
        serving.stop()


def until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_run_over_a_socket_is_looked_at_while_it_goes_on(graph: Graph) -> None:
    with graph.with_options(max_frames=1000).start() as handle:
        until(lambda: handle.report.leaves["frames"].delivered == FRAMES)
        assert handle.is_running
        assert len(handle.latest(PeakList) or ()) > 10
        latest = handle.latest()
        assert latest is not None
        assert latest.plot()._repr_png_().startswith(b"\x89PNG")
    assert handle.report.received == FRAMES
    assert handle.report.is_conserved


def test_crystals_peaks_and_reflections_are_tables(graph: Graph) -> None:
    frames = [frame for frame in graph.frames(keep_image=True) if frame[Crystals].found]
    assert len(frames) > FRAMES // 2
    frame = frames[0]
    crystal = frame[Crystals][0]
    reflections = crystal.reflections
    assert isinstance(crystal, Crystal)
    assert reflections is not None

    peaks = frame[PeakList].to_pandas()
    assert list(peaks) == ["panel", "fs", "ss", "intensity", "snr", "max_pixel", "num_pixels"]
    np.testing.assert_array_equal(peaks.intensity, frame[PeakList].intensity)
    np.testing.assert_array_equal(frame[PeakList].to_numpy()["fs"], frame[PeakList].fs)

    table = reflections.to_pandas()
    np.testing.assert_array_equal(table[["h", "k", "l"]], reflections.hkl)
    assert reflections.to_numpy()["partiality"].dtype == np.float64

    (row,) = frame[Crystals].to_pandas().head(1).to_dict("records")
    assert row["num_reflections"] == len(reflections)
    assert (row["ax"], row["cz"]) == (crystal.real_space_angstrom[0, 0], crystal.real_space_angstrom[2, 2])
    assert row["a"] == pytest.approx(79.1, rel=0.02)
    assert row["gamma"] == pytest.approx(90, abs=2)
    np.testing.assert_array_equal(frame[Crystals].to_numpy()["real_space_angstrom"][0], crystal.real_space_angstrom)
    assert len(Crystals().to_pandas()) == len(Crystals().to_numpy()) == 0

    # and its picture has what the frame has
    figure = frame.plot()
    found = f"{len(frame[PeakList])} peaks found"
    assert found in [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_library_that_is_not_there_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    present = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith(("pandas", "matplotlib")):
            raise ImportError(name)
        return present(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install 'streamajig\[tables\]'"):
        Crystals().to_pandas()


def test_a_frame_that_cannot_be_drawn_says_why() -> None:
    with pytest.raises(UserError, match="keeps no pixels to draw"):
        Frame(3).plot()
    with pytest.raises(UserError, match="no geometry to draw it with"):
        Frame(3).with_values(Image.of(data=np.zeros((2, 2)))).plot()


def test_streamz_operators_follow_a_live_run(graph: Graph) -> None:
    seen: list[int] = []
    with graph.with_options(max_frames=1000).start() as handle:
        frames = handle.stream()
        peaks = frames.map(lambda frame: len(frame[PeakList])).sliding_window(2, return_partial=False).map(sum)
        kept = peaks.sink(seen.append)
        until(lambda: len(seen) >= 3)
    assert kept is not None
    assert all(number > 20 for number in seen)
    assert handle.report.is_conserved


def test_records_are_said_in_a_line(graph: Graph) -> None:
    report = run(graph.add(Memory(keep_image=True)))
    frame = report.outputs["sink"][0]
    for shown in (report, frame, *frame.values.values(), Rejected(1, "e", 0, "node", "why", "because", frame)):
        assert len(repr(shown)) < 500, type(shown)
    assert repr(frame).startswith("Frame(1, 'sim // 0000': ")
    assert "Image(" in repr(frame[Image])
    assert "512x512" in repr(frame[Image])
    assert repr(frame[PeakList]) == f"PeakList({len(frame[PeakList])} peaks)"
    assert repr(report) == (
        f"<Report: received {FRAMES} = delivered {FRAMES} + rejected 0 + dropped 0; "
        f"ended: {FRAMES} frames, as asked for>"
    )
    assert report.text().splitlines()[0] in report._repr_html_()
    assert len(repr(Joined({"a": frame, "b": frame}))) < 1000
    assert all(kind in frame for kind in (Header, DetGeom))
    crystals = next(f[Crystals] for f in report.outputs["sink"] if f[Crystals].found)
    assert isinstance(crystals[0].reflections, Reflections)
    assert repr(crystals[0].reflections) == f"Reflections({len(crystals[0].reflections)} reflections)"
    assert f"by pairs, {len(crystals[0].reflections)} reflections)" in repr(crystals)
