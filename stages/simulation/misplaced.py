"""A geometry file that is off: what it has, if the detector is really somewhere else."""

from __future__ import annotations

from dataclasses import replace

from stages.records.displacement import Displacement
from stages.records.geometry import DetGeom

_STEPS = 8
"""A displacement turns about a point that the file's geometry gives, so that it is undone step by step."""


def file_geometry(right: DetGeom, move: Displacement) -> DetGeom:
    """Return the geometry that a file has whose detector, really displaced by `move`, is where `right` has it."""
    there = right
    for _ in range(_STEPS):
        off = there.displaced(move)
        there = replace(
            there,
            origin_m=there.origin_m + right.origin_m - off.origin_m,
            fs_m=there.fs_m + right.fs_m - off.fs_m,
            ss_m=there.ss_m + right.ss_m - off.ss_m,
        )
    return there
