"""What peaks say of pixels: peaks at one place in nearly every frame, and peaks that end at one value (saturation)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import Frame
from stages.diagnosis.finding import Finding
from stages.files.geom.edits import Edit
from stages.records.crystal import Crystals
from stages.records.geometry import DetGeom
from stages.records.peaklist import PeakList

MOST = 500
"""So many peaks of a frame are looked at, the first."""
TOPS = 16
"""So many highest pixels of a frame."""
FEWEST_FRAMES, SHARE = 20, 0.6
"""A place is always there that has a peak in this share of so many frames or more."""
FEWEST_ENDS, FEWEST_ENDING_FRAMES = 10, 5
"""So many peaks, in so many frames, that end at the very highest value: an exponential tail ends with one or two."""
SATURATED_SHARE = 0.1
"""From so many saturated peaks on it is said."""
_BESIDE = 2.0


@dataclass(frozen=True, eq=False)
class PeakPixels:
    """The peaks of one frame.

    Attributes
    ----------
    place
        int64 (n, 3): panel, fs, ss of the pixels in which they are.
    tops, top_places
        float64, the highest pixels of the highest peaks, ADU, descending; the rows of `place` that are theirs.
    num_saturated
        Peaks with a pixel above max_adu.
    limited
        Whether any panel has max_adu.
    is_indexed
        Whether there are crystals.
    """

    place: NDArray[np.int64]
    tops: NDArray[np.float64]
    top_places: NDArray[np.int64]
    num_saturated: int
    limited: bool
    is_indexed: bool

    @staticmethod
    def of(peaks: PeakList, geom: DetGeom, frame: Frame) -> PeakPixels:
        """Take them out of a frame."""
        place = np.stack([peaks.panel, np.floor(peaks.fs), np.floor(peaks.ss)], axis=1).astype(np.int64)[:MOST]
        max_adu = np.array([panel.max_adu for panel in geom.panels])
        highest = peaks.max_pixel[:MOST]
        first = np.argsort(-highest, kind="stable")[:TOPS]  # what is not known comes last
        first = first[np.isfinite(highest[first])]
        saturated = int(np.sum(peaks.max_pixel > max_adu[peaks.panel])) if len(peaks) else 0
        crystals = frame.get(Crystals)
        return PeakPixels(
            place,
            highest[first],
            place[first],
            saturated,
            bool(np.isfinite(max_adu).any()),
            bool(crystals and crystals.found),
        )


class Peaks:
    """Counts places and highest values."""

    def __init__(self) -> None:
        self._frames = self._indexed = self._num_peaks = self._peaks_indexed = self._saturated = 0
        self._limited = False
        self._places: Counter[tuple[int, int, int]] = Counter()
        self._top, self._ending = -np.inf, 0
        self._ends: set[tuple[int, int, int]] = set()

    def take(self, seen: PeakPixels) -> None:
        """Count a frame's; places that were there in few frames are forgotten."""
        if not len(seen.place):
            return
        self._frames += 1
        self._num_peaks += len(seen.place)
        self._indexed += seen.is_indexed
        self._peaks_indexed += seen.is_indexed * len(seen.place)
        self._saturated += seen.num_saturated
        self._limited |= seen.limited
        self._places.update(set(map(tuple, seen.place.tolist())))
        if self._frames % 64 == 0:
            self._places = Counter({at: n for at, n in self._places.items() if n > 0.1 * self._frames})
        if len(seen.tops):
            if seen.tops[0] > self._top:
                self._top, self._ends, self._ending = float(seen.tops[0]), set(), 0
            if seen.tops[0] == self._top:
                if len(self._ends) < MOST:
                    self._ends.update(map(tuple, seen.top_places[seen.tops == self._top].tolist()))
                self._ending += 1

    def findings(self, hot: set[tuple[int, int, int]]) -> list[Finding]:
        """Return what is known, leaving out places beside pixels that are known to be hot."""
        if self._frames < FEWEST_FRAMES:
            return []
        found = [self._fixed(hot), self._saturation()]
        return [finding for finding in found if finding is not None]

    def figures(self) -> dict[str, Any]:
        """Return how many frames had peaks, and how many peaks are saturated."""
        return {"frames_with_peaks": self._frames, "peaks_above_max_adu": self._saturated}

    def _fixed(self, hot: set[tuple[int, int, int]]) -> Finding | None:
        if max(self._places.values(), default=0) < SHARE * self._frames:
            return None
        always = [at for at, n in self._places.items() if n >= SHARE * self._frames]
        if self._indexed > 0.5 * self._frames and len(always) > 0.5 * self._peaks_indexed / self._indexed:
            return None  # a crystal that does not move
        near = np.array(sorted(hot), np.float64).reshape(-1, 3)
        left = []
        for at in sorted(always):
            same = near[near[:, 0] == at[0], 1:]
            if not (np.abs(same - at[1:]).max(axis=1, initial=0.0) <= _BESIDE).any():
                left.append(at)
        if not left:
            return None
        named = ", ".join(f"fs {fs} ss {ss}" for _, fs, ss in left[:3])
        text = (
            f"{len(left)} place{'s have' if len(left) > 1 else ' has'} a peak in nearly all of {self._frames} frames with "
            f"peaks: {named}{' ...' if len(left) > 3 else ''} (from the panel's corner): hot pixels or something that always "
            "diffracts; mask them, or they count as peaks of every frame"
        )
        return Finding("fixed_peaks", text, f"{len(left)} peaks never move", self._frames, True, {"places": len(left)})

    def _saturation(self) -> Finding | None:
        if self._limited and self._saturated >= SATURATED_SHARE * self._num_peaks:
            share = 100 * self._saturated / self._num_peaks
            text = (
                f"{share:.0f} % of the peaks of {self._frames} frames have pixels above max_adu: they saturate; attenuate the "
                "beam, or correct max_adu if the detector counts further"
            )
            return Finding(
                "saturation", text, f"{share:.0f} % of peaks saturated", self._frames, True, {"percent": share}
            )
        ends = len(self._ends)  # a crystal that does not move has one peak in one place
        if self._limited or ends < FEWEST_ENDS or self._ending < FEWEST_ENDING_FRAMES:
            return None
        limit = f"{self._top - 1:.0f}" if self._top >= 1000 else f"{0.999 * self._top:.6g}"
        text = (
            f"{ends} peaks in {self._ending} of {self._frames} frames end at exactly {self._top:.10g} ADU, the highest value "
            f"of all: their pixels saturate, and max_adu is not set; write 'max_adu = {limit}', and attenuate the beam if they "
            "are many"
        )
        edit = Edit("max_adu", limit, f"{ends} peaks end at {self._top:.10g}")
        figures = {"top_adu": self._top, "peaks_at_top": ends}
        return Finding("saturation", text, f"peaks saturate at {self._top:.6g}", self._frames, True, figures, (edit,))
