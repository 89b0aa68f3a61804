"""Does the light of a photon spread over several pixels? Then sums over pixels scatter more than their pixels say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stages.peaks._kernels.likelihood import clumping as kernel
from stages.peaks._kernels.likelihood.tuples import Background, RawPixels
from stages.pixels.tables import PanelTable, packed_starts
from stages.records.geometry import DetGeom

PAIRS = 512
"""Pairs of squares that are compared, about. The factor is then known to 6 %."""
FEWEST_PAIRS = 100
"""With fewer that tell something, pixels are taken to know nothing of each other: there is hardly any background."""
DOUBTFUL, SURE = 1.2, 1.5
"""Up to the first, three times its error, the factor is taken for 1, from the second on for what it is; in between it is drawn
towards 1, so that frames that are alike are treated alike."""


class Clumping:
    """Finds the factor by which the variance of sums over pixels is more than the sum of the pixels' variances.

    It is 1 for a detector that counts, and up to the number of pixels over which the light of one photon spreads for a phosphor
    with a CCD or an image plate, or pixels that were interpolated.
    """

    def __init__(self) -> None:
        self._place = np.empty(0, np.int64)
        self._panel = np.empty(0, np.int64)
        self._sums = np.empty((0, 2))
        self._each: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []

    def choose(self, geom: DetGeom, bad: NDArray[np.bool_]) -> None:
        """Choose pairs of squares without bad pixels; `bad` is in packed order."""
        starts = packed_starts(geom.panels)
        step = max(1, int(np.sqrt(len(bad) / PAIRS)))
        window = (kernel.SIDE, kernel.SIDE + kernel.LAG)
        places, numbers = [], []
        for number, panel in enumerate(geom.panels):
            if panel.height < window[0] or panel.width < window[1]:
                continue
            mask = bad[starts[number] : starts[number + 1]].reshape(panel.height, panel.width)
            squares = np.lib.stride_tricks.sliding_window_view(mask, window)[step // 2 :: step, step // 2 :: step]
            ss, fs = np.nonzero(~squares.any(axis=(2, 3)))
            places.append(starts[number] + (step // 2 + ss * step) * panel.width + step // 2 + fs * step)
            numbers.append(np.full(len(ss), number))
        self._place = np.concatenate(places) if places else np.empty(0, np.int64)
        self._panel = np.concatenate(numbers) if numbers else np.empty(0, np.int64)
        self._sums = np.empty((len(self._place), 2))

    def locate(self, tables: Sequence[PanelTable]) -> None:
        """Note which pairs are in which array, and on which row of its table."""
        self._each = []
        for table in tables:
            mine = np.isin(self._panel, table.panel)
            self._each.append((self._place[mine], np.searchsorted(table.panel, self._panel[mine])))

    def measure(self, arrays: Sequence[RawPixels], background: Background, gain: float) -> float:
        """Return the factor for a frame; `gain` is the least size of a photon."""
        n = 0
        for pixels, (place, row) in zip(arrays, self._each, strict=True):
            n += kernel.clumping(pixels, background, place, row, gain, self._sums[n:])
        if n < FEWEST_PAIRS:
            return 1.0
        of_squares, of_pixels = self._sums[:n].sum(axis=0)
        ratio = float(of_squares / of_pixels)
        return 1.0 + (ratio - 1.0) * min(max((ratio - DOUBTFUL) / (SURE - DOUBTFUL), 0.0), 1.0)
