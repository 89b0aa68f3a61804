"""All that is known of a run's frames for the monitor, gathered from what the replicas have taken out of them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from stages.lattices.cell import UnitCell
from stages.monitor.publishing.crystals import Cells, RecentCrystals
from stages.monitor.publishing.frames import Frames
from stages.monitor.publishing.geometry import Geometries
from stages.monitor.publishing.groups import GroupCounts
from stages.monitor.publishing.powder import Powder
from stages.monitor.publishing.resolution import Resolution
from stages.monitor.publishing.seen import FS, INTENSITY, PANEL, SS, PanelsSeen, Seen

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
            together: list[Seen] = []
            for _ in range(len(self._waiting)):
                seen = self._waiting.popleft()
                if seen.panels is not None:
                    if not seen.panels.is_of_the_pixels_of(self._panels):
                        self._add(together)
                        together = []
                    self._lie_on(seen.panels)
                together.append(seen)
                self._count(seen)
                self.recent.add(seen)
                if seen.frame is not None:
                    self.frames.add(seen, seen.frame)
            self._add(together)

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
            self.groups[group] = self.groups.get(group, GroupCounts()).plus(seen.is_hit, seen.num_crystals)

    def _lie_on(self, panels: PanelsSeen) -> None:
        self._panels = panels
        self._powder.lie_on(panels)
        self._resolution.lie_on(panels)

    def _add(self, many: list[Seen]) -> None:
        """Add the peaks and crystals of frames that have the same panels."""
        crystals = [crystal for seen in many for crystal in seen.crystals]
        self._resolution.add_crystals(crystals)
        for crystal in crystals:
            self._cells.add(crystal)
        found = [(seen.peaks, seen.photon_energy_ev) for seen in many if seen.peaks is not None]
        if not found or self._panels is None:
            return
        peaks = np.concatenate([of_frame for of_frame, _ in found])
        energies = np.repeat([energy for _, energy in found], [len(of_frame) for of_frame, _ in found])
        good = np.isfinite(peaks[:, : INTENSITY + 1]).all(axis=1)
        good &= (peaks[:, PANEL] >= 0) & (peaks[:, PANEL] < len(self._panels.name))
        peaks, energies = peaks[good], energies[good]
        self._powder.add(peaks, len(found), sum(seen.is_hit for seen in many if seen.peaks is not None))
        panel = peaks[:, PANEL].astype(np.int64)
        self._resolution.add(peaks, self._panels.per_angstrom(panel, peaks[:, FS], peaks[:, SS], energies))
