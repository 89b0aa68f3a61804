"""Small windows of pixels, spread over the detector, the same in all frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.records.geometry import DetGeom
from stages.records.image import Image

HEIGHT, WIDTH = 4, 8
"""Of a window, pixels."""
WINDOWS = 800
"""About so many."""
_SPREAD = 0.6180339887498949
"""Multiples of it, modulo 1, are evenly spread. Each row of windows is moved by one along, each column down: a gap is long and
may be narrow, and one that runs between the columns of a grid would never be seen."""


@dataclass(frozen=True, eq=False)
class Probe:
    """The windows of one frame.

    Attributes
    ----------
    pixels
        (W, HEIGHT * WIDTH) in the type of the frame's arrays, rows of a window one after the other.
    bad
        uint8 of that shape, 1 where the geometry masks a pixel.
    total
        How many pixels the detector has.
    is_hit
        Whether the frame is a hit.
    adu_per_photon
        As the geometry has it; NaN where its panels differ.
    """

    pixels: NDArray[Any]
    bad: NDArray[np.uint8]
    total: int
    is_hit: bool
    adu_per_photon: float


@dataclass(frozen=True, eq=False)
class Range:
    """Between what values each pixel of the windows has been, over some frames.

    Attributes
    ----------
    good
        bool (W, n), whether a pixel is good and finite in all frames.
    is_still
        bool (W, n), whether it is, and has had one value only.
    """

    good: NDArray[np.bool_]
    is_still: NDArray[np.bool_]

    @staticmethod
    def of(probes: Sequence[Probe]) -> Range:
        """Return it. Frames are gone through one after the other: together they are more than processors keep at hand."""
        bad = {id(probe.bad): probe.bad for probe in probes}  # of most frames it is the same
        good = ~np.any(list(bad.values()), axis=0)
        highest, lowest = probes[0].pixels.copy(), probes[0].pixels.copy()
        for probe in probes:
            if probe.pixels.dtype.kind == "f":
                good &= np.isfinite(probe.pixels)
            np.maximum(highest, probe.pixels, out=highest)
            np.minimum(lowest, probe.pixels, out=lowest)
        return Range(good, good & (highest == lowest))


class Prober:
    """Cuts windows out; remembers those of the mask as long as it is the same."""

    def __init__(self) -> None:
        self._of: Any = None
        self._bad: NDArray[np.uint8] = np.zeros((0, 0), np.uint8)

    def __call__(self, image: Image, geom: DetGeom, is_hit: bool) -> Probe | None:
        """Return the windows of a frame; None where its panels are too small for them."""
        total = sum(panel.width * panel.height for panel in geom.panels)
        step = max(WIDTH, round(np.sqrt(total / WINDOWS)))
        cut = [_windows(view, step) for view in geom.views(image)]
        if self._of is not geom.bad:
            masks = [_windows(bad, step) for bad in geom.bad]
            self._of, self._bad = geom.bad, np.concatenate(masks)
        if not sum(map(len, cut)):
            return None
        pixels = np.concatenate(cut)
        gains = [geom.adu_per_photon(number) for number in range(len(geom.panels))]
        gain = gains[0] if max(gains) <= 1.01 * min(gains) else float("nan")
        return Probe(pixels, self._bad, total, is_hit, gain)


def _windows(panel: NDArray[Any], step: int) -> NDArray[Any]:
    if panel.shape[0] < HEIGHT or panel.shape[1] < WIDTH:
        return np.zeros((0, HEIGHT * WIDTH), panel.dtype)
    windows = np.lib.stride_tricks.sliding_window_view(panel, (HEIGHT, WIDTH))
    rows, columns = np.arange(step // 3, windows.shape[0], step), np.arange(step // 3, windows.shape[1], step)
    down = (_SPREAD * np.arange(len(columns)) % 1.0 * (step - HEIGHT)).astype(int)
    along = (_SPREAD * np.arange(len(rows)) % 1.0 * (step - WIDTH)).astype(int)
    ss = np.minimum(rows[:, None] + down, windows.shape[0] - 1)
    fs = np.minimum(columns + along[:, None], windows.shape[1] - 1)
    cut: NDArray[Any] = windows[ss, fs].reshape(-1, HEIGHT * WIDTH)
    return cut
