"""Read messages that hold a CBF image, as PILATUS and EIGER detectors write them."""

from __future__ import annotations

import base64
import hashlib
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline import Context, Event, Message, RejectFrame, stage
from stages.decode._kernels import byte_offset
from stages.records.header import Header
from stages.records.image import UNNAMED, Image, Sentinels
from stages.records.told import PixelsDecoded
from stages.wire.cbf import WIDE, CbfImage, read_cbf
from stages.wire.file_frame import naming_file
from stages.wire.looks import not_wanted
from stages.wire.naming import Naming

_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = 31
"""What zlib calls 32 kB with a gzip header."""

_WORTH_A_THREAD = 1 << 20
"""Bytes of which an MD5 takes some 2 ms, a hundred times what it takes to hand them to a thread."""

Pixels = NDArray[np.int32] | NDArray[np.uint32]

NO_COUNT = Sentinels(below=0.0)
"""-1 is the gap between modules, -2 a pixel that is bad."""


@stage("decode/cbf", publishes=(PixelsDecoded,))
class Cbf(Naming):
    """Read a message that holds a CBF image with byte-offset compression, as PILATUS detectors write it; gzipped or not.

    The comments of its header (``# Wavelength 1.0332 A``) are the keys of the header, so that a geometry file can say
    ``wavelength = Wavelength A`` and ``clen = Detector_distance m``; a number is one with or without a unit behind it. The
    image has no name: every panel's pixels are in it, whatever ``data`` says. Pixels below 0, which mark gaps and bad pixels,
    are bad. Format: https://www.iucr.org/resources/cif/spec/ancillary/imgcif
    """

    check_md5: bool = Field(
        default=True,
        description="Reject images whose bytes are not what the sender's MD5 says; takes longer than decoding them.",
    )

    def open(self, context: Context) -> RunningCbf:
        """Compile the kernel, and let the stages downstream know that there are images."""
        context.publish(PixelsDecoded(True, named=False, has_sentinels=True))
        self.warm_up()
        return RunningCbf(self)

    @staticmethod
    def warm_up() -> None:
        """Compile the kernel; opening the stage does so too."""
        byte_offset.decode(np.frombuffer(b"\0\0", np.uint8), np.zeros(1, np.int32), -1, 1)


class RunningCbf:
    """`Cbf` at work."""

    def __init__(self, parameters: Cbf) -> None:
        self._parameters = parameters
        self._beside: ThreadPoolExecutor | None = None

    def __call__(self, message: Message) -> tuple[Event, Header, Image]:
        """Read the header, and decode the pixels; what a file is rejected for names it."""
        with naming_file(message):
            return self._read(message)

    def _read(self, message: Message) -> tuple[Event, Header, Image]:
        body = self._parameters.body(message)
        if bytes(body[:2]) == _GZIP:
            body = self._decompressed(body)
        if bytes(body[:6]) != b"###CBF":
            raise not_wanted(body, "a CBF image")
        image = read_cbf(body)
        pixels = self._checked_pixels(image) if self._parameters.check_md5 and image.md5 else pixels_of(image)
        event, header = self._parameters.named(Header(image.comments), message)
        return event, header, Image({UNNAMED: pixels}, {}, sentinels=NO_COUNT)

    def close(self) -> None:
        """End the thread of the MD5."""
        if self._beside is not None:
            self._beside.shutdown()
            self._beside = None

    def _checked_pixels(self, image: CbfImage) -> Pixels:
        """Decode the pixels while another thread takes their MD5, which is slower; neither holds the interpreter's lock."""
        if len(image.body) < _WORTH_A_THREAD:
            _check_md5(image)
            return pixels_of(image)
        if self._beside is None:
            self._beside = ThreadPoolExecutor(1, "cbf-md5")
        check = self._beside.submit(_check_md5, image)
        try:
            return pixels_of(image)
        finally:
            check.result()  # what it raises counts more

    def _decompressed(self, body: memoryview) -> memoryview:
        most = self._parameters.max_message_bytes
        try:
            reader = zlib.decompressobj(_GZIP_WINDOW)
            whole = reader.decompress(body, most)
        except zlib.error as error:
            raise RejectFrame("bad_compression", f"the message is no whole gzip file: {error}") from None
        if not reader.eof:
            why = f"has more than {most} bytes, as max_message_bytes allows" if len(whole) >= most else "ends too early"
            raise RejectFrame("bad_compression", f"the message, decompressed, {why}")
        return memoryview(whole)


def pixels_of(image: CbfImage) -> Pixels:
    """Decode the pixels of a CBF image, (height, width); rejects one whose bytes are not what it says."""
    out = np.empty(image.width * image.height, np.int32)
    done = byte_offset.decode(np.frombuffer(image.body, np.uint8), out, image.least, image.most)
    if done == byte_offset.TRUNCATED:
        raise RejectFrame("truncated", f"the CBF image's {len(image.body)} bytes end before its {out.size} pixels do")
    if done == byte_offset.OUT_OF_RANGE:
        raise RejectFrame("bad_pixels", f"the CBF image has pixels that are not within {image.least} ... {image.most}")
    if done != len(image.body):
        raise RejectFrame(
            "bad_pixels",
            f"the CBF image's {out.size} pixels take {done} bytes, and it says that they take {len(image.body)}",
        )
    pixels = (out.view(np.uint32) if image.most == WIDE and not image.is_signed else out).reshape(
        image.height, image.width
    )
    pixels.flags.writeable = False
    return pixels


def _check_md5(image: CbfImage) -> None:
    digest = base64.b64encode(hashlib.md5(image.body, usedforsecurity=False).digest()).decode()
    if digest != image.md5:
        raise RejectFrame(
            "wrong_checksum", f"the MD5 of the CBF image's pixels is {digest}, and its header says {image.md5}"
        )
