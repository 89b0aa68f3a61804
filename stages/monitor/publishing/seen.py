"""What is taken out of a frame for the monitor, in a replica; what crosses from there to where it is gathered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.records.geometry import HC_EV_ANGSTROM

PANEL, FS, SS, INTENSITY, MAX_PIXEL = range(5)
"""The columns of a frame's peaks."""


class CrystalSeen(NamedTuple):
    """One crystal, in numbers.

    Attributes
    ----------
    cell
        a, b, c in Angstrom, alpha, beta, gamma in degrees, as it was indexed.
    lattice, centring
        Lattice type and centring, each one letter: ``t`` and ``P``.
    method
        Which indexing method found it.
    per_angstrom
        Its resolution limit as 1/d; NaN where that is not known.
    num_reflections
        How many were predicted.
    shift_mm
        The detector's shift with which it was found, x and y, as seen from the geometry file.
    """

    cell: tuple[float, ...]
    lattice: str
    centring: str
    method: str
    per_angstrom: float
    num_reflections: int
    shift_mm: tuple[float, float]


@dataclass(frozen=True, eq=False)
class PanelsSeen:
    """Where the detector's panels lie in the plane across the beam at their mean distance; x to the right, y up.

    Attributes
    ----------
    name
        Of each panel, as in the geometry file.
    width, height
        int32 (P,), pixels along fast and slow scan.
    corner
        float64 (P, 2), where the first pixel's corner is, metres.
    fs, ss
        float64 (P, 2), the step of one pixel along fast and slow scan, metres.
    clen_m
        The mean distance.
    no_index
        uint8 (P,), 1 where a whole panel is bad.
    saturation
        float32 (P,), the highest value that is right; inf where there is none.
    highest_per_angstrom
        The highest 1/d of any panel's corner.
    photon_energy_ev
        Of the frame of which this was said.
    """

    name: tuple[str, ...]
    width: NDArray[np.int32]
    height: NDArray[np.int32]
    corner: NDArray[np.float64]
    fs: NDArray[np.float64]
    ss: NDArray[np.float64]
    clen_m: float
    no_index: NDArray[np.uint8]
    saturation: NDArray[np.float32]
    highest_per_angstrom: float
    photon_energy_ev: float

    def is_of_the_pixels_of(self, other: PanelsSeen | None) -> bool:
        """Whether both have the same panels, wherever these lie."""
        return (
            other is not None
            and self.name == other.name
            and np.array_equal(self.width, other.width)
            and np.array_equal(self.height, other.height)
        )

    def per_angstrom(
        self, panel: NDArray[np.int64], fs: NDArray[Any], ss: NDArray[Any], photon_energy_ev: NDArray[Any]
    ) -> NDArray[np.float64]:
        """Return 1/d of points on panels, with the photon energy of each: 2 sin(theta) / wavelength."""
        x, y = (
            self.corner[:, axis][panel] + fs * self.fs[:, axis][panel] + ss * self.ss[:, axis][panel] for axis in (0, 1)
        )
        cosine = self.clen_m / np.sqrt(x * x + y * y + self.clen_m**2)
        found: NDArray[np.float64] = np.sqrt(2.0 - 2.0 * cosine) * photon_energy_ev / HC_EV_ANGSTROM
        return found

    def lies_as(self, other: PanelsSeen | None) -> bool:
        """Whether both are the same panels in the same places."""
        return (
            other is not None
            and self.is_of_the_pixels_of(other)
            and self.clen_m == other.clen_m
            and all(np.array_equal(getattr(self, one), getattr(other, one)) for one in ("corner", "fs", "ss"))
        )


@dataclass(frozen=True, eq=False)
class FrameSeen:
    """All that is shown of one frame.

    Attributes
    ----------
    header
        Some of its header's values, as text.
    panels
        Where its panels lie.
    pixels
        A copy of each panel's pixels, (height, width); none where frames have none.
    bad
        uint8 (height, width) for each panel: 1 where a pixel is bad; None where it is as it was in the replica's frame before
        this one that is shown.
    bad_number
        Which of the replica's masks it is.
    peaks
        Columns ``panel`` int32, ``fs``, ``ss``, ``intensity`` and ``snr`` float32.
    crystals
        What a message says of each crystal, its reflections too.
    """

    header: Mapping[str, str]
    panels: PanelsSeen
    pixels: tuple[NDArray[Any], ...]
    bad: tuple[NDArray[np.uint8], ...] | None
    bad_number: int
    peaks: Mapping[str, NDArray[Any]]
    crystals: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, eq=False)
class Seen:
    """What one frame has for the monitor.

    What stands in its first fields is made of this frame alone. Whether `_panels` and `_frame` are there depends on what the
    replica has handed over before, and when.

    Attributes
    ----------
    category
        One of :data:`stages.monitor.kinds.CATEGORIES`.
    is_hit
        Whether it counts as a hit.
    group
        The frame's value of the header key by which frames are grouped; None where they are not.
    num_crystals
        How many were found in it; none of them is in `crystals` of a frame that was rejected.
    peaks
        float32 (n, 5): see `PANEL` and its neighbours; None of a frame that was called no hit.
    photon_energy_ev
        NaN without a geometry.
    replica
        Which replica of the graph this comes from.
    """

    serial: int
    event: str
    received_ns: int
    category: str
    is_hit: bool
    group: str | None
    num_crystals: int
    peaks: NDArray[np.float32] | None
    photon_energy_ev: float
    crystals: tuple[CrystalSeen, ...]
    replica: int
    _panels: PanelsSeen | None = field(default=None, repr=False)
    _frame: FrameSeen | None = field(default=None, repr=False)

    @property
    def panels(self) -> PanelsSeen | None:
        """Where the panels lie, if the replica has not said so before."""
        return self._panels

    @property
    def frame(self) -> FrameSeen | None:
        """All of it, of a frame that may be shown."""
        return self._frame


@dataclass(frozen=True)
class FramesWanted:
    """How often a replica is to hand over a frame that may be shown; posted by whoever shows them.

    Attributes
    ----------
    every_s
        Of each category one in so many seconds.
    """

    every_s: float
