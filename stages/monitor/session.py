"""What one browser wants to see, and what it is sent next.

A browser says that it is ready and gets one message, then nothing until it says so again: a slow one sees fewer, and nothing
piles up. Of the kinds that have something new each comes in its turn. What a browser may say is JSON::

    {"ready": true}
    {"kinds": ["run", "frame"]}                what the visible tab needs; all at first
    {"look": {"category": "any", "back": 0, "serial": null, "paused": false}}
    {"tile": {"serial": 12, "panel": 0, "fs0": 0, "ss0": 0, "fs1": 512, "ss1": 512}}
    {"reset_powder": true}

`look` chooses the frame: that of `serial`, if one is given, else the `back`-th before the latest of its category; while
`paused`, before the one that was the latest when the pause began, so that nothing moves. Whatever is not kept is answered
with the kind `gone`.
"""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.monitor.blob import encode
from stages.monitor.frames import ANY, Frame
from stages.monitor.kinds import CATEGORIES, FRAME
from stages.monitor.pooling import MOST_PIXELS
from stages.monitor.state import KINDS, MONITOR, PIXELS, State

LONGEST_REQUEST = 1 << 16
MOST_TILES = 8
"""So many parts of frames may be asked for at once; beyond that the oldest are left out."""

PIXELS_EVERY_S = 5.0


class NoRequest(ValueError):
    """What a browser has sent is nothing that it may say."""


@dataclass(frozen=True)
class Look:
    """Which frame is looked at."""

    category: str = ANY
    back: int = 0
    serial: int | None = None
    paused: bool = False


class Session:
    """One browser.

    Attributes
    ----------
    is_ready
        Whether it may be sent something.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self.is_ready = False
        self._kinds: tuple[str, ...] = KINDS
        self._sent: dict[str, int] = {}
        self._last = len(KINDS) - 1
        self._run = ""
        self._look, self._is_new_look = Look(), False
        self._anchor: int | None = None
        """Order of the frame that was the latest when the pause began."""
        self._shown: tuple[str, int] | None = None
        self._tiles: deque[dict[str, int]] = deque(maxlen=MOST_TILES)
        self._pixels_sent_s = -math.inf

    def hear(self, text: str) -> None:
        """Take in what the browser says. Raises `NoRequest`."""
        if len(text) > LONGEST_REQUEST:
            raise NoRequest("it is too long")
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            raise NoRequest("it is not JSON") from None
        if not isinstance(said, dict):
            raise NoRequest("it is no map")
        if "kinds" in said:
            self._kinds = _kinds(said["kinds"])
        if "look" in said:
            self._take_look(_look(said["look"]))
        if "tile" in said:
            self._tiles.append(_tile(said["tile"]))
        if said.get("reset_powder") is True:
            self._state.reset_pixels()
            self._pixels_sent_s = -math.inf
        if said.get("ready") is True:
            self.is_ready = True

    def next(self) -> bytes | bytearray | None:
        """Return what is to be sent now, and wait until the browser is ready again; None if there is nothing, or it is not."""
        if not self.is_ready:
            return None
        if self._tiles:
            message: bytes | bytearray | None = self._part(self._tiles.popleft())
        else:
            message = self._in_turn()
        self.is_ready = message is None
        return message

    @property
    def is_up_to_date(self) -> bool:
        """Whether the browser has taken all that there is, but for what is said of the monitor itself."""
        return self.is_ready and not self._tiles and all(kind in (MONITOR, PIXELS) for _, kind, _ in self._pending())

    def _in_turn(self) -> bytes | bytearray | None:
        if self._state.run != self._run:
            self._run, self._anchor, self._shown = self._state.run, None, None
            self._sent.clear()
        for at, kind, version in list(self._pending()):
            message = self._frame() if kind == FRAME else self._state.message(kind)
            if message is None:
                continue
            self._last, self._sent[kind] = at, version
            if kind == PIXELS:
                self._pixels_sent_s = time.monotonic()
            return message
        return None

    def _pending(self) -> Iterator[tuple[int, str, int]]:
        """Places, kinds and versions of what is new, beginning behind what was sent last."""
        versions = self._state.versions()
        for n in range(1, len(KINDS) + 1):
            at = (self._last + n) % len(KINDS)
            kind = KINDS[at]
            version = versions[kind]
            if kind not in self._kinds:
                continue
            if kind == FRAME:
                chosen = self._chosen()
                if self._is_new_look or (chosen is not None and (self._run, chosen.order) != self._shown):
                    yield at, kind, version
            elif version and version != self._sent.get(kind) and (kind != PIXELS or self._is_time_for_pixels()):
                yield at, kind, version

    def _is_time_for_pixels(self) -> bool:
        return time.monotonic() - self._pixels_sent_s >= PIXELS_EVERY_S

    def _take_look(self, look: Look) -> None:
        if not look.paused:
            self._anchor = None
        self._look, self._is_new_look = look, True

    def _chosen(self) -> Frame | None:
        look = self._look
        if look.serial is not None:
            return self._state.frame_with(look.serial)
        frames = self._state.frames(look.category)
        if look.paused and frames:
            self._anchor = frames[0].order if self._anchor is None else self._anchor
            frames = [frame for frame in frames if frame.order <= self._anchor] or frames[-1:]
        return frames[min(look.back, len(frames) - 1)] if frames else None

    def _frame(self) -> bytes | bytearray | None:
        """The message of the frame that is looked at."""
        self._is_new_look = False
        frame = self._chosen()
        if frame is None:
            return self._gone("frame", self._look.serial)
        self._shown = (self._run, frame.order)
        of_category = self._state.frames(self._look.category)
        return encode(
            {
                **frame.head,
                "panels": frame.pooled,
                "bin": frame.side,
                "back": next((n for n, other in enumerate(of_category) if other is frame), None),
                "kept": self._state.kept(),
                "serials": np.array([other.serial for other in of_category], "f8"),
                "is_whole": bool(frame.panels),
            }
        )

    def _part(self, tile: dict[str, int]) -> bytes | bytearray:
        """The message of a part of a frame's pixels; of one that is too large, the first rows."""
        frame = self._state.frame_with(tile["serial"])
        width = max(1, tile["fs1"] - tile["fs0"])
        ss1 = min(tile["ss1"], tile["ss0"] + max(1, MOST_PIXELS // width))
        part = frame and frame.part(tile["panel"], (tile["fs0"], tile["fs1"]), (tile["ss0"], ss1))
        if not part:
            return self._gone("tile", tile["serial"])
        return encode({"kind": "tile", "run": self._run, "number": 0, "time_unix_s": time.time(), **part})

    def _gone(self, what: str, serial: int | None) -> bytes | bytearray:
        head = {"kind": "gone", "run": self._run, "number": 0, "time_unix_s": time.time()}
        return encode({**head, "what": what, "serial": serial, "category": self._look.category})


def _kinds(asked: Any) -> tuple[str, ...]:
    if not isinstance(asked, list):
        raise NoRequest("kinds is no list")
    return tuple(kind for kind in KINDS if kind in asked)


def _look(asked: Any) -> Look:
    if not isinstance(asked, dict):
        raise NoRequest("look is no map")
    category, serial = asked.get("category", ANY), asked.get("serial")
    if category not in (ANY, *CATEGORIES):
        raise NoRequest("there is no such category")
    paused = asked.get("paused", False)
    if not isinstance(paused, bool):
        raise NoRequest("paused is neither true nor false")
    return Look(category, max(0, _whole(asked, "back", 0)), None if serial is None else _whole(asked, "serial"), paused)


def _tile(asked: Any) -> dict[str, int]:
    if not isinstance(asked, dict):
        raise NoRequest("tile is no map")
    return {name: _whole(asked, name) for name in ("serial", "panel", "fs0", "ss0", "fs1", "ss1")}


def _whole(asked: dict[str, Any], name: str, usual: int | None = None) -> int:
    value = asked.get(name, usual)
    if type(value) is not int:
        raise NoRequest(f"{name} is no whole number")
    return value
