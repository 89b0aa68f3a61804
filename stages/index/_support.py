"""Do a frame's peaks support crystals that were not found in them, such as those of a solution file?

indexamajig asks for half of the peaks within 0.25 of an index, or with several lattices for a smaller part. A fixed part of the
peaks says less than how improbable it is: of a small cell any orientation explains an eighth of them, and a true lattice among
many spurious peaks less than half. So here, too, S decides (:func:`stages.index._attempts.score_of_misfits`), of one
lattice, as nothing is searched.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stages.index._attempts import (
    EXPLAINED,
    FURTHER_FRACTION,
    MARGIN_ON_ALL,
    misfits,
    primitive_basis,
    px_per_angstrom,
    score_of_misfits,
)
from stages.index._kernels.azimuths import LEAST_KNOWN, beats_random_azimuths
from stages.records.crystal import Crystal
from stages.records.geometry import DetGeom, q_on_shifted
from stages.records.peaklist import PeakList

LEAST, CLEAR = 12.0, 30.0
"""S in nats of a crystal that is alone in its frame: at least, and where a smaller part of the peaks will do."""
NEAR, NEAR_FRACTION, CLEAR_FRACTION = 0.25, 0.45, 0.25
"""Such a part of the peaks must lie so near to an index; or such a part within EXPLAINED, if S is clear."""
BEAM = 0.85
"""Peaks nearer to the beam than this part of the shortest reciprocal vector are the beam's and do not count."""


def supported(crystals: Sequence[Crystal], peaks: PeakList, geom: DetGeom) -> tuple[Crystal, ...]:
    """Return those of a frame's crystals that its peaks support.

    A crystal alone in its frame must explain as much as index/pairs asks for. Of several each is judged by the peaks that
    those kept before it leave: S of 24 or more, and a tenth of these peaks within 0.2 of an index. Peaks of the same radii at
    random azimuths, such as a powder's, must support it less. The crystal's own shift of the detector is taken into account.
    """
    left = np.ones(len(peaks), np.bool_)
    kept = []
    for crystal in crystals:
        q = q_on_shifted(peaks, geom, crystal.det_shift_m)
        basis = primitive_basis(crystal)
        misfit = misfits(basis, q)
        shortest = np.linalg.norm(np.linalg.inv(basis), axis=0).min()
        counts = left & (np.linalg.norm(q, axis=1) >= BEAM * shortest)
        if _explains(misfit[counts], alone=len(crystals) == 1) and _beats_azimuths(basis, q[counts], geom):
            kept.append(crystal)
            left &= misfit >= EXPLAINED
    return tuple(kept)


def _explains(misfit: NDArray[np.float64], *, alone: bool) -> bool:
    if not misfit.size:
        return False
    score, explained = score_of_misfits(misfit), np.mean(misfit < EXPLAINED)
    if not alone:
        return bool(score >= MARGIN_ON_ALL and explained >= FURTHER_FRACTION)
    if score < LEAST:
        return False
    return bool(np.mean(misfit < NEAR) >= NEAR_FRACTION or (score >= CLEAR and explained >= CLEAR_FRACTION))


def _beats_azimuths(basis: NDArray[np.float64], q: NDArray[np.float64], geom: DetGeom) -> bool:
    """Whether spots of the same radii at random azimuths would support the crystal less."""
    k0, no_shift = 1.0 / geom.wavelength_angstrom, np.zeros(2)
    return bool(beats_random_azimuths(basis, np.ascontiguousarray(q), no_shift, k0, px_per_angstrom(geom), LEAST_KNOWN))
