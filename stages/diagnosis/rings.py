"""Powder rings among the peaks: ice, by its spacings, and any other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import Frame
from stages.diagnosis.finding import Finding
from stages.diagnosis.subject import About
from stages.prediction.powder_rings import ICE_ANGSTROM, off_rings
from stages.records.geometry import DetGeom
from stages.records.peaklist import PeakList

Floats = NDArray[np.float64]

_FIRST, _EVERY = 100, 20
"""In each replica so many frames are looked at, and then one in so many."""
_FEWEST_FRAMES, _LEAST_SHARE = 5, 0.05
"""Rings in fewer frames, or in a smaller part of those with peaks, are said of none."""
_STEP, _LEAST_PER_ANGSTROM, _MOST_PER_ANGSTROM = 0.006, 0.01, 2.0
"""Bins of 1/d are by this part wider than high, from and to these 1/d."""
_HALF = 3
"""Bins to either side that are the same ring's."""
_TOO_MANY = 1000
"""Frames of more peaks are full of noise, which is denser where the background is brighter, on rings."""
_COARSE = 0.02
"""Pixels that see a larger angle, radians, are none of a detector that is where the geometry file has it."""
_ALIKE = 0.012
"""Rings are ice's if their spacings are its within this part."""
_FACTORS = np.linspace(0.94, 1.06, 121)
_CLEAR, _FEWEST_ALIKE = 0.005, 3
"""With a distance that is off all spacings are off by one factor; so many must be ice's to believe that."""
_MOST_RINGS = 8


@dataclass(frozen=True, eq=False)
class RingsSeen:
    """The peaks of a frame that lie on rings.

    Attributes
    ----------
    inverse_d
        float32, 1/d of each in 1/Angstrom.
    num_peaks
        All peaks of the frame.
    """

    inverse_d: NDArray[np.float32]
    num_peaks: int


class PowderRings:
    """Rings of ice and of other powders."""

    name = "rings"

    def look(self, about: About) -> RingsLook:
        """Return what finds rings in a frame."""
        return RingsLook()

    def watch(self, about: About) -> RingsWatch:
        """Return what gathers them."""
        return RingsWatch()


class RingsLook:
    """Finds the peaks of one radius: where many share one, and few have one a little smaller or larger."""

    def __init__(self) -> None:
        self._num = 0

    def __call__(self, frame: Frame) -> RingsSeen | None:
        """Return the peaks on rings; None of a frame without peaks, or that is not looked at."""
        peaks, geom = frame.get(PeakList), frame.get(DetGeom)
        if peaks is None or geom is None or not 0 < len(peaks) <= _TOO_MANY:
            return None
        self._num += 1
        if self._num > _FIRST and self._num % _EVERY:
            return None
        angle = geom.mean_pixel_m / geom.mean_clen_m
        if not 0.0 < angle < _COARSE:
            return None
        length = np.linalg.norm(geom.q_per_angstrom(peaks.panel, peaks.fs, peaks.ss), axis=1)
        length = length[np.isfinite(length)]
        on = ~off_rings(length, angle / geom.wavelength_angstrom)
        return RingsSeen(length[on].astype(np.float32), len(peaks))


@dataclass(frozen=True)
class Ring:
    """A ring: its spacing, in how many frames it was seen, and with how many peaks."""

    d_angstrom: float
    num_frames: int
    num_peaks: int


class RingsWatch:
    """Adds up how many frames have a ring at each 1/d."""

    def __init__(self) -> None:
        num = int(np.log(_MOST_PER_ANGSTROM / _LEAST_PER_ANGSTROM) / _STEP)
        self._frames = np.zeros(num)
        self._peaks = np.zeros(num)
        self._num_frames = self._num_with = self._num_peaks = self._num_on = 0

    def take(self, seen: RingsSeen) -> None:
        """Take one frame into account."""
        self._num_frames += 1
        self._num_peaks += seen.num_peaks
        self._num_on += len(seen.inverse_d)
        self._num_with += len(seen.inverse_d) > 0
        bins = (np.log(np.maximum(seen.inverse_d, 1e-9) / _LEAST_PER_ANGSTROM) / _STEP).astype(int)
        bins = bins[(bins >= 0) & (bins < len(self._frames))]
        self._frames[np.unique(bins)] += 1
        np.add.at(self._peaks, bins, 1)

    def findings(self) -> Sequence[Finding]:
        """Return ice, and what other rings there are."""
        rings = self.rings()
        if not rings:
            return ()
        factor, ice = _ice_among(rings)
        found = [self._ice(ice, factor)] if ice else []
        others = [ring for ring in rings if ring not in ice]
        return [*found, *([self._others(others)] if others else [])]

    conclude = findings

    def rings(self) -> list[Ring]:
        """Return the rings that many frames have, the one of most peaks first.

        Peaks of one ring fill some bins; those beside a bin of more are of the same ring.
        """
        least = max(_FEWEST_FRAMES, _LEAST_SHARE * self._num_frames)
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

    def figures(self) -> Mapping[str, Any]:
        """Return what was counted."""
        rings = [{"d_angstrom": r.d_angstrom, "frames": r.num_frames, "peaks": r.num_peaks} for r in self.rings()]
        return {
            "frames": self._num_frames,
            "frames_with_rings": self._num_with,
            "peaks": self._num_peaks,
            "peaks_on_rings": self._num_on,
            "rings": rings,
        }

    def close(self) -> None:
        """Nothing is open."""

    def _share(self, rings: Sequence[Ring]) -> str:
        peaks = 100.0 * sum(ring.num_peaks for ring in rings) / max(1, self._num_peaks)
        frames = 100.0 * max(ring.num_frames for ring in rings) / max(1, self._num_frames)
        spacings = ", ".join(f"{d:.2f}" for d in sorted((ring.d_angstrom for ring in rings), reverse=True))
        return (
            f"{peaks:.0f} % of all peaks lie on rings at {spacings} A, in {frames:.0f} % of {self._num_frames} frames"
        )

    def _ice(self, rings: Sequence[Ring], factor: float) -> Finding:
        text = f"ICE: {self._share(rings)}; they are no crystal's: --exclude-rings=ice (peaks/rings) takes them out"
        if abs(factor - 1.0) >= _CLEAR:
            how, length = ("larger", "long") if factor > 1 else ("smaller", "short")
            text += (
                f"; their spacings are {100 * abs(factor - 1):.1f} % {how} than those of ice: check the camera length, which "
                f"may be as much too {length}"
            )
        return Finding(
            "ice", text, f"ICE {100 * self._num_with / self._num_frames:.0f} % of frames", self._num_frames,
            figures={"spacings_angstrom": [ring.d_angstrom for ring in rings], "factor": factor},
        )  # fmt: skip

    def _others(self, rings: Sequence[Ring]) -> Finding:
        spacings = ",".join(f"{ring.d_angstrom:.2f}" for ring in rings)
        return Finding(
            "rings",
            f"A POWDER: {self._share(rings)}; they are no crystal's: --exclude-rings={spacings} (peaks/rings) takes them out",
            f"RINGS at {spacings} A",
            self._num_frames,
            figures={"spacings_angstrom": [ring.d_angstrom for ring in rings]},
        )


def _ice_among(rings: Sequence[Ring]) -> tuple[float, list[Ring]]:
    """Return by which factor spacings are off those of ice, and the rings that are ice's then."""
    plain = [ring for ring in rings if _is_ice(ring.d_angstrom, _ALIKE)]
    best, first = plain, math.nan
    for factor in _FACTORS:
        alike = [ring for ring in rings if _is_ice(ring.d_angstrom / factor, _CLEAR)]
        if len(alike) >= _FEWEST_ALIKE and len(alike) > len(best):
            best, first = alike, float(factor)
    if math.isnan(first):
        return 1.0, best
    return float(np.mean([ring.d_angstrom / _nearest_ice(ring.d_angstrom / first) for ring in best])), best


def _nearest_ice(d_angstrom: float) -> float:
    return min(ICE_ANGSTROM, key=lambda d: abs(d_angstrom / d - 1.0))


def _is_ice(d_angstrom: float, within: float) -> bool:
    return abs(d_angstrom / _nearest_ice(d_angstrom) - 1.0) <= within
