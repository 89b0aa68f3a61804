"""All that is known of a run's frames for the monitor, gathered from what the replicas have taken out of them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.lattices.cell import UnitCell
from stages.monitor.publishing.crystals import Cells, RecentCrystals
from stages.monitor.publishing.frames import Frames
from stages.monitor.publishing.geometry import Geometries
from stages.monitor.publishing.groups import GroupCounts
from stages.monitor.publishing.powder import Powder
from stages.monitor.publishing.resolution import Resolution
from stages.monitor.publishing.seen import CrystalSeen, PanelsSeen, Seen

_MOST_WAITING = 1000
"""So many frames wait to be gathered; whoever brings one more gathers them himself. It takes some milliseconds."""


class Gathered:
    """Takes what was seen of frames, from any thread; gathers many at once, which costs less than one by one.

    Parameters
    ----------
    target
        The cell that crystals are meant to have; None where there is none.
    group_of
        In which group a frame of this value counts: so that a key whose values are all different does not fill the memory.
    in_order
        Puts the names of groups in their order.

    Attributes
    ----------
    lock
        Whoever reads what was gathered holds it.
    """

    def __init__(
        self,
        target: UnitCell | None,
        group_of: Callable[[str], str] = str,
        in_order: Callable[[Iterable[str]], list[str]] = sorted,
    ) -> None:
        self.lock = threading.RLock()
        self._target = target
        self._group_of = group_of
        self._in_order = in_order
        self._waiting: deque[Seen] = deque()
        self._panels: PanelsSeen | None = None
        self._geometries = Geometries()
        self._powder = Powder()
        self._resolution = Resolution()
        self._cells = Cells()
        self.recent = RecentCrystals()
        self.frames = Frames(self._geometries)
        self.groups: dict[str, GroupCounts] = {}

    def put(self, seen: Seen) -> None:
        """Take what was seen of one frame."""
        self._waiting.append(seen)
        if len(self._waiting) >= _MOST_WAITING:
            self.gather()

    def gather(self) -> None:
        """Gather what waits."""
        with self.lock:
            peaks: list[NDArray[np.float32]] = []
            crystals: list[CrystalSeen] = []
            for _ in range(len(self._waiting)):
                seen = self._waiting.popleft()
                if seen.panels is not None:
                    self._add(peaks, crystals)
                    peaks, crystals = [], []
                    self._lie_on(seen.panels)
                self._count(seen)
                if seen.peaks is not None:
                    peaks.append(seen.peaks)
                crystals += seen.crystals
                self.recent.add(seen)
                if seen.frame is not None:
                    self.frames.add(seen, seen.frame)
            self._add(peaks, crystals)

    def group_names(self) -> list[str]:
        """Return the groups that there are, in their order."""
        with self.lock:
            return self._in_order(self.groups)

    def blob(self, kind: str) -> dict[str, Any] | None:
        """Return what a message of this kind says: cells, resolution or powder; None if nothing is known of it."""
        with self.lock:
            if kind == "cells":
                return self._cells.blob(self._target)
            if kind == "resolution":
                return self._resolution.blob()
            assert kind == "powder", kind
            powder = self._powder.blob()
            if powder is None or self._panels is None:
                return None
            return {**powder, "geometry": self._geometries.blob(self._panels)}

    def _count(self, seen: Seen) -> None:
        if seen.group is not None:
            group = self._group_of(seen.group)
            self.groups[group] = self.groups.get(group, GroupCounts()).plus(seen.category, len(seen.crystals))

    def _lie_on(self, panels: PanelsSeen) -> None:
        self._panels = panels
        self._powder.lie_on(panels)
        self._resolution.lie_on(panels)

    def _add(self, peaks: list[NDArray[np.float32]], crystals: list[CrystalSeen]) -> None:
        self._powder.add(peaks)
        self._resolution.add(peaks, crystals)
        for crystal in crystals:
            self._cells.add(crystal)
