"""Simulated frames as messages: the bodies that OnDA and OM send.

``seed``
    OnDA's ``ondaframedata`` (2018-2020): an array that holds one map, all keys text.
``om``
    OM 23.8: one map; the image's own keys (``nd``, ``type``, ``kind``, ``shape``, ``data``) are binary, as msgpack-numpy
    writes them.
``cbf``
    A CBF image; header values are comments.
``npy``
    An array as ``numpy.save`` writes it, and nothing else.
``karabo``
    A train of a karabo bridge, protocol 2.2: one message of several frames.

Maps carry the event id, so that whoever receives a frame can look up its truth, and how the crystal lies (`TRUTH_KEY`), so
that whoever compares ways of finding that out needs no file; and the frame's number, so that it is seen which did not come.
"""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stages.records.geometry import HC_EV_ANGSTROM, DetGeom
from stages.simulation import as_karabo
from stages.simulation.as_cbf import cbf_image
from stages.simulation.experiment import SimulatedFrame
from stages.simulation.settings import Style
from stages.simulation.truth import TRUTH_KEY, TruthWriter

_ENCODER = msgspec.msgpack.Encoder()


@dataclass(frozen=True)
class WireFormat:
    """How a frame is written.

    Attributes
    ----------
    style
        One of :data:`~stages.simulation.settings.Style`.
    image
        Whether the pixels are sent; without them the message is that of OM's Crystallography layer.
    distance_mm
        Sent as ``detector_distance``.
    peak_list
        Key under which the peak list is sent; "" sends none.
    more
        Further entries of the map for a photon energy in eV: the keys in which the geometry file looks for the energy
        and for camera lengths, where those are not OM's.
    """

    style: Style = "seed"
    image: bool = True
    distance_mm: float = 130.0
    peak_list: str = "peak_list"
    more: Callable[[float], Mapping[str, float]] = lambda energy_ev: {}  # noqa: ARG005

    def body(self, frame: SimulatedFrame, timestamp_s: float | None = None) -> bytes | bytearray:
        """One message body. `timestamp_s` is the time of the exposure, now by default."""
        if self.style == "cbf":
            return cbf_image(self._only_array(frame), self._comments(frame))
        if self.style == "npy":
            buffer = io.BytesIO()
            np.save(buffer, self._only_array(frame), allow_pickle=False)
            return buffer.getvalue()
        return self._map(frame, timestamp_s)

    def _only_array(self, frame: SimulatedFrame) -> NDArray[Any]:
        (array,) = frame.arrays.values()
        return array

    def _comments(self, frame: SimulatedFrame) -> dict[str, object]:
        energy_ev = frame.geom.photon_energy_ev
        return {
            "event_id": frame.truth.event,
            "sequence_number": frame.number,
            "Wavelength": f"{HC_EV_ANGSTROM / energy_ev:.9g} A",
            "Detector_distance": f"{self.distance_mm / 1000:.9g} m",
            **self.more(energy_ev),
        }

    def _map(self, frame: SimulatedFrame, timestamp_s: float | None) -> bytearray:
        message: dict[str, Any] = {}
        if self.image:
            message |= {key: self._array(array) for key, array in frame.arrays.items()}
        if self.peak_list:
            message[self.peak_list] = self._peaks(frame)
        energy_ev = frame.geom.photon_energy_ev
        message |= {
            "beam_energy": energy_ev,
            "detector_distance": self.distance_mm,
            "event_id": frame.truth.event,
            "sequence_number": frame.number,
            TRUTH_KEY: None if frame.truth.real_space_angstrom is None else frame.truth.real_space_angstrom.tolist(),
            "timestamp": time.time() if timestamp_s is None else timestamp_s,
            "source": "streamajig simulate",
            "configuration_file": "simulated",
        }
        if self.style == "seed":
            shapes = [list(array.shape) for array in frame.arrays.values()]
            message |= {
                "frame_is_saturated": False,
                "frame_is_hit": frame.truth.hit,
                "native_data_shape": shapes[0] if shapes else [],
                "hit_rate": 0.0,
                "saturation_rate": 0.0,
                "geometry_is_optimized": True,
            }
        message |= self.more(energy_ev)
        room = sum(array.nbytes for array in frame.arrays.values()) if self.image else 0
        buffer = bytearray(room + 65536)
        _ENCODER.encode_into(message if self.style == "om" else [message], buffer)
        return buffer

    @property
    def frames_a_message(self) -> int:
        """How many frames a message has."""
        return as_karabo.PULSES if self.style == "karabo" else 1

    def event_of(self, frame: SimulatedFrame) -> str:
        """The name under which a frame is known to whoever receives it."""
        return as_karabo.event_of(frame.number) if self.style == "karabo" else frame.truth.event

    def truth_into(self, writer: TruthWriter | None) -> Callable[[SimulatedFrame], None]:
        """Return what writes a frame's truth, if it is to be written, under the name by which the frame is known."""

        def write(frame: SimulatedFrame) -> None:
            if writer is not None:
                writer.write(replace(frame.truth, event=self.event_of(frame)))

        return write

    def bodies(
        self, frames: Iterable[SimulatedFrame], each: Callable[[SimulatedFrame], object] | None = None
    ) -> Iterator[bytes | bytearray | list[as_karabo.Part]]:
        """Messages of frames, as bodies or lists of parts; `each` is called with a frame before its message is handed out."""
        left = iter(frames)
        while together := list(itertools.islice(left, self.frames_a_message)):
            message = self.train(together) if self.style == "karabo" else self.body(together[0])
            if each is not None:
                for frame in together:
                    each(frame)
            yield message

    def train(self, frames: Sequence[SimulatedFrame]) -> list[as_karabo.Part]:
        """Return the parts of a message with these frames, which follow each other in one train."""
        images = {
            key if "/" in key else as_karabo.IMAGE: [frame.arrays[key] for frame in frames] for key in frames[0].arrays
        }
        values = [
            {as_karabo.DISTANCE: self.distance_mm / 1000, **self.more(frame.geom.photon_energy_ev)} for frame in frames
        ]
        by_key = {key: [each[key] for each in values] for key in values[0] if "/" in key}
        return as_karabo.train_of([frame.number for frame in frames], images, by_key)

    def _array(self, array: NDArray[np.generic]) -> dict[Any, Any]:
        entries = {
            "nd": True,
            "type": array.dtype.str,
            "kind": b"" if self.style == "om" else "",
            "shape": list(array.shape),
            "data": np.ascontiguousarray(array).reshape(-1).view(np.uint8).data,
        }
        return {key.encode(): value for key, value in entries.items()} if self.style == "om" else entries

    @staticmethod
    def _peaks(frame: SimulatedFrame) -> dict[str, Any]:
        """The peak list in OM's keys: positions are indices into the data array, a pixel's centre being a whole number."""
        peaks = frame.peaks
        panels = frame.geom.panels
        min_fs = np.array([panel.min_fs for panel in panels], float)
        min_ss = np.array([panel.min_ss for panel in panels], float)
        return {
            "num_peaks": len(peaks),
            "fs": (peaks.fs + min_fs[peaks.panel] - 0.5).tolist(),
            "ss": (peaks.ss + min_ss[peaks.panel] - 0.5).tolist(),
            "intensity": peaks.intensity.tolist(),
            "num_pixels": peaks.num_pixels.astype(float).tolist(),
            "max_pixel_intensity": peaks.max_pixel.tolist(),
            "snr": peaks.snr.tolist(),
        }


def panels_share_one_array(geom: DetGeom) -> bool:
    """Whether (fs, ss) says on which panel a peak lies: all panels in one two-dimensional array."""
    return len({panel.data for panel in geom.panels}) == 1 and all(
        len([d for d in panel.dims if d != "%"]) == 2 for panel in geom.panels
    )
