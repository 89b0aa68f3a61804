"""Powder rings among the peaks: ice, by its spacings, and any other; and where their centre says that the detector is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import Frame
from stages.diagnosis.finding import Finding
from stages.diagnosis.rings.counted import Ring, RingCount
from stages.diagnosis.rings.kept import KeptFrames, Places
from stages.diagnosis.rings.place import RingPlace, find_centre
from stages.diagnosis.rings.words import findings_of
from stages.diagnosis.steps import Steps, at_once
from stages.diagnosis.subject import About
from stages.prediction.powder_rings import off_rings
from stages.records.geometry import DetGeom
from stages.records.peaklist import PeakList

_FIRST, _EVERY = 100, 20
"""In each replica so many frames are looked at, and then one in so many."""
_TOO_MANY = 1000
"""Frames of more peaks are full of noise, which is denser where the background is brighter, on rings."""
_COARSE = 0.02
"""Pixels that see a larger angle, radians, are none of a detector that is where the geometry file has it."""

_FEWEST_TO_FIT = 20
_MORE, _MORE_IF_NONE, _MORE_AT_END = 2.0, 4.0, 1.3
"""The centre is looked for anew when there are more frames by this factor: most runs have no rings."""


@dataclass(frozen=True, eq=False)
class RingsSeen:
    """The peaks of a frame that lie on rings, and where its peaks are.

    Attributes
    ----------
    inverse_d
        float32, 1/d of each that lies on a ring about the beam, as the geometry file has it, in 1/Angstrom.
    num_peaks
        All peaks of the frame.
    places
        Where they are.
    """

    inverse_d: NDArray[np.float32]
    num_peaks: int
    places: Places


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
        peaks, given = frame.get(PeakList), frame.get(DetGeom)
        if peaks is None or given is None or not 0 < len(peaks) <= _TOO_MANY:
            return None
        self._num += 1
        if self._num > _FIRST and self._num % _EVERY:
            return None
        geom = given.of_file
        angle = geom.mean_pixel_m / geom.mean_clen_m
        if not 0.0 < angle < _COARSE:
            return None
        length = geom.per_angstrom(peaks.panel, peaks.fs, peaks.ss)
        length = length[np.isfinite(length)]
        on = ~off_rings(length, angle / geom.wavelength_angstrom)
        return RingsSeen(length[on].astype(np.float32), len(peaks), Places.of(peaks, geom))


class RingsWatch:
    """Adds up how many frames have a ring at each 1/d, and keeps some frames to find the centre of rings from.

    A detector that is off smears its rings: what rings there are is counted anew about the centre that was found.
    """

    def __init__(self) -> None:
        self._given = RingCount()
        self._kept = KeptFrames()
        self._fitted_at = 0
        self._place: RingPlace | None = None

    def take(self, seen: RingsSeen) -> None:
        """Take one frame into account."""
        self._given.take(seen.inverse_d, seen.num_peaks)
        self._kept.take(seen.places)

    def findings(self) -> Sequence[Finding]:
        """Return ice, what other rings there are, and where the detector is; looks for a centre now and then."""
        return at_once(self.findings_in_steps())

    def findings_in_steps(self) -> Steps[Sequence[Finding]]:
        """Return the same, in the steps of the search for the centre."""
        more = _MORE if self._place is not None else _MORE_IF_NONE
        return (yield from self._said(max(_FEWEST_TO_FIT, more * self._fitted_at)))

    def conclude(self) -> Sequence[Finding]:
        """Look for a centre once more, if there is anything new."""
        return at_once(self._said(max(_FEWEST_TO_FIT, _MORE_AT_END * self._fitted_at)))

    def rings(self) -> list[Ring]:
        """Return the rings that many frames have, the one of most peaks first."""
        return self._counted.rings()

    def figures(self) -> Mapping[str, Any]:
        """Return what was counted, and the centre, null where it is not known."""
        counted = self._counted
        rings = [{"d_angstrom": r.d_angstrom, "frames": r.num_frames, "peaks": r.num_peaks} for r in counted.rings()]
        return {
            "frames": counted.num_frames,
            "frames_with_rings": counted.num_with,
            "peaks": counted.num_peaks,
            "peaks_on_rings": counted.num_on,
            "rings": rings,
            "centre": None if self._place is None else dict(self._place.figures()),
        }

    def close(self) -> None:
        """Nothing is open."""

    @property
    def place(self) -> RingPlace | None:
        """Where the detector is by the rings, as far as it is known."""
        return self._place

    @property
    def _counted(self) -> RingCount:
        return self._given if self._place is None or self._place.correction.is_none else self._place.counted

    def _said(self, num_to_fit: float) -> Steps[list[Finding]]:
        if self._kept.num >= num_to_fit:
            self._fitted_at = self._kept.num
            self._place = yield from find_centre(self._kept.as_now(), self._place)
        counted = self._counted
        return findings_of(counted, counted.rings(), self._place)
