"""Reading one frame of a stack: pixels, header values, peaks and masks of an event, where the geometry file says they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import RejectFrame, UserError
from stages.compute.pixel_types import PIXEL_TYPES
from stages.files.geom.detector import Detector
from stages.files.geom.masks import from_bits
from stages.files.geom.model import MaskSource
from stages.files.hdf5_events import EventOfFile
from stages.files.hdf5_files import TROUBLE, OpenFile
from stages.records.geometry import Panel
from stages.wire.compressed import Decompressor
from stages.wire.hdf5_chunks import can_be_undone, steps_of, undone
from stages.wire.hdf5_filters import Filters, contradiction, filters_of

LONGEST_TEXT = 4096
"""Characters of a header value that is text."""


@dataclass(frozen=True)
class StackLayout:
    """Where a geometry file says that things are in HDF5 files.

    Attributes
    ----------
    pixels
        ``data`` of the panels, with ``%`` as in the geometry file -> what each dimension is.
    headers
        Paths of the values that go into each frame's header.
    peak_list
        Path of the peaks; "" if they are not wanted.
    masks
        Of each panel, those masks that are in the frames' own files.
    """

    pixels: dict[str, tuple[str | int, ...]]
    headers: tuple[str, ...]
    peak_list: str
    masks: tuple[tuple[Panel, tuple[MaskSource, ...]], ...]

    @staticmethod
    def of(detector: Detector, headers: tuple[str, ...] = (), *, with_peaks: bool = False) -> StackLayout:
        """Make it of a geometry file; UserError for one that no file can fit."""
        pixels: dict[str, tuple[str | int, ...]] = {}
        first = detector.static_panels[0]
        for panel in detector.static_panels:
            where = f"{detector.filename}: panel {panel.name!r}"
            if not panel.data:
                raise UserError(
                    f"{where} has no directive 'data', which says where in the file its pixels are: data = /entry/data/data"
                )
            if _placeholders(panel) != _placeholders(first):
                raise UserError(
                    f"{where} has another number of '%' in its data or dim directives than panel {first.name!r}; one event "
                    "has to fit all panels"
                )
            known = pixels.setdefault(panel.data, panel.dims)
            if _frame_axes(known) != _frame_axes(panel.dims):
                raise UserError(f"{where} has its '%' at another dimension of {panel.data} than a panel before it")
        if with_peaks and not detector.peak_list:
            raise UserError(
                f"{detector.filename}: peaks are to come from the files (--peaks=cxi or hdf5), and there is no line that says "
                "where they are: add one such as 'peak_list = /entry_1/result_1'"
            )
        masks = (
            (placed.panel, tuple(mask for mask in placed.masks if not mask.file and not placed.panel.no_index))
            for placed in detector.panels
        )
        return StackLayout(
            pixels,
            tuple(dict.fromkeys((*detector.header_keys, *headers))),
            detector.peak_list if with_peaks else "",
            tuple(masks),
        )


def _placeholders(panel: Panel) -> tuple[int, int]:
    return panel.data.count("%"), panel.dims.count("%")


def _frame_axes(dims: tuple[str | int, ...]) -> list[int]:
    return [axis for axis, dim in enumerate(dims) if dim == "%"]


def pixels_of(
    file: OpenFile,
    event: EventOfFile,
    pattern: str,
    dims: tuple[str | int, ...],
    decompressor: Decompressor | None = None,
) -> NDArray[Any]:
    """Return an event's array, without the dimensions that count frames; read-only, of a type that pixels have.

    Rejects the frame if the array is not there, or not as the geometry file says. A frame that is one chunk is decompressed
    past HDF5, which has one lock for all threads; one of bitshuffle or LZ4 only with a decompressor.
    """
    path = event.path(pattern)
    dataset = _dataset(file, path)
    if len(dataset.shape) != len(dims):
        raise RejectFrame(
            "wrong_dimensions",
            f"{path} has shape {dataset.shape}, and the geometry file's dim directives say {', '.join(map(str, dims))}",
        )
    at = _at(path, dataset.shape, dims, event)
    filters = filters_of(dataset.id.get_create_plist()) if dataset.chunks is not None else ()
    values = _one_chunk(dataset, at, filters, decompressor) if dataset.chunks is not None else None
    if values is None:
        wrong = contradiction(filters, dataset.id.get_type().get_size())
        if wrong:
            raise RejectFrame("bad_hdf5", f"{path} {wrong}")
        values = dataset[at]
    return as_pixels(values, path)


def _one_chunk(
    dataset: Any, at: tuple[int | slice, ...], filters: Filters, decompressor: Decompressor | None
) -> NDArray[Any] | None:
    """Read a frame that is one chunk of its own; None for one that HDF5 has to read."""
    wanted = tuple(1 if isinstance(number, int) else size for number, size in zip(at, dataset.shape, strict=True))
    if dataset.chunks != wanted:
        return None
    steps = steps_of(filters, dataset.dtype.itemsize)
    if not can_be_undone(steps, decompressor) or "fletcher32" in steps:  # HDF5 is faster at that
        return None
    try:
        skipped, chunk = dataset.id.read_direct_chunk(tuple(n if isinstance(n, int) else 0 for n in at))
    except (OSError, ValueError, RuntimeError):  # it was never written
        return None
    if skipped:
        return None
    shape = tuple(size for number, size in zip(at, dataset.shape, strict=True) if not isinstance(number, int))
    return undone(memoryview(chunk), steps, shape, dataset.dtype, decompressor)


def as_pixels(values: NDArray[Any], path: str) -> NDArray[Any]:
    """Return values as arrays of pixels are: in our byte order, read-only; rejects what is neither integers nor floats."""
    dtype = values.dtype
    if dtype.type == np.float16:
        values = values.astype(np.float32)
    elif not dtype.isnative:
        values = values.astype(dtype.newbyteorder("="))
    if values.dtype.type not in PIXEL_TYPES:
        raise RejectFrame("bad_dtype", f"{path} holds {dtype}; integers or real numbers were wanted")
    values = np.ascontiguousarray(values)
    if values.flags.writeable:
        values.flags.writeable = False
    return values


def _dataset(file: OpenFile, path: str) -> Any:
    try:
        found = file.get(path)
    except KeyError:
        raise RejectFrame("missing_key", f"there is no {path} in the file") from None
    if not hasattr(found, "shape"):
        raise RejectFrame("missing_key", f"{path} is a group, and an array was wanted")
    return found


def _at(path: str, shape: tuple[int, ...], dims: tuple[str | int, ...], event: EventOfFile) -> tuple[int | slice, ...]:
    """Where an event is in an array: its numbers in the place of ``%``, all of the other dimensions."""
    axes = _frame_axes(dims)
    if len(axes) != len(event.numbers):
        raise RejectFrame(
            "bad_event",
            f"the event has {len(event.numbers)} numbers behind //, and the geometry file {len(axes)} dims that are %",
        )
    index: list[int | slice] = [slice(None)] * len(dims)
    for axis, number in zip(axes, event.numbers, strict=True):
        if number >= shape[axis]:
            raise BeyondEnd(
                "no_such_event",
                f"{path} has {shape[axis]} frames along dimension {axis}, and frame {number} was asked for",
            )
        index[axis] = number
    return tuple(index)


class BeyondEnd(RejectFrame):
    """A frame that is not in the file, or was not when the file was opened."""


def header_value(file: OpenFile, event: EventOfFile, pattern: str) -> Any:
    """Return what stands under a path for an event: a number, true or false, or a text; None if there is no such thing.

    An array has one value for each event: its dimensions are 1, or counted by the event's numbers one after the other, as for
    CrystFEL.
    """
    try:
        dataset = file.get(event.path(pattern, may_have_more=True))
        numbers = iter(event.numbers)
        index = tuple(0 if size == 1 else next(numbers) for size in dataset.shape)
        value = dataset[index]
    except (*TROUBLE, RejectFrame, StopIteration, AttributeError):
        return None
    if isinstance(value, bytes):
        return value.decode(errors="replace").rstrip("\0\n")[:LONGEST_TEXT]
    if isinstance(value, str):
        return value[:LONGEST_TEXT]
    return value if isinstance(value, (np.integer, np.floating, np.bool_)) else None


def peaks_of(file: OpenFile, event: EventOfFile, pattern: str) -> dict[str, NDArray[np.float64]]:
    """Return an event's peaks as a message's peak list: fs, ss and intensity, float64 (n,), in pixels of the data array.

    A group is read as CXI files have it (nPeaks, peakXPosRaw, peakYPosRaw, peakTotalIntensity: a line for each event); an array
    as fs, ss and intensity in its first columns.
    """
    path = event.path(pattern)
    try:
        found = file.get(path)
    except KeyError:
        raise RejectFrame(
            "missing_key",
            f"there is no peak list {path} in the file; the geometry file's peak_list has to say where it is, and "
            "--peaks=zaef searches the pixels",
        ) from None
    if not hasattr(found, "shape"):
        return _peaks_of_cxi(file, event, path)
    if len(found.shape) != 2 or found.shape[1] not in (3, 4):
        raise RejectFrame(
            "bad_peak_list", f"{path} has shape {found.shape}; wanted is one line a peak, with fs, ss and intensity"
        )
    lines = np.asarray(found[()], np.float64)
    return {"fs": lines[:, 0], "ss": lines[:, 1], "intensity": lines[:, 2]}


def _peaks_of_cxi(file: OpenFile, event: EventOfFile, path: str) -> dict[str, NDArray[np.float64]]:
    if not event.numbers:
        raise RejectFrame("bad_event", f"{path} has a line of peaks for each event, and this event has no number")
    line = event.numbers[0]
    counts = _dataset(file, f"{path}/nPeaks")
    if len(counts.shape) != 1 or line >= counts.shape[0]:
        raise BeyondEnd("no_such_event", f"{path}/nPeaks has shape {counts.shape}, and line {line} was asked for")
    number = int(counts[line])
    columns: dict[str, NDArray[np.float64]] = {}
    for name, key in (("fs", "peakXPosRaw"), ("ss", "peakYPosRaw"), ("intensity", "peakTotalIntensity")):
        table = _dataset(file, f"{path}/{key}")
        if len(table.shape) != 2 or line >= table.shape[0] or not 0 <= number <= table.shape[1]:
            raise RejectFrame(
                "bad_peak_list",
                f"{path}/{key} has shape {table.shape}, and {number} peaks of line {line} were asked for",
            )
        columns[name] = np.asarray(table[line, :number], np.float64)
    return columns


def masks_of(file: OpenFile, event: EventOfFile, layout: StackLayout) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The masks in the frame's own file: number of the panel, and uint8 (height, width), 1 where a pixel is bad."""
    for number, (panel, sources) in enumerate(layout.masks):
        bad: NDArray[np.uint8] | None = None
        for source in sources:
            more = from_bits(_of_panel(file, event, panel, source), source.goodbits, source.badbits)
            bad = more if bad is None else bad | more
        if bad is not None:
            yield number, bad


def _of_panel(file: OpenFile, event: EventOfFile, panel: Panel, source: MaskSource) -> NDArray[Any]:
    """A mask's values for one panel; a mask without the dimensions that count frames serves them all."""
    path = event.path(source.data, may_have_more=True)
    dataset = _dataset(file, path)
    dims = panel.dims if len(dataset.shape) == len(panel.dims) else tuple(dim for dim in panel.dims if dim != "%")
    if len(dataset.shape) != len(dims):
        raise RejectFrame(
            "wrong_dimensions", f"mask {path} has shape {dataset.shape}, and panel {panel.name!r} wants {panel.dims}"
        )
    which = event if len(dims) == len(panel.dims) else EventOfFile((), ())
    index = list(_at(path, dataset.shape, dims, which))
    for axis, dim in enumerate(dims):
        low, high = {"ss": (panel.min_ss, panel.max_ss), "fs": (panel.min_fs, panel.max_fs)}.get(str(dim), (dim, dim))
        if dim == "%":
            continue
        if int(high) >= dataset.shape[axis]:
            raise RejectFrame(
                "wrong_dimensions", f"mask {path} has shape {dataset.shape}; panel {panel.name!r} is larger"
            )
        index[axis] = slice(int(low), int(high) + 1) if dim in ("ss", "fs") else int(low)
    values: NDArray[Any] = np.asarray(dataset[tuple(index)])
    if values.dtype.kind not in "iub":
        raise RejectFrame("bad_dtype", f"mask {path} holds {values.dtype}; integers were wanted")
    return values
