"""Simulated frames as DECTRIS' two streams have them: what begins a series, and the frames of it.

Pixels are not compressed, which both streams allow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from pipeline import UserError

SERIES = 1
"""The number of the one series that is sent."""

_SELF_DESCRIBED, _ARRAY = 55799, 40
_TYPED = {"|u1": 64, "<u2": 69, "<u4": 70, "<u8": 71, "|i1": 72, "<i2": 77, "<i4": 78, "<i8": 79, "<f4": 85, "<f8": 86}
"""Tags of arrays, by type: RFC 8746."""


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
