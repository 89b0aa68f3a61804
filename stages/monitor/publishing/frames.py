"""The frames that are shown: the latest of each category, until a later one takes its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.monitor.kinds import CATEGORIES
from stages.monitor.publishing.geometry import Geometries
from stages.monitor.publishing.seen import FrameSeen, Seen

_MASK_EVERY = 10
"""Masks, which rarely change, go with one frame in so many, for those who have missed them."""


class _Mask(NamedTuple):
    id: int
    bad: tuple[NDArray[np.uint8], ...]


_NO_MASK = _Mask(0, ())


@dataclass
class Shown:
    """A frame that may be shown.

    Attributes
    ----------
    mask
        Its bad pixels.
    is_sent
        Whether it has been published.
    """

    seen: Seen
    frame: FrameSeen
    mask: _Mask
    is_sent: bool = False


class Frames:
    """Keeps the latest frame of each category.

    Attributes
    ----------
    replicas
        Those that have handed over frames.
    """

    def __init__(self, geometries: Geometries) -> None:
        self.replicas: set[int] = set()
        self._geometries = geometries
        self._latest: dict[str, Shown] = {}
        self._masks: dict[int, tuple[int, _Mask]] = {}
        self._mask = _NO_MASK
        self._turns: dict[str, int] = dict.fromkeys(CATEGORIES, 0)
        self._num_sent = 0
        self._mask_sent = -1

    def add(self, seen: Seen, frame: FrameSeen) -> None:
        """Take a frame; one whose mask has not come is left out, one without pixels needs none."""
        self.replicas.add(seen.replica)
        if frame.bad is not None:
            self._masks[seen.replica] = frame.bad_number, self._numbered(frame.bad)
        number, mask = self._masks.get(seen.replica, (-1, _NO_MASK))
        if not frame.pixels:
            self._latest[seen.category] = Shown(seen, frame, _NO_MASK)
        elif number == frame.bad_number:
            self._latest[seen.category] = Shown(seen, frame, mask)

    def _numbered(self, bad: tuple[NDArray[np.uint8], ...]) -> _Mask:
        """The mask with its number; replicas that have the same share one."""
        last = self._mask.bad
        if len(last) != len(bad) or not all(map(np.array_equal, last, bad)):
            self._mask = _Mask(self._mask.id + 1, bad)
        return self._mask

    def next(self) -> Shown | None:
        """Return the frame that is to be published: new, and of the category that has waited longest for its turn."""
        new = [category for category, shown in self._latest.items() if not shown.is_sent]
        return self._latest[min(new, key=lambda category: self._turns[category])] if new else None

    def latest(self) -> list[Shown]:
        """Return the latest frame of each category, the oldest first."""
        return sorted(self._latest.values(), key=lambda shown: shown.seen.serial)

    def show_again(self) -> None:
        """Publish what there is once more: somebody has come."""
        self._mask_sent = -1
        for shown in self._latest.values():
            shown.is_sent = False

    def sent(self, shown: Shown) -> None:
        """Note that a frame was published."""
        self._num_sent += 1
        self._turns[shown.seen.category] = self._num_sent
        self._mask_sent = shown.mask.id
        shown.is_sent = True

    def blob(self, shown: Shown, *, with_mask: bool | None = None) -> dict[str, Any]:
        """Return a frame as a message says it; its mask, if that is new, or now and then, unless it is said whether."""
        seen, frame = shown.seen, shown.frame
        if with_mask is None:
            with_mask = shown.mask.id != self._mask_sent or self._num_sent % _MASK_EVERY == 0
        return {
            "serial": seen.serial,
            "event": seen.event,
            "time_unix_s": seen.received_ns / 1e9,
            "category": seen.category,
            "header": dict(frame.header),
            "panels": list(frame.pixels),
            "bad_id": shown.mask.id,
            **({"bad": list(shown.mask.bad)} if with_mask else {}),
            "geometry": self._geometries.blob(frame.panels),
            "peaks": dict(frame.peaks),
            "crystals": [dict(crystal) for crystal in frame.crystals],
        }
