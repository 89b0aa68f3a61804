"""How many frames have a ring at each spacing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_FEWEST_FRAMES, _LEAST_SHARE = 5, 0.05
"""Rings in fewer frames, or in a smaller part of those with peaks, are said of none."""
_STEP, _LEAST_PER_ANGSTROM, _MOST_PER_ANGSTROM = 0.006, 0.01, 2.0
"""Bins of 1/d are by this part wider than high, from and to these 1/d."""
_HALF = 3
"""Bins to either side that are the same ring's."""
_MOST_RINGS = 8


@dataclass(frozen=True)
class Ring:
    """A ring: its spacing, in how many frames it was seen, and with how many peaks."""

    d_angstrom: float
    num_frames: int
    num_peaks: int


class RingCount:
    """Adds up how many frames have a ring at each 1/d."""

    def __init__(self) -> None:
        num = int(np.log(_MOST_PER_ANGSTROM / _LEAST_PER_ANGSTROM) / _STEP)
        self._frames = np.zeros(num)
        self._peaks = np.zeros(num)
        self.num_frames = self.num_with = self.num_peaks = self.num_on = 0

    def take(self, inverse_d: NDArray[np.floating], num_peaks: int) -> None:
        """Take one frame into account: 1/d of its peaks on rings, in 1/Angstrom, and the number of all its peaks."""
        self.num_frames += 1
        self.num_peaks += num_peaks
        self.num_on += len(inverse_d)
        self.num_with += len(inverse_d) > 0
        bins = (np.log(np.maximum(inverse_d, 1e-9) / _LEAST_PER_ANGSTROM) / _STEP).astype(int)
        bins = bins[(bins >= 0) & (bins < len(self._frames))]
        self._frames[np.unique(bins)] += 1
        np.add.at(self._peaks, bins, 1)

    def rings(self) -> list[Ring]:
        """Return the rings that many frames have, the one of most peaks first.

        Peaks of one ring fill some bins; those beside a bin of more are of the same ring.
        """
        least = max(_FEWEST_FRAMES, _LEAST_SHARE * self.num_frames)
        peaks = self._peaks.copy()
        rings: list[Ring] = []
        while len(rings) < _MOST_RINGS:
            three = np.convolve(peaks, np.ones(3), "same")
            at = int(np.argmax(three))
            window = slice(max(0, at - _HALF), at + _HALF + 1)
            num, frames = float(peaks[window].sum()), int(self._frames[window].max())
            if num <= 0:
                break
            middle = float(peaks[window] @ (np.arange(len(peaks))[window] + 0.5)) / num
            peaks[window] = 0
            if frames >= least:
                rings.append(Ring(1.0 / (_LEAST_PER_ANGSTROM * float(np.exp(middle * _STEP))), frames, int(num)))
        return rings

    def share(self, rings: Sequence[Ring]) -> str:
        """Say how many of the peaks lie on these rings, and in how many of the frames."""
        peaks = 100.0 * sum(ring.num_peaks for ring in rings) / max(1, self.num_peaks)
        frames = 100.0 * max(ring.num_frames for ring in rings) / max(1, self.num_frames)
        spacings = ", ".join(f"{d:.2f}" for d in sorted((ring.d_angstrom for ring in rings), reverse=True))
        return f"{peaks:.0f} % of all peaks lie on rings at {spacings} A, in {frames:.0f} % of {self.num_frames} frames"
