"""How many frames, hits and crystals there are for each value of a header key."""

from __future__ import annotations

from typing import NamedTuple


class GroupCounts(NamedTuple):
    """What was counted of one group."""

    frames: int = 0
    hits: int = 0
    indexed: int = 0
    crystals: int = 0

    def plus(self, is_hit: bool, crystals: int) -> GroupCounts:
        """Return them with one frame more, in which so many crystals were found."""
        return GroupCounts(
            self.frames + 1,
            self.hits + is_hit,
            self.indexed + (crystals > 0),
            self.crystals + crystals,
        )
