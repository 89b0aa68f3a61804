"""Arrays as Seedee writes them, and as nobody should."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import seedee

from pipeline import Context, Message, RejectFrame
from stages.decode.seedee import Seedee
from stages.records.header import Header
from stages.wire.framing import framing_of

PIXELS = np.arange(30 * 40, dtype="u2").reshape(30, 40)
CODECS = {
    "raw": seedee.COMPRESSION_NONE,
    "lz4": seedee.COMPRESSION_LZ4,
    "bitshuffle": seedee.COMPRESSION_BITSHUFFLE,
    "deflate": seedee.COMPRESSION_DEFLATE,
}


def written(codec: str = "bitshuffle", pixels: Any = PIXELS) -> tuple[bytes, bytes]:
    body, description = seedee.serialize(pixels, CODECS[codec])
    return description.encode(), bytes(body)


def read(*parts: bytes, **parameters: Any) -> tuple[str, Header, np.ndarray]:
    (message,) = framing_of("seedee").frames_of([memoryview(part) for part in parts], 0, None)
    event, header, image = Seedee(**parameters).open(Context())(message)
    return event, header, image.array("any")


def reason_of(*parts: bytes, **parameters: Any) -> str:
    with pytest.raises(RejectFrame) as rejected:
        read(*parts, **parameters)
    return rejected.value.reason


def test_a_tag_or_an_empty_part_may_come_before() -> None:
    for before in ((), (b"tag",), (b"",)):
        np.testing.assert_array_equal(read(*before, *written())[2], PIXELS)


def test_pixels_that_are_not_compressed_stay_in_the_message() -> None:
    description, body = written("raw")
    assert np.shares_memory(read(description, body)[2], np.frombuffer(body, np.uint8))


@pytest.mark.parametrize("as_text", [True, False])
def test_what_stands_beside_the_description_is_the_header(as_text: bool) -> None:
    description, body = written()
    said = {
        "_data_format": description.decode() if as_text else json.loads(description),
        "event_id": "a // 7",
        "energy": 9.5,
    }
    event, header, pixels = read(json.dumps(said).encode(), body)
    assert event == "a // 7"
    assert header.number("energy") == 9.5
    np.testing.assert_array_equal(pixels, PIXELS)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("length", [0, 1, 11, 12, 15, -1])
def test_a_body_that_is_cut_short_is_rejected(codec: str, length: int) -> None:
    description, body = written(codec)
    assert reason_of(description, body[:length] or b"?") in {
        "truncated",
        "bad_compression",
        "bad_array_size",
        "too_large",
    }


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"shape": [30_000, 40_000], "size": 2_400_000_000}, "too_large truncated bad_array_size"),
        ({"shape": [30, 41], "size": 2460}, "bad_array_size"),
        ({"shape": [-30, -40]}, "bad_shape"),
        ({"shape": [1] * 30, "size": 2}, "bad_shape"),
        ({"shape": [1200]}, "bad_shape"),
        ({"shape": "30"}, "bad_description"),
        ({"size": 12}, "bad_array_size"),
        ({"size": -1}, "bad_array_size"),
        ({"itemsize": 1, "size": 1200}, "bad_array_size"),
        ({"itemsize": 3}, "bad_dtype"),
        ({"datatype": ord("c"), "itemsize": 8}, "bad_dtype"),
        ({"datatype": ord("O"), "itemsize": 8}, "bad_dtype"),
        ({"datatype": 10**9}, "bad_dtype"),
        ({"byteorder": 0}, "bad_dtype"),
        ({"stride": [2, 60]}, "bad_shape"),
    ],
    ids=str,
)
def test_what_ends_the_library_is_rejected(codec: str, changes: dict[str, Any], reason: str) -> None:
    description, body = written(codec)
    said = json.loads(description)
    said["array"] |= changes
    assert reason_of(json.dumps(said).encode(), body) in reason.split()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"compression": 32015}, "other_compression"),
        ({"compression_opts": [0, 3]}, "other_compression"),
        ({"version_major": 2}, "bad_description"),
        ({"protocol": "other"}, "bad_description"),
        ({"array": None}, "bad_description"),
        ({"_data_format": "{"}, "bad_description"),
        ({"_data_format": 7}, "bad_description"),
    ],
    ids=str,
)
def test_another_description_is_rejected(changes: dict[str, Any], reason: str) -> None:
    description, body = written()
    assert reason_of(json.dumps(json.loads(description) | changes).encode(), body) == reason


def test_one_part_alone_is_rejected_and_says_what_is_missing() -> None:
    description, body = written()
    assert reason_of(description) == "truncated"
    assert reason_of(body) == "another_format"
    assert reason_of(b"not JSON", body) == "another_format"
    assert reason_of(b"[" * 100_000, body) == "another_format"
    assert reason_of() == "empty_message"


def test_strides_without_gaps_are_taken() -> None:
    description, body = written()
    said = json.loads(description)
    said["array"]["stride"] = [80, 2]
    np.testing.assert_array_equal(read(json.dumps(said).encode(), body)[2], PIXELS)


def test_a_message_that_came_as_one_part_is_no_pair() -> None:
    with pytest.raises(RejectFrame, match=r"--data-format=cbf"):
        Seedee().open(Context())(Message(b"", 0, (b"###CBF: VERSION 1.5",)))
