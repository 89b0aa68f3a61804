"""The cells of a run as they are shown while it goes on: the consensus, and what there is beside it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from stages.lattices.clusters import Cluster, Clusters
from stages.live._consensus import Consensus, cell_in_words

_FEW_MORE, _MORE = 5, 10
"""They are told anew when there are so many more crystals, or more by one in so many, whichever is more: means take a while."""

_BESIDE = 5
"""So many clusters are told beside the consensus."""

_FEWEST = 3


class CellsNow:
    """Tells about clusters, and keeps what it told until they have grown.

    Parameters
    ----------
    consensus_of
        Makes of a cluster the cell in its conventional axes; of None, None.
    """

    def __init__(self, consensus_of: Callable[[Cluster | None], Consensus | None]) -> None:
        self._consensus_of = consensus_of
        self._told: dict[str, Any] = {}
        self._told_of: Clusters | None = None
        self._again = 0

    def forget(self) -> None:
        """Let all be told anew when it is asked for next."""
        self._told_of = None

    def figures(self, found: Clusters, elsewhere: Clusters, not_this_cell: Callable[[], list[str]]) -> dict[str, Any]:
        """Return what is known of the crystals' clusters, and of those of hits that fit another cell better."""
        num = found.num_crystals + elsewhere.num_crystals
        if found is not self._told_of or num >= self._again:
            self._told_of, self._again = found, num + max(_FEW_MORE, num // _MORE)
            largest = self._largest(found, 1 + _BESIDE)
            self._told = {
                "consensus": largest[0] if largest else None,
                "alternatives": largest[1:],
                "elsewhere": self._largest(elsewhere, _BESIDE),
                "not_this_cell": " ".join(not_this_cell()),
            }
        return {"crystals": found.num_crystals, **self._told}

    def _largest(self, clusters: Clusters, most: int) -> list[dict[str, Any]]:
        large = [cluster for cluster in clusters.ranked()[:most] if len(cluster) >= _FEWEST]
        consensuses = [found for cluster in large if (found := self._consensus_of(cluster)) is not None]
        return [{**_in_brief(found), "share": found.mean.num_crystals / clusters.num_crystals} for found in consensuses]


def _in_brief(consensus: Consensus) -> dict[str, Any]:
    """The cell and the spread of single crystals, in Angstrom and degrees."""
    cell, mean = consensus.cell, consensus.mean
    return {
        "cell": [*cell.parameters[:3], *map(math.degrees, cell.parameters[3:])],
        "sigma": mean.spread.tolist(),
        "lattice": cell.lattice.lattice_type,
        "centring": cell.lattice.centering,
        "crystals": mean.num_crystals,
        "words": cell_in_words(cell),
        "is_given_cell": consensus.is_of_target,
    }
