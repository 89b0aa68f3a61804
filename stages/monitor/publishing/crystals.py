"""The crystals of a run: the last ones one by one, and the cells of some thousands that stand for all."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.lattices.cell import CENTERINGS, UnitCell
from stages.monitor.publishing.seen import CrystalSeen, Seen
from stages.monitor.publishing.taking import angstrom

MOST_RECENT = 200
MOST_CELLS = 10_000


_NUMBERS = {
    "serial": np.int32,
    "time": np.float64,
    **dict.fromkeys(("a", "b", "c", "alpha", "beta", "gamma", "resolution"), np.float32),
    "reflections": np.int32,
    "peaks": np.int32,
    "shift_x_mm": np.float32,
    "shift_y_mm": np.float32,
}
"""The columns of numbers, in their order, and as what they are published."""


class RecentCrystals:
    """The last crystals, in the order in which they came."""

    def __init__(self) -> None:
        self._num = 0
        self._numbers = np.zeros((MOST_RECENT, len(_NUMBERS)))
        self._texts: deque[tuple[str, str, str]] = deque(maxlen=MOST_RECENT)

    def add(self, seen: Seen) -> None:
        """Add those of one frame."""
        num_peaks = 0 if seen.peaks is None else len(seen.peaks)
        for crystal in seen.crystals:
            self._numbers[self._num % MOST_RECENT] = (
                seen.serial,
                seen.received_ns / 1e9,
                *crystal.cell,
                angstrom(crystal.per_angstrom),
                crystal.num_reflections,
                num_peaks,
                *crystal.shift_mm,
            )
            self._num += 1
            self._texts.append((seen.event, crystal.lattice + crystal.centring, crystal.method))

    def columns(self) -> dict[str, Any]:
        """Return them as columns, the oldest first."""
        n = len(self._texts)
        first = self._num % MOST_RECENT if n == MOST_RECENT else 0
        rows = np.concatenate((self._numbers[first:n], self._numbers[:first]))
        return {
            **{name: rows[:, number].astype(kind) for number, (name, kind) in enumerate(_NUMBERS.items())},
            **{
                name: [texts[number] for texts in self._texts]
                for number, name in enumerate(("event", "lattice", "method"))
            },
        }


class Cells:
    """Cells of crystals sampled evenly over the run: every one, then every second one, every fourth and so on.

    >>> cells = Cells(most=4)
    >>> for a in range(11):
    ...     cells.add(CrystalSeen((a, 2.0, 3.0, 90.0, 90.0, 90.0), "t", "P", "pairs", 0.5, 9, (0.0, 0.0)))
    >>> cells.blob(None)["parameters"][:, 0], cells.of
    (array([0., 4., 8.], dtype=float32), 11)
    """

    def __init__(self, most: int = MOST_CELLS) -> None:
        self.of = 0
        self._most = most
        self._every = 1
        self._num = 0
        self._parameters = np.zeros((most, 6), np.float32)
        self._centring = np.zeros(most, np.uint8)
        self._method = np.zeros(most, np.uint8)
        self._methods: list[str] = []

    def add(self, crystal: CrystalSeen) -> None:
        """Add one crystal."""
        number = self.of
        self.of += 1
        if number % self._every:
            return
        if self._num == self._most:
            self._keep_every_second()
            if number % self._every:
                return
        at = self._num
        self._num += 1
        self._parameters[at] = crystal.cell
        self._centring[at] = max(0, CENTERINGS.find(crystal.centring))
        self._method[at] = self._number_of(crystal.method)

    def blob(self, target: UnitCell | None) -> dict[str, Any]:
        """Return them as a message says them."""
        n = self._num
        return {
            "parameters": self._parameters[:n].copy(),
            "centring": self._centring[:n].copy(),
            "centrings": list(CENTERINGS),
            "method": self._method[:n].copy(),
            "methods": list(self._methods),
            "of": self.of,
            "target": None if target is None else [*target.parameters[:3], *np.degrees(target.parameters[3:]).tolist()],
        }

    def _number_of(self, method: str) -> int:
        if method not in self._methods:
            if len(self._methods) == 255:
                return 254
            self._methods.append(method)
        return self._methods.index(method)

    def _keep_every_second(self) -> None:
        n = -(-self._num // 2)
        columns: list[NDArray[Any]] = [self._parameters, self._centring, self._method]
        for column in columns:
            column[:n] = column[: self._num : 2].copy()
        self._num, self._every = n, 2 * self._every
