"""Why frames were rejected, as it grew: the most frequent reasons each by its name, all others together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.texts import one_line
from pipeline.watching import RejectionView

MOST_NAMED = 7
"""So many reasons have a curve of their own: curves have eight looks, and the last is that of the others."""

OTHERS = "other_reasons"
"""What all others are called: as the report calls those that it does not tell apart."""

_LONGEST = 60


def by_reason(rejections: Mapping[tuple[str, str], RejectionView]) -> dict[str, int]:
    """Return how many frames were rejected for each reason, by whatever node; in the order in which reasons came up.

    A run tells a hundred apart at most.
    """
    counted: Counter[str] = Counter()
    for (_, reason), tally in rejections.items():
        counted[reason] += tally.count
    return dict(counted)


def columns(rows: Sequence[Mapping[str, int]]) -> list[dict[str, Any]]:
    """Return what was rejected until each row, for each reason that is named, then for all others together.

    Which ones are named depends on the last row; they keep their order, so that curves keep their colours.

    >>> found = columns([{"no_peaks": 1}, {"no_peaks": 3, "no_key": 1}])
    >>> [(one["reason"], one["rejected"].tolist()) for one in found]
    [('no_peaks', [1.0, 3.0]), ('no_key', [0.0, 1.0])]
    """
    last = {reason: count for reason, count in rows[-1].items() if reason != OTHERS} if rows else {}
    frequent = set(sorted(last, key=lambda reason: -last[reason])[:MOST_NAMED])
    named = [reason for reason in last if reason in frequent]
    found = [{"reason": one_line(reason, _LONGEST), "rejected": _of(rows, reason)} for reason in named]
    total = np.array([sum(row.values()) for row in rows], np.float64)
    others = total - sum((one["rejected"] for one in found), np.zeros(len(rows)))
    return [*found, {"reason": OTHERS, "rejected": others}] if others.any() else found


def _of(rows: Sequence[Mapping[str, int]], reason: str) -> Any:
    return np.array([row.get(reason, 0) for row in rows], np.float64)
