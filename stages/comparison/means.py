"""The mean of every measure of each variant, kept up while a table grows.

>>> from stages.comparison.table import PLACE
>>> table = FrameTable(("zaef", "peakfinder8"))
>>> row = np.full((len(MEASURES), 2), np.nan)
>>> for n in range(4):
...     row[PLACE["indexed"]] = n % 2, 1
...     table.append(n, "", row, np.array([np.nan]))
>>> [(row["variant"], row["frames"], row["indexed"], row["hits"]) for row in Means(table).rows()]
[('zaef', 4, 0.5, None), ('peakfinder8', 4, 1.0, None)]
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stages.comparison.table import MEASURES, FrameTable


class Means:
    """Follows a table that somebody else appends to; what has been added up is not looked at again."""

    def __init__(self, table: FrameTable) -> None:
        self._table = table
        self._seen = 0
        self._count, self._sum = np.zeros((2, len(MEASURES), len(table.variants)))

    def rows(self) -> list[dict[str, Any]]:
        """Return for each variant the frames so far and the mean of each measure, in its unit; None where there is none."""
        new = self._table.rows(self._seen)
        self._seen += len(new)
        known = np.isfinite(new)
        self._count += known.sum(axis=0)
        self._sum += np.where(known, new, 0.0).sum(axis=0)
        with np.errstate(all="ignore"):
            means = np.where(self._count > 0, self._sum / self._count, np.nan).T
        return [
            {
                "variant": name,
                "frames": self._seen,
                **{measure: float(x) if np.isfinite(x) else None for measure, x in zip(MEASURES, mean, strict=True)},
            }
            for name, mean in zip(self._table.variants, means, strict=True)
        ]
