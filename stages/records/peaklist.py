"""Peaks of one frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pipeline import Frame
from pipeline.counts import FRAMES, Count
from stages.records.columns import data_frame, structured

FEWEST_TO_INDEX = 6
"""With fewer peaks a frame is never indexed: nearly any lattice, somehow oriented, explains five."""


@dataclass(frozen=True)
class Hit:
    """Whether the frame counts as a hit, and by what. Stages that cost time pass non-hits by."""

    shown: ClassVar[tuple[Count, ...]] = (Count("hits", share_of=FRAMES),)

    is_hit: bool
    num_peaks: int

    def counts(self) -> Mapping[str, int]:
        """Add to the run's hits."""
        return {"hits": int(self.is_hit)}


def is_hit(frame: Frame) -> bool:
    """Whether a stage has called the frame a hit: that is what counts as one, everywhere. One that nobody has judged is none.

    >>> is_hit(Frame(1).with_values(Hit(True, 20))), is_hit(Frame(1).with_values(Hit(False, 3))), is_hit(Frame(1))
    (True, False, False)
    """
    hit = frame.get(Hit)
    return hit is not None and hit.is_hit


def is_no_hit(frame: Frame) -> bool:
    """Whether a stage has said that the frame is no hit, so that others pass it by; what nobody has judged they take.

    >>> is_no_hit(Frame(1).with_values(Hit(True, 20))), is_no_hit(Frame(1).with_values(Hit(False, 3))), is_no_hit(Frame(1))
    (False, True, False)
    """
    hit = frame.get(Hit)
    return hit is not None and not hit.is_hit


@dataclass(frozen=True, eq=False)
class PeakList:
    """Peaks as parallel arrays, all of length n.

    Attributes
    ----------
    panel
        int32, index into the geometry's panels.
    fs, ss
        float64, pixels from the *panel's* corner along fast and slow scan; the centre of the first pixel is at 0.5.
    intensity
        float64, background-subtracted sum in ADU (as the sender says, for peaks from the message).
    snr
        float64, signal to noise; NaN where unknown.
    max_pixel
        float64, the highest pixel in ADU; NaN where unknown.
    num_pixels
        int32, how many pixels belong to the peak; 0 where unknown.
    num_dropped
        How many peaks were dropped because they lie outside all panels or are not finite.
    num_on_rings
        How many lie on powder rings, or did before they were taken out (peaks/rings).
    """

    panel: NDArray[np.int32]
    fs: NDArray[np.float64]
    ss: NDArray[np.float64]
    intensity: NDArray[np.float64]
    snr: NDArray[np.float64]
    max_pixel: NDArray[np.float64]
    num_pixels: NDArray[np.int32]
    num_dropped: int = 0
    num_on_rings: int = 0

    def __len__(self) -> int:
        return len(self.panel)

    shown: ClassVar[tuple[Count, ...]] = (
        Count("peaks", place=3),
        Count("peaks_dropped", detail_of="peaks", text="outside all panels dropped"),
        Count("peaks_on_rings", detail_of="peaks", text="on powder rings"),
    )

    def counts(self) -> Mapping[str, int]:
        """Add to the run's peaks, to those dropped, and to those on powder rings."""
        counts = {"peaks": len(self), "peaks_dropped": self.num_dropped}
        return {**counts, "peaks_on_rings": self.num_on_rings} if self.num_on_rings else counts

    @staticmethod
    def make(
        panel: Any,
        fs: Any,
        ss: Any,
        intensity: Any,
        snr: Any = None,
        max_pixel: Any = None,
        num_pixels: Any = None,
        num_dropped: int = 0,
    ) -> PeakList:
        """Make a peak list from array-likes; what is not given is unknown."""
        n = len(panel)

        def known(values: Any, dtype: Any, unknown: float) -> NDArray[Any]:
            return np.full(n, unknown, dtype) if values is None else np.ascontiguousarray(values, dtype)

        return PeakList(
            np.ascontiguousarray(panel, np.int32),
            np.ascontiguousarray(fs, np.float64),
            np.ascontiguousarray(ss, np.float64),
            np.ascontiguousarray(intensity, np.float64),
            known(snr, np.float64, np.nan),
            known(max_pixel, np.float64, np.nan),
            known(num_pixels, np.int32, 0),
            num_dropped,
        )

    def to_numpy(self) -> NDArray[np.void]:
        """Return the peaks as a structured array, (n,): a field for each array of this list."""
        return structured(self._columns())

    def to_pandas(self) -> Any:
        """Return the peaks as a pandas DataFrame, a row each."""
        return data_frame(self._columns())

    def _columns(self) -> dict[str, NDArray[Any]]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("num_dropped", "num_on_rings")}

    def __repr__(self) -> str:
        return f"PeakList({len(self)} peaks)"

    def select(self, which: NDArray[Any]) -> PeakList:
        """Return the peaks of a boolean mask or an index array, in that order."""
        arrays = {
            f.name: getattr(self, f.name)[which]
            for f in fields(self)
            if not f.name.startswith("num_") or f.name == "num_pixels"
        }
        return replace(self, **arrays)

    def brightest(self, n: int) -> PeakList:
        """Return the `n` peaks of highest intensity, brightest first.

        >>> PeakList.make([0, 0, 0], [1, 2, 3], [4, 5, 6], [10, 30, 20]).brightest(2).fs
        array([2., 3.])
        """
        return self.select(np.argsort(-self.intensity, kind="stable")[:n])
