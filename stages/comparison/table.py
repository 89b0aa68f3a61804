"""What is measured of each frame in each variant, and the table that keeps it while frames arrive.

A table of n frames and v variants holds for each measure float64 (n, v), NaN where a frame has no such number (how far peaks
are off their reflections, in a frame that was not indexed), and for each pair of variants how well their orientations agree.
It takes about a hundred bytes for each frame and variant.

>>> table = FrameTable(("zaef", "peakfinder8"))
>>> row = np.full((len(MEASURES), 2), np.nan)
>>> row[PLACE["indexed"]] = 1, 0
>>> table.append(0, "run 3 // 1", row, np.array([np.nan]))
>>> table.column("indexed"), table.agreement.shape
(array([[1., 0.]]), (1, 2, 2))
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """One thing that is measured of each frame.

    Attributes
    ----------
    name
        Its name in tables and parameters.
    words
        What it is, for people.
    is_rate
        Whether it is 0 or 1 of each frame, and a part of all frames of a run.
    better
        1 if more is better, -1 if less is, 0 if neither can be said.
    unit
        Of the number; "" if it has none.
    relative
        Whether differences are said as parts of the mean.
    least
        The smallest difference that people care for if nothing else is said: a part of the mean where `relative`, else in
        the unit of the number.
    """

    name: str
    words: str
    is_rate: bool
    better: int
    unit: str = ""
    relative: bool = False
    least: float = 0.01


_ALL = (
    Measure("hits", "hits", is_rate=True, better=0),
    Measure("indexed", "frames indexed", is_rate=True, better=1),
    Measure("crystals", "crystals per frame", is_rate=False, better=1),
    Measure("peaks", "peaks per frame", is_rate=False, better=0, relative=True, least=0.05),
    Measure("explained", "part of the peaks explained, where indexed", is_rate=False, better=1),
    Measure("resolution", "resolution reached", is_rate=False, better=1, unit="1/A", relative=True, least=0.02),
    Measure("residual", "peaks off their reflections", is_rate=False, better=-1, unit="px", relative=True, least=0.05),
    Measure("ms", "time per frame", is_rate=False, better=-1, unit="ms", relative=True, least=0.05),
    Measure("right", "orientations right, where there is a crystal", is_rate=True, better=1),
    Measure("wrong", "frames indexed, and none of the crystals true", is_rate=True, better=-1),
    Measure("rejected", "frames rejected", is_rate=True, better=-1),
)

MEASURES: dict[str, Measure] = {measure.name: measure for measure in _ALL}
"""By name, in the order of the tables."""

PLACE: dict[str, int] = {name: place for place, name in enumerate(MEASURES)}
"""In which row of a frame's values a measure is."""

_FIRST_ROOM = 256


class FrameTable:
    """All that was measured of the frames so far.

    Parameters
    ----------
    variants
        Their names, in the order of the columns.
    """

    def __init__(self, variants: tuple[str, ...]) -> None:
        self.variants = variants
        self.event: list[str] = []
        self._one, self._other = np.triu_indices(len(variants), 1)
        self._serial = np.zeros(_FIRST_ROOM, np.int64)
        self._values = np.zeros((_FIRST_ROOM, len(MEASURES), len(variants)))
        self._angles = np.zeros((_FIRST_ROOM, len(self._one)), np.float32)  # there are many pairs of many variants

    def __len__(self) -> int:
        return len(self.event)

    @property
    def pairs(self) -> Iterator[tuple[str, str]]:
        """The pairs of variants in the order in which angles are appended: first with second, first with third ..."""
        return ((self.variants[i], self.variants[j]) for i, j in zip(self._one, self._other, strict=True))

    def append(self, serial: int, event: str, values: Floats, angles: Floats) -> None:
        """Add a frame.

        Parameters
        ----------
        serial, event
            Who it is.
        values
            float64 (m, v): a row for each of `MEASURES`, a column for each variant.
        angles
            float64 (v (v - 1) / 2,): how far apart the orientations of each of `pairs` are, radians; NaN where one of them has
            no crystal.
        """
        n = len(self)
        if n == len(self._serial):
            self._serial, self._values, self._angles = (
                np.concatenate([old, np.zeros_like(old)]) for old in (self._serial, self._values, self._angles)
            )
        self._serial[n], self._values[n], self._angles[n] = serial, values, angles
        self.event.append(event)

    @property
    def serial(self) -> NDArray[np.int64]:
        """int64 (n,), each frame's number in the run."""
        return self._serial[: len(self)]

    def column(self, measure: str) -> Floats:
        """float64 (n, v), what this measure was in each frame and variant; NaN where there is none."""
        return self._values[: len(self), PLACE[measure]]

    def rows(self, first: int) -> Floats:
        """float64 (n - first, m, v), all measures of the frames from this one on."""
        return self._values[first : len(self)]

    def has(self, measure: str) -> bool:
        """Whether any frame has such a number."""
        return bool(np.isfinite(self.column(measure)).any())

    def angles_to(self, variant: int, rows: slice = slice(None)) -> Floats:
        """float64 (n, v): the angles of :attr:`agreement` between one variant, by its number, and all of them."""
        angles = self._angles[: len(self)][rows]
        found = np.full((len(angles), len(self.variants)), np.nan)
        for pair, (one, other) in enumerate(zip(self._one, self._other, strict=True)):
            if variant in (one, other):
                found[:, other if variant == one else one] = angles[:, pair]
        found[:, variant] = np.where(self.column("indexed")[rows, variant] == 1.0, 0.0, np.nan)
        return found

    @property
    def agreement(self) -> Floats:
        """float64 (n, v, v): the angle in radians, up to symmetry, between the nearest crystals of two variants.

        0 on the diagonal where the variant has a crystal; NaN where one of the two has none.
        """
        return np.stack([self.angles_to(variant) for variant in range(len(self.variants))], axis=1)
