"""A noticeboard: what one part of a run has found out and the others may use from then on.

Frames carry values downstream. What is learnt from many frames, by an analysis behind the collector, has no frame to travel
with; it is posted here, and stages of all replicas look at it when they process their next frame. Which frame that is depends
on timing, so what a stage does with it must be right for any frame (``docs/decisions/0008-...`` says more).
"""

from __future__ import annotations

import pickle
import threading
from typing import TypeVar

T = TypeVar("T")


class Noticeboard:
    """The latest value of each type; any thread may post and read.

    A value is kept as a copy made by pickling, so that it can cross to another process, and no one can change it afterwards for
    the one who posted it. Readers share the copy and must not change it. Until something new is posted they are given the
    same object, so that ``is`` tells whether there is news.

    >>> board = Noticeboard()
    >>> board.get(int) is None
    True
    >>> board.post(3), board.post(4)
    (None, None)
    >>> board[int], board.get(int) is board.get(int)
    (4, True)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._notices: dict[type, object] = {}

    def post(self, value: object) -> None:
        """Put a value up in the place of the last one of its type. TypeError if it cannot be pickled."""
        try:
            copy = pickle.loads(pickle.dumps(value))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise TypeError(f"what is posted as {type(value).__name__} must be picklable: {error}") from error
        with self._lock:
            self._notices[type(value)] = copy

    def get(self, kind: type[T]) -> T | None:
        """Return the latest value of this type, None as long as nothing has been posted. Cheap enough for each frame."""
        return self._notices.get(kind)  # type: ignore[return-value]  # one look-up, which needs no lock

    def __getitem__(self, kind: type[T]) -> T:
        value = self.get(kind)
        if value is None:
            raise KeyError(f"nothing of type {kind.__name__} has been posted")
        return value
