"""Samples of a frame's pixels: where they are in its arrays, and their values ring by ring, or cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.peaks._kernels import samples as kernel
from stages.pixels.columns import HEIGHT
from stages.pixels.tables import PanelTable

MUCH = 0.1
"""Samples are to be chosen anew when the number of good pixels has changed by more than this part."""


class GroupedSamples:
    """Some pixels of each group (ring or cell), the same ones for every frame.

    Attributes
    ----------
    value
        float32: those of the frame looked at last, group by group; NaN where a pixel is masked or not finite.
    first
        int64 (groups + 1,): the samples of group g are ``value[first[g]:first[g + 1]]``.
    located
        Where they are in each array.
    """

    value: NDArray[np.float32]
    first: NDArray[np.int64]
    located: list[kernel.Located]

    def __init__(self) -> None:
        self._chosen_of = -1

    def suit(self, good: int) -> bool:
        """Return whether samples are chosen, from much the same number of good pixels."""
        return self._chosen_of >= 0 and abs(good - self._chosen_of) <= MUCH * self._chosen_of

    def choose(self, places: NDArray[np.int32], group: NDArray[Any], groups: int, good: int) -> None:
        """Take these pixels (packed places, ascending) from `good` ones; `group` tells the group of each."""
        self._chosen_of = good
        n = len(places)
        self._place = places
        self._slot = np.empty(n, np.int32)
        self._slot[np.argsort(group, kind="stable")] = np.arange(n, dtype=np.int32)
        self.first = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=groups))])
        self.value = np.empty(n, np.float32)

    def locate(self, tables: Sequence[PanelTable], flag: NDArray[Any], masked: int) -> None:
        """Find them in the arrays as they are laid out now, but for pixels whose `flag` (packed order) says `masked`."""
        self.value[:] = np.nan
        self.located = []
        for table in tables:
            source, to = np.empty((2, len(self._place)), np.int32)
            first_in_row = np.empty(_rows(table) + 1, np.int64)
            n = kernel.locate_samples(
                table.where, flag, self._place, self._slot, masked, kernel.Located(source, to, first_in_row)
            )
            self.located.append(kernel.Located(source[:n].copy(), to[:n].copy(), first_in_row))

    def take(self, arrays: Sequence[NDArray[Any]]) -> None:
        """Look up their values in the flat arrays of a frame."""
        for flat, located in zip(arrays, self.located, strict=True):
            kernel.take_samples(flat, located.source, located.to, 0, len(located.source), self.value)


def nothing_located(table: PanelTable) -> kernel.Located:
    """Return where samples of an array are that has none."""
    none = np.empty(0, np.int32)
    return kernel.Located(none, none, np.zeros(_rows(table) + 1, np.int64))


def _rows(table: PanelTable) -> int:
    return int(table.where[:, HEIGHT].sum())
