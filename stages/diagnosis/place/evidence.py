"""What one crystal has to say of where the detector is: a few kilobytes, from which all crystals together are fitted.

Peaks that belong to the crystal, and some of those that do not: with the detector elsewhere it may be others that do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.lattices.cell import Lattice
from stages.prediction.estimates import FEWEST_PAIRS
from stages.prediction.pairing import pair_peaks
from stages.prediction.panel_finder import PanelFinder
from stages.records.crystal import Crystal
from stages.records.displacement import Displacement
from stages.records.geometry import DetGeom
from stages.records.peaklist import PeakList

MOST_PEAKS = 150
"""So many peaks of a crystal are kept, from all resolutions alike. Which belong to it must not matter: those would be kept
that lie where the geometry file has them."""


@dataclass(frozen=True, eq=False)
class CrystalEvidence:
    """A crystal and its peaks, where the geometry file has them.

    Attributes
    ----------
    lab_m
        float32 (n, 3), where the peaks lie in the laboratory, metres, with the detector where the geometry file has it.
    hkl
        int16 (n, 3), the reflection that each is, in the crystal's conventional axes; 0 0 0 for one that belongs to none.
    real_space_angstrom
        float64 (3, 3), rows a, b, c of the conventional cell in the laboratory, as it was found.
    lattice
        Lattice type, centring, unique axis.
    found_with
        Where the detector was taken to stand when it was found; the crystal's own shift is contained.
    wavelength_angstrom, clen_m, pixel_m
        Of the frame: the wavelength, the mean distance of the panels (about which a detector is turned), the size of a pixel.
    """

    lab_m: NDArray[np.float32]
    hkl: NDArray[np.int16]
    real_space_angstrom: NDArray[np.float64]
    lattice: Lattice
    found_with: Displacement
    wavelength_angstrom: float
    clen_m: float
    pixel_m: float

    def thinned(self, most: int) -> CrystalEvidence:
        """Return the same with at most so many of the peaks, from all resolutions."""
        if len(self.lab_m) <= most:
            return self
        kept = np.linspace(0, len(self.lab_m) - 1, most).round().astype(int)
        return replace(self, lab_m=self.lab_m[kept], hkl=self.hkl[kept])

    @property
    def num_paired(self) -> int:
        """How many of the peaks belong to the crystal."""
        return int(np.count_nonzero(self.hkl.any(axis=1)))


def evidence_of(
    crystal: Crystal,
    peaks: PeakList,
    geom: DetGeom,
    found_with: Displacement | None = None,
    finder: PanelFinder | None = None,
) -> CrystalEvidence | None:
    """Return what a crystal has to say; None if fewer than three peaks belong to it.

    Of too many peaks every second, third and so on is kept, as they follow each other in resolution.

    Parameters
    ----------
    geom
        Where the geometry file has the detector.
    found_with
        Where it was taken to stand instead when the frame was indexed; the crystal's own ``det_shift_m`` is seen from there.
    finder
        Of the displaced geometry, where there is one at hand.
    """
    move = Displacement() if found_with is None else found_with
    finder = PanelFinder.of(geom.displaced(move), finder)
    pairs = pair_peaks(crystal.real_space_angstrom, crystal.lattice, crystal.det_shift_m, peaks, finder)
    if np.count_nonzero(pairs.paired) < FEWEST_PAIRS:
        return None
    lab_m = geom.lab_m(peaks.panel, peaks.fs, peaks.ss)
    kept = np.arange(len(peaks))
    if len(peaks) > MOST_PEAKS:
        outwards = np.argsort(np.hypot(lab_m[:, 0], lab_m[:, 1]), kind="stable")
        kept = outwards[np.linspace(0, len(peaks) - 1, MOST_PEAKS).round().astype(int)]
    hkl = np.where(pairs.paired[kept, None], pairs.hkl[kept], 0)
    shift = (move.shift_m[0] + crystal.det_shift_m[0], move.shift_m[1] + crystal.det_shift_m[1])
    return CrystalEvidence(
        lab_m[kept].astype(np.float32),
        hkl.astype(np.int16),
        np.array(crystal.real_space_angstrom, np.float64),
        crystal.lattice,
        Displacement(shift, move.along_m, move.tilt_rad),
        geom.wavelength_angstrom,
        geom.mean_clen_m,
        geom.mean_pixel_m,
    )


def position(move: Displacement, lab_m: NDArray[Any], clen_m: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Return where points of the detector lie when it is moved and turned, (..., 3) in metres; see :class:`Displacement`.

    >>> position(Displacement((1e-3, 0.0), 2e-3), np.array([[0.01, 0.02, 0.1]]), 0.1).round(6).tolist()
    [[0.011, 0.02, 0.102]]
    """
    centre = np.zeros((*np.shape(clen_m), 3))
    centre[..., 2] = clen_m
    moved = (np.asarray(lab_m, np.float64) - centre) @ move.rotation.T + centre
    return np.asarray(moved + np.array([*move.shift_m, move.along_m]), np.float64)
