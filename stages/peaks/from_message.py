"""Take the peaks that the sender has found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline import Context, RejectFrame, UserError, stage
from stages.files.geom.detector import Detector
from stages.peaks._kernels import locate as kernel
from stages.records.geometry import DetGeom, Panel
from stages.records.header import Header, in_short
from stages.records.peaklist import PeakList
from stages.wire.encoded import as_bytes, dtype_of


@stage("peaks/from_message", uses=(Detector,))
class FromMessage:
    """Take the peaks from the message (``--peaks=msgpack``).

    The geometry file's ``peak_list`` names the key of a map with ``fs``, ``ss`` and ``intensity``: lists of ints or floats,
    encoded numpy arrays, or binary buffers whose type stands beside them under ``type``; all of one length. OM's
    ``num_pixels``, ``max_pixel_intensity`` and ``snr`` are taken too if they are there.

    Positions count pixels in the data block as a whole, with whole numbers at pixel centres; `half_pixel_shift` adds the half
    pixel that makes them distances from the corner. A peak lies on the panel whose range of fs and ss it falls in; one that
    falls in no panel, in several, or is not finite, is dropped and counted. Since such a list cannot tell data blocks
    apart, geometries whose panels differ in ``data`` are refused.
    """

    half_pixel_shift: bool = Field(
        default=True, description="Add half a pixel to fs and ss; off: --no-half-pixel-shift."
    )
    max_peaks: int = Field(
        default=100_000,
        ge=1,
        description="Frames with a longer list are rejected; searches find some hundreds, and 100000 peaks would lie within "
        "some 13 pixels of each other on a detector of 16 Mpixel.",
    )

    def open(self, context: Context) -> RunningFromMessage:
        """Check that the geometry can go with peaks from the message."""
        detector = context.upstream.get(Detector)
        if detector is not None:
            if not detector.peak_list:
                raise UserError(
                    "peaks are to come from the message (--peaks=msgpack), and the geometry file does not say under which "
                    "key: add a line such as 'peak_list = peak_list' to it, or choose another --peaks method"
                )
            if trouble := _why_ambiguous(detector.static_panels):
                raise UserError(f"{trouble}; choose another --peaks method")
        return RunningFromMessage(self)


class RunningFromMessage:
    """`FromMessage` at work, with the panel ranges of the geometry it saw last."""

    def __init__(self, parameters: FromMessage) -> None:
        self._shift = 0.5 if parameters.half_pixel_shift else 0.0
        self._max_peaks = parameters.max_peaks
        self._panels: tuple[Panel, ...] = ()
        self._ranges = np.empty((0, 4))
        one = np.zeros(1)
        self._place(one, one, one, num_pixels=one)  # to compile the kernels

    def __call__(self, header: Header, geometry: DetGeom) -> PeakList:
        """Read the peak list and find the panel of each peak."""
        if geometry.panels is not self._panels:
            self._look_at(geometry.panels)
        key = geometry.peak_list
        if not key:
            raise RejectFrame("no_peak_list", "the geometry has no 'peak_list' to name the key of the message's peaks")
        found = header.required(key)
        if not isinstance(found, Mapping):
            raise RejectFrame(
                "bad_peak_list", f"key {key!r} should hold a map with fs, ss and intensity, and holds {in_short(found)}"
            )
        with np.errstate(invalid="ignore"):  # a signalling NaN is no peak, and no reason for a warning on stderr
            return self._peaks(found, key)

    def _peaks(self, found: Mapping[str, Any], key: str) -> PeakList:
        wanted = ("fs", "ss", "intensity", *(name for name in _OPTIONAL if found.get(name) is not None))
        columns = {name: _column(found, key, name, self._max_peaks) for name in wanted}
        sizes = {name: len(column) for name, column in columns.items()}
        if len(set(sizes.values())) > 1:
            raise RejectFrame(
                "unequal_lengths",
                f"the lists of key {key!r} should have one length, and have "
                + ", ".join(f"{name}: {size}" for name, size in sizes.items()),
            )
        return self._place(**columns)

    def _look_at(self, panels: tuple[Panel, ...]) -> None:
        if trouble := _why_ambiguous(panels):
            raise RejectFrame("ambiguous_panels", trouble)
        self._ranges = np.array([(p.min_fs, p.max_fs + 1, p.min_ss, p.max_ss + 1) for p in panels], np.float64).reshape(
            -1, 4
        )
        self._panels = panels

    def _place(
        self,
        fs: NDArray[np.float64],
        ss: NDArray[np.float64],
        intensity: NDArray[np.float64],
        snr: NDArray[np.float64] | None = None,
        max_pixel_intensity: NDArray[np.float64] | None = None,
        num_pixels: NDArray[np.float64] | None = None,
    ) -> PeakList:
        given = len(fs)
        place, panel, kept = np.empty((3, given)), np.empty(given, np.int32), np.empty(given, np.int64)
        n = kernel.take(fs, ss, intensity, self._shift, self._ranges, place, panel, kept)
        kept = kept[:n]
        pixels = None
        if num_pixels is not None:
            pixels = np.empty(n, np.int32)
            kernel.counts(num_pixels, kept, pixels)
        return PeakList.make(
            panel[:n],
            place[0, :n],
            place[1, :n],
            place[2, :n],
            None if snr is None else snr[kept],
            None if max_pixel_intensity is None else max_pixel_intensity[kept],
            pixels,
            num_dropped=given - n,
        )


_OPTIONAL = ("snr", "max_pixel_intensity", "num_pixels")


def _why_ambiguous(panels: Sequence[Any]) -> str:
    """Say why a position in the data does not tell its panel; "" if it does.

    Panels may overlap by mistake and the peaks there are dropped, but panels of different data blocks, or of different slices
    of one block, overlap for a good reason.
    """
    for k, panel in enumerate(panels):
        if panel.data != panels[0].data:
            return (
                "a peak list in the message cannot say which data block a peak lies in, and the panels differ in 'data': "
                f"{panels[0].name!r} has {panels[0].data!r}, {panel.name!r} has {panel.data!r}"
            )
        for other in panels[:k] if panel.dims != panels[0].dims else ():
            if other.dims != panel.dims and _overlap(panel, other):
                return (
                    "a peak list in the message cannot say which slice of the data a peak lies in, and the panels differ in "
                    f"'dim' where they cover the same fs and ss: {other.name!r} has {other.dims}, {panel.name!r} has "
                    f"{panel.dims}"
                )
    return ""


def _overlap(one: Any, other: Any) -> bool:
    return bool(
        one.min_fs <= other.max_fs
        and other.min_fs <= one.max_fs
        and one.min_ss <= other.max_ss
        and other.min_ss <= one.max_ss
    )


def _column(found: Mapping[str, Any], key: str, name: str, max_peaks: int) -> NDArray[np.float64]:
    """Return one list of the peak list as float64; rejects the frame, naming the key, if it is none or too long."""
    where = f"{name!r} of key {key!r}"
    if name not in found:
        have = ", ".join(sorted(map(str, found))) or "none"
        raise RejectFrame("missing_key", f"key {key!r} holds no {name!r}; its keys are: {have}")
    values = found[name]
    dtype = dtype_of(found.get("type"))
    if isinstance(values, (bytes, str)) and dtype is not None:
        buffer = as_bytes(values)
        if len(buffer) % dtype.itemsize:
            raise RejectFrame(
                "bad_array_size", f"{where} has {len(buffer)} bytes, which is no whole number of {dtype.str} values"
            )
        values = np.frombuffer(buffer, dtype)
    num_values = values.size if isinstance(values, np.ndarray) else len(values) if isinstance(values, list) else 0
    if num_values > max_peaks:
        raise RejectFrame(
            "too_many_peaks",
            f"{where} has {num_values} values, and max_peaks = {max_peaks} of the stage peaks/from_message allows no more",
        )
    if isinstance(values, list):
        return _from_list(values, where)
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "iuf":
        raise RejectFrame("bad_peak_list", f"{where} should be a list of numbers, and is {in_short(values)}")
    return values.astype(np.float64)  # whose memory is of one kind: kernels are compiled for each


def _from_list(values: list[Any], where: str) -> NDArray[np.float64]:
    if not _NUMBERS.issuperset(map(type, values)):
        for k, value in enumerate(values):
            if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
                raise RejectFrame(
                    "bad_peak_list", f"{where} should be a list of numbers, and its element {k} is {in_short(value)}"
                )
    return np.array(values, np.float64)


_NUMBERS = frozenset((int, float))
