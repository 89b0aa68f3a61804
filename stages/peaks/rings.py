"""peaks/rings: peaks on the rings of a powder, ice above all, belong to no crystal."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from pipeline import stage
from stages.prediction.powder_rings import ICE_ANGSTROM
from stages.records.geometry import DetGeom
from stages.records.peaklist import PeakList

ICE = "ice"
"""Stands for the spacings of ice among the rings."""


@stage("peaks/rings")
class Rings:
    """Take out peaks that lie on powder rings of known spacings: those of ice, and others (``--exclude-rings``).

    A ring is where 1/d is that of its spacing within `width_percent`. At d = 3.67 A and 1 % that is a stripe of a few pixels,
    in which spots of crystals are lost, too: take rings out that are there, which the diagnosis in the report names. Rings lie
    where they should only if the camera length is right.

    With `mark` the peaks stay, and are only counted, in the report and in each chunk (``streamajig/peaks_on_rings``).

    >>> Rings(rings="ice, 3.26").spacings_angstrom[-1]
    3.26
    """

    rings: str = Field(
        default=ICE, description="Spacings in Angstrom with commas between them, or 'ice' for those of ice."
    )
    width_percent: float = Field(default=0.7, gt=0, le=10, description="Half the width of a ring, of its 1/d.")
    mark: bool = Field(default=False, description="Count such peaks, and leave them where they are.")

    @field_validator("rings")
    @classmethod
    def _are_spacings(cls, text: str) -> str:
        _spacings(text)
        return text

    @property
    def spacings_angstrom(self) -> tuple[float, ...]:
        """All spacings, in Angstrom."""
        return _spacings(self.rings)

    def __call__(self, peaks: PeakList, geom: DetGeom) -> PeakList:
        """Return the peaks that lie on none of the rings."""
        on = self.on_rings(geom.per_angstrom(peaks.panel, peaks.fs, peaks.ss))
        if not on.any():
            return peaks
        left = peaks if self.mark else peaks.select(~on)
        return replace(left, num_on_rings=int(on.sum()))

    def on_rings(self, inverse_d_per_angstrom: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which of these 1/d, (n,), lie on a ring."""
        rings = 1.0 / np.array(self.spacings_angstrom)
        off = np.abs(inverse_d_per_angstrom[:, None] - rings) / rings
        return np.asarray((off <= 0.01 * self.width_percent).any(axis=1))


def _spacings(text: str) -> tuple[float, ...]:
    found: list[float] = []
    for word in text.replace(",", " ").split():
        if word.lower() == ICE:
            found += ICE_ANGSTROM
            continue
        try:
            spacing = float(word)
        except ValueError:
            spacing = math.nan
        if not (math.isfinite(spacing) and spacing > 0):
            raise ValueError(f"{word!r} is no spacing: give Angstrom, such as 3.67, or 'ice'")
        found.append(spacing)
    if not found:
        raise ValueError("name the spacings of the rings in Angstrom, such as 3.67,3.90, or 'ice'")
    return tuple(found)
