"""Where the detector is, from rings alone: across the beam by their centre, along it where they are ice's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stages.diagnosis.place.place import LEAST_ALONG, LEAST_SHIFT_PX, SURE
from stages.diagnosis.rings.centre import Centre, fit_centre, sharpest_centre
from stages.diagnosis.rings.counted import RingCount
from stages.diagnosis.rings.ice import IceDistance, distance_by_ice
from stages.diagnosis.rings.kept import KeptFrames
from stages.diagnosis.steps import Steps
from stages.records.displacement import Displacement

_WIDEST_PX = 3.0
"""Rings that are wider were not understood: what they are compared with is not far enough from them."""
_LEAST_ERROR_PX = 0.05
"""Positions of peaks and panels are not known better, however many agree."""


@dataclass(frozen=True, eq=False)
class RingPlace:
    """Where the detector is, as seen from the geometry file.

    Attributes
    ----------
    centre
        Of the rings, in pixels.
    ice
        The distance by ice, None if it cannot be told.
    counted
        The rings that frames have about that centre, with that distance.
    pixel_m, clen_m
        Of the geometry file.
    """

    centre: Centre
    ice: IceDistance | None
    counted: RingCount
    pixel_m: float
    clen_m: float

    @property
    def shift_m(self) -> tuple[float, float]:
        """How far the detector is off: the beam is where the rings' centre is seen, so that it is the other way."""
        x, y = self.centre.xy_px
        return -float(x) * self.pixel_m, -float(y) * self.pixel_m

    @property
    def shift_error_m(self) -> float:
        """Of either component, the larger one."""
        return self.pixel_m * math.hypot(_LEAST_ERROR_PX, float(self.centre.errors[:2].max()))

    @property
    def is_shifted(self) -> bool:
        """Whether the detector is off across the beam, and it matters."""
        size = math.hypot(*self.shift_m)
        return size > SURE * self.shift_error_m and size > LEAST_SHIFT_PX * self.pixel_m

    @property
    def along_m(self) -> float:
        """How much further away the detector is; NaN if rings cannot tell."""
        return math.nan if self.ice is None else (self.ice.factor - 1.0) * self.clen_m

    @property
    def along_error_m(self) -> float:
        """Its error; NaN likewise."""
        return math.nan if self.ice is None else self.ice.error * self.clen_m

    @property
    def is_along(self) -> bool:
        """Whether the distance is off, and it matters."""
        if self.ice is None:
            return False
        return abs(self.along_m) > max(SURE * self.along_error_m, LEAST_ALONG * self.clen_m)

    @property
    def correction(self) -> Displacement:
        """What of it is certain, and matters."""
        return Displacement(self.shift_m if self.is_shifted else (0.0, 0.0), self.along_m if self.is_along else 0.0)

    def figures(self) -> Mapping[str, Any]:
        """Return it for JSON."""
        is_told = self.ice is not None
        return {
            "shift_x_m": self.shift_m[0],
            "shift_y_m": self.shift_m[1],
            "shift_error_m": self.shift_error_m,
            "along_m": self.along_m if is_told else None,
            "along_error_m": self.along_error_m if is_told else None,
            "clen_m": self.clen_m,
            "pixel_m": self.pixel_m,
            "frames": self.counted.num_with,
            "peaks": self.centre.num_peaks,
            "rings": len(self.centre.radii_px),
            "ring_width_px": self.centre.width_px,
        }


def find_centre(kept: KeptFrames, last: RingPlace | None = None) -> Steps[RingPlace | None]:
    """Return where the detector is by the rings of the frames that are kept; None if they have none, or do not tell."""
    xy, frame = kept.peaks()
    if not len(xy):
        return None
    yield 0.5
    starts = [(0.0, 0.0)]
    if last is not None:
        starts.append((float(last.centre.xy_px[0]), float(last.centre.xy_px[1])))
    near = yield from sharpest_centre(xy, starts)
    rings = (yield from kept.counted(near)).rings()
    if not rings:
        return None
    px, wavelength = kept.clen_m / kept.pixel_m, kept.wavelength_angstrom
    radii = [
        px * math.tan(2.0 * math.asin(wavelength / 2.0 / ring.d_angstrom))
        for ring in rings
        if ring.d_angstrom > wavelength / math.sqrt(2)
    ]
    yield 0.5
    centre = (yield from fit_centre(xy, frame, near, radii)) if radii else None
    if centre is None or not centre.is_all_around or centre.width_px > _WIDEST_PX:
        return None
    ice = distance_by_ice(centre.radii_px / px, centre.covariance[2:, 2:] / px**2, wavelength)
    counted = yield from kept.counted(centre.xy_px, 1.0 if ice is None else ice.factor)
    return RingPlace(centre, ice, counted, kept.pixel_m, kept.clen_m)
