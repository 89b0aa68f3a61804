"""What was counted, as it grew: a row every few seconds, the older ones further apart, so that they are never too many."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from stages.monitor.publishing import reasons
from stages.monitor.publishing.groups import GroupCounts

COUNTS = ("received", "delivered", "rejected", "dropped", "lost", "hits", "indexed", "crystals")

MOST_ROWS = 2000


class Row(NamedTuple):
    """Everything that was counted up to one time.

    Attributes
    ----------
    counts
        The numbers of `COUNTS`.
    latency_ms
        Median and 99th percentile of the frames since the row before; NaN where there are none.
    groups
        Value of the header key -> frames, hits, indexed, crystals.
    rejected
        Reason -> frames that were rejected for it.
    """

    time_unix_s: float
    counts: tuple[float, ...]
    latency_ms: tuple[float, float]
    groups: dict[str, GroupCounts]
    rejected: Mapping[str, int]


class History:
    """Rows over the whole run: the last half of them as they came, those before in even steps, which double as needed.

    >>> history = History(most=8)
    >>> for second in range(40):
    ...     history.add(Row(float(second), (float(second),) * 8, (1.0, 2.0), {}, {}))
    >>> history.blob([])["time_unix_s"]
    array([ 0., 16., 32., 36., 37., 38., 39.])
    """

    def __init__(self, most: int = MOST_ROWS) -> None:
        self._half = most // 2
        self._recent: deque[Row] = deque()
        self._older: list[Row] = []
        self._every = 1
        self._num_older = 0

    def add(self, row: Row) -> None:
        """Add the latest row."""
        before = self._recent[-1].rejected if self._recent else {}
        if row.rejected == before:
            row = row._replace(rejected=before)  # kept once, however long nothing more is rejected
        self._recent.append(row)
        if len(self._recent) > self._half:
            self._let_go(self._recent.popleft())

    def _let_go(self, row: Row) -> None:
        if self._num_older % self._every == 0:
            self._older.append(row)
        self._num_older += 1
        if len(self._older) > self._half:
            self._older = self._older[::2]
            self._every *= 2

    def blob(self, groups: list[str]) -> dict[str, Any]:
        """Return the rows as columns, those of these groups and of the most frequent reasons for rejections too."""
        rows = [*self._older, *self._recent]
        counts = np.array([row.counts for row in rows], np.float64).reshape(-1, len(COUNTS))
        latency = np.array([row.latency_ms for row in rows], np.float32).reshape(-1, 2)
        return {
            "time_unix_s": np.array([row.time_unix_s for row in rows], np.float64),
            **{name: np.ascontiguousarray(counts[:, number]) for number, name in enumerate(COUNTS)},
            "latency_p50_ms": np.ascontiguousarray(latency[:, 0]),
            "latency_p99_ms": np.ascontiguousarray(latency[:, 1]),
            "groups": [{"value": group, **_of_group(rows, group)} for group in groups],
            "rejections": reasons.columns([row.rejected for row in rows]),
        }


def _of_group(rows: list[Row], group: str) -> dict[str, Any]:
    none = GroupCounts()
    counts = np.array([row.groups.get(group, none) for row in rows], np.float64).reshape(-1, len(none))
    names = ("frames", "hits", "indexed")
    return {name: np.ascontiguousarray(counts[:, GroupCounts._fields.index(name)]) for name in names}
