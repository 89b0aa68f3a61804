"""Simulated frames as a train of a karabo bridge, protocol 2.2: pairs of a header and what it speaks of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

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

Part = bytes | memoryview


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
