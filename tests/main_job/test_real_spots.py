"""Real measured spots, sent as messages over a socket, are indexed with the reference's orientation."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from spots_as_messages import FLAT_GEOM, message, message_on_flat_panel, stills_of

from pipeline import Frame
from pipeline.composing.graph import Graph
from pipeline.composing.options import RunOptions
from pipeline.running.job import run
from stages.decode.headers_only import HeadersOnly
from stages.files.cell import read_cell
from stages.files.stream import read_stream
from stages.geometry_map.map_panels import MapPanels
from stages.index.pairs import Pairs
from stages.lattices.cell import misorientation
from stages.peaks.from_message import FromMessage
from stages.peaks.hit import HitFinder
from stages.records import Crystals
from stages.refine.prediction import Prediction
from stages.sink.memory import Memory
from stages.source.zmq_req import ZmqReq
from stages.wire.serving import FrameServer, serve_in_thread

pytestmark = pytest.mark.shared_data

CELL = """CrystFEL unit cell file version 1.0

lattice_type = {0}
centering = P
{1}
a = {2} A
b = {3} A
c = {4} A
al = 90 deg
be = 90 deg
ga = {5} deg
"""


def index_over_a_socket(
    bodies: list[bytes], geometry: Path, cell: Path, *, half_pixel_shift: bool = True
) -> list[Frame]:
    """Serve the messages, run the chain on them, and return the frames in order."""
    with FrameServer(socket="rep") as server:
        serving = serve_in_thread(server, bodies)
        graph = Graph.chain(
            ZmqReq(address=server.address, request="next"),
            HeadersOnly(),
            MapPanels(geometry=geometry),
            FromMessage(half_pixel_shift=half_pixel_shift),
            HitFinder(min_peaks=5),
            Pairs(cell=cell),
            Prediction(),
            Memory(),
            options=RunOptions(backend="threads:2", max_frames=len(bodies)),
        )
        report = run(graph)
        serving.join(timeout_s=10)
    assert report.law_lines() == [f"received {len(bodies)} = delivered {len(bodies)} + rejected 0 + dropped 0"]
    return sorted(report.outputs["sink"], key=lambda frame: frame.serial)


def worst_misorientation_deg(frame: Frame, real_space: np.ndarray, cell: Path) -> float:
    crystals = frame[Crystals]
    assert len(crystals) == 1, f"{frame.event}: {len(crystals)} crystals"
    unit_cell, _ = read_cell(cell)
    return math.degrees(misorientation(crystals.found[0].real_space_angstrom, real_space, unit_cell))


def test_the_thermolysin_stills_are_indexed_as_their_authors_did(shared_data: Path, tmp_path: Path) -> None:
    stills = stills_of(shared_data / "spots/thermolysin_cspad_3_stills.json")
    geometry, cell = tmp_path / "flat.geom", tmp_path / "thermolysin.cell"
    geometry.write_text(FLAT_GEOM)
    cell.write_text(CELL.format("hexagonal", "unique_axis = c", 93.3, 93.3, 130.9, 120))
    frames = index_over_a_socket([message_on_flat_panel(still) for still in stills], geometry, cell)
    for still, frame in zip(stills, frames, strict=True):
        assert frame.event == still.name
        assert worst_misorientation_deg(frame, still.real_space, cell) < 1


def test_the_raw_cunir_still_is_indexed_though_two_thirds_of_its_spots_belong_to_nothing(
    shared_data: Path, tmp_path: Path
) -> None:
    (still,) = stills_of(shared_data / "spots/cunir_pilatus_1_still_raw.json")
    geometry, cell = tmp_path / "flat.geom", tmp_path / "cunir.cell"
    geometry.write_text(FLAT_GEOM)
    cell.write_text(CELL.format("cubic", "", 96.4, 96.4, 96.4, 90))
    (frame,) = index_over_a_socket([message_on_flat_panel(still)], geometry, cell)
    assert worst_misorientation_deg(frame, still.real_space, cell) < 1


def test_the_chunks_of_a_crystfel_stream_are_indexed_on_their_own_geometry(shared_data: Path, tmp_path: Path) -> None:
    stream = read_stream(shared_data / "streams/crystfel.stream")
    geometry, cell = tmp_path / "own.geom", tmp_path / "own.cell"
    geometry.write_text("peak_list = peak_list\n" + stream.geometry)
    cell.write_text(stream.cell)
    bodies = []
    for chunk in stream.chunks:
        # printed positions count from the pixel's corner, a sender's from its index
        bodies.append(
            message(chunk.peaks.fs - 0.5, chunk.peaks.ss - 0.5, chunk.peaks.intensity, event=f"x // {chunk.serial}")
        )
    frames = index_over_a_socket(bodies, geometry, cell)
    assert len(frames) == 3
    for chunk, frame in zip(stream.chunks, frames, strict=True):
        assert worst_misorientation_deg(frame, chunk.crystals[0].real_space_angstrom, cell) < 1
