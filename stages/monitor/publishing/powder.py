"""The virtual powder of peaks: their intensities and their number, summed where they lie on the panels.

They are those of all hits; where no stage says which frames are hits, those of all frames.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.monitor.publishing.seen import FS, INTENSITY, PANEL, SS, PanelsSeen

MOST_ELEMENTS = 1_200_000
"""Detectors with more pixels are pooled until there are no more elements; so many a browser draws at once."""


class Powder:
    """Sums peaks; begins anew when the panels are others.

    Attributes
    ----------
    bin
        Pixels of a panel that are summed in one element, along each side.
    frames, hits
        Frames that were added, and those of them that are hits.
    """

    def __init__(self) -> None:
        self.bin = 1
        self.frames = self.hits = 0
        self._panels: PanelsSeen | None = None
        self._heights = self._widths = self._first = np.zeros(0, np.int64)
        self._sums = np.zeros((0, 2), np.float32)

    def lie_on(self, panels: PanelsSeen) -> None:
        """Say of which panels the peaks are that follow."""
        if panels.is_of_the_pixels_of(self._panels):
            return
        self._panels, self.frames, self.hits = panels, 0, 0
        pixels = int((panels.width.astype(np.int64) * panels.height).sum())
        self.bin = max(1, math.ceil(math.sqrt(pixels / MOST_ELEMENTS)))
        self._heights = -(-panels.height.astype(np.int64) // self.bin)
        self._widths = -(-panels.width.astype(np.int64) // self.bin)
        ends = np.cumsum(self._heights * self._widths)
        self._first = np.concatenate(([0], ends))
        self._sums = np.zeros((int(self._first[-1]), 2), np.float32)  # what belongs together lies together

    def add(self, peaks: NDArray[np.float32], frames: int, hits: int) -> None:
        """Add the peaks of some frames, float32 (n, 5); one outside all panels is left out."""
        if self._panels is None:
            return
        self.frames += frames
        self.hits += hits
        panel, fs, ss = peaks[:, PANEL].astype(np.int64), peaks[:, FS], peaks[:, SS]
        inside = (fs >= 0) & (ss >= 0)
        row, column = (ss / self.bin).astype(np.int64), (fs / self.bin).astype(np.int64)
        widths = self._widths[panel]
        inside &= (row < self._heights[panel]) & (column < widths)
        place = (self._first[panel] + row * widths + column)[inside]
        flat = self._sums.reshape(-1)
        np.add.at(flat, 2 * place, peaks[inside, INTENSITY])
        np.add.at(flat, 2 * place + 1, np.float32(1))

    def blob(self) -> dict[str, Any] | None:
        """Return it as a message says it; None as long as no geometry is known."""
        if self._panels is None:
            return None
        return {
            "peaks": self._pooled(self._sums[:, 0]),
            "peak_counts": self._pooled(self._sums[:, 1]),
            "bin": self.bin,
            "frames": self.frames,
            "hits": self.hits,
        }

    def _pooled(self, column: NDArray[np.float32]) -> list[dict[str, Any]]:
        flat = np.ascontiguousarray(column)
        return [
            {"panel": number, "data": flat[self._first[number] : self._first[number + 1]].reshape(height, width)}
            for number, (height, width) in enumerate(zip(self._heights, self._widths, strict=True))
        ]
