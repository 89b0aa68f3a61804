"""CBF images as detectors write them, and as nobody should."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from writers import cbf

from pipeline import Context, Message, RejectFrame
from stages.contract_suite.broken import close_twice, nothing_left_open
from stages.decode._kernels import byte_offset
from stages.decode.cbf import Cbf
from stages.simulation.as_cbf import byte_offsets, cbf_image
from stages.wire.cbf import WIDE

PIXELS = np.arange(-2, 40, dtype=np.int32).reshape(6, 7)
LEAST, MOST = -(2**31), 2**31 - 1
AMBIGUOUS = 2**31
"""fabio writes a difference of -2**31 in four bytes, and CBF says that eight follow then."""


def read(body: bytes, **parameters: object) -> tuple[str, dict[str, object], np.ndarray]:
    event, header, image = Cbf(**parameters).open(Context())(Message(b"", 0, (body,)))
    return event, dict(header), image.array("any")


@given(arrays(np.int32, st.tuples(st.integers(1, 5), st.integers(1, 40))))
def test_the_kernel_undoes_what_others_have_compressed(pixels: np.ndarray) -> None:
    from fabio.compression import compByteOffset

    steps = np.diff(pixels.astype(np.int64).reshape(-1), prepend=0)
    bodies = [byte_offsets(pixels)]
    if (np.abs(steps) != AMBIGUOUS).all():
        bodies.append(compByteOffset(pixels))
    for body in bodies:
        out = np.empty(pixels.size, np.int32)
        assert byte_offset.decode(np.frombuffer(body, np.uint8), out, -WIDE, WIDE) == len(body)
        np.testing.assert_array_equal(out.reshape(pixels.shape), pixels)


def decoded_slowly(body: bytes, num: int) -> tuple[int, list[int]]:
    """So many pixels of a body as CBF's manual describes them, or as many as are there, and how many bytes they take."""
    at, value, pixels = 0, 0, []
    for _ in range(num):
        for width in (1, 2, 4, 8):
            chunk, at = body[at : at + width], at + width
            step = int.from_bytes(chunk, "little", signed=True)
            if len(chunk) < width or width == 8 or step != -(1 << (8 * width - 1)):
                break
        if at > len(body):
            break
        value += step
        pixels.append(value)
    return at, pixels


def check_against_plain_python(body: bytes, num: int, least: int, most: int) -> None:
    at, wanted = decoded_slowly(body, num)
    out = np.empty(num, np.int32)
    done = byte_offset.decode(np.frombuffer(body, np.uint8), out, least, most)
    if len(wanted) < num:
        assert done == byte_offset.TRUNCATED
    elif any(not -(2**63) <= value < 2**63 for value in wanted):
        return  # nobody's pixels, and no more than a wrong answer: the sums wrap
    elif any(not least <= value <= most for value in wanted):
        assert done == byte_offset.OUT_OF_RANGE
    else:
        assert done == at
        assert out.tolist() == np.array(wanted, np.int64).astype(np.int32).tolist()


@given(st.binary(max_size=80), st.integers(0, 40))
def test_the_kernel_does_as_plain_python_does(body: bytes, num: int) -> None:
    check_against_plain_python(body, num, LEAST, MOST)


@pytest.mark.parametrize("limits", [(-WIDE, WIDE), (LEAST, MOST), (-32768, 32767), (0, 65535), (-9000, 9000)], ids=str)
@pytest.mark.parametrize("seed", range(40))
def test_bodies_of_many_blocks_are_as_plain_python_has_them(seed: int, limits: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    steps = rng.integers(-127, 128, rng.integers(60, 700)) // (1, 40, 127)[seed % 3]
    if seed % 4 == 3:
        steps = np.abs(steps)  # beyond the limits, sooner or later
    for at in rng.integers(0, len(steps), rng.integers(0, 6)):
        steps[at] = rng.choice([-128, 128, 8000, -32768, 40_000, 2**31 - 1, -(2**31), 2**33])
    whole = byte_offsets(np.cumsum(steps))
    assert decoded_slowly(whole, len(steps)) == (len(whole), np.cumsum(steps).tolist())
    for body in (whole, whole[:-1], whole + b"\0" * 70):
        for num in (len(steps), len(steps) - 1):
            check_against_plain_python(body, num, *limits)


@pytest.mark.shared_data
def test_a_real_image_of_a_pilatus_is_what_fabio_reads(shared_data: Path) -> None:
    import fabio

    file = shared_data / "images" / "pilatus6m.cbf.gz"
    _event, header, pixels = read(file.read_bytes())
    np.testing.assert_array_equal(pixels, fabio.open(str(file)).data)
    assert (pixels < 0).sum() > 400_000
    assert header["Wavelength"] == pytest.approx(1.0, rel=0.5)
    assert 0.05 < header["Detector_distance"] < 2.0
    assert read(gzip.decompress(file.read_bytes()))[2].shape == pixels.shape


def test_elements_without_a_sign_have_none() -> None:
    pixels = np.array([[0, 1, 200], [4_000_000_000, 2**32 - 1, 2]], np.uint32)
    ((body,),) = cbf([pixels])
    np.testing.assert_array_equal(read(body)[2], pixels)


def test_header_lines_are_keys_with_numbers_where_they_are_some() -> None:
    lines = {
        "Wavelength": "1.0332 A",
        "Beam_xy": "(1231.50, 1263.50) pixels",
        "event_id": "run // 7",
        "sequence_number": 7,
    }
    event, header, _ = read(cbf_image(PIXELS, lines))
    assert event == "run // 7"
    assert header == {**lines, "Wavelength": 1.0332, "sequence_number": 7.0}


def changed(pattern: bytes, by: bytes) -> bytes:
    body = cbf_image(PIXELS, {"Wavelength": "1 A"})
    mended, count = re.subn(pattern, by, body, count=1)
    assert count == 1
    return mended


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"###CBF: VERSION 1.5\r\n", "no_pixels"),
        (changed(rb"--CIF-BINARY-FORMAT-SECTION--\r\n", b"\r\n"), "no_pixels"),
        (changed(b"x-CBF_BYTE_OFFSET", b"x-CBF_PACKED"), "other_compression"),
        (changed(b"signed 32-bit integer", b"signed 64-bit real IEEE"), "bad_dtype"),
        (changed(b"LITTLE_ENDIAN", b"BIG_ENDIAN"), "bad_dtype"),
        (changed(rb"Fastest-Dimension: 7", b"Fastest-Dimension: -7"), "bad_shape"),
        (changed(rb"Fastest-Dimension: 7", b"Fastest-Dimension: 70000000000"), "bad_shape"),
        (changed(rb"Elements: 42", b"Elements: 43"), "bad_shape"),
        (changed(rb"Binary-Size: \d+", b"Binary-Size: 20"), "bad_shape"),
        (changed(rb"Binary-Size: \d+", b"Binary-Size: 99999"), "truncated"),
        (changed(rb"MD5: .", b"MD5: ?"), "wrong_checksum"),
        (gzip.compress(cbf_image(PIXELS, {}), mtime=0)[:-9], "bad_compression"),
        (gzip.compress(b"something else", mtime=0), "another_format"),
        (gzip.compress(bytes(3_000_000), mtime=0), "bad_compression"),
        (b"\x1f\x8bnothing", "bad_compression"),
        (b"", "empty_message"),
        (b"What?", "error_reply"),
    ],
)
def test_what_is_no_image_is_rejected_and_says_why(body: bytes, reason: str) -> None:
    with pytest.raises(RejectFrame) as rejected:
        read(body, max_message_bytes=1_000_000)
    assert rejected.value.reason == reason


def test_pixels_beyond_their_type_and_bytes_that_are_left_over_are_rejected() -> None:
    body = changed(b"signed 32-bit", b"signed 8-bit").replace(b"Content-MD5", b"Content-Other")
    big = cbf_image(PIXELS * 100, {}).replace(b"signed 32-bit", b"signed 8-bit").replace(b"Content-MD5", b"X-Other")
    np.testing.assert_array_equal(read(body)[2], PIXELS)
    with pytest.raises(RejectFrame, match="not within -128"):
        read(big)
    fewer = changed(b"Elements: 42", b"Elements: 35").replace(b"Second-Dimension: 6", b"Second-Dimension: 5")
    with pytest.raises(RejectFrame, match="35 pixels take"):
        read(fewer)


def test_the_checksum_can_be_left_alone() -> None:
    np.testing.assert_array_equal(read(changed(rb"MD5: .", b"MD5: ?"), check_md5=False)[2], PIXELS)


def test_a_large_image_is_checked_in_a_thread_that_ends_with_the_stage() -> None:
    pixels = np.random.default_rng(5).integers(-2, 100, (1100, 1000), np.int32)
    pixels[0, 0] = 1000  # more bytes than pixels
    good = cbf_image(pixels, {})
    damaged = good.replace(bytes(good[good.index(b"\x0c\x1a\x04\xd5") + 4 :][:400]), bytes(400))
    fewer = good.replace(b"Fastest-Dimension: 1000", b"Fastest-Dimension:  999").replace(b"1100000", b"1098900")
    with nothing_left_open():
        decode = Cbf().open(Context())
        for body, reason in ((damaged, "wrong_checksum"), (fewer, "bad_pixels")) * 2:
            assert body != good
            with pytest.raises(RejectFrame) as rejected:
                decode(Message(b"", 0, (body,)))
            assert rejected.value.reason == reason
            np.testing.assert_array_equal(decode(Message(b"", 0, (good,)))[2].array("any"), pixels)
        close_twice(decode)
