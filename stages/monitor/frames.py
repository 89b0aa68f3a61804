"""Frames that the monitor has received: looked at before they are used, and the last ones of each category kept.

A frame is kept twice: pooled, as browsers draw it, and as it came, for who looks at single pixels. Bytes are limited: first the
oldest frames lose what came, then whole frames go, the oldest of the category that has most. The latest frame of each
category stays whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.monitor.blob import Malformed
from stages.monitor.kinds import CATEGORIES
from stages.monitor.pooling import pooled, side_for

Array = NDArray[Any]

ANY = "any"
MOST_FRAMES = 50
MOST_BYTES = 512 << 20


@dataclass(eq=False)
class Frame:
    """One frame.

    Attributes
    ----------
    order
        Counts frames in the order in which they came.
    serial, category
        What the message says.
    head
        The message without its pixels; its arrays hold on to nothing else.
    panels, bad
        The pixels as they came, which are views of the message, and what is masked; empty if they are no longer kept, or never
        were there.
    side, pooled
        What browsers draw; :func:`stages.monitor.pooling.pooled`.
    message_bytes
        Size of the message to which the views hold on.
    """

    order: int
    serial: int
    category: str
    head: dict[str, Any]
    panels: Sequence[Array]
    bad: Sequence[Array]
    side: int
    pooled: list[dict[str, Any]]
    message_bytes: int

    @property
    def whole_bytes(self) -> int:
        """What the pixels take as they came; masks are shared by many frames."""
        return self.message_bytes if self.panels else 0

    @property
    def pooled_bytes(self) -> int:
        """What browsers draw takes."""
        return sum(panel["data"].nbytes for panel in self.pooled)

    def part(self, panel: int, fs: tuple[int, int], ss: tuple[int, int]) -> dict[str, Any] | None:
        """Return pixels as they came, written as pooled ones are; None if they are not kept, or lie on no panel.

        Parameters
        ----------
        fs, ss
            From which to which column and row, the last not included; what lies outside the panel is left out.
        """
        if not 0 <= panel < len(self.panels):
            return None
        pixels = self.panels[panel]
        fs0, fs1 = (min(max(0, at), pixels.shape[1]) for at in fs)
        ss0, ss1 = (min(max(0, at), pixels.shape[0]) for at in ss)
        if fs0 >= fs1 or ss0 >= ss1:
            return None
        where = np.s_[ss0:ss1, fs0:fs1]
        (found,) = pooled([pixels[where]], [self.bad[panel][where]] if self.bad else [], 1)
        return {"serial": self.serial, "panel": panel, "fs0": fs0, "ss0": ss0, **found}


class Masks:
    """The masks that came last: they are sent once in a while, and belong to all frames that name them."""

    def __init__(self) -> None:
        self._id: Any = None
        self._bad: list[Array] = []

    def of(self, message: Mapping[str, Any], shapes: Sequence[tuple[int, ...]]) -> list[Array]:
        """Return the masks of a frame's panels; none if they are not known. Raises `Malformed`."""
        name = message.get("bad_id")
        if "bad" in message:
            bad = _arrays(message["bad"], "bad", "u1")
            if bad and [panel.shape for panel in bad] != list(shapes):
                raise Malformed("the masks are not as large as the panels")
            if name is None:
                return bad
            if name != self._id or [panel.shape for panel in bad] != [panel.shape for panel in self._bad]:
                self._id, self._bad = name, [panel.copy() for panel in bad]
        is_known = name is not None and name == self._id and [panel.shape for panel in self._bad] == list(shapes)
        return self._bad if is_known else []


def frame_of(message: Mapping[str, Any], order: int, masks: Masks, num_bytes: int) -> Frame:
    """Look at a message of so many bytes, and make its frame small enough for a browser. Raises `Malformed`."""
    category, serial = message.get("category"), message.get("serial")
    if category not in CATEGORIES:
        raise Malformed("a frame's category is none")
    if type(serial) is not int:
        raise Malformed("a frame's serial is no number")
    panels = _arrays(message.get("panels", []), "panels", "u1 i1 u2 i2 u4 i4 f4 f8")
    if any(not panel.size for panel in panels):
        raise Malformed("a panel has no pixels")
    shapes = [panel.shape for panel in panels]
    bad = masks.of(message, shapes) if panels else []
    side = side_for(shapes) if panels else 1
    head = {name: owned(value) for name, value in message.items() if name not in ("panels", "bad")}
    small = pooled(panels, bad, side) if panels else []
    return Frame(order, serial, str(category), head, panels, bad, side, small, num_bytes)


def _arrays(value: Any, name: str, dtypes: str) -> list[Array]:
    if not isinstance(value, list):
        raise Malformed(f"{name} is no list")
    allowed = {np.dtype(f"<{code}") for code in dtypes.split()}
    for one in value:
        if not isinstance(one, np.ndarray) or one.ndim != 2 or one.dtype not in allowed:
            raise Malformed(f"{name} has what is no panel")
    return value


def owned(value: Any) -> Any:
    """Copy all arrays, so that they do not hold on to the message in which they came."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        return {key: owned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [owned(item) for item in value]
    return value


@dataclass(eq=False)
class KeptFrames:
    """The last frames of each category.

    Attributes
    ----------
    most_frames, most_bytes
        Of each category, and of all together.
    """

    most_frames: int = MOST_FRAMES
    most_bytes: int = MOST_BYTES
    _kept: dict[str, list[Frame]] = field(default_factory=lambda: {category: [] for category in CATEGORIES})

    def add(self, frame: Frame) -> None:
        """Keep a frame, and let go of what is too much then."""
        of_category = self._kept[frame.category]
        of_category.append(frame)
        del of_category[: -self.most_frames]
        while self.num_bytes > self.most_bytes and self._let_go():
            pass

    def clear(self) -> None:
        """Let go of all."""
        for frames in self._kept.values():
            frames.clear()

    @property
    def num_bytes(self) -> int:
        """Of all pixels that are kept."""
        return sum(frame.whole_bytes + frame.pooled_bytes for frames in self._kept.values() for frame in frames)

    def of(self, category: str) -> list[Frame]:
        """The frames of a category, or the last of any, latest first."""
        if category == ANY:
            every = (frame for frames in self._kept.values() for frame in frames)
            return sorted(every, key=lambda frame: -frame.order)[: self.most_frames]
        return self._kept[category][::-1]

    def with_serial(self, serial: int) -> Frame | None:
        """The latest frame that has this serial."""
        return next((frame for frame in self.of(ANY) + self._all() if frame.serial == serial), None)

    def counts(self) -> dict[str, int]:
        """How many frames there are to step through, by category."""
        return {ANY: len(self.of(ANY)), **{category: len(frames) for category, frames in self._kept.items()}}

    def num_whole(self) -> int:
        """How many are kept as they came."""
        return sum(1 for frame in self._all() if frame.panels)

    def _all(self) -> list[Frame]:
        return [frame for frames in self._kept.values() for frame in frames]

    def _let_go(self) -> bool:
        """Let go of the least that can be missed; False if there is nothing but the latest ones."""
        older = [frame for frames in self._kept.values() for frame in frames[:-1]]
        whole = [frame for frame in older if frame.panels]
        if whole:
            oldest = min(whole, key=lambda frame: frame.order)
            oldest.panels, oldest.bad = (), ()
            return True
        if older:
            del max(self._kept.values(), key=len)[0]
            return True
        return False
