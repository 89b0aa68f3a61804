"""Simulated frames as messages: the bodies that OnDA and OM send.

``seed``
    OnDA's ``ondaframedata`` (2018-2020): an array that holds one map, all keys text.
``om``
    OM 23.8: one map; the image's own keys (``nd``, ``type``, ``kind``, ``shape``, ``data``) are binary, as msgpack-numpy
    writes them.
``hdf5``
    An HDF5 file; pixels and header values are at the paths that the geometry file says.
``cbf``
    A CBF image; header values are comments.
``seedee``
    Two parts, as Seedee's users send them: JSON, in which the array is described among header values, and the array.
``npy``
    An array as ``numpy.save`` writes it, and nothing else.
``dectris1``, ``dectris2``
    A series of DECTRIS' streams: a message with what holds for all frames, and a message for each.
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
from stages.simulation.as_hdf5 import hdf5_file, seedee_parts
from stages.simulation.as_series import dectris1_frame, dectris1_header, dectris2_frame, dectris2_start
from stages.simulation.experiment import SimulatedFrame
from stages.simulation.settings import IN_SERIES, Style
from stages.simulation.truth import TRUTH_KEY, TruthWriter
from stages.wire.serving import Body

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
        """One message body, of several parts the last. `timestamp_s` is the time of the exposure, now by default."""
        return self.parts(frame, timestamp_s)[-1]

    def parts(self, frame: SimulatedFrame, timestamp_s: float | None = None) -> tuple[bytes | bytearray, ...]:
        """One message."""
        if self.style in IN_SERIES:
            return self._in_series(frame)
        if self.style == "seedee":
            return seedee_parts(self._only_array(frame), self._values(frame))
        return (self._one_part(frame, timestamp_s),)

    def _one_part(self, frame: SimulatedFrame, timestamp_s: float | None) -> bytes | bytearray:
        if self.style == "hdf5":
            return hdf5_file(frame.arrays, self._values(frame))
        if self.style == "cbf":
            return cbf_image(self._only_array(frame), self._comments(frame))
        if self.style == "npy":
            buffer = io.BytesIO()
            np.save(buffer, self._only_array(frame), allow_pickle=False)
            return buffer.getvalue()
        return self._map(frame, timestamp_s)

    def said_once(self, frame: SimulatedFrame) -> tuple[bytes, ...]:
        """The message that comes before all frames; empty where a style has none. `frame` is any of them."""
        if self.style not in IN_SERIES:
            return ()
        begins = dectris1_header if self.style == "dectris1" else dectris2_start
        return tuple(begins(frame.geom.photon_energy_ev, self.distance_mm / 1000, frame.geom.mean_pixel_m))

    def _in_series(self, frame: SimulatedFrame) -> tuple[bytes, ...]:
        more: dict[str, Any] = {"event_id": frame.truth.event}
        if self.style == "dectris1":
            return tuple(dectris1_frame(self._only_array(frame), frame.number, more))
        if self.peak_list:
            peaks = self._peaks(frame)
            columns = zip(peaks["fs"], peaks["ss"], peaks["intensity"], strict=True)
            more[self.peak_list] = [{"x": fs, "y": ss, "I": intensity} for fs, ss, intensity in columns]
        return tuple(dectris2_frame(self._only_array(frame), frame.number, more))

    def _only_array(self, frame: SimulatedFrame) -> NDArray[Any]:
        (array,) = frame.arrays.values()
        return array

    def _values(self, frame: SimulatedFrame) -> dict[str, object]:
        who = {"event_id": frame.truth.event, "sequence_number": frame.number}
        return who | dict(self.more(frame.geom.photon_energy_ev))

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
    ) -> Iterator[Body]:
        """Messages of frames, as bodies or all parts, and before them what is said once.

        `each` is called with a frame before its message is handed out.
        """
        left = iter(frames)
        is_begun = False
        while together := list(itertools.islice(left, self.frames_a_message)):
            if not is_begun and (said := self.said_once(together[0])):
                yield said
            is_begun = True
            parts = self.message(together)
            if each is not None:
                for frame in together:
                    each(frame)
            yield parts if len(parts) > 1 else parts[0]

    def message(self, frames: Sequence[SimulatedFrame]) -> Sequence[bytes | bytearray | memoryview]:
        """Return the parts of a message with these frames: as many as a message has, or, at the end, fewer."""
        return self.train(frames) if self.style == "karabo" else self.parts(frames[0])

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
