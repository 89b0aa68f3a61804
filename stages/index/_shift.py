"""The shift of the detector that belongs to a lattice: as searches have it, in 1/Angstrom, and as crystals have it, in metres.

A search sees scattering vectors: it finds the shift s by which those near the beam are off their lattice points. The detector
then stands at ``- s * wavelength * distance`` from where the geometry has it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stages.records.geometry import DetGeom
from stages.records.peaklist import PeakList

NOT_SHIFTED = (0.0, 0.0)


def in_metres(shift_per_angstrom: tuple[float, float], geom: DetGeom) -> tuple[float, float]:
    """Return ``det_shift_m`` of a crystal, x and y, of the shift by which its spots are off.

    >>> from stages.simulation.spot_lists import XRAYS
    >>> _, geom = XRAYS.peaks_of(np.zeros((0, 3)))
    >>> in_metres((2 * XRAYS.px_per_angstrom, 0.0), geom)[0] / XRAYS.pixel_m  # pixels
    -2.0
    """
    x, y = shift_per_angstrom
    if x == y == 0.0:
        return NOT_SHIFTED
    metres = -geom.wavelength_angstrom * mean_distance_m(geom)
    return metres * x, metres * y


def per_angstrom(det_shift_m: tuple[float, float], geom: DetGeom) -> tuple[float, float]:
    """Return what :func:`in_metres` makes ``det_shift_m`` of."""
    x, y = det_shift_m
    metres = -geom.wavelength_angstrom * mean_distance_m(geom)
    return x / metres, y / metres


def mean_distance_m(geom: DetGeom) -> float:
    """Return how far the panels are from the specimen along the beam, on the average."""
    return float(np.mean(np.abs(geom.origin_m[:, 2])))


def shifted(geom: DetGeom, det_shift_m: tuple[float, float]) -> DetGeom:
    """Return the geometry with the detector moved along x and y."""
    if det_shift_m == NOT_SHIFTED:
        return geom
    return replace(geom, origin_m=geom.origin_m + np.array([*det_shift_m, 0.0]))


def q_on_shifted(peaks: PeakList, geom: DetGeom, det_shift_m: tuple[float, float]) -> NDArray[np.float64]:
    """Return q of the peaks, float64 (n, 3) in 1/Angstrom, with the detector moved along x and y."""
    return shifted(geom, det_shift_m).q_per_angstrom(peaks.panel, peaks.fs, peaks.ss)
