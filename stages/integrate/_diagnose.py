"""Which reflections are to be shown, and what is shown of them: ``--int-diag``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.integrate._kernels.marks import BAD as MARKED_BAD
from stages.integrate._kernels.marks import CLAIM, RELEASE, mark
from stages.integrate._kernels.tuples import (
    FS,
    IMPLAUSIBLE,
    INTENSITY,
    LEVEL,
    N_FIT,
    SATURATED,
    SIGMA,
    SLOPE_FS,
    SLOPE_SS,
    SS,
    UNMEASURABLE,
    VARIANCE,
    Circles,
    Measured,
    Pixels,
    Places,
)
from stages.pixels.columns import HEIGHT, OFFSET, START, STRIDE_FS, STRIDE_SS, WIDTH
from stages.records.crystal import Reflections
from stages.records.diagnosis import BAD, BESIDE, CIRCLE, CLAIMED, OUTSIDE, RING, Diagnosis
from stages.records.geometry import DetGeom

RANDOM_PART = 0.01
_NEGATIVE, _IMPLAUSIBLE, _STRONG = -3.0, -5.0, 3.0
_WORDS = ("none", "all", "random", "strong", "negative", "implausible")


class Outcome(NamedTuple):
    """What became of n reflections: int32 (n, 3) indices, intensity and sigma, and whether they were measured."""

    hkl: NDArray[np.int32]
    intensity: NDArray[np.float64]
    sigma: NDArray[np.float64]
    measured: NDArray[np.bool_]


@dataclass(frozen=True)
class Condition:
    """A word, or the indices of the reflections that are wanted.

    >>> Condition.parse("3,-4,5")
    Condition(word='indices', indices=(3, -4, 5))
    """

    word: str
    indices: tuple[int, int, int] | None = None

    @staticmethod
    def parse(text: str) -> Condition:
        """Read the condition as indexamajig takes it; ValueError if it is none."""
        if text in _WORDS:
            return Condition(text)
        try:
            h, k, l = (int(word) for word in text.strip("()").split(","))  # noqa: E741
        except ValueError:
            raise ValueError(
                f"{text!r} is no condition: give {', '.join(_WORDS[:-1])} or {_WORDS[-1]}, or indices such as 3,-4,5"
            ) from None
        return Condition("indices", (h, k, l))

    def holds(
        self,
        outcome: Outcome,
        chance: np.random.Generator,
    ) -> NDArray[np.bool_]:
        """Say of each reflection whether it is to be shown; only indices ask for those that were not measured."""
        hkl, intensity, sigma, measured = outcome
        if self.indices is not None:
            return np.asarray((hkl == self.indices).all(axis=1))
        if self.word == "all":
            return measured
        if self.word == "random":
            return measured & (chance.random(len(hkl)) < RANDOM_PART)
        if self.word == "strong":
            return measured & (intensity > _STRONG * sigma)
        if self.word == "negative":
            return measured & (intensity < _NEGATIVE * sigma)
        if self.word == "implausible":
            return measured & (intensity < _IMPLAUSIBLE * sigma)
        return np.zeros(len(hkl), np.bool_)


class Diagnostician:
    """Shows reflections that meet a condition, so many at most over the whole run of its replica."""

    def __init__(self, condition: Condition, most: int, replica: int) -> None:
        self._condition = condition
        self._left = most
        self._chance = np.random.default_rng(replica)

    @property
    def is_wanted(self) -> bool:
        """Whether there is anything left to show."""
        return self._condition.word != "none" and self._left > 0

    def choose(self, outcome: Outcome) -> NDArray[np.int64]:
        """Return the numbers of the reflections to show, and count them as shown."""
        chosen = np.flatnonzero(self._condition.holds(outcome, self._chance))[: self._left]
        self._left -= len(chosen)
        return chosen


@dataclass(frozen=True, eq=False)
class Looking:
    """What a diagnosis needs of the integration: the arrays with all peaks marked, and whether circles are centred."""

    geom: DetGeom
    arrays: list[Pixels]
    circles: Circles
    cen: bool

    def diagnosis(self, predicted: Reflections, measured: Measured, number: int) -> Diagnosis:
        """Show a reflection, by its number among those of its crystal."""
        panel = int(predicted.panel[number])
        h, k, l = (int(index) for index in predicted.hkl[number])  # noqa: E741
        at = (float(predicted.fs[number]), float(predicted.ss[number]))
        result, status = measured.results[number], int(measured.status[number])
        fs, ss, fit = at[0], at[1], np.zeros(N_FIT)
        if status != UNMEASURABLE:
            fs, ss, fit = result[FS], result[SS], measured.fits[number]
        pixels, kinds = self._box(panel, fs, ss, at)
        return Diagnosis(
            (h, k, l),
            self.geom.panels[panel].name,
            fs,
            ss,
            (fs - at[0], ss - at[1]),
            _verdict(status),
            result[INTENSITY],
            result[SIGMA],
            (float(fit[LEVEL]), float(fit[SLOPE_FS]), float(fit[SLOPE_SS])),
            float(fit[VARIANCE]),
            pixels,
            kinds,
        )

    def _box(
        self, panel: int, fs: float, ss: float, predicted: tuple[float, float]
    ) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
        """The pixels of the box, and what each is."""
        array = next(a for a in self.arrays if a.row_of_panel[panel] >= 0)
        flat, table, row_of_panel, marks = array
        own = Places(np.array([panel], np.int32), np.array(predicted[:1]), np.array(predicted[1:]))
        inner, ring, half = self.circles
        where = table[row_of_panel[panel]]
        width, height, start = (int(where[i]) for i in (WIDTH, HEIGHT, START))
        x0, y0 = math.floor(fs), math.floor(ss)
        if self.cen:  # as in the kernel, where its own claim is taken away meanwhile
            mark(array, own, inner, RELEASE)
        around = 2 * half + 1
        pixels, kinds = np.full((around, around), np.nan), np.full((around, around), OUTSIDE, np.uint8)
        part = np.full((around, around), BESIDE, np.uint8)
        for offsets, kind in ((inner, CIRCLE), (ring, RING)):
            part[offsets[:, 1] + half, offsets[:, 0] + half] = kind
        for j, i in np.ndindex(around, around):
            x, y = x0 + i - half, y0 + j - half
            if not (0 <= x < width and 0 <= y < height):
                continue
            pixels[j, i] = flat[where[OFFSET] + y * where[STRIDE_SS] + x * where[STRIDE_FS]]
            claims = int(marks[start + y * width + x])
            allowed = 1 if part[j, i] == CIRCLE and not self.cen else 0
            if claims >= MARKED_BAD or not math.isfinite(pixels[j, i]):
                kinds[j, i] = BAD
            elif part[j, i] != BESIDE and claims > allowed:
                kinds[j, i] = CLAIMED
            else:
                kinds[j, i] = part[j, i]
        if self.cen:
            mark(array, own, inner, CLAIM)
        return pixels, kinds


def _verdict(status: int) -> str:
    if status == UNMEASURABLE:
        return "not measured"
    words = [word for bit, word in ((SATURATED, "saturated"), (IMPLAUSIBLE, "implausible")) if status & bit]
    return " and ".join(words) or "kept"
