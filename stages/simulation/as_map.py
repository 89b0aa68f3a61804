"""Simulated frames as maps in MessagePack: the bodies that OnDA and OM send.

Beside event id and number a map says how the crystal lies (`TRUTH_KEY`), so that whoever compares ways of finding that out
needs no file.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from stages.records.geometry import DetGeom
from stages.simulation.experiment import SimulatedFrame
from stages.simulation.settings import Style
from stages.simulation.truth import TRUTH_KEY
from stages.simulation.wire import WireFormat, peak_columns

IN_MAPS = "photon_energy = beam_energy eV\nclen = detector_distance mm\npeak_list = peak_list\ndata = detector_data\n"
"""Where OnDA's and OM's messages have what a geometry file asks for."""

_ENCODER = msgspec.msgpack.Encoder()


class Om(WireFormat):
    """OM 23.8: one map.

    The image's own keys (``nd``, ``type``, ``kind``, ``shape``, ``data``) are binary, as msgpack-numpy writes them.
    """

    style: ClassVar[Style] = "om"

    @staticmethod
    def places(energy_ev: float, distance_mm: float) -> str:
        """All of it is in the map."""
        return IN_MAPS

    @staticmethod
    def key_of_peaks(geom: DetGeom) -> str:
        """Where the geometry file looks for them."""
        return geom.peak_list or "peak_list"

    def message(self, frames: Sequence[SimulatedFrame]) -> tuple[bytearray]:
        """One part."""
        (frame,) = frames
        return (self.body(frame),)

    def body(self, frame: SimulatedFrame, timestamp_s: float | None = None) -> bytearray:
        """One message. `timestamp_s` is the time of the exposure, now by default."""
        content = self._whole(self._map(frame, time.time() if timestamp_s is None else timestamp_s))
        room = sum(array.nbytes for array in frame.arrays.values()) if self.image else 0
        buffer = bytearray(room + 65536)
        _ENCODER.encode_into(content, buffer)
        return buffer

    def _map(self, frame: SimulatedFrame, timestamp_s: float) -> dict[str, Any]:
        message: dict[str, Any] = {}
        if self.image:
            message |= {key: self._array(array) for key, array in frame.arrays.items()}
        if self.peak_list:
            message[self.peak_list] = peak_columns(frame)
        energy_ev = frame.geom.photon_energy_ev
        message |= {
            "beam_energy": energy_ev,
            "detector_distance": self.distance_mm,
            "event_id": frame.truth.event,
            "sequence_number": frame.number,
            TRUTH_KEY: None if frame.truth.real_space_angstrom is None else frame.truth.real_space_angstrom.tolist(),
            "timestamp": timestamp_s,
            "source": "streamajig simulate",
            "configuration_file": "simulated",
        }
        return message | self._also(frame) | dict(self.more(energy_ev)) | dict(frame.said)

    def _whole(self, message: dict[str, Any]) -> object:
        return message

    def _also(self, frame: SimulatedFrame) -> dict[str, Any]:
        return {}

    def _array(self, array: NDArray[np.generic]) -> dict[Any, Any]:
        return {key.encode(): value for key, value in _entries(array, kind=b"").items()}


class Seed(Om):
    """OnDA's ``ondaframedata`` (2018-2020): an array that holds one map, all keys text; it tells hits, too."""

    style: ClassVar[Style] = "seed"

    def _whole(self, message: dict[str, Any]) -> object:
        return [message]

    def _also(self, frame: SimulatedFrame) -> dict[str, Any]:
        shapes = [list(array.shape) for array in frame.arrays.values()]
        return {
            "frame_is_saturated": False,
            "frame_is_hit": frame.truth.hit,
            "native_data_shape": shapes[0] if shapes else [],
            "hit_rate": 0.0,
            "saturation_rate": 0.0,
            "geometry_is_optimized": True,
        }

    def _array(self, array: NDArray[np.generic]) -> dict[Any, Any]:
        return _entries(array, kind="")


def _entries(array: NDArray[np.generic], kind: str | bytes) -> dict[str, Any]:
    return {
        "nd": True,
        "type": array.dtype.str,
        "kind": kind,
        "shape": list(array.shape),
        "data": np.ascontiguousarray(array).reshape(-1).view(np.uint8).data,
    }
