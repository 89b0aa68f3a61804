"""What live/monitor takes out of a frame: the half of it that is in the replicas."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import Context, Frame, Joined, Outcome, Rejected, RejectFrame
from stages.live._grouping import Grouping
from stages.monitor.publishing.pace import Cost, Pace
from stages.monitor.publishing.seen import CrystalSeen, FrameSeen, FramesWanted, PanelsSeen, Seen
from stages.monitor.publishing.taking import (
    crystals_seen,
    header_texts,
    panels_of,
    peak_columns,
    shown_crystal,
    shown_peaks,
)
from stages.records.crystal import Crystals
from stages.records.geometry import DetGeom
from stages.records.header import Header
from stages.records.image import Image
from stages.records.peaklist import PeakList, is_hit, is_no_hit

_SHARE = 0.007
"""The part of its time that frames that are shown may cost a replica; what is small is to fit into the same 1 %."""

_COSTS_ELSEWHERE = 3.0
"""What a frame that is shown costs altogether, in units of what taking it costs here: it crosses, is published and is sent."""

_MOST_DELAY_S = 30.0
"""Replicas hand over their first frames one after the other, so long at most."""

_SHOWN_TYPES = frozenset(["u1", "u2", "i2", "u4", "i4", "f4", "f8"])
"""What pixels may be as they are; others become float64."""


class RunningMonitor:
    """Takes the small things out of every frame, and now and then all that is shown of one.

    What the small things are depends on the frame alone. Which frames are shown whole depends on when they come.
    """

    def __init__(self, context: Context, frames_every_s: float, grouping: Grouping | None) -> None:
        self._board = context.board
        self._replica = context.replica
        self._every_s = frames_every_s
        self._grouping = grouping
        # others have handed over theirs by then, and each has been told how often that is wanted
        delay_s = min(context.replica * frames_every_s, _MOST_DELAY_S)
        self._pace = Pace(_SHARE, _COSTS_ELSEWHERE, delay_s)
        self._cost = Cost()
        self._geom: DetGeom | None = None
        self._bad: tuple[NDArray[np.uint8], ...] = ()
        self._bad_number = 0

    def __call__(self, outcome: Outcome) -> Seen | None:
        """Return what was seen of the frame; None where there is nothing to gather."""
        group = None if self._grouping is None else self._grouping.of_outcome(outcome)
        if isinstance(outcome, Rejected):
            return None if group is None else self._counted(outcome.frame, group)
        frame = _first_branch(outcome)
        geom, found, crystals = frame.get(DetGeom), frame.get(PeakList), frame.get(Crystals) or Crystals()
        category = _category(frame)
        peaks = None if found is None or is_no_hit(frame) else peak_columns(found)
        listed = crystals_seen(crystals, geom)
        panels, shown = (None, None) if geom is None else self._more(frame, geom, category, listed)
        if category == "blank" and peaks is None and group is None and panels is None and shown is None:
            return None
        event = frame.event if listed or shown is not None else ""
        return Seen(
            frame.serial,
            event,
            frame.received_ns,
            category,
            is_hit(frame),
            group,
            len(crystals),
            peaks,
            math.nan if geom is None else geom.photon_energy_ev,
            listed,
            self._replica,
            panels,
            shown,
        )

    def _counted(self, frame: Frame, group: str) -> Seen:
        """What a frame that was rejected counts in its group: what had been found by then, as in the report."""
        crystals = frame.get(Crystals) or Crystals()
        return Seen(
            frame.serial,
            "",
            frame.received_ns,
            _category(frame),
            is_hit(frame),
            group,
            len(crystals),
            None,
            math.nan,
            (),
            self._replica,
        )

    def _more(
        self, frame: Frame, geom: DetGeom, category: str, crystals: Sequence[CrystalSeen]
    ) -> tuple[PanelsSeen | None, FrameSeen | None]:
        """What is handed over now and then: the panels when they are others, and a frame that is shown."""
        wanted = self._board.get(FramesWanted)
        every_s = self._every_s if wanted is None else wanted.every_s
        is_shown = self._pace.is_due(category, every_s)
        has_other_panels = self._geom is None or (
            geom.panels is not self._geom.panels and geom.panels != self._geom.panels
        )
        if not is_shown and not has_other_panels:
            return None, None
        self._geom = geom
        panels = panels_of(geom)
        if not is_shown:
            return panels, None
        with self._cost.measured():
            shown = self._shown(frame, geom, panels, crystals)
        self._pace.spend(category, self._cost.s)
        return panels, shown

    def _shown(self, frame: Frame, geom: DetGeom, panels: PanelsSeen, crystals: Sequence[CrystalSeen]) -> FrameSeen:
        pixels = _pixels(frame.get(Image), geom)
        bad = None
        if pixels and not _are_same(geom.bad, self._bad):
            self._bad, self._bad_number = geom.bad, self._bad_number + 1
            bad = tuple(np.array(one, np.uint8) for one in geom.bad)
        found = frame.get(Crystals) or Crystals()
        return FrameSeen(
            header_texts(frame.get(Header)),
            panels,
            pixels,
            bad,
            self._bad_number,
            shown_peaks(frame.get(PeakList)),
            tuple(shown_crystal(crystal, seen) for crystal, seen in zip(found, crystals, strict=True)),
        )


def _first_branch(frame: Frame) -> Frame:
    """The frame as its first branch has made it, where several are joined here."""
    joined = frame.get(Joined)
    if joined is None:
        return frame
    return next((one for one in joined.values() if isinstance(one, Frame)), frame)


def _category(frame: Frame) -> str:
    """What the frame is: indexed, a hit that is not, or neither."""
    crystals = frame.get(Crystals)
    if crystals is not None and crystals.found:
        return "indexed"
    return "hit" if is_hit(frame) else "blank"


def _pixels(image: Image | None, geom: DetGeom) -> tuple[NDArray[Any], ...]:
    """Copies of the panels' pixels, of which nothing of the message is kept alive; none where the frame has none."""
    if image is None:
        return ()
    try:
        views = geom.views(image)
    except RejectFrame:
        return ()  # nobody before has needed them
    return tuple(np.array(view, _shown_type(view.dtype), order="C") for view in views)


def _shown_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype if dtype.str[1:] in _SHOWN_TYPES else np.dtype(np.float64)


def _are_same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether these are the very same arrays."""
    return len(one) == len(other) and all(map(operator.is_, one, other))
