"""Output in order: what is finished waits until all that came before it is."""

from __future__ import annotations

import heapq
from typing import Any


class Order:
    """Holds arrivals back until all serials before theirs have come.

    Frames that will never come (None) are kept as gaps, one for any number of serials in a row: while one frame hangs,
    thousands may be dropped.

    >>> order = Order(first=4)
    >>> order.push(5, "b"), order.push(6, None), order.push(4, "a"), order.push(7, "c")
    ([], [], ['a', 'b'], ['c'])
    >>> [order.push(serial, None) for serial in (9, 11, 10)], len(order), order.push(12, "d"), len(order)
    ([[], [], []], 0, [], 1)
    >>> order.push(8, "e"), len(order)
    (['e', 'd'], 0)
    """

    def __init__(self, first: int) -> None:
        self._next = first
        self._heap: list[tuple[int, Any]] = []
        self._gap_to: dict[int, int] = {}  # first serial of a gap -> the one behind its last, and the other way round
        self._gap_from: dict[int, int] = {}

    def __len__(self) -> int:
        """How many items are held back."""
        return len(self._heap)

    def pass_by(self, serial: int) -> bool:
        """Let an item pass, if it is its turn and nothing waits, and say whether it may.

        >>> order = Order(first=4)
        >>> order.pass_by(5), order.pass_by(4), order.push(6, "c"), order.pass_by(5), order.push(5, "b")
        (False, True, [], False, ['b', 'c'])
        """
        if serial != self._next or self._heap or self._gap_to:
            return False
        self._next += 1
        return True

    def push(self, serial: int, item: Any) -> list[Any]:
        """Add an item (None for a frame that will never come) and return those whose turn it is."""
        if item is not None:
            heapq.heappush(self._heap, (serial, item))
        else:
            begin, end = self._gap_from.pop(serial, serial), self._gap_to.pop(serial + 1, serial + 1)
            self._gap_to[begin], self._gap_from[end] = end, begin
        return self._ready()

    def rest(self) -> list[Any]:
        """Return what still waits, in order of serial."""
        return [heapq.heappop(self._heap)[1] for _ in range(len(self._heap))]

    def _ready(self) -> list[Any]:
        ready = []
        while True:
            if self._next in self._gap_to:
                self._next = self._gap_to.pop(self._next)
                del self._gap_from[self._next]
            elif self._heap and self._heap[0][0] == self._next:
                ready.append(heapq.heappop(self._heap)[1])
                self._next += 1
            else:
                return ready
