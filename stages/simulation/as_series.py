"""Simulated frames as DECTRIS' two streams have them: what begins a series, and the frames of it.

Pixels are not compressed, which both streams allow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from numpy.typing import NDArray

from pipeline import UserError
from stages.files.geom.detector import Detector
from stages.records.geometry import DetGeom
from stages.simulation.experiment import SimulatedFrame
from stages.simulation.settings import Style
from stages.simulation.wire import OneArray, peak_columns

SERIES = 1
"""The number of the one series that is sent."""

SPOTS = "spots"
"""Key of the peaks in messages of Stream2, where Jungfraujoch has them."""

_SELF_DESCRIBED, _ARRAY = 55799, 40
_TYPED = {"|u1": 64, "<u2": 69, "<u4": 70, "<u8": 71, "|i1": 72, "<i2": 77, "<i4": 78, "<i8": 79, "<f4": 85, "<f8": 86}
"""Tags of arrays, by type: RFC 8746."""


class _InSeries(OneArray):
    """A message with what holds for all frames, energy and distance among it, and a message for each."""

    @staticmethod
    def energy_may_vary(detector: Detector) -> bool:
        """It is said once, before all frames."""
        return False


class Dectris1(_InSeries):
    """A series of SIMPLON's first stream."""

    style: ClassVar[Style] = "dectris1"

    @staticmethod
    def places(energy_ev: float, distance_mm: float) -> str:
        """As the header's keys are called."""
        return "photon_energy = photon_energy eV\nclen = detector_distance m\n"

    def said_once(self, frame: SimulatedFrame) -> tuple[bytes, ...]:
        """The header of the series."""
        return tuple(dectris1_header(frame.geom.photon_energy_ev, self.distance_mm / 1000, frame.geom.mean_pixel_m))

    def message(self, frames: Sequence[SimulatedFrame]) -> list[bytes]:
        """Four parts."""
        (frame,) = frames
        return dectris1_frame(self.array_of(frame), frame.number, {"event_id": frame.truth.event, **frame.said})


class Dectris2(_InSeries):
    """A series of Stream2, with peaks as Jungfraujoch has them."""

    style: ClassVar[Style] = "dectris2"

    @staticmethod
    def places(energy_ev: float, distance_mm: float) -> str:
        """As the start's keys are called, the distance as its decoder calls it."""
        return f"photon_energy = incident_energy eV\nclen = detector_distance m\npeak_list = {SPOTS}\n"

    @staticmethod
    def key_of_peaks(geom: DetGeom) -> str:
        """Always the same."""
        return SPOTS

    def said_once(self, frame: SimulatedFrame) -> tuple[bytes, ...]:
        """The start of the series."""
        return tuple(dectris2_start(frame.geom.photon_energy_ev, self.distance_mm / 1000, frame.geom.mean_pixel_m))

    def message(self, frames: Sequence[SimulatedFrame]) -> list[bytes]:
        """One part."""
        (frame,) = frames
        more: dict[str, Any] = {"event_id": frame.truth.event, **frame.said}
        if self.peak_list:
            peaks = peak_columns(frame)
            columns = zip(peaks["fs"], peaks["ss"], peaks["intensity"], strict=True)
            more[self.peak_list] = [{"x": fs, "y": ss, "I": intensity} for fs, ss, intensity in columns]
        return dectris2_frame(self.array_of(frame), frame.number, more)


def dectris1_header(energy_ev: float, distance_m: float, pixel_m: float) -> list[bytes]:
    """What SIMPLON's first stream says once, with header_detail basic."""
    config = {
        "photon_energy": energy_ev,
        "detector_distance": distance_m,
        "x_pixel_size": pixel_m,
        "y_pixel_size": pixel_m,
        "description": "simulated",
    }
    return [_json(htype="dheader-1.0", header_detail="basic", series=SERIES), _json(**config)]


def dectris1_frame(pixels: NDArray[Any], number: int, more: Mapping[str, Any]) -> list[bytes]:
    """A frame of SIMPLON's first stream; `more` goes beside its number.

    >>> import numpy as np
    >>> print(dectris1_frame(np.zeros((2, 3), "u2"), 0, {})[1].decode())
    {"htype":"dimage_d-1.0","shape":[3,2],"type":"uint16","encoding":"<","size":12}
    """
    height, width = pixels.shape
    body = _little(pixels).tobytes()
    return [
        _json(htype="dimage-1.0", series=SERIES, frame=number, **more),
        _json(htype="dimage_d-1.0", shape=[width, height], type=pixels.dtype.name, encoding="<", size=len(body)),
        body,
        _json(htype="dconfig-1.0", start_time=0, stop_time=0, real_time=0),
    ]


def dectris2_start(energy_ev: float, distance_m: float, pixel_m: float) -> list[bytes]:
    """What Stream2 says once."""
    return _cbor(
        type="start",
        series_id=SERIES,
        incident_energy=energy_ev,
        detector_translation=[0.0, 0.0, distance_m],
        pixel_size_x=pixel_m,
        pixel_size_y=pixel_m,
        detector_description="simulated",
        channels=["default"],
    )


def dectris2_frame(pixels: NDArray[Any], number: int, more: Mapping[str, Any]) -> list[bytes]:
    """A frame of Stream2; `more` goes beside its number."""
    _, tag = _cbor2()
    pixels = _little(pixels)
    array = tag(_ARRAY, [list(pixels.shape), tag(_TYPED[pixels.dtype.str], pixels.tobytes())])
    return _cbor(type="image", series_id=SERIES, image_id=number, data={"default": array}, **more)


def _little(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)


def _json(**said: Any) -> bytes:
    return json.dumps(said, separators=(",", ":")).encode()


def _cbor(**said: Any) -> list[bytes]:
    dumps, tag = _cbor2()
    return [dumps(tag(_SELF_DESCRIBED, said))]


def _cbor2() -> tuple[Callable[[Any], bytes], Callable[[int, Any], Any]]:
    try:
        import cbor2
    except ImportError as error:
        raise UserError(
            f"frames are written as dectris2 with cbor2, which cannot be imported ({error}); pip install 'streamajig[dectris]'"
        ) from None
    return cbor2.dumps, cbor2.CBORTag
