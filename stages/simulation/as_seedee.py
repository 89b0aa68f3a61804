"""A simulated frame as Seedee's users send arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from stages.simulation.experiment import SimulatedFrame
from stages.simulation.settings import Style
from stages.simulation.wire import OneArray


class Seedee(OneArray):
    """Two parts: JSON, in which the array is described among header values, and the array."""

    style: ClassVar[Style] = "seedee"

    @staticmethod
    def places(energy_ev: float, distance_mm: float) -> str:
        """Energy and distance are header values."""
        return "photon_energy = photon_energy eV\nclen = detector_distance m\n"

    def message(self, frames: Sequence[SimulatedFrame]) -> tuple[bytes, bytes]:
        """Description and pixels."""
        (frame,) = frames
        return seedee_parts(self.array_of(frame), self.header_of(frame))


def seedee_parts(pixels: NDArray[Any], values: Mapping[str, object]) -> tuple[bytes, bytes]:
    """Write an array as Seedee does, not compressed, with its description among header values, as ASAP::O has them.

    >>> seedee_parts(np.zeros((2, 3), "u2"), {"energy": 9500.0})[0][:33]
    b'{"energy": 9500.0, "_data_format"'
    """
    pixels = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    description = {
        "array": {
            "byteorder": ord("<"),
            "datatype": ord(pixels.dtype.kind),
            "itemsize": pixels.dtype.itemsize,
            "ndims": pixels.ndim,
            "shape": list(pixels.shape),
            "size": pixels.nbytes,
            "stride": None,
        },
        "compression": 0,
        "compression_opts": None,
        "data_format": "hdf5_chunk",
        "protocol": "seedee",
        "version_major": 1,
        "version_minor": 0,
    }
    said = {**values, "_data_format": json.dumps(description, separators=(",", ":"))}
    return json.dumps(said).encode(), pixels.tobytes()
