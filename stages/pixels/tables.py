"""Where pixels lie: what kernels need to walk over a frame's panels without copying them.

A kernel gets each array of the message as one flat array, and a table that says where in it each panel's pixels are. Beside
that every panel has its place in *packed* order (panel after panel, row after row), in which masks and other maps of the
whole detector are kept, so that they need not care how the pixels arrive.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline import RejectFrame
from stages.records import image as image_record
from stages.records.geometry import DetGeom, Panel
from stages.records.image import Image, as_message_buffer

T = TypeVar("T")

PIXEL_TYPES = image_record.PIXEL_TYPES  # handed on to those who walk over pixels


class RecentTables:
    """Tables made once per key and shared between threads, of which only the latest few are kept.

    For tables that follow from a frame's geometry: where the detector moves from frame to frame, they must not pile up.

    >>> recent = RecentTables(keep=2)
    >>> [recent.get(n, lambda n=n: n * n) for n in (1, 2, 3)]
    [1, 4, 9]
    >>> recent.get(3, lambda: 1 / 0), recent.get(1, lambda: "made anew")
    (9, 'made anew')
    """

    def __init__(self, keep: int = 4) -> None:
        self._keep = keep
        self._lock = threading.Lock()
        self._tables: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the table of this key, making it if it is not there; others wait meanwhile."""
        with self._lock:
            if key not in self._tables:
                self._tables[key] = make()
                while len(self._tables) > self._keep:
                    self._tables.popitem(last=False)
            self._tables.move_to_end(key)
            return self._tables[key]  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class PanelTable:
    """The panels that come in one array of the message.

    Attributes
    ----------
    key
        The array's key.
    panel
        int64 (k,), their numbers in the geometry, ascending.
    where
        int64 (k, 6), one row for each: columns OFFSET, STRIDE_SS, STRIDE_FS, WIDTH, HEIGHT, START.
    """

    key: str
    panel: NDArray[np.int64]
    where: NDArray[np.int64]


def packed_starts(panels: tuple[Panel, ...]) -> NDArray[np.int64]:
    """Return each panel's first place in packed order, int64 (P + 1,); the last is the number of pixels."""
    starts = np.zeros(len(panels) + 1, np.int64)
    np.cumsum([panel.width * panel.height for panel in panels], out=starts[1:])
    return starts


class Flattener:
    """Turns images into flat arrays with panel tables; belongs to one replica, remembers the last layout.

    >>> from stages.records.geometry import DetGeom, Panel
    >>> from stages.pixels.columns import OFFSET
    >>> panel = Panel("right", data="d", min_fs=2, max_fs=3, max_ss=1)
    >>> geom = DetGeom((panel,), np.zeros((1, 3)), np.zeros((1, 3)), np.zeros((1, 3)), 1e4, np.ones(1), ())
    >>> (table, flat), = Flattener()(Image.of(d=np.arange(8).reshape(2, 4)), geom)
    >>> table.where.tolist(), flat[table.where[0, OFFSET]]
    ([[2, 4, 1, 2, 2, 0]], np.int64(2))
    """

    def __init__(self) -> None:
        self._panels: tuple[Panel, ...] | None = None
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._tables: list[PanelTable] = []

    def __call__(self, image: Image, geom: DetGeom) -> list[tuple[PanelTable, NDArray[Any]]]:
        """Return a table and a flat read-only array for each array that has panels; rejects the frame if one is wrong."""
        panels = geom.panels
        arrays = {key: np.ascontiguousarray(image.array(key)) for key in dict.fromkeys(p.data for p in panels)}
        for key, array in arrays.items():
            if array.dtype.type not in PIXEL_TYPES:
                raise RejectFrame(
                    "wrong_dtype", f"{key!r} has pixels of type {array.dtype}; wanted integers or float32/64"
                )
        shapes = {key: array.shape for key, array in arrays.items()}
        known = self._panels is panels or self._panels == panels
        if not (known and shapes == self._shapes):
            self._tables = _tables(geom, Image(arrays, {}))
            self._panels, self._shapes = panels, shapes
        return [(table, _flat(arrays[table.key])) for table in self._tables]


class PackedMask:
    """A frame's bad pixels in packed order, packed anew only when the geometry brings another mask."""

    def __init__(self) -> None:
        self._of: tuple[NDArray[np.uint8], ...] = ()
        self._packed: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self.version = 0

    def __call__(self, geom: DetGeom) -> NDArray[np.uint8]:
        """Return uint8, 1 = bad; `version` grows by one whenever it is another mask than that of the frame before."""
        same = len(geom.bad) == len(self._of) and all(new is old for new, old in zip(geom.bad, self._of, strict=True))
        if not (same and self.version):
            self._packed = np.concatenate([bad.reshape(-1) for bad in geom.bad]) if geom.bad else np.zeros(0, np.uint8)
            self._of = geom.bad
            self.version += 1
        return self._packed


def _tables(geom: DetGeom, image: Image) -> list[PanelTable]:
    starts = packed_starts(geom.panels)
    rows: dict[str, list[tuple[int, list[int]]]] = {}
    for number, (panel, view) in enumerate(zip(geom.panels, geom.views(image), strict=True)):
        array = image.array(panel.data)
        offset = view.__array_interface__["data"][0] - array.__array_interface__["data"][0]
        height, width = view.shape
        places = [offset, *view.strides]
        row = [place // array.itemsize for place in places] + [width, height, int(starts[number])]
        rows.setdefault(panel.data, []).append((number, row))
    return [
        PanelTable(key, np.array([n for n, _ in found], np.int64), np.array([row for _, row in found], np.int64))
        for key, found in rows.items()
    ]


def _flat(array: NDArray[Any]) -> NDArray[Any]:
    """Return all pixels in a row."""
    return as_message_buffer(array.reshape(-1))
