"""Mean and highest value of the pixels over the frames that came: a virtual powder pattern of what was not found, too."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.monitor._kernels.pool import add_squares
from stages.monitor.blob import DTYPES
from stages.monitor.pooling import as_received, nothing_masked, pooled, side_for

Array = NDArray[Any]

MOST_PIXELS = 600_000
"""Mean and maximum are two numbers of four bytes each for a pixel."""


class PixelSums:
    """Sums over frames, for squares of pixels; begins anew with panels of other sizes. One thread may add while others look.

    Attributes
    ----------
    num_frames
        How many are in them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self.num_frames, self._since_unix_s, self._side = 0, time.time(), 1
        self._shapes: list[tuple[int, ...]] = []
        self._total: list[Array] = []
        self._number: list[Array] = []
        self._highest: list[Array] = []

    def add(self, panels: Sequence[Array], bad: Sequence[Array]) -> None:
        """Add a frame; parameters as :func:`stages.monitor.pooling.pooled` takes them."""
        with self._lock:
            self._add(panels, bad)

    def _add(self, panels: Sequence[Array], bad: Sequence[Array]) -> None:
        shapes = [panel.shape for panel in panels]
        if shapes != self._shapes:
            self._begin()
            self._shapes, self._side = shapes, side_for(shapes, MOST_PIXELS)
            squares = [(-(-height // self._side), -(-width // self._side)) for height, width in shapes]
            self._total = [np.zeros(shape) for shape in squares]
            self._number = [np.zeros(shape) for shape in squares]
            self._highest = [np.full(shape, -np.inf, np.float32) for shape in squares]
        sums = zip(self._total, self._number, self._highest, strict=True)
        masks = bad or [nothing_masked(panel.shape) for panel in panels]
        for panel, masked, (total, number, highest) in zip(panels, masks, sums, strict=True):
            add_squares(as_received(panel), as_received(masked), self._side, total, number, highest)
        self.num_frames += 1

    def figures(self) -> dict[str, Any]:
        """Mean and maximum, float32 for each panel, NaN where all was masked in all frames; of how many frames, since when."""
        with self._lock, np.errstate(invalid="ignore", over="ignore"):
            return {
                "mean": [(total / n).astype(np.float32) for total, n in zip(self._total, self._number, strict=True)],
                "maximum": [np.where(top == -np.inf, np.float32(np.nan), top) for top in self._highest],
                "bin": self._side,
                "frames": self.num_frames,
                "since_unix_s": self._since_unix_s,
            }


def warm_up() -> None:
    """Compile what pools and adds up frames, for all types that messages have."""
    for dtype in sorted(DTYPES):
        panel = np.zeros((2, 2), dtype)
        pooled([panel], [np.zeros((2, 2), np.uint8)], 1)
        PixelSums().add([panel], [])
