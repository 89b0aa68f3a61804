"""What the monitor knows of a run: the latest message of each kind, the last frames, sums of their pixels.

All of a message comes from the run or from its senders: it is looked at as far as it is used here, and handed on to browsers as
it is. A message of another run than the last one begins anew; one of a run that has been left already is late, and is
let go.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from stages.monitor.blob import Malformed, decode, encode
from stages.monitor.frames import Frame, KeptFrames, Masks, frame_of, owned
from stages.monitor.kinds import FRAME, PUBLISHED
from stages.monitor.pixel_sums import PixelSums

PIXELS = "pixels_powder"
MONITOR = "monitor"

KINDS = (MONITOR, "run", FRAME, "history", "cells", "resolution", "powder", PIXELS)
"""All kinds that a browser may ask for."""

SILENT_S = 3.0
"""A run says something twice a second; who has said nothing for so long is gone, or cut off."""

_LONGEST_NAME = 64
_LEFT_RUNS = 20


class State:
    """All of it; its methods may be called from any thread.

    Parameters
    ----------
    address
        Where the run publishes, for those who look.
    frames
        Keeps frames, within its limits.

    Attributes
    ----------
    changed
        Called when there is something new, from the thread that takes messages in.
    """

    def __init__(self, address: str, frames: KeptFrames | None = None) -> None:
        self.address = address
        self.changed: Callable[[], object] = lambda: None
        self._lock = threading.Lock()
        self._frames = frames or KeptFrames()
        self._masks, self._pixels = Masks(), PixelSums()
        self._geometry: Any = None
        self._run = ""
        self._left: deque[str] = deque(maxlen=_LEFT_RUNS)
        self._latest: dict[str, bytes] = {}
        self._versions = dict.fromkeys(KINDS, 0)
        self._about_run: dict[str, Any] = {}
        self._received_unix_s: float | None = None
        self._num_received = self._num_refused = self._num_frames = self._numbered = 0
        self._why_refused = ""
        self._pixels_written: tuple[int, bytes] = (0, b"")

    def take(self, topic: bytes, message: memoryview | bytes) -> None:
        """Take in a message; one that is none is counted."""
        try:
            self._take(topic, message)
        except Malformed as error:
            with self._lock:
                self._num_refused += 1
                self._why_refused = str(error)
                self._versions[MONITOR] += 1
        self.changed()

    def _take(self, topic: bytes, message: memoryview | bytes) -> None:
        content = decode(message)
        kind, run = content.get("kind"), content.get("run")
        if not isinstance(kind, str) or kind.encode(errors="replace") != topic or kind not in PUBLISHED:
            raise Malformed("its kind is none, or not that under which it came")
        if not isinstance(run, str) or not 0 < len(run) <= _LONGEST_NAME:
            raise Malformed("it does not say of which run it is")
        with self._lock:
            if run in self._left:
                return
            if run != self._run:
                self._begin_anew(run)
        frame = None
        if kind == FRAME:
            # pixels are gone through without the lock: this is the one thread that takes messages in
            frame = frame_of(content, self._num_frames, self._masks, len(message))
            if frame.panels:
                self._pixels.add(frame.panels, frame.bad)
        with self._lock:
            self._received_unix_s = time.time()
            self._num_received += 1
            self._versions[kind] += 1
            if frame is not None:
                self._num_frames += 1
                self._frames.add(frame)
                self._geometry = frame.head.get("geometry")
                self._versions[PIXELS] += bool(frame.panels)
            else:
                self._latest[kind] = bytes(message)
            if kind == "run":
                self._about_run = owned(content)

    def _begin_anew(self, run: str) -> None:
        if self._run:
            self._left.append(self._run)
        self._run = run
        self._frames.clear()
        self._latest.clear()
        self._masks = Masks()
        self._pixels = PixelSums()
        self._geometry, self._about_run = None, {}
        self._versions = {kind: version + 1 for kind, version in self._versions.items()}

    @property
    def run(self) -> str:
        """The run of which all is."""
        return self._run

    def about_run(self) -> dict[str, Any]:
        """The latest message `run`, read; nothing before the first."""
        with self._lock:
            return self._about_run

    @property
    def has_ended(self) -> bool:
        """Whether the run says that it has ended."""
        return bool(self.about_run().get("ended"))

    @property
    def age_s(self) -> float | None:
        """How long ago something was received; None if nothing was."""
        received = self._received_unix_s
        return None if received is None else max(0.0, time.time() - received)

    @property
    def is_silent(self) -> bool:
        """Whether nothing comes."""
        age_s = self.age_s
        return age_s is None or age_s > SILENT_S

    def versions(self) -> dict[str, int]:
        """Return for each kind a number that grows when there is something new; 0 where there is nothing."""
        with self._lock:
            there = {kind: version if kind in self._latest else 0 for kind, version in self._versions.items()}
            there[MONITOR] = self._versions[MONITOR] + 1
            there[PIXELS] = self._versions[PIXELS] if self._pixels.num_frames else 0
            return there

    def tick(self) -> None:
        """Let what is said of the monitor itself be new: time has gone by."""
        with self._lock:
            self._versions[MONITOR] += 1
        self.changed()

    def message(self, kind: str) -> bytes | bytearray | None:
        """Return the latest message of a kind, but for frames; None if there is none."""
        if kind == MONITOR:
            return encode(self._about_monitor())
        if kind == PIXELS:
            return self._about_pixels()
        with self._lock:
            return self._latest.get(kind)

    def frames(self, category: str) -> list[Frame]:
        """The frames of a category that are kept, latest first."""
        with self._lock:
            return self._frames.of(category)

    def frame_with(self, serial: int) -> Frame | None:
        """The frame of this serial, if it is kept."""
        with self._lock:
            return self._frames.with_serial(serial)

    def kept(self) -> dict[str, int]:
        """How many frames are kept, by category."""
        with self._lock:
            return self._frames.counts()

    def reset_pixels(self) -> None:
        """Begin the sums of pixels anew."""
        with self._lock:
            self._pixels = PixelSums()
            self._versions[PIXELS] += 1
        self.changed()

    def _head(self, kind: str) -> dict[str, Any]:
        self._numbered += 1
        return {"kind": kind, "run": self._run, "number": self._numbered, "time_unix_s": time.time()}

    def _about_monitor(self) -> dict[str, Any]:
        """The message `monitor`: what of the run arrives here."""
        with self._lock:
            return {
                **self._head(MONITOR),
                "address": self.address,
                "received": self._num_received,
                "refused": self._num_refused,
                "why_refused": self._why_refused,
                "last_received_unix_s": self._received_unix_s,
                "age_s": self.age_s,
                "is_silent": self.is_silent,
                "kept": self._frames.counts(),
                "kept_whole": self._frames.num_whole(),
                "kept_bytes": self._frames.num_bytes,
            }

    def _about_pixels(self) -> bytes | None:
        """The message `pixels_powder`: mean and highest value of the pixels of all frames that came here."""
        with self._lock:
            pixels, version, geometry = self._pixels, self._versions[PIXELS], self._geometry
            head = self._head(PIXELS)
        if not pixels.num_frames:
            return None
        if self._pixels_written[0] != version:
            self._pixels_written = (version, bytes(encode({**head, **pixels.figures(), "geometry": geometry})))
        return self._pixels_written[1]
