"""A simulated frame as a CBF image, as a PILATUS writes it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from stages.records.geometry import HC_EV_ANGSTROM
from stages.simulation.experiment import SimulatedFrame
from stages.simulation.settings import Style
from stages.simulation.wire import OneArray

_PADDING = 4095
"""Zeros that CBFlib writes behind the pixels."""

_BEGINS = b"\x0c\x1a\x04\xd5"


class Cbf(OneArray):
    """A CBF image; header values are comments."""

    style: ClassVar[Style] = "cbf"

    @staticmethod
    def places(energy_ev: float, distance_mm: float) -> str:
        """A PILATUS says both in comments."""
        return "wavelength = Wavelength A\nclen = Detector_distance m\n"

    def message(self, frames: Sequence[SimulatedFrame]) -> tuple[bytes]:
        """One part."""
        (frame,) = frames
        comments = {
            "event_id": frame.truth.event,
            "sequence_number": frame.number,
            "Wavelength": f"{HC_EV_ANGSTROM / frame.geom.photon_energy_ev:.9g} A",
            "Detector_distance": f"{self.distance_mm / 1000:.9g} m",
            **self.more(frame.geom.photon_energy_ev),
            **frame.said,
        }
        return (cbf_image(self.array_of(frame), comments),)


def cbf_image(pixels: NDArray[np.integer], comments: Mapping[str, object]) -> bytes:
    """Write pixels (height, width) and comments as a CBF image.

    >>> cbf_image(np.arange(6).reshape(2, 3), {"Wavelength": "1.0 A"})[:7]
    b'###CBF:'
    """
    body = byte_offsets(pixels)
    height, width = pixels.shape
    lines = [
        "###CBF: VERSION 1.5, simulated",
        "",
        "data_simulated",
        "",
        '_array_data.header_convention "PILATUS_1.2"',
        "_array_data.header_contents",
        ";",
        *(f"# {name} {value}" for name, value in comments.items()),
        ";",
        "",
        "_array_data.data",
        ";",
        "--CIF-BINARY-FORMAT-SECTION--",
        "Content-Type: application/octet-stream;",
        '     conversions="x-CBF_BYTE_OFFSET"',
        "Content-Transfer-Encoding: BINARY",
        f"X-Binary-Size: {len(body)}",
        "X-Binary-ID: 1",
        'X-Binary-Element-Type: "signed 32-bit integer"',
        "X-Binary-Element-Byte-Order: LITTLE_ENDIAN",
        f"Content-MD5: {base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()}",
        f"X-Binary-Number-of-Elements: {pixels.size}",
        f"X-Binary-Size-Fastest-Dimension: {width}",
        f"X-Binary-Size-Second-Dimension: {height}",
        f"X-Binary-Size-Padding: {_PADDING}",
        "",
        "",
    ]
    end = b"\r\n--CIF-BINARY-FORMAT-SECTION----\r\n;\r\n\r\n"
    return "\r\n".join(lines).encode() + _BEGINS + body + bytes(_PADDING) + end


def byte_offsets(pixels: NDArray[np.integer]) -> bytes:
    """Compress pixels of at most 32 bits.

    >>> byte_offsets(np.array([[5, 4, 1004, 101004]])).hex(" ")
    '05 ff 80 e8 03 80 00 80 a0 86 01 00'
    """
    steps = np.diff(pixels.reshape(-1).astype(np.int64), prepend=0)
    size = np.abs(steps)
    width = np.select([size < 1 << 7, size < 1 << 15, size < 1 << 31], [1, 3, 7], 15)
    at = np.cumsum(width) - width
    out = np.zeros(int(width.sum()), np.uint8)
    for escapes, most in ((b"", 1), (b"\x80", 3), (b"\x80\x00\x80", 7), (b"\x80\x00\x80\x00\x00\x00\x80", 15)):
        mine = width == most
        start, values = at[mine], steps[mine]
        for k, byte in enumerate(escapes):
            out[start + k] = byte
        for k in range(most - len(escapes)):
            out[start + len(escapes) + k] = (values >> (8 * k)) & 0xFF
    return out.tobytes()
