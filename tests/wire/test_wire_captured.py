"""Messages that were captured from real senders."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from pipeline import Context, EndOfStream, Message, RejectFrame
from stages.decode.headers_only import HeadersOnly
from stages.decode.msgpack_map import MsgpackMap
from stages.peaks.from_message import FromMessage
from stages.records import DetGeom, Panel
from stages.source.replay import Replay
from stages.wire.message import split_maps

pytestmark = pytest.mark.shared_data

DECODE = MsgpackMap().open(Context())
PANEL = Panel("p0", "detector_data", max_fs=1022, max_ss=1080)


def bodies(shared_data: Path, name: str) -> list[memoryview]:
    body = gzip.decompress((shared_data / "wire" / "om" / f"{name}.gz").read_bytes())
    return split_maps(memoryview(body))


def geometry() -> DetGeom:
    zero = np.zeros((1, 3))
    return DetGeom((PANEL,), zero, zero, zero, 1e4, np.ones(1), (np.zeros((1081, 1023), "u1"),), peak_list="peak_list")


@pytest.mark.parametrize(
    ("name", "frames", "dtype", "event", "energy"),
    [
        ("cheetah_streaming_req_000.msgpack", 1, "f4", "/data/online/run01/eiger_uint16.h5 // 0000", 10000),
        ("cheetah_streaming_req_002.msgpack", 1, "f4", "/data/online/run01/eiger_uint16.h5 // 0001", 10000),
        ("crystallography_uint16_req_000.msgpack", 1, None, "/data/online/run01/eiger_uint16.h5 // 0000", 10000),
        ("onda2019_msgpack06_ondadata_x3.msgpack", 3, None, "", 10000),
        ("onda2019_msgpack1_ondadata_x3.msgpack", 3, None, "", 10000),
        ("onda2019_msgpack06_ondaframedata_i4.msgpack", 1, "i4", "", 10000),
        ("onda2019_msgpack1_ondaframedata_f8.msgpack", 1, "f8", "", 10000),
    ],
)
def test_captured_messages_are_understood(
    shared_data: Path, name: str, frames: int, dtype: str | None, event: str, energy: float
) -> None:
    parts = bodies(shared_data, name)
    assert len(parts) == frames
    for part in parts:
        found, header, image = DECODE(Message(b"", 0, (part,)))
        assert found == event
        assert header.number("beam_energy") == energy
        assert header.number("detector_distance") == 120
        peaks = FromMessage().open(Context())(header, geometry())
        assert len(peaks) > 50
        assert peaks.num_dropped == 0
        if dtype is None:
            assert not image.arrays
            continue
        pixels = PANEL.view(image.array("detector_data"))
        assert pixels.dtype == dtype
        assert pixels.shape == (1081, 1023)
        assert np.shares_memory(pixels, np.frombuffer(part, "u1"))
        # the sender's highest pixel of each peak is where it says the peak is
        bright = pixels[peaks.ss.astype(int), peaks.fs.astype(int)]
        assert np.mean(bright > 3 * np.median(pixels)) > 0.9
        bare = HeadersOnly().open(Context())(Message(b"", 0, (part,)))
        assert bare[0] == found
        assert list(bare[1]) == list(header)


def test_the_same_frame_from_old_and_new_msgpack_has_the_same_header(shared_data: Path) -> None:
    old = bodies(shared_data, "onda2019_msgpack06_ondadata_x3.msgpack")
    new = bodies(shared_data, "onda2019_msgpack1_ondadata_x3.msgpack")
    for one, other in zip(old, new, strict=True):
        assert dict(DECODE(Message(b"", 0, (one,)))[1]) == dict(DECODE(Message(b"", 0, (other,)))[1])


def test_oms_published_pickle_is_named_and_not_opened(shared_data: Path) -> None:
    (body,) = bodies(shared_data, "crystallography_binned_sub_000_omframedata.bin")
    with pytest.raises(RejectFrame, match=r"Python pickle.*--zmq-request=next"):
        DECODE(Message(b"omframedata", 0, (body,)))


def test_oms_refusal_is_named(shared_data: Path) -> None:
    (body,) = bodies(shared_data, "error_replies_req_000.msgpack")
    with pytest.raises(RejectFrame, match=r"error_reply: the server answered 'What\?'"):
        DECODE(Message(b"", 0, (body,)))


def test_the_folder_of_captured_messages_is_replayed_in_the_order_of_names(shared_data: Path) -> None:
    source = Replay(files=(shared_data / "wire" / "om",)).open(Context())
    topics = []
    for _ in range(9):
        topics += [message.topic for message in source.receive(1.0, 1)]
    with pytest.raises(EndOfStream):
        source.receive(1.0, 1)
    assert topics == [b"", b"", b"omframedata", b"", b""] + 2 * ([b"ondadata"] * 3 + [b"ondaframedata"])
    assert source.status() == "read 9 of 9 files"
