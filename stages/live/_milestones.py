"""Which looks at merged data are shown, of many."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stages.live._growth import Look


def milestones(looks: Sequence[Look]) -> list[Look]:
    """Return the looks at about 10, 20, 50, 100 ... crystals, and the last."""
    kept, passed = [], 0
    for look in looks[:-1]:
        milestone = max(_milestones_to(look.crystals), default=0)
        if milestone > passed:
            kept.append(look)
            passed = milestone
    return [*kept, *looks[-1:]]


def _milestones_to(n: int) -> list[int]:
    """1, 2, 5, 10, 20 ... up to n.

    >>> _milestones_to(60)
    [1, 2, 5, 10, 20, 50]
    """
    decades = range(max(0, int(math.log10(max(1, n)))) + 1)
    return [m * 10**decade for decade in decades for m in (1, 2, 5) if m * 10**decade <= n]
