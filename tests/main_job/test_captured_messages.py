"""What OM and OnDA really sent is indexed by the seed's command lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import bodies_of, report_of, streamajig

from stages.files.stream import read_stream
from stages.wire.serving import FrameServer, serve_in_thread

pytestmark = pytest.mark.shared_data

OM = [
    "cheetah_streaming_req_000.msgpack.gz",
    "cheetah_streaming_req_002.msgpack.gz",
    "crystallography_uint16_req_000.msgpack.gz",
]
ONDA_FRAMES = ["onda2019_msgpack06_ondaframedata_i4.msgpack.gz", "onda2019_msgpack1_ondaframedata_f8.msgpack.gz"]
ONDA_LISTS = ["onda2019_msgpack06_ondadata_x3.msgpack.gz", "onda2019_msgpack1_ondadata_x3.msgpack.gz"]


def index(server: FrameServer, bodies: list[bytes], wire: Path, stream: Path, *options: str, frames: int) -> dict:
    serving = serve_in_thread(server, bodies)
    finished = streamajig(
        *("index", f"--zmq-input={server.address}", *options, "-o", stream, "-p", wire / "lys.cell"),
        *(f"--max-frames={frames}", "--json"),
    )
    report = report_of(finished)
    serving.join(timeout_s=10)
    return report


@pytest.mark.parametrize("peaks", [("--peaks=msgpack",), ("--peaks=msgpack", "--no-image-data")])
def test_messages_of_om_are_requested_and_all_index(shared_data: Path, tmp_path: Path, peaks: tuple[str, ...]) -> None:
    wire = shared_data / "wire/om"
    files = OM if "--no-image-data" in peaks else OM[:2]
    bodies = bodies_of([wire / name for name in files])
    with FrameServer(socket="rep") as server:
        options = ["--zmq-request=next", "-g", str(wire / "om.geom"), *peaks]
        report = index(server, bodies, wire, tmp_path / "om.stream", *options, frames=len(bodies))
    assert report["leaves"]["sink"]["counts"]["indexed"] == report["leaves"]["sink"]["counts"]["hits"] == len(bodies)
    stream = read_stream(tmp_path / "om.stream")
    assert all(len(chunk.crystals) == 1 for chunk in stream.chunks)
    assert all(chunk.event for chunk in stream.chunks)


@pytest.mark.parametrize("search", ["peakfinder8", "zaef"])
def test_peaks_searched_in_the_pixels_of_om_index_too(shared_data: Path, tmp_path: Path, search: str) -> None:
    wire = shared_data / "wire/om"
    bodies = bodies_of([wire / name for name in OM[:2]])
    with FrameServer(socket="rep") as server:
        options = [
            "--zmq-request=next",
            "-g",
            str(wire / "om.geom"),
            f"--peaks={search}",
            "--threshold=20",
            "--min-snr=5",
        ]
        options += ["--min-squared-gradient=100"] if search == "zaef" else []
        report = index(server, bodies, wire, tmp_path / "om.stream", *options, frames=2)
    assert report["leaves"]["sink"]["counts"]["indexed"] == 2


def test_messages_of_onda_with_pixels_are_subscribed_to_and_all_index(shared_data: Path, tmp_path: Path) -> None:
    wire = shared_data / "wire/om"
    bodies = bodies_of([wire / name for name in ONDA_FRAMES])
    with FrameServer(socket="pub", topic=b"ondaframedata") as server:
        options = ["--zmq-subscribe=ondaframedata", "-g", str(wire / "onda2019.geom"), "--peaks=msgpack"]
        report = index(server, bodies, wire, tmp_path / "onda.stream", *options, frames=2)
    assert report["leaves"]["sink"]["counts"]["indexed"] == report["leaves"]["sink"]["counts"]["hits"] == 2


def test_every_map_of_ondas_arrays_is_a_frame(shared_data: Path, tmp_path: Path) -> None:
    wire = shared_data / "wire/om"
    bodies = bodies_of([wire / name for name in ONDA_LISTS])
    with FrameServer(socket="pub", topic=b"ondadata") as server:
        options = ["--zmq-subscribe=ondadata", "-g", str(wire / "onda2019.geom"), "--peaks=msgpack", "--no-image-data"]
        report = index(server, bodies, wire, tmp_path / "onda.stream", *options, frames=6)
    assert report["received"] == 6
    assert report["leaves"]["sink"]["counts"]["indexed"] == report["leaves"]["sink"]["counts"]["hits"]
    assert report["leaves"]["sink"]["counts"]["hits"] >= 2


def test_pickles_and_error_replies_are_rejected_and_the_next_frame_is_indexed(
    shared_data: Path, tmp_path: Path
) -> None:
    wire = shared_data / "wire/om"
    bad = ["crystallography_binned_sub_000_omframedata.bin.gz", "error_replies_req_000.msgpack.gz"]
    bodies = bodies_of([wire / name for name in [*bad, OM[0]]])
    with FrameServer(socket="rep") as server:
        options = ["--zmq-request=next", "-g", str(wire / "om.geom"), "--peaks=msgpack"]
        report = index(server, bodies, wire, tmp_path / "om.stream", *options, frames=3)
    assert report["leaves"]["sink"] | {"counts": None} == {"delivered": 1, "rejected": 2, "dropped": 0, "counts": None}
    assert report["leaves"]["sink"]["counts"]["indexed"] == 1
    assert any("pickle" in rejection["example"] for rejection in report["rejections"])
