"""Read frames of DECTRIS' first stream, as SIMPLON sends it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import Context, Event, Message, Preamble, RejectFrame, stage
from stages.records.header import Header, in_short
from stages.records.image import HIGHEST, UNNAMED, Image, PixelMask
from stages.records.told import PixelsDecoded, SeriesKeys
from stages.wire.compressed import Codec, Decompressor
from stages.wire.json_parts import json_object
from stages.wire.looks import not_wanted
from stages.wire.naming import Naming
from stages.wire.series import (
    Latest,
    Series,
    named_in_series,
    pixel_mask,
    scalars,
    whole_number,
)

KEYS = SeriesKeys(
    energy_ev="photon_energy", distance_m="detector_distance", saturation="countrate_correction_count_cutoff"
)

_TYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32")
_ENCODING = re.compile(r"(?:bs(8|16|32)-)?(lz4)?([<>])", re.ASCII)
"""Bitshuffled in elements of so many bits, compressed with LZ4, and the order of bytes."""


@stage("decode/dectris1", publishes=(PixelsDecoded, SeriesKeys))
class Dectris1(Naming):
    """Read frames as DECTRIS' SIMPLON sends them over its stream, version 1 (``--data-format=dectris1``).

    What the series' header (``header_detail`` none, basic or all) and the frame say are the keys of the header, under the
    detector's names (``photon_energy``, ``detector_distance``, ``frame``, ...); the event is ``series // frame``. Photon energy
    and camera length come from the series where the geometry file has none, and its pixel mask (``header_detail`` all) is added
    to the geometry's. The image has no name: every panel's pixels are in it, whatever ``data`` says. The highest value of
    unsigned integers marks pixels that are bad. Frames before the first series header are rejected. Needs
    dectris-compression. Format: SIMPLON API, https://media.dectris.com/filer_public/simplon_apireference.pdf
    """

    def open(self, context: Context) -> RunningDectris1:
        """Find the library, and let the stages downstream know that there are images."""
        context.publish(PixelsDecoded(True, named=False, has_sentinels=True))
        context.publish(KEYS)
        return RunningDectris1(self, Decompressor("decode/dectris1"))


class RunningDectris1:
    """`Dectris1` at work, with the series of the frame before."""

    def __init__(self, parameters: Dectris1, decompressor: Decompressor) -> None:
        self._parameters = parameters
        self._decompressor = decompressor
        self._latest = Latest(self._series_of, "dheader")

    def __call__(self, message: Message) -> tuple[Event, Header, Image]:
        """Read what is said of the image, and decode its pixels."""
        parts = self._parameters.parts(message)
        frame = json_object(parts[0])
        if frame is None or not str(frame.get("htype", "")).startswith("dimage-"):
            raise _no_image(parts[0], frame)
        series = self._latest.of(message, frame.get("series"))
        number = whole_number(frame, "frame")
        if len(parts) < 3:
            raise RejectFrame("truncated", f"the image has {len(parts)} parts; four were wanted")
        pixels = self._pixels(_described(parts[1], "dimage_d-"), parts[2])
        said = scalars(frame)
        for part in parts[3:]:
            said |= _more(part, "image_appendix")
        header = Header({**series.values, **said})
        event, header = named_in_series(header, self._parameters, series.name, number, "frame")
        image = Image({UNNAMED: pixels}, {}, sentinels=HIGHEST, mask=series.mask.get(""))
        return event, header, image

    def _pixels(self, described: dict[str, Any], body: memoryview) -> NDArray[Any]:
        kind, encoding, size = (described.get(key) for key in ("type", "encoding", "size"))
        found = _ENCODING.fullmatch(encoding) if isinstance(encoding, str) else None
        if found is None:
            raise RejectFrame(
                "other_compression",
                f"the image's encoding is {in_short(encoding)}; <, lz4<, bs8-lz4<, bs16-lz4< and bs32-lz4< are read",
            )
        bits, compression, order = found.groups()
        dtype = _dtype(kind, order)
        if bits is not None and (compression is None or int(bits) != 8 * dtype.itemsize):
            raise RejectFrame("other_compression", f"the image's encoding is {encoding}, and its type {kind}")
        if size is not None and size != len(body):
            raise RejectFrame(
                "truncated", f"the image says that it has {in_short(size)} bytes, and {len(body)} are there"
            )
        codec: Codec = "bslz4" if bits else "lz4_block" if compression else "raw"
        shape = _shape(described)
        return self._decompressor.array(body, codec, shape, dtype, self._parameters.max_message_bytes)

    def _series_of(self, preamble: Preamble) -> Series:
        parts = [memoryview(part).toreadonly().cast("B") for part in preamble.parts]
        first = json_object(parts[0]) or {}
        config = json_object(parts[1]) if len(parts) > 1 else None
        values = scalars(config or {}) if "htype" not in (config or {}) else {}
        mask: dict[str, PixelMask] = {}
        for k, part in enumerate(parts[1:-1], 1):
            described = json_object(part) or {}
            if str(described.get("htype", "")).startswith("dpixelmask-"):
                mask[""] = pixel_mask(self._table(described, parts[k + 1]))
        if len(parts) > 1:
            values |= _more(parts[-1], "header_appendix") if parts[-1] is not parts[1] else {}
        return Series(whole_number(first, "series"), values, mask)

    def _table(self, described: dict[str, Any], body: memoryview) -> NDArray[Any]:
        """A table of the series' header, which is never compressed."""
        limit = self._parameters.max_message_bytes
        return self._decompressor.array(body, "raw", _shape(described), _dtype(described.get("type")), limit)


def _no_image(body: memoryview, said: dict[str, Any] | None) -> RejectFrame:
    if said is not None and "htype" in said:
        return RejectFrame("no_frame", f"the message is {in_short(said['htype'])}; a dimage was wanted")
    return not_wanted(body, "a frame of DECTRIS' first stream")


def _described(part: memoryview, kind: str) -> dict[str, Any]:
    said = json_object(part)
    if said is None or not str(said.get("htype", "")).startswith(kind):
        raise RejectFrame(
            "bad_header", f"the part that says what the image is should be {kind}1.0, and is no such thing"
        )
    return said


def _shape(described: dict[str, Any]) -> tuple[int, ...]:
    """The shape of an array (ss, fs): SIMPLON names the fast direction first."""
    shape: Any = described.get("shape")
    if not (
        isinstance(shape, list)
        and 2 <= len(shape) <= 3
        and all(type(n) is int and 0 < n < 1 << 32 for n in shape)
        and shape[2:] in ([], [1])
    ):
        raise RejectFrame("bad_shape", f"the image's shape is {in_short(shape)}; [fs, ss] were wanted, above 0")
    return shape[1], shape[0]


def _dtype(kind: Any, order: str = "<") -> np.dtype[Any]:
    if kind not in _TYPES:
        raise RejectFrame("bad_dtype", f"the image's type is {in_short(kind)}; one of {', '.join(_TYPES)} was wanted")
    dtype: np.dtype[Any] = np.dtype(kind)
    return dtype.newbyteorder(">" if order == ">" else "<")


_LONGEST_APPENDIX = 4096


def _more(part: memoryview, appendix: str) -> dict[str, Any]:
    """What a last part adds to the header: times (dconfig), or what users have appended, which may be anything."""
    said = json_object(part)
    if said is not None and str(said.get("htype", "")).startswith("dconfig-"):
        return {name: value for name, value in scalars(said).items() if name != "htype"}
    if said is not None and "htype" in said:
        return {}
    try:
        return {appendix: str(part, "utf-8")} if len(part) <= _LONGEST_APPENDIX else {}
    except UnicodeDecodeError:
        return {}
