"""How variants stand while a run goes on, in the few words of the progress line.

>>> from stages.comparison.table import PLACE
>>> table = FrameTable(("zaef", "peakfinder8"))
>>> row = np.full((len(MEASURES), 2), np.nan)
>>> for n in range(400):
...     row[PLACE["indexed"]] = n % 5 < 3, n % 3 < 2
...     table.append(n, "", row, np.array([np.nan]))
>>> Standing(table, "indexed").words()
'zaef 60 %, peakfinder8 67 % indexed, +7 +- 3 %'
"""

from __future__ import annotations

import math

import numpy as np

from stages.comparison.pair_sums import PairSums
from stages.comparison.table import MEASURES, FrameTable
from stages.comparison.words import scale_of, short, unit_of, with_error

_LONGEST_NAME = 24
_NAMED = 3
"""So many variants are named, the best of them; of more it is said how many there are."""


class Standing:
    """Follows one measure of a table that grows; what has been looked at is not looked at again.

    Parameters
    ----------
    table
        The frames, appended to by somebody else.
    aim
        The measure by which variants are compared.
    """

    def __init__(self, table: FrameTable, aim: str) -> None:
        self._table = table
        self._measure = MEASURES[aim]
        self._seen = 0
        self._count, self._sum = np.zeros((2, len(table.variants)))
        self._pairs = PairSums(self._measure, len(table.variants))

    def words(self) -> str:
        """Say how the variants stand now; empty before the first frame."""
        self._catch_up()
        names, measure, scale = self._table.variants, self._measure, scale_of(self._measure)
        count = self._count
        with np.errstate(all="ignore"):
            mean = self._sum / count
        known = [i for i in range(len(names)) if count[i]]
        if not known:
            return ""
        unit = unit_of(measure)
        first, *others = sorted(known, key=lambda i: -(measure.better or 1) * mean[i])
        chosen = sorted([first, *others[: _NAMED - 1]]) if len(known) > _NAMED else known
        said = [f"{short(names[i], _LONGEST_NAME)} {_short_number(scale * mean[i], unit)}" for i in chosen]
        more = [f"{len(known) - len(chosen)} more"] if len(known) > len(chosen) else []
        about = measure.name if unit != measure.name else "per frame"
        return ", ".join([f"{', '.join([*said, *more])} {about}", *self._lead(first, others)])

    def _lead(self, first: int, others: list[int]) -> list[str]:
        """By how much the best is before the next: of two variants, the second less the first."""
        if not others:
            return []
        one, other = (first, others[0]) if len(self._table.variants) > 2 else (1, 0)
        pairs = self._pairs
        k = int(np.flatnonzero((pairs.first == min(one, other)) & (pairs.second == max(one, other)))[0])
        n = pairs.frames[k]
        if n < 2:
            return []
        mean = (pairs.d[k] if one < other else -pairs.d[k]) / n
        error = math.sqrt(max(0.0, pairs.dd[k] / n - mean**2) / (n - 1))
        unit, scale = unit_of(self._measure), scale_of(self._measure)
        if error == 0.0:
            return ["the same on every frame"] if mean == 0.0 else []
        lead = with_error(scale * mean, scale * error, sign="+") + (f" {unit}" if unit else "")
        return [lead if len(self._table.variants) == 2 else f"the best {lead} before the next"]

    def _catch_up(self) -> None:
        n = len(self._table)
        rows = self._table.column(self._measure.name)[self._seen : n]
        self._seen = n
        if not len(rows):
            return
        known = np.isfinite(rows)
        self._count += known.sum(axis=0)
        self._sum += np.where(known, rows, 0.0).sum(axis=0)
        self._pairs.add(rows)


def _short_number(value: float, unit: str) -> str:
    number = f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}"
    return f"{number} {unit}" if unit else number
