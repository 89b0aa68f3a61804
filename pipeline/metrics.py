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
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import log2

from toolz import merge_with

_PER_OCTAVE = 8


@dataclass(slots=True)
class Durations:
    """A histogram of durations in nanoseconds."""

    count: int = 0
    total_ns: int = 0
    bins: Counter[int] = field(default_factory=Counter)

    def add(self, ns: int) -> None:
        """Count one duration."""
        self.count += 1
        self.total_ns += ns
        bins, index = self.bins, int(log2(ns) * _PER_OCTAVE) if ns > 0 else 0
        bins[index] = bins.get(index, 0) + 1  # a Counter that is asked for what it has not looks for it twice

    def merge(self, other: Durations) -> None:
        """Add another histogram to this one."""
        self.count += other.count
        self.total_ns += other.total_ns
        self.bins.update(dict(other.bins))  # a copy in one step: another thread may be adding to it

    def since(self, before: Durations) -> Durations:
        """Return what was added since this was like `before`.

        >>> later = Durations()
        >>> for ns in (1_000, 1_000, 5_000): later.add(ns)
        >>> earlier = Durations()
        >>> earlier.add(1_000)
        >>> later.since(earlier).count, later.since(earlier).total_ns
        (2, 6000)
        """
        bins = Counter(self.bins) - Counter(before.bins)
        return Durations(self.count - before.count, self.total_ns - before.total_ns, bins)

    def quantile_ns(self, fraction: float) -> float:
        """Return the duration below which this fraction of all lies (to about 5 %); NaN if there are none."""
        if not self.count:
            return math.nan
        wanted = fraction * self.count
        seen = 0
        for index in sorted(self.bins):
            seen += self.bins[index]
            if seen >= wanted:
                return float(2 ** ((index + 0.5) / _PER_OCTAVE))
        raise AssertionError("a histogram holds fewer durations than it counted")

    @property
    def mean_ns(self) -> float:
        """The mean; NaN if there are none."""
        return self.total_ns / self.count if self.count else math.nan


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
