"""How often and how long: counts and durations of each node, merged over replicas.

Durations go into bins of about 9 % width (eight to the octave), so that quantiles cost nothing while frames run and
merging two replicas is an addition.

>>> times = Durations()
>>> for ns in (1_000_000, 1_000_000, 50_000_000): times.add(ns)
>>> round(times.quantile_ns(0.5) / 1e6), times.count
(1, 3)
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import log2
from typing import Any

from toolz import merge_with

_PER_OCTAVE = 8
TOGETHER = 256
"""So many are sorted into bins at a time."""


class Durations:
    """A histogram of durations in nanoseconds.

    One thread adds; any may ask. What is added is sorted into bins when somebody asks, or some hundreds are together.
    """

    __slots__ = ("_bins", "_count", "_new", "_sorting", "_total_ns")

    def __init__(self, count: int = 0, total_ns: int = 0, bins: Mapping[int, int] | None = None) -> None:
        self._count = count
        self._total_ns = total_ns
        self._bins: dict[int, int] = dict(bins or {})
        self._new: list[int] = []
        self._sorting = threading.Lock()

    def add(self, ns: int) -> None:
        """Count one duration."""
        new = self._new
        new.append(ns)
        if len(new) >= TOGETHER:
            self.sort()

    @property
    def adding(self) -> Callable[[int], None]:
        """What adds one and does nothing else; who has it has them sorted, once there are some hundreds (`TOGETHER`)."""
        return self._new.append

    def sort(self) -> None:
        """Put what is new into its bins; what another thread adds meanwhile stays new."""
        with self._sorting:
            new = self._new[:]
            del self._new[: len(new)]
            self._count += len(new)
            self._total_ns += sum(new)
            new.sort()
            bins, at = self._bins, 0
            while at < len(new):  # many share a bin: half the time of asking for the logarithm of each
                index = int(log2(new[at]) * _PER_OCTAVE) if new[at] > 0 else 0
                end = max(at + 1, bisect_left(new, 2.0 ** ((index + 1) / _PER_OCTAVE), at))
                bins[index] = bins.get(index, 0) + end - at
                at = end

    @property
    def count(self) -> int:
        """How many there are."""
        return self._as_now()[0]

    @property
    def total_ns(self) -> int:
        """All of them together."""
        return self._as_now()[1]

    @property
    def bins(self) -> dict[int, int]:
        """How many there are in each bin."""
        return self._as_now()[2]

    def _as_now(self) -> tuple[int, int, dict[int, int]]:
        """Count, total and a copy of the bins, all of one moment."""
        self.sort()
        with self._sorting:
            return self._count, self._total_ns, dict(self._bins)

    def __reduce__(self) -> Any:
        return Durations, self._as_now()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Durations) and self._as_now() == other._as_now()

    __hash__ = None  # type: ignore[assignment]  # more may be added

    def __repr__(self) -> str:
        return f"Durations(count={self.count}, total_ns={self.total_ns})"

    def merge(self, other: Durations) -> None:
        """Add another histogram to this one."""
        count, total_ns, bins = other._as_now()
        with self._sorting:
            self._count += count
            self._total_ns += total_ns
            for index, number in bins.items():
                self._bins[index] = self._bins.get(index, 0) + number

    def since(self, before: Durations) -> Durations:
        """Return what was added since this was like `before`.

        >>> later = Durations()
        >>> for ns in (1_000, 1_000, 5_000): later.add(ns)
        >>> earlier = Durations()
        >>> earlier.add(1_000)
        >>> later.since(earlier).count, later.since(earlier).total_ns
        (2, 6000)
        """
        count, total_ns, bins = self._as_now()
        earlier_count, earlier_ns, earlier = before._as_now()
        return Durations(count - earlier_count, total_ns - earlier_ns, Counter(bins) - Counter(earlier))

    def quantile_ns(self, fraction: float) -> float:
        """Return the duration below which this fraction of all lies (to about 5 %); NaN if there are none."""
        count, _, bins = self._as_now()
        if not count:
            return math.nan
        wanted = fraction * count
        seen = 0
        for index in sorted(bins):
            seen += bins[index]
            if seen >= wanted:
                return float(2 ** ((index + 0.5) / _PER_OCTAVE))
        raise AssertionError("a histogram holds fewer durations than it counted")

    @property
    def mean_ns(self) -> float:
        """The mean; NaN if there are none."""
        count, total_ns, _ = self._as_now()
        return total_ns / count if count else math.nan


@dataclass
class NodeMetrics:
    """What one node did: frames processed, frames it rejected, time it took for each."""

    rejected: int = 0
    durations: Durations = field(default_factory=Durations)

    @staticmethod
    def sum(parts: Iterable[NodeMetrics]) -> NodeMetrics:
        """The figures of all these replicas together."""
        total = NodeMetrics()
        for part in parts:
            total.rejected += part.rejected
            total.durations.merge(part.durations)
        return total


def merge_metrics(parts: list[dict[str, NodeMetrics]]) -> dict[str, NodeMetrics]:
    """Merge the figures of several replicas, by node."""
    return merge_with(NodeMetrics.sum, parts)  # type: ignore[no-any-return]
