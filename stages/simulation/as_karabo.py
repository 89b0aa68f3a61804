"""Simulated frames as a train of a karabo bridge, protocol 2.2: pairs of a header and what it speaks of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline import UserError
from stages.files.geom.detector import Detector
from stages.records.geometry import DetGeom
from stages.simulation.experiment import SimulatedFrame
from stages.simulation.settings import Style
from stages.simulation.wire import Part, WireFormat

PULSES = 16
"""Frames of a train."""

FIRST_TRAIN = 10_000_000_000
TRAINS_PER_S = 10
"""As the European XFEL makes them."""

DETECTOR = "SIM_DET_FLAT/DET/0CH0:xtdf"
IMAGE = f"{DETECTOR}/image.data"
ENERGY = f"{DETECTOR}/image.photonEnergy"
DISTANCE = "SIM_EXP/MOTOR/DETECTOR_Z/position"

_ENCODER = msgspec.msgpack.Encoder()


class Karabo(WireFormat):
    """A train: one message of several frames, in which all is called ``SOURCE/key``."""

    style: ClassVar[Style] = "karabo"
    frames_a_message: ClassVar[int] = PULSES

    @staticmethod
    def places(energy_ev: float, distance_mm: float) -> str:
        """The energy comes with each frame, the distance once with each train."""
        return f"photon_energy = {ENERGY} eV\nclen = {DISTANCE} m\n"

    @classmethod
    def require(cls, detector: Detector, geom: DetGeom, geometry: Path | None) -> None:
        """Raise UserError if the geometry file names what cannot be a property of a source."""
        if nameless := [key for key in (*detector.header_keys, *filter(None, detector.data_keys)) if "/" not in key]:
            raise UserError(
                f"{geometry}: {nameless[0]!r} is no property of a source; in the trains of a karabo bridge all is called "
                f"SOURCE/key, such as {ENERGY}"
            )

    @staticmethod
    def energy_may_vary(detector: Detector) -> bool:
        """A source without images says one number for all of a train."""
        return detector.energy is None or detector.energy.key.startswith(DETECTOR)

    @staticmethod
    def can_say(key: str) -> bool:
        """What is no property of the source of images comes once with each train."""
        return key.startswith(f"{DETECTOR}/")

    def event_of(self, frame: SimulatedFrame) -> str:
        """Train and pulse."""
        return event_of(frame.number)

    def message(self, frames: Sequence[SimulatedFrame]) -> list[Part]:
        """The parts of a train with these frames, which follow each other in it."""
        images = {key if "/" in key else IMAGE: [frame.arrays[key] for frame in frames] for key in frames[0].arrays}
        values: list[dict[str, Any]] = [
            {DISTANCE: self.distance_mm / 1000, **self.more(frame.geom.photon_energy_ev), **frame.said}
            for frame in frames
        ]
        by_key = {key: [each[key] for each in values] for key in values[0] if "/" in key}
        return train_of([frame.number for frame in frames], images, by_key)


def event_of(number: int) -> str:
    """The name under which a frame is known.

    >>> event_of(0), event_of(35)
    ('10000000000 // 0', '10000000002 // 3')
    """
    return f"{FIRST_TRAIN + number // PULSES} // {number % PULSES}"


def train_of(
    numbers: Sequence[int], images: Mapping[str, Sequence[NDArray[Any]]], values: Mapping[str, Sequence[float]]
) -> list[Part]:
    """Make the parts of a train.

    Parameters
    ----------
    numbers
        Of its frames, which are of one train.
    images
        By ``SOURCE/key``, an array for each frame.
    values
        By ``SOURCE/key``, a number for each frame; a source that has no images says the first.

    >>> parts = train_of([16, 17], {IMAGE: [np.zeros((2, 3), "u2")] * 2}, {ENERGY: [9500.0, 9501.0]})
    >>> len(parts), parts[0][:8]
    (10, b'\\x83\\xa6source')
    """
    arrays: dict[str, dict[str, NDArray[Any]]] = {}
    plain: dict[str, dict[str, float]] = {}
    for key, each in images.items():
        source, _, path = key.rpartition("/")
        arrays.setdefault(source, {})[path] = np.stack(each)
    for has in arrays.values():
        has["image.pulseId"] = np.array([number % PULSES for number in numbers], np.uint64)
        has["image.cellId"] = np.array([number % PULSES for number in numbers], np.uint16)
    for key, numbers_of in values.items():
        source, _, path = key.rpartition("/")
        if source in arrays:
            arrays[source][path] = np.asarray(numbers_of, float)
        else:
            plain.setdefault(source, {})[path] = numbers_of[0]
    train_id = FIRST_TRAIN + numbers[0] // PULSES
    parts: list[Part] = []
    for source in (*plain, *arrays):
        time_s = (train_id - FIRST_TRAIN) / TRAINS_PER_S
        metadata = {"source": source, "timestamp": time_s, "timestamp.tid": train_id}
        parts += _pair({"source": source, "content": "msgpack", "metadata": metadata}, plain.get(source, {}))
        for path, array in arrays.get(source, {}).items():
            said = {"source": source, "content": "array", "path": path, "dtype": str(array.dtype), "shape": array.shape}
            parts += [_ENCODER.encode(said), array.data.cast("B")]
    return parts


def _pair(header: Mapping[str, Any], values: Mapping[str, float]) -> list[Part]:
    return [_ENCODER.encode(header), _ENCODER.encode(values)]
