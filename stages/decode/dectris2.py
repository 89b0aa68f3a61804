"""Read frames of DECTRIS' second stream, and of Jungfraujoch, which speaks it too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline import Context, Event, Message, Preamble, RejectFrame, UserError, stage
from stages.records.header import Header, in_short
from stages.records.image import HIGHEST, UNNAMED, Image, PixelMask, Sentinels
from stages.records.told import PixelsDecoded, SeriesKeys
from stages.wire.compressed import Codec, Decompressor
from stages.wire.looks import not_wanted
from stages.wire.naming import Naming
from stages.wire.series import Latest, Series, named_in_series, pixel_mask, scalars, whole_number

KEYS = SeriesKeys(energy_ev="incident_energy", distance_m="detector_distance", saturation="saturation_value")

SPOTS = "spots"
"""The key under which the header has the spots that Jungfraujoch has found, as ``--peaks=msgpack`` takes them."""

_MAGIC = b"\xd9\xd9\xf7"
_ARRAY, _COMPRESSED = 40, 56500
_TYPES = {
    64: "u1", 65: ">u2", 66: ">u4", 67: ">u8", 68: "u1", 69: "<u2", 70: "<u4", 71: "<u8",
    72: "i1", 73: ">i2", 74: ">i4", 75: ">i8", 77: "<i2", 78: "<i4", 79: "<i8",
    80: ">f2", 81: ">f4", 82: ">f8", 84: "<f2", 85: "<f4", 86: "<f8",
}  # fmt: skip
"""Arrays of one type, by tag: RFC 8746, https://www.rfc-editor.org/rfc/rfc8746#section-2.1"""

_CODECS: dict[str, Codec] = {"bslz4": "bslz4", "lz4": "lz4", "bszstd": "bszstd"}
_LARGEST = 1 << 64
"""No pixel is as large."""

_DEEPEST = 32
_TIMES = ("real_time", "start_time", "stop_time", "exposure_time")
"""Fractions of a second: numerator and denominator."""


@stage("decode/dectris2", publishes=(PixelsDecoded, SeriesKeys))
class Dectris2(Naming):
    """Read frames of DECTRIS' Stream2, and of Jungfraujoch, which are CBOR (``--data-format=dectris2``).

    What the ``start`` message of the series and the frame say are the keys of the header, under the detector's names
    (``incident_energy``, ``image_id``, ...); the event is ``series // frame``. ``detector_distance`` (m), which Jungfraujoch
    sends, is that of ``detector_translation`` where there is none. Both fill what the geometry file leaves open, and the pixel
    mask is added to the geometry's. The image has no name: every panel's pixels are in it, whatever ``data`` says. The highest
    value of unsigned integers and the sender's ``error_value`` mark pixels that are bad. Spots that Jungfraujoch has found are
    taken as peaks with ``peak_list = spots`` in the geometry file and ``--peaks=msgpack``. Frames before the first ``start``
    are rejected. Needs cbor2 and dectris-compression. Formats: https://github.com/dectris/documentation (stream_v2) and
    https://jungfraujoch.readthedocs.io/en/latest/CBOR.html
    """

    channel: str = Field(
        default="",
        description="Which channel's image is read (threshold_1, threshold_2, difference, default); empty: the first one. "
        "The others are not decompressed.",
    )

    def open(self, context: Context) -> RunningDectris2:
        """Find the libraries, and let the stages downstream know that there are images."""
        try:
            import cbor2
        except ImportError as error:
            raise UserError(
                f"decode/dectris2 reads CBOR with cbor2, which cannot be imported ({error}); pip install 'streamajig[dectris]'"
            ) from None
        context.publish(PixelsDecoded(True, named=False, has_sentinels=True))
        context.publish(KEYS)
        return RunningDectris2(self, Decompressor("decode/dectris2"), cbor2.loads, cbor2.CBORTag)


class RunningDectris2:
    """`Dectris2` at work, with the series of the frame before."""

    def __init__(
        self, parameters: Dectris2, decompressor: Decompressor, loads: Callable[..., Any], tag: type[Any]
    ) -> None:
        self._parameters = parameters
        self._decompressor = decompressor
        self._loads = loads
        self._tag = tag
        self._latest = Latest(self._series_of, "start")

    def __call__(self, message: Message) -> tuple[Event, Header, Image]:
        """Decode the message, and of its images that of the channel."""
        (body, *_) = self._parameters.parts(message)
        if bytes(body[:3]) != _MAGIC:
            raise not_wanted(body, "a frame of DECTRIS' Stream2")
        said = self._decoded(body)
        if said.get("type") != "image":
            raise RejectFrame("no_frame", f"the message is of type {in_short(said.get('type'))}; an image was wanted")
        series = self._latest.of(message, said.get("series_id"))
        number = whole_number(said, "image_id")
        channel, data = self._channel(said.get("data"))
        pixels = self._array(data)
        values = {**series.values, **_values(said)}
        if SPOTS in said:
            values[SPOTS] = spots_of(said[SPOTS])
        event, header = named_in_series(Header(values), self._parameters, series.name, number, "image_id")
        mask = series.mask.get(channel, series.mask.get(""))
        return (
            event,
            header,
            Image({UNNAMED: pixels}, {}, sentinels=_sentinels(series.error_value), mask=mask),
        )

    def _decoded(self, body: memoryview) -> Mapping[str, Any]:
        try:
            said = self._loads(body, max_depth=_DEEPEST, strict_hashable_types=True)
        except Exception as error:  # cbor2 raises whatever what it is made of raises, from OverflowError to re.error
            raise RejectFrame("bad_cbor", f"the message is no CBOR that can be read: {error}") from None
        if not isinstance(said, Mapping):
            raise RejectFrame("bad_cbor", f"the message is {in_short(said)}; a map was wanted")
        return said

    def _channel(self, data: Any) -> tuple[str, Any]:
        """Return the name and the image of the channel that is read."""
        if not isinstance(data, Mapping) or not data:
            raise RejectFrame("no_pixels", f"the frame's data are {in_short(data)}; a map of channels was wanted")
        wanted = self._parameters.channel
        if wanted and wanted not in data:
            raise RejectFrame(
                "missing_channel", f"the frame has no channel {wanted!r}; its channels are: {', '.join(map(str, data))}"
            )
        name = wanted or next(iter(data))
        return str(name), data[name]

    def _array(self, value: Any) -> NDArray[Any]:
        """Return an array of several dimensions: tag 40 with the shape, and an array of one type, compressed or not."""
        dims, typed = self._content(value, _ARRAY, "an array of several dimensions (tag 40)", 2)
        if not (
            isinstance(dims, list | tuple)
            and len(dims) == 2
            and all(type(size) is int and 0 < size < 1 << 32 for size in dims)
        ):
            raise RejectFrame("bad_shape", f"the image's shape is {in_short(dims)}; [ss, fs] were wanted, above 0")
        kind = _TYPES.get(typed.tag, "") if isinstance(typed, self._tag) else ""
        if not kind:
            raise RejectFrame(
                "bad_dtype", "the image's pixels are no array of integers or real numbers (tags 64 to 86)"
            )
        body, codec = typed.value, "raw"
        if isinstance(body, self._tag):
            algorithm, itemsize, body = self._content(body, _COMPRESSED, "compressed (tag 56500)", 3)
            codec = _CODECS.get(algorithm, "") if isinstance(algorithm, str) else ""
            if not codec:
                raise RejectFrame(
                    "other_compression",
                    f"the image is compressed with {in_short(algorithm)}; {', '.join(_CODECS)} are read",
                )
            if itemsize != np.dtype(kind).itemsize and codec != "lz4":
                raise RejectFrame(
                    "bad_compression", f"the image's elements have {in_short(itemsize)} bytes, and its type is {kind}"
                )
        if not isinstance(body, bytes):
            raise RejectFrame("bad_array", f"the image's pixels are {in_short(body)}; bytes were wanted")
        limit = self._parameters.max_message_bytes
        return self._decompressor.array(memoryview(body), codec, tuple(dims), np.dtype(kind), limit)  # type: ignore[arg-type]

    def _content(self, value: Any, tag: int, what: str, length: int) -> Any:
        content = value.value if isinstance(value, self._tag) and value.tag == tag else None
        if not isinstance(content, list | tuple) or len(content) != length:
            raise RejectFrame("bad_array", f"the image's data are not {what}")
        return content

    def _series_of(self, preamble: Preamble) -> Series:
        said = self._decoded(memoryview(preamble.parts[0]).cast("B"))
        values = _values(said)
        translation = said.get("detector_translation")
        if KEYS.distance_m not in values and isinstance(translation, list | tuple) and len(translation) == 3:
            values |= scalars({KEYS.distance_m: translation[2]})
        masks = said.get("pixel_mask")
        mask: dict[str, PixelMask] = {}
        if isinstance(masks, Mapping):
            mask = {str(channel): pixel_mask(self._array(array)) for channel, array in masks.items()}
        error = said.get("error_value")
        error_value = float(error) if isinstance(error, int | float) and abs(error) < _LARGEST else None
        return Series(whole_number(said, "series_id"), values, mask, error_value)


def _values(said: Mapping[str, Any]) -> dict[str, Any]:
    """What goes into the header: single values, and times as numbers."""
    values = scalars(said)
    for name in _TIMES:
        fraction = said.get(name)
        if isinstance(fraction, list | tuple) and len(fraction) == 2 and all(type(n) is int for n in fraction):
            numerator, denominator = fraction
            if 0 < denominator < 1 << 64 and abs(numerator) < 1 << 64:
                values[name] = numerator / denominator
    return values


def _sentinels(error_value: float | None) -> Sentinels:
    """Values that are no intensities: the highest of unsigned integers, and what the sender says.

    >>> _sentinels(None).equal_in(np.dtype("u2")), _sentinels(-32768.0).equal_in(np.dtype("i2"))
    ((65535.0,), (-32768.0,))
    """
    return HIGHEST if error_value is None else replace(HIGHEST, equal=(error_value,))


def spots_of(spots: Any) -> dict[str, Any]:
    """Return spots as a peak list: from maps with x, y and I, or (as of 2022) all x, y, I one behind the other.

    >>> spots_of([{"x": 1.5, "y": 2.0, "I": 30}]) == spots_of([1.5, 2.0, 30.0]) == {"fs": [1.5], "ss": [2.0], "intensity": [30]}
    True
    """
    if not isinstance(spots, list | tuple):
        raise RejectFrame("bad_peak_list", f"the frame's spots are {in_short(spots)}; a list was wanted")
    if spots and not isinstance(spots[0], Mapping):
        if len(spots) % 3:
            raise RejectFrame(
                "bad_peak_list", f"the frame's spots are {len(spots)} numbers; x, y and I of each were wanted"
            )
        columns = [list(spots[k::3]) for k in range(3)]
    else:
        maps = [spot if isinstance(spot, Mapping) else {} for spot in spots]
        columns = [[spot.get(name) for spot in maps] for name in ("x", "y", "I")]
    return dict(zip(("fs", "ss", "intensity"), columns, strict=True))
