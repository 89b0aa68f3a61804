"""DECTRIS' two streams: what a series' header says reaches its frames, and frames without one are rejected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cbor2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from writers import (
    DISTANCE_M,
    ENERGY_EV,
    Parts,
    as_hdf5_chunk,
    cbor_array,
    cbor_message,
    dectris1,
    dectris2,
    image,
    start,
)

from pipeline import ByType, Context, Message, RejectFrame, SenderNumber, UserError
from pipeline.running.job import run
from stages.commands.index.graph import graph_from_options
from stages.decode.dectris1 import Dectris1
from stages.decode.dectris2 import Dectris2
from stages.files.stream import read_stream
from stages.geometry_map.map_panels import MapPanels
from stages.peaks.from_message import FromMessage
from stages.records.image import Image
from stages.simulation.apparatus import Apparatus
from stages.simulation.settings import Settings
from stages.wire.cbor_outline import text_under
from stages.wire.framing import framing_of
from stages.wire.series import MOST_SERIES
from stages.wire.serving import FrameServer, serve_in_thread

PIXELS = np.random.default_rng(2).poisson(2.0, (12, 17)).astype("u2")
PIXELS[3, 4] = 65535
GEOMETRY = """res = 10000
adu_per_photon = 1
p0/min_fs = 0
p0/max_fs = 16
p0/min_ss = 0
p0/max_ss = 11
p0/corner_x = 0
p0/corner_y = 0
p0/fs = x
p0/ss = y
"""


def frames_of(name: str, messages: list[Parts]) -> list[Message]:
    framing = framing_of(name)
    return [frame for parts in messages for frame in framing.frames_of([memoryview(part) for part in parts], 0, None)]


def read(name: str, messages: list[Parts], **parameters: Any) -> list[tuple[str, Any, Image]]:
    decode = (Dectris1 if name == "dectris1" else Dectris2)(**parameters).open(Context())
    return [decode(frame) for frame in frames_of(name, messages)]


def rejected(name: str, messages: list[Parts], **parameters: Any) -> RejectFrame:
    with pytest.raises(RejectFrame) as refused:
        read(name, messages, **parameters)
    return refused.value


# --- both ---------------------------------------------------------------------------------------------------------------

WRITERS = {"dectris1": dectris1, "dectris2": dectris2}
both = pytest.mark.parametrize("name", WRITERS)


@both
def test_frames_are_named_and_numbered_by_their_series(name: str) -> None:
    found = read(name, WRITERS[name]([PIXELS, PIXELS]))
    assert [event for event, _, _ in found] == ["7 // 0", "7 // 1"]
    numbers = [header.sender_number for _, header, _ in found]
    key = "frame" if name == "dectris1" else "image_id"
    assert numbers == [SenderNumber(n, key, True, "7 // ") for n in range(2)]


@both
def test_frames_whose_series_header_did_not_come_are_rejected(name: str) -> None:
    assert rejected(name, WRITERS[name]([PIXELS])[1:]).reason == "no_series_header"


@both
def test_frames_of_another_series_than_the_header_are_rejected(name: str) -> None:
    header, *_ = WRITERS[name]([PIXELS])
    _, frame = dectris1([PIXELS], series=8) if name == "dectris1" else [[], cbor_message(type="image", series_id=8)]
    refused = rejected(name, [header, frame])
    assert refused.reason == "another_series"
    assert "series 8" in refused.detail
    assert "series 7" in refused.detail


@both
def test_headers_of_senders_that_send_in_turn_are_read_once_each(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = (Dectris1 if name == "dectris1" else Dectris2)().open(Context())
    by_sender = [frames_of(name, WRITERS[name]([PIXELS] * 4)) for _ in range(MOST_SERIES)]
    read_headers = []
    read_one = decode._latest._read

    def counted(preamble: Any) -> Any:
        read_headers.append(preamble.number)
        return read_one(preamble)

    monkeypatch.setattr(decode._latest, "_read", counted)
    for frames in zip(*by_sender, strict=True):
        for frame in frames:
            decode(frame)
    assert len(read_headers) == len(set(read_headers)) == MOST_SERIES
    decode(frames_of(name, WRITERS[name]([PIXELS]))[0])  # the one that was longest not seen is forgotten
    decode(by_sender[-1][0])
    assert len(read_headers) == MOST_SERIES + 1
    decode(by_sender[0][0])
    assert len(read_headers) == MOST_SERIES + 2


@both
def test_a_new_header_holds_for_the_frames_after_it(name: str) -> None:
    other = dectris1([PIXELS], series=8) if name == "dectris1" else dectris2([PIXELS])
    found = read(name, [*WRITERS[name]([PIXELS]), *other])
    assert [event for event, _, _ in found] == ["7 // 0", "8 // 0" if name == "dectris1" else "7 // 0"]


@both
def test_what_is_no_frame_is_none(name: str) -> None:
    others = {
        "dectris1": [[b'{"htype":"dseries_end-1.0","series":7}']],
        "dectris2": [cbor_message(type=kind, series_id=7) for kind in ("end", "calibration", "metadata")],
    }[name]
    header, frame = WRITERS[name]([PIXELS])
    assert len(read(name, [header, frame, *others])) == 1


@both
def test_a_broken_header_rejects_the_frames_of_its_series(name: str) -> None:
    header, frame = WRITERS[name]([PIXELS])
    broken = [b'{"htype":"dheader-1.0"}'] if name == "dectris1" else cbor_message(type="start")
    assert rejected(name, [header, broken, frame]).reason == "bad_series_header"


@both
def test_the_geometry_file_may_leave_open_what_the_header_says(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.geom").write_text(GEOMETRY)
    with pytest.raises(UserError, match="clen"):
        MapPanels(tmp_path / "x.geom").open(Context())
    context = Context()
    decode = (Dectris1 if name == "dectris1" else Dectris2)().open(context)
    place = MapPanels(tmp_path / "x.geom").open(Context(upstream=ByType(context.published.values())))
    bad = np.zeros_like(PIXELS, "u4")
    bad[5, 6] = 8
    messages = {
        "dectris1": lambda: dectris1([PIXELS], detail="all", mask=bad),
        "dectris2": lambda: [start(pixel_mask={"threshold_1": cbor_array(bad)}), dectris2([PIXELS])[1]],
    }[name]()
    (frame,) = frames_of(name, messages)
    _, header, picture = decode(frame)
    geom = place(header, picture)
    assert geom.photon_energy_ev == pytest.approx(ENERGY_EV)
    assert geom.clen_m[0] == pytest.approx(DISTANCE_M)
    assert np.argwhere(geom.bad[0]).tolist() == [[3, 4], [5, 6]]
    assert np.argwhere(geom.static_bad[0]).tolist() == [[5, 6]]
    assert place(header, picture).static_bad is geom.static_bad, "the mask is made once for a series"
    assert "clen = detector_distance m" in place.detector.text


@both
@pytest.mark.parametrize(("in_file", "wanted"), [("", 5000.0), ("max_adu = 700", 700.0)])
def test_the_saturation_is_the_series_where_the_file_has_none(
    name: str, in_file: str, wanted: float, tmp_path: Path
) -> None:
    (tmp_path / "x.geom").write_text(f"{in_file}\n{GEOMETRY}")
    context = Context()
    decode = (Dectris1 if name == "dectris1" else Dectris2)().open(context)
    place = MapPanels(tmp_path / "x.geom").open(Context(upstream=ByType(context.published.values())))
    header, frame = WRITERS[name]([PIXELS])
    for limit, found in ((5000, wanted), ("none", np.inf if not in_file else wanted)):
        begins = start(saturation_value=limit)
        if name == "dectris1":
            config = json.loads(header[1]) | {"countrate_correction_count_cutoff": limit}
            begins = [header[0], json.dumps(config).encode()]
        (message,) = frames_of(name, [begins, frame])
        _, said, picture = decode(message)
        geom = place(said, picture)
        assert geom.panels[0].max_adu == found
        assert place(said, picture).panels is geom.panels


@both
def test_what_the_geometry_file_says_counts(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.geom").write_text("photon_energy = 9000 eV\nclen = 0.3 m\n" + GEOMETRY)
    context = Context()
    decode = (Dectris1 if name == "dectris1" else Dectris2)().open(context)
    place = MapPanels(tmp_path / "x.geom").open(Context(upstream=ByType(context.published.values())))
    (frame,) = frames_of(name, WRITERS[name]([PIXELS]))
    _, header, picture = decode(frame)
    geom = place(header, picture)
    assert (geom.photon_energy_ev, geom.clen_m[0]) == (9000.0, 0.3)


@both
def test_images_larger_than_may_be_are_rejected_before_they_are_decompressed(name: str) -> None:
    assert rejected(name, WRITERS[name]([PIXELS]), max_message_bytes=407).reason == "too_large"


@both
def test_what_the_simulator_sends_is_read_by_every_worker(name: str, tmp_path: Path) -> None:
    """Its header comes once, and two workers need it; the geometry file leaves energy and distance open."""
    apparatus = Apparatus.make(Settings(seed=5, hits=1.0, dtype="u2"), style=name, size="300x300", res=2000.0)
    text = apparatus.geometry_text.replace("photon_energy = ", "; ").replace("clen = ", "; ")
    (tmp_path / "x.geom").write_text(text)
    frames = apparatus.simulation.frames(6)
    with FrameServer(socket="push") as server:
        serving = serve_in_thread(server, apparatus.wire.bodies(frames))
        options = {
            "zmq_input": server.address,
            "zmq_pull": True,
            "data_format": name,
            "geometry": tmp_path / "x.geom",
            "indexing": "none",
            "backend": "processes:2" if name == "dectris2" else "threads:2",
            "in_order": True,
            "max_frames": 6,
            "output": tmp_path / "x.stream",
        }
        report = run(
            graph_from_options(
                options if name == "dectris2" else {**options, "peaks": "peakfinder8", "threshold": 15.0}
            )
        )
        serving.stop()
    assert report.law_lines() == ["received 6 = delivered 6 + rejected 0 + dropped 0"]
    chunks = list(read_stream(tmp_path / "x.stream").chunks)
    assert [chunk.event for chunk in chunks] == [f"sim // {n:04d}" for n in range(6)]
    assert all(chunk.peaks is not None and len(chunk.peaks) > 10 for chunk in chunks)
    assert {chunk.photon_energy_ev for chunk in chunks} == {9500.0}


# --- the first stream ---------------------------------------------------------------------------------------------------


@pytest.mark.shared_data
def test_a_real_series_has_its_gaps_where_the_detector_has_them(shared_data: Path) -> None:
    def part(number: int) -> bytes:
        return (shared_data / "wire" / "dectris_simplon_v1" / f"streamfile_{number}").read_bytes()

    header = [part(1), part(2)]  # the tables are not among what was kept
    frames = [[part(first + k) for k in range(4)] for first in (10, 14, 18)]
    found = read("dectris1", [header, *frames, [part(22)]])
    assert [event for event, _, _ in found] == ["6 // 0", "6 // 1", "6 // 2"]
    for _, said, picture in found:
        array = picture.array("any")
        assert (array.shape, array.dtype) == ((2167, 2070), np.dtype("u2"))
        no_count = array == 65535
        assert np.flatnonzero(no_count.all(axis=0)).tolist() == list(range(1030, 1040))
        assert no_count.all(axis=1).sum() == 111
        assert picture.sentinels.equal_in(array.dtype) == (65535.0,)
        assert said["photon_energy"] == pytest.approx(8047.78)


@pytest.mark.parametrize("detail", ["none", "basic", "all"])
def test_each_detail_of_the_header_is_read(detail: str) -> None:
    ((_, header, picture),) = read("dectris1", dectris1([PIXELS], detail=detail))
    np.testing.assert_array_equal(picture.array("any"), PIXELS)
    assert ("photon_energy" in header) == (detail != "none")
    assert (picture.mask is not None) == (detail == "all")


def test_appendices_are_header_values() -> None:
    header, frame = dectris1([PIXELS], detail="all")
    ((_, said, _),) = read("dectris1", [[*header, b'{"acqID": "test_1"}'], [*frame, b"shot 5"]])
    assert (said["header_appendix"], said["image_appendix"]) == ('{"acqID": "test_1"}', "shot 5")


def described(**more: object) -> list[Parts]:
    header, frame = dectris1([PIXELS])
    return [header, [frame[0], json.dumps(json.loads(frame[1]) | more).encode(), *frame[2:]]]


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("<", PIXELS.tobytes()),
        (">", PIXELS.astype(">u2").tobytes()),
        ("bs16-lz4<", as_hdf5_chunk(PIXELS, "bslz4")),
        ("lz4<", as_hdf5_chunk(PIXELS, "lz4", block=PIXELS.nbytes)[16:]),
    ],
)
def test_each_encoding_is_read(encoding: str, body: bytes) -> None:
    header, frame = described(encoding=encoding, size=len(body))
    ((_, _, picture),) = read("dectris1", [header, [*frame[:2], body, *frame[3:]]])
    np.testing.assert_array_equal(picture.array("any"), PIXELS)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"encoding": "bs32-lz4<"}, "other_compression"),
        ({"encoding": "bs16<"}, "other_compression"),
        ({"encoding": ["<"]}, "other_compression"),
        ({"type": "object"}, "bad_dtype"),
        ({"type": "uint32", "encoding": "bs32-lz4<"}, "bad_array_size"),
        ({"shape": [12]}, "bad_shape"),
        ({"shape": [17, 12, 2]}, "bad_shape"),
        ({"shape": [True, 12]}, "bad_shape"),
        ({"shape": [-17, -12]}, "bad_shape"),
        ({"shape": [2**31, 2**31]}, "too_large"),
        ({"size": 3}, "truncated"),
        ({"htype": "dimage-1.0"}, "bad_header"),
    ],
)
def test_what_an_image_may_not_be(more: dict[str, object], reason: str) -> None:
    assert rejected("dectris1", described(**more)).reason == reason


# --- the second stream --------------------------------------------------------------------------------------------------


def test_of_several_channels_the_one_that_is_asked_for_is_read() -> None:
    data = {name: cbor_array(PIXELS + k, "bslz4") for k, name in enumerate(("threshold_1", "threshold_2"))}
    data["broken"] = cbor2.CBORTag(40, [[12, 17], b"no array"])
    messages = [start(), image(0, data)]
    for channel, k in (("", 0), ("threshold_1", 0), ("threshold_2", 1)):
        ((_, _, picture),) = read("dectris2", messages, channel=channel)
        np.testing.assert_array_equal(picture.array("any"), PIXELS + k)
    assert rejected("dectris2", messages, channel="broken").reason == "bad_dtype"
    assert "threshold_1, threshold_2, broken" in rejected("dectris2", messages, channel="difference").detail


@pytest.mark.parametrize("codec", ["", "bslz4", "bszstd", "lz4"])
def test_each_compression_is_read(codec: str) -> None:
    ((_, _, picture),) = read("dectris2", [start(), image(0, {"default": cbor_array(PIXELS, codec)})])
    np.testing.assert_array_equal(picture.array("any"), PIXELS)


def test_values_of_series_and_frame_are_header_values() -> None:
    ((_, header, _),) = read("dectris2", [start(beam_center_x=1.5), image(3, {"a": cbor_array(PIXELS)}, user_data="x")])
    assert (header["beam_center_x"], header["image_id"], header["user_data"]) == (1.5, 3, "x")
    assert header["start_time"] == pytest.approx(0.03)
    assert header["detector_distance"] == DISTANCE_M


def test_the_value_for_errors_is_no_intensity() -> None:
    pixels = PIXELS.astype("i2")
    ((_, _, picture),) = read("dectris2", [start(error_value=-32768), image(0, {"default": cbor_array(pixels)})])
    assert picture.sentinels.equal == (-32768.0,)


@pytest.mark.parametrize("form", ["maps", "triples"])
def test_spots_that_the_sender_has_found_are_peaks(form: str, tmp_path: Path) -> None:
    spots: list[Any] = [{"x": 3.0, "y": 5.5, "I": 40, "ice_ring": False}, {"x": 10, "y": 2, "I": 7.5}]
    if form == "triples":
        spots = [3.0, 5.5, 40, 10, 2, 7.5]
    (tmp_path / "x.geom").write_text("peak_list = spots\n" + GEOMETRY)
    context = Context()
    decode = Dectris2().open(context)
    place = MapPanels(tmp_path / "x.geom").open(Context(upstream=ByType(context.published.values())))
    (frame,) = frames_of("dectris2", [start(), image(0, {"default": cbor_array(PIXELS)}, spots=spots)])
    _, header, picture = decode(frame)
    peaks = FromMessage().open(Context())(header, place(header, picture))
    assert peaks.fs.tolist() == [3.5, 10.5]
    assert peaks.ss.tolist() == [6.0, 2.5]
    assert peaks.intensity.tolist() == [40.0, 7.5]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "no_pixels"),
        ({}, "no_pixels"),
        ({"a": b"bytes"}, "bad_array"),
        ({"a": cbor2.CBORTag(40, [[12, 17]])}, "bad_array"),
        ({"a": cbor2.CBORTag(40, [[12, 17], cbor2.CBORTag(69, "text")])}, "bad_array"),
        ({"a": cbor2.CBORTag(40, [[12, 17], cbor2.CBORTag(76, PIXELS.tobytes())])}, "bad_dtype"),
        ({"a": cbor2.CBORTag(40, [[12, 18], cbor2.CBORTag(69, PIXELS.tobytes())])}, "bad_array_size"),
        ({"a": cbor2.CBORTag(40, [[1, 12, 17], cbor2.CBORTag(69, PIXELS.tobytes())])}, "bad_shape"),
        ({"a": cbor2.CBORTag(40, [[2**31, 2**31], cbor2.CBORTag(69, b"")])}, "too_large"),
        ({"a": cbor2.CBORTag(40, [[12, 17], cbor2.CBORTag(69, cbor2.CBORTag(56500, ["gzip", 2, b"x"]))])}, "other_compression"),
        ({"a": cbor2.CBORTag(40, [[12, 17], cbor2.CBORTag(69, cbor2.CBORTag(56500, ["bslz4", 1, b"x"]))])}, "bad_compression"),
    ],
)  # fmt: skip
def test_what_a_channel_may_not_be(data: Any, reason: str) -> None:
    assert rejected("dectris2", [start(), image(0, data)]).reason == reason


@pytest.mark.parametrize(
    "body",
    [
        b"\xd9\xd9\xf7",
        b"\xd9\xd9\xf7" + b"\x81" * 1000,
        b"\xd9\xd9\xf7\x5b" + b"\xff" * 8,
        b"\xd9\xd9\xf7\xc5\x82\x1b" + b"\x7f" * 8 + b"\x01",
        b"\xd9\xd9\xf7\xa1\x80\x01",
    ],
)
def test_cbor_that_is_none_or_worse_is_rejected(body: bytes) -> None:
    assert rejected("dectris2", [start(), [body]]).reason == "bad_cbor"


@given(body=st.binary(max_size=60), whole=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5)))
def test_the_type_of_a_message_is_found_as_cbor2_finds_it(body: bytes, whole: dict[str, Any]) -> None:
    text_under(memoryview(body), "type")
    text_under(memoryview(b"\xd9\xd9\xf7\xa2" + body), "type")
    said = {**whole, "nested": [{"type": "no"}, [1.5, None, b"x"]], "type": "image"}
    assert text_under(memoryview(cbor2.dumps(said)), "type") == "image"
    assert text_under(memoryview(cbor2.dumps(cbor2.CBORTag(55799, said))), "type") == "image"
