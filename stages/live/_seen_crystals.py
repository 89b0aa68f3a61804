"""What live/merge sees of its crystals besides intensities: of which cells they are, and whether some are there twice."""

from __future__ import annotations

from typing import Any

import numpy as np

from stages.merging.crystals import Observed
from stages.merging.point_group import PointGroup
from stages.merging.seen import Cells, Twice

_FIRST, _EVERY = 2000, 20
"""The cells of so many crystals are looked at, and then of one in so many: each stays in memory."""


class SeenCrystals:
    """Looks at crystals as :mod:`stages.merging.seen` does, one by one as they come.

    Parameters
    ----------
    keep_duplicates
        Whether crystals that are there twice are merged twice.
    """

    def __init__(self, *, keep_duplicates: bool) -> None:
        self._twice = None if keep_duplicates else Twice()
        self._cells = Cells()
        self._num = 0

    def is_to_merge(self, crystal: Observed) -> bool:
        """Return whether a crystal, as it was indexed, is here for the first time; look at its cell then."""
        if self._twice is not None and not self._twice.is_new_list(crystal.keys, crystal.intensity):
            return False
        self._num += 1
        if self._num <= _FIRST or self._num % _EVERY == 0:
            # lengths and angles are all that counts, so that any orientation will do
            self._cells.add(np.linalg.cholesky(np.linalg.inv(crystal.metric)), crystal.centring)
        return True

    def lines(self, group: PointGroup) -> list[str]:
        """Say what is out of the ordinary."""
        twice = () if self._twice is None else self._twice.lines("keep_duplicates")
        return [*self._cells.lines(group, merged_all=True), *twice]

    def figures(self) -> dict[str, Any]:
        """Return how many are there twice, and the (reduced) cells of other samples with their numbers of crystals."""
        others = [
            {"crystals": len(cluster), "cell": cluster.mean().parameters.tolist()} for cluster in self._cells.others()
        ]
        return {"duplicates": 0 if self._twice is None else self._twice.num_alike, "other_samples": others}
