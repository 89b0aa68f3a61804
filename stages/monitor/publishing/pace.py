"""How often work may be done that must cost next to nothing: when it is due, and while its share of the time is not used up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, thread_time
from typing import NamedTuple

_WEIGHTS = {"blank": 3.0}
"""Frames of a category are taken so many times as seldom as others; most frames are blank, and look alike."""

_AT_ONCE_S = 0.05
"""What may be spent ahead of its time: the first frames are to be seen soon."""


class _Taken(NamedTuple):
    """When the last frame of a category was taken, and for how long it is paid."""

    at_s: float
    paid_s: float


class Pace:
    """Says of which frames pixels may be taken in a replica: some of each category, in a small share of the time.

    Time that passes is earned, work that is done is spent: processor time of this thread, times what a frame costs elsewhere as
    a multiple of it. A frame may be taken as long as more is earned than spent, so the first one always may.

    Parameters
    ----------
    share
        The part of the elapsed time that may be spent.
    multiple
        What a frame costs altogether, in units of what it costs here.
    delay_s
        Nothing is due before so many seconds have passed.

    >>> pace = Pace(share=0.01, multiple=3.0, now_s=0.0)
    >>> pace.is_due("hit", 0.5, now_s=0.1)
    True
    >>> pace.spend("hit", 0.002, now_s=0.1)
    >>> pace.is_due("hit", 0.5, now_s=0.6), pace.is_due("hit", 0.5, now_s=0.8)  # it is paid for in 0.6 s
    (False, True)
    """

    def __init__(self, share: float, multiple: float, delay_s: float = 0.0, now_s: float | None = None) -> None:
        now = monotonic() if now_s is None else now_s
        self._share = share
        self._multiple = multiple
        self._earned_s = _AT_ONCE_S
        self._last_s = now
        self._first_s = now + delay_s
        self._taken: dict[str, _Taken] = {}

    def is_due(self, category: str, every_s: float, now_s: float | None = None) -> bool:
        """Whether a frame of this category, of which one in `every_s` is wanted, may be taken now."""
        now = monotonic() if now_s is None else now_s
        if now < self._due_s(category, every_s):
            return False
        self._earned_s = min(_AT_ONCE_S, self._earned_s + self._share * (now - self._last_s))
        self._last_s = now
        return self._earned_s > 0

    def _due_s(self, category: str, every_s: float) -> float:
        """When the next frame of a category may be taken, as far as its own turn goes."""
        taken = self._taken.get(category)
        if taken is None:
            return self._first_s
        return taken.at_s + _WEIGHTS.get(category, 1.0) * max(every_s, taken.paid_s)

    def spend(self, category: str, cost_s: float, now_s: float | None = None) -> None:
        """Note that one was taken, which has cost so much here."""
        now = monotonic() if now_s is None else now_s
        cost = cost_s * self._multiple
        self._earned_s -= cost
        self._taken[category] = _Taken(now, cost / self._share)


class Cost:
    """Measures processor time of the thread that is in here."""

    def __init__(self) -> None:
        self.s = 0.0

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Set `s` to what was spent within."""
        started = thread_time()
        try:
            yield
        finally:
            self.s = thread_time() - started
