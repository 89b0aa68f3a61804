"""How a run has gone since it began, as curves of so many columns as there is room for.

What was counted is kept as it stood at the end of every interval. When there are many, every second one is let go of and the
interval is twice as long, so that a run of days takes no more memory than one of minutes, and no frame falls out of a curve.

>>> from pipeline.watching import Progress
>>> history = History(most=4)
>>> for second in range(7):
...     history.add(Progress(10 * second, 0, 0, 0, {"words": 5 * second}, 0.0, 0.0, 0.0, second, ""))
>>> history.interval_s, history.frames_per_s(columns=3), history.shares("words", "", columns=3)
(2.0, [10.0, 10.0, 10.0], [0.5, 0.5, 0.5])
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

from pipeline.watching import Progress

MOST = 512

LATELY_S = 10.0
"""What is "now": as much as has come in so many seconds."""


class Mark(NamedTuple):
    """What was counted by then."""

    at_s: float
    finished: int
    rejected: int
    counts: Mapping[str, int]


class History:
    """What was counted, at the ends of intervals; and lately, each time that it was looked at."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._marks = [Mark(0.0, 0, 0, {})]
        self._lately: deque[Mark] = deque([self._marks[0]])
        self.interval_s = 1.0
        self.version = 0
        """Another one whenever the curves are others."""

    def add(self, progress: Progress) -> None:
        """Take how it stands."""
        mark = Mark(progress.elapsed_s, progress.finished, progress.rejected, progress.counts)
        self._lately.append(mark)
        while len(self._lately) > 2 and mark.at_s - self._lately[1].at_s >= LATELY_S:
            self._lately.popleft()
        while len(self._marks) * self.interval_s <= progress.elapsed_s:
            self._marks.append(mark._replace(at_s=len(self._marks) * self.interval_s))
            self.version += 1
            if len(self._marks) > self._most:
                self._marks, self.interval_s = self._marks[::2], 2 * self.interval_s

    def column_s(self, columns: int) -> float:
        """How many seconds a column is, of so many at most."""
        return self._stride(columns) * self.interval_s

    def frames_per_s(self, columns: int) -> list[float]:
        """Frames that were finished per second, a number for each column since the run began."""
        return [(new.finished - old.finished) / (new.at_s - old.at_s) for old, new in self._steps(columns)]

    def shares(self, name: str, share_of: str, columns: int) -> list[float]:
        """Which part of another count a count was, or of all finished frames if there is none; NaN where there was nothing."""
        return [_share(old, new, _counted(name), _whole(share_of)) for old, new in self._steps(columns)]

    def rejected(self, columns: int) -> list[float]:
        """Which part of the finished frames was rejected."""
        return [_share(old, new, _rejected, _whole("")) for old, new in self._steps(columns)]

    def frames_per_s_now(self) -> float:
        """Frames that were finished per second lately."""
        old, new = self._lately[0], self._lately[-1]
        return (new.finished - old.finished) / (new.at_s - old.at_s) if new.at_s > old.at_s else math.nan

    def share_now(self, name: str, share_of: str) -> float:
        """As `shares`, lately."""
        return _share(self._lately[0], self._lately[-1], _counted(name), _whole(share_of))

    def rejected_now(self) -> float:
        """As `rejected`, lately."""
        return _share(self._lately[0], self._lately[-1], _rejected, _whole(""))

    def _stride(self, columns: int) -> int:
        """Intervals in a column: 1, 2, 4 ..., so that a curve is drawn closer together only seldom."""
        intervals = len(self._marks) - 1
        return 1 << max(0, math.ceil(math.log2(max(1, intervals) / max(1, columns))))

    def _steps(self, columns: int) -> Iterator[tuple[Mark, Mark]]:
        marks = self._marks[:: self._stride(columns)]
        return pairwise(marks)


def _counted(name: str) -> Callable[[Mark], int]:
    return lambda mark: mark.counts.get(name, 0)


def _whole(share_of: str) -> Callable[[Mark], int]:
    return _counted(share_of) if share_of else lambda mark: mark.finished


def _rejected(mark: Mark) -> int:
    return mark.rejected


def _share(old: Mark, new: Mark, part: Callable[[Mark], int], whole: Callable[[Mark], int]) -> float:
    return (part(new) - part(old)) / (whole(new) - whole(old)) if whole(new) > whole(old) else math.nan
