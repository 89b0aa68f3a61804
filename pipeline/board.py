"""A noticeboard: what one part of a run has found out and the others may use from then on.

Frames carry values downstream. What is learnt from many frames, by an analysis behind the collector, has no frame to travel
with; it is posted here, and stages of all replicas look at it when they process their next frame. Which frame that is depends
on timing, so what a stage does with it must be right for any frame (``docs/decisions/0008-...`` says more).
"""

from __future__ import annotations

import pickle
import threading
from typing import Any


class Noticeboard:
    """The latest value of each key, with a version that counts from 1; any thread may post and read.

    A value is kept as a copy made by pickling, so that it can cross to another process, and no one can change it afterwards for
    the one who posted it. Readers share the copy and must not change it.

    >>> board = Noticeboard()
    >>> board.read("cell")
    (0, None)
    >>> board.post("cell", (79.1, 37.9)), board.post("cell", (79.2, 37.9))
    (1, 2)
    >>> board.read("cell")
    (2, (79.2, 37.9))
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._notices: dict[str, tuple[int, Any]] = {}

    def post(self, key: str, value: object) -> int:
        """Put a value up in the place of the last one of this key; return its version. TypeError if it cannot be pickled."""
        try:
            copy = pickle.loads(pickle.dumps(value))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise TypeError(f"what is posted under {key!r} must be picklable: {error}") from error
        with self._lock:
            version = self._notices.get(key, (0, None))[0] + 1
            self._notices[key] = (version, copy)
            return version

    def read(self, key: str) -> tuple[int, Any]:
        """Return version and value of a key; ``(0, None)`` as long as nothing has been posted. Cheap enough for each frame."""
        return self._notices.get(key, (0, None))  # one look-up, which needs no lock
