"""geometry_map/follow_detector: go on with the detector where the run has found it to be (``--follow-detector``)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pipeline import Context, stage
from stages.records.geometry import DetGeom
from stages.records.told import DetectorMoved

_KEPT = 16
"""Placements of the detector that are kept: as many as the geometry file keeps (camera lengths and shifts of frames)."""


@stage("geometry_map/follow_detector", awaits=(DetectorMoved,))
class FollowDetector:
    """Move the geometry of each frame to where crystals, or else powder rings, have the detector (``--follow-detector``).

    live/diagnosis posts the displacement once it is significant, and again when it knows better. From the next frame on the
    panels stand there: the file's geometry, turned about the point where the beam meets the detector and moved. All that
    comes after uses it; nothing that is done already is done again. Until then frames have the file's geometry.

    What is posted is always the whole displacement from the file, never one more step, so that it does not matter which frame
    sees it first. A frame carries it (``DetGeom.displacement``), and its chunk says so. Masks stay those of the file: a bad
    region in the laboratory (min_x ...) masks the same pixels as before.
    """

    def open(self, context: Context) -> RunningFollowDetector:
        """Return the stage at work."""
        return RunningFollowDetector(context)


@dataclass
class _Said:
    """The last displacement that was logged, by whichever replica used it first."""

    number: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def is_new(self, number: int) -> bool:
        with self.lock:
            is_new, self.number = number > self.number, max(number, self.number)
        return is_new


class RunningFollowDetector:
    """`FollowDetector` in one replica, with the geometries that it displaced last."""

    def __init__(self, context: Context) -> None:
        self._board = context.board
        self._log = context.log
        self._said = context.tables.get(("geometry_map/follow_detector", context.node), _Said)
        self._moved: DetectorMoved | None = None
        self._kept: OrderedDict[int, tuple[NDArray[np.float64], DetGeom]] = OrderedDict()

    def __call__(self, geom: DetGeom) -> DetGeom:
        """Return the geometry where the detector is known to be; as it is while that is not known."""
        moved = self._board.get(DetectorMoved)
        if moved is None:
            return geom
        if moved is not self._moved:
            self._moved = moved
            self._kept.clear()
            if self._said.is_new(moved.number):
                self._log.info("going on with the detector moved: %s", moved.displacement)
        there = self._displaced(geom, moved)
        return replace(
            geom,
            origin_m=there.origin_m,
            fs_m=there.fs_m,
            ss_m=there.ss_m,
            static_key=there.static_key,
            displacement=there.displacement,
            base=geom,
        )

    def _displaced(self, geom: DetGeom, moved: DetectorMoved) -> DetGeom:
        """The same arrays for all frames whose detector stands in one place, so that tables made of them can be kept."""
        key = id(geom.origin_m)
        kept = self._kept.get(key)
        if kept is None or kept[0] is not geom.origin_m:
            # the file's array is kept too, so that no other can get its id meanwhile
            kept = self._kept[key] = (geom.origin_m, geom.displaced(moved.displacement))
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return kept[1]
