"""Do the crystals of a run need the detector shifted, all in the same way? What live/cells says of it."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from typing import Any

import numpy as np

from stages.records.crystal import Crystals
from stages.records.geometry import DetGeom

LEAST_PX = 1.0
"""A detector that is off by less than a pixel needs no word: crystals index, and refinement takes care of it."""
FEWEST = 5
"""So many crystals, or hits, make it a matter of the run."""
SPREAD = 0.5
"""Shifts whose spread (1.4826 times the median absolute deviation) exceeds this part of their median agree on nothing."""

Shift = tuple[float, float, float]
"""x and y, and the size of a pixel, all in metres."""


def shifts_of(crystals: Crystals, geom: DetGeom | None) -> tuple[tuple[Shift, ...], Shift | None]:
    """Return the shift of each crystal, and the one of which no crystal came, as seen from the geometry file."""
    pixel_m = math.nan if geom is None else float(np.mean(np.linalg.norm(geom.fs_m, axis=1)))
    unused = crystals.unused_shift_m

    def seen_from_file(shift_m: tuple[float, float]) -> Shift:
        x, y = shift_m if geom is None else geom.shift_from_file(shift_m)
        return x, y, pixel_m

    shifts = tuple(seen_from_file(crystal.det_shift_m) for crystal in crystals)
    if unused is None or unused == (0.0, 0.0) or crystals.found:
        return shifts, None
    return shifts, seen_from_file(unused)


class Shifts:
    """Shifts of the detector, 24 bytes each."""

    def __init__(self) -> None:
        self._values = array("d")

    def __len__(self) -> int:
        return len(self._values) // 3

    def add(self, shifts: Iterable[Shift]) -> None:
        """Keep some more."""
        for shift in shifts:
            self._values.extend(shift)

    def common(self) -> Shift | None:
        """Return the median shift if most agree on it and it is one of a pixel or more.

        Without a geometry nobody knows what a pixel is, and there is none.
        """
        if len(self) < FEWEST:
            return None
        shifts = np.array(self._values, np.float64).reshape(-1, 3)
        x, y, pixel_m = np.median(shifts, axis=0)
        size = math.hypot(x, y)
        spread = 1.4826 * np.median(np.hypot(shifts[:, 0] - x, shifts[:, 1] - y))
        if not (size >= LEAST_PX * pixel_m and spread <= SPREAD * size):
            return None
        return float(x), float(y), float(pixel_m)


def said_of(crystals: Shifts, unused: Shifts) -> list[str]:
    """Return what a user should know: a line for the crystals, and one for hits that a lattice explains and that have none."""
    lines = []
    common = crystals.common()
    if common is not None:
        lines.append(
            f"THE DETECTOR IS OFF: {len(crystals)} crystals need it moved by {_in_words(common)}; add that to "
            "detector_shift_x and detector_shift_y of the geometry file (--refine-detector-shift tells it better)"
        )
    common = unused.common()
    if common is not None:
        lines.append(
            f"in {len(unused)} hits without a crystal a lattice was found with the detector moved by {_in_words(common)}, and "
            "none was indexed: put that into the geometry file, and index again"
        )
    return lines


def figures_of(crystals: Shifts, unused: Shifts) -> dict[str, Any]:
    """Return the same for programs."""
    return {"of_crystals": _figures(crystals), "without_crystal": _figures(unused)}


def _figures(shifts: Shifts) -> dict[str, Any]:
    common = shifts.common()
    if common is None:
        return {"number": len(shifts), "common_m": None}
    return {"number": len(shifts), "common_m": list(common[:2])}


def _in_words(shift: Shift) -> str:
    x, y, pixel_m = shift
    return f"x {1e3 * x:+.3f} y {1e3 * y:+.3f} mm, {math.hypot(x, y) / pixel_m:.1f} pixels"
