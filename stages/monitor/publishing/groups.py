"""How many frames, hits and crystals there are for each value of a header key."""

from __future__ import annotations

from typing import NamedTuple


class GroupCounts(NamedTuple):
    """What was counted of one group."""

    frames: int = 0
    hits: int = 0
    indexed: int = 0
    crystals: int = 0

    def plus(self, category: str, crystals: int) -> GroupCounts:
        """Return them with one frame more."""
        is_indexed = category == "indexed"
        return GroupCounts(
            self.frames + 1,
            self.hits + (is_indexed or category == "hit"),
            self.indexed + is_indexed,
            self.crystals + crystals,
        )
