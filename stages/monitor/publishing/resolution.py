"""To which resolution crystals diffract, and how high peaks are at which resolution (CrystFEL's peakogram)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.monitor.publishing.seen import INTENSITY, MAX_PIXEL, CrystalSeen, PanelsSeen

_STEP_PER_ANGSTROM = 0.01
"""How wide a bin is in 1/d."""

_BINS = 250
"""Up to 2.5/A, which is 0.4 A; what lies beyond counts in the last one."""

_LOG10 = (0.0, 7.0, 84)
"""Decades of intensity, and in how many bins; what lies outside counts in the first or the last."""


class Resolution:
    """Two histograms of the whole run."""

    def __init__(self) -> None:
        self._crystals = np.zeros(_BINS, np.int64)
        self._peaks = np.zeros((_LOG10[2], _BINS), np.int64)
        self._of_max_pixel: bool | None = None
        self._reach = 0.0
        self._saturation: float | None = None

    def lie_on(self, panels: PanelsSeen) -> None:
        """Say where the detector ends, and from where on its pixels are saturated."""
        self._reach = max(self._reach, panels.highest_per_angstrom)
        finite = panels.saturation[np.isfinite(panels.saturation)]
        self._saturation = float(finite.min()) if finite.size else None

    def add(self, peaks: NDArray[np.float32], per_angstrom: NDArray[np.float64]) -> None:
        """Add peaks, float32 (n, 5), with 1/d of each.

        If the first peaks have a highest pixel, it is that by which peaks count, and those without one do not; otherwise it is
        their sum.
        """
        if self._of_max_pixel is None and len(peaks):
            self._of_max_pixel = bool(np.isfinite(peaks[:, MAX_PIXEL]).any())
        height = peaks[:, MAX_PIXEL if self._of_max_pixel else INTENSITY]
        known = (height > 0) & np.isfinite(per_angstrom)
        low, high, bins = _LOG10
        row = ((np.log10(height[known]) - low) * (bins / (high - low))).clip(0, bins - 1).astype(np.int64)
        np.add.at(self._peaks, (row, _bin_of(per_angstrom[known])), 1)

    def add_crystals(self, crystals: Sequence[CrystalSeen]) -> None:
        """Add crystals; those of unknown resolution do not count."""
        limits = np.array([crystal.per_angstrom for crystal in crystals if crystal.per_angstrom > 0])
        np.add.at(self._crystals, _bin_of(limits), 1)

    def blob(self) -> dict[str, Any]:
        """Return both as a message says them, as far as the detector reaches or anything was counted."""
        used = np.flatnonzero(self._crystals + self._peaks.sum(axis=0))
        bins = min(_BINS, max(10, int(np.ceil(self._reach / _STEP_PER_ANGSTROM)), int(used.max(initial=-1)) + 1))
        return {
            "crystals": {
                "edges_per_angstrom": (np.arange(bins + 1) * _STEP_PER_ANGSTROM).astype(np.float32),
                "counts": self._crystals[:bins].astype(np.float32),
            },
            "peakogram": {
                "counts": np.ascontiguousarray(self._peaks[:, :bins], np.float32),
                "per_angstrom": [0.0, bins * _STEP_PER_ANGSTROM],
                "log10_intensity": list(_LOG10[:2]),
                "max_pixel": bool(self._of_max_pixel),
                "saturation": self._saturation,
            },
        }


def _bin_of(per_angstrom: NDArray[Any]) -> NDArray[np.int64]:
    found: NDArray[np.int64] = (per_angstrom / _STEP_PER_ANGSTROM).clip(0, _BINS - 1).astype(np.int64)
    return found
