"""Frames that are kept, with the places of their peaks, to find the centre of rings from."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.diagnosis.rings.counted import RingCount
from stages.diagnosis.steps import Steps
from stages.prediction.powder_rings import off_rings
from stages.records.geometry import DetGeom
from stages.records.peaklist import PeakList

Floats = NDArray[np.float64]

_MOST_FRAMES, _MOST_PEAKS = 120, 200
"""So many frames are kept, with so many peaks each: 200 kB."""
_SAME_PLACE = 2e-3
"""Distances that differ by more, relative, are not of one geometry."""
_CELL_PX, _FIXED, _FEWEST_FIXED = 2.0, 0.1, 4
"""A square of so many pixels that has a peak in such a part of the frames, and in more than so many, is none of a ring's."""
_PART_OF_TURN = 1 / 40
"""To count the peaks of a frame is such a part of what may be done between two."""
_SEED = 21


@dataclass(frozen=True, eq=False)
class Places:
    """Where the peaks of a frame are, on a plane across the beam at the mean distance.

    Attributes
    ----------
    tangents
        float32 (n, 2): x and y from the beam, as the geometry file has it, in distances of the detector.
    clen_m, pixel_m, wavelength_angstrom
        Of the geometry file and of this frame.
    """

    tangents: NDArray[np.float32]
    clen_m: float
    pixel_m: float
    wavelength_angstrom: float

    @classmethod
    def of(cls, peaks: PeakList, geom: DetGeom) -> Places:
        """Take them from a frame; of many peaks as many as are kept, evenly."""
        some = np.arange(len(peaks))
        if len(peaks) > _MOST_PEAKS:
            some = np.linspace(0, len(peaks) - 1, _MOST_PEAKS).astype(np.int64)
        lab = geom.lab_m(peaks.panel[some], peaks.fs[some], peaks.ss[some])
        lab = lab[lab[:, 2] > 0]
        tangents = (lab[:, :2] / lab[:, 2:]).astype(np.float32)
        return cls(tangents, geom.mean_clen_m, geom.mean_pixel_m, geom.wavelength_angstrom)


class KeptFrames:
    """Frames of one distance, each of all that came being kept with the same probability (reservoir sampling, Vitter 1985)."""

    def __init__(self) -> None:
        self._random = random.Random(_SEED)
        self._kept: list[Places] = []
        self.num = 0

    def take(self, one: Places) -> None:
        """Keep one more; one of another distance begins anew."""
        if self._kept and abs(one.clen_m / self.clen_m - 1.0) > _SAME_PLACE:
            self._kept, self.num = [], 0
        self.num += 1
        if len(self._kept) < _MOST_FRAMES:
            self._kept.append(one)
        else:
            place = self._random.randrange(self.num)
            if place < _MOST_FRAMES:
                self._kept[place] = one

    def as_now(self) -> KeptFrames:
        """Return the same frames, to which no others come."""
        same = KeptFrames()
        same._kept, same.num = list(self._kept), self.num
        return same

    @property
    def clen_m(self) -> float:
        """The distance of the detector."""
        return self._kept[0].clen_m

    @property
    def pixel_m(self) -> float:
        """The size of a pixel."""
        return self._kept[0].pixel_m

    @property
    def wavelength_angstrom(self) -> float:
        """That of the first frame; others' peaks are moved to where they would be with it."""
        return self._kept[0].wavelength_angstrom

    def peaks(self) -> tuple[Floats, NDArray[np.int64]]:
        """Return the peaks, (n, 2) in pixels from where the file has the beam, and which frame each is of.

        Those that stay in one place are left out: two hot pixels are on one circle about many a centre, and in all frames.
        """
        px = self.clen_m / self.pixel_m
        scaled = [px * self.wavelength_angstrom / one.wavelength_angstrom * one.tangents for one in self._kept]
        frame = np.repeat(np.arange(len(scaled)), [len(one) for one in scaled])
        xy = np.concatenate(scaled).astype(np.float64)
        cell = np.floor(xy / _CELL_PX).astype(np.int64) @ np.array([1 << 20, 1])
        _, which, counts = np.unique(cell, return_inverse=True, return_counts=True)
        moves = counts[which] <= max(_FEWEST_FIXED, _FIXED * len(self._kept))
        return xy[moves], frame[moves]

    def counted(self, centre_px: Floats, factor: float = 1.0) -> Steps[RingCount]:
        """Return the rings there are if the beam is there, and the detector further away than is given by this factor."""
        counted, at = RingCount(), centre_px * self.pixel_m / self.clen_m
        for one in self._kept:
            tangent = np.hypot(one.tangents[:, 0] - at[0], one.tangents[:, 1] - at[1]) / factor
            length = 2.0 * np.sin(0.5 * np.arctan(tangent)) / one.wavelength_angstrom
            on = ~off_rings(length, one.pixel_m / (factor * one.clen_m * one.wavelength_angstrom))
            counted.take(length[on], len(length))
            yield _PART_OF_TURN
        return counted
