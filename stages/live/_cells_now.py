"""The cells of a run as they are shown while it goes on: the consensus, and what there is beside it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from stages.lattices.clusters import Cluster, Clusters
from stages.live._consensus import Consensus, cell_in_words

_FEW_MORE, _MORE = 5, 10
"""Hits that fit another cell are looked at again when there are so many more, or more by one in so many, whichever is more."""

_BESIDE = 5
"""So many clusters are told beside the consensus."""

_FEWEST = 3


class CellsNow:
    """Tells about clusters, and keeps what it told until there is another consensus: the means of many cells take a while.

    Parameters
    ----------
    consensus_of
        Makes of a cluster the cell in its conventional axes; of None, None.
    """

    def __init__(self, consensus_of: Callable[[Cluster | None], Consensus | None]) -> None:
        self._consensus_of = consensus_of
        self._told: dict[str, Any] = {}
        self._told_of: Consensus | None = None
        self._again = 0

    def figures(
        self, consensus: Consensus | None, found: Clusters, elsewhere: Clusters, not_this_cell: Callable[[], list[str]]
    ) -> dict[str, Any]:
        """Return what is known of the crystals' clusters, and of those of hits that fit another cell better.

        `consensus` is that of the largest cluster at the last look.
        """
        if consensus is not self._told_of or elsewhere.num_crystals >= self._again or not self._told:
            self._told_of = consensus
            self._again = elsewhere.num_crystals + max(_FEW_MORE, elsewhere.num_crystals // _MORE)
            self._told = {
                "consensus": None if consensus is None else _in_brief(consensus, found),
                "alternatives": self._largest(found, 1),
                "elsewhere": self._largest(elsewhere, 0),
                "not_this_cell": " ".join(not_this_cell()),
            }
        return {"crystals": found.num_crystals, **self._told}

    def _largest(self, clusters: Clusters, first: int) -> list[dict[str, Any]]:
        large = [one for one in clusters.ranked()[first : first + _BESIDE] if len(one) >= _FEWEST]
        return [_in_brief(found, clusters) for one in large if (found := self._consensus_of(one)) is not None]


def _in_brief(consensus: Consensus, among: Clusters) -> dict[str, Any]:
    """The cell and the spread of single crystals, in Angstrom and degrees, and which part of all crystals it is."""
    cell, mean = consensus.cell, consensus.mean
    return {
        "cell": [*cell.parameters[:3], *map(math.degrees, cell.parameters[3:])],
        "sigma": mean.spread.tolist(),
        "lattice": cell.lattice.lattice_type,
        "centring": cell.lattice.centering,
        "crystals": mean.num_crystals,
        "words": cell_in_words(cell),
        "is_given_cell": consensus.is_of_target,
        "share": mean.num_crystals / among.num_crystals,
    }
