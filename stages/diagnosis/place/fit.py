"""Where the detector is, from many crystals at once: a least-squares fit of one displacement to all their peaks.

Indices are assigned anew before each step, since with the detector elsewhere other peaks belong to a crystal. Errors come from
how crystals differ (the sandwich estimator, White 1980, doi:10.2307/1912934), not from how well each fits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.diagnosis.place.equations import SHARED, Equations, Floats, displacement_of, vector_of
from stages.diagnosis.place.evidence import CrystalEvidence
from stages.diagnosis.steps import Steps
from stages.records.displacement import Displacement

_GROWTH = ((0.3, 0.25), (0.3, 0.25), (0.45, 0.25), (0.45, 0.25), (0.65, 0.25), (0.65, 0.25), (1.0, 0.25), (1.0, 0.4))
"""Which peaks count in each of the first steps: so large a part of each crystal's, from the beam outwards, if they are so
near to whole indices. With the detector still elsewhere those far out would be taken for their neighbours."""
_NEAR = 0.4
"""So near to whole indices are peaks that may belong to a crystal; what is far off its place is left out besides."""
_MORE_STEPS = 10
_CALLS, _PAIRS, _HURRY = 0.15, 2000, 4.0
"""What may be done with one frame: a step with so many pairs of crystal and peak; a seventh are calls. From far
away so many times more is done with each frame: where the detector is off it is better known soon than no frame late."""
_SMALL_STEP = 1e-2
"""A step of less than so many standard errors is the last one."""
_SCATTER = 2e-3
"""That is taken for the scatter of scales at first."""
_FEW = 10
"""Among fewer crystals their differences tell no errors; those that follow from the fit are taken then, if they are larger.
Nor do so few tell the scatter of their scales, which is held at none."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a fit has found.

    Attributes
    ----------
    displacement
        As seen from the geometry file.
    covariance
        float64 (5, 5), of SHARED, in metres and radians.
    real_space_angstrom
        float64 (3, 3), the cell with which it was found, rows a, b, c in some orientation.
    cell_errors
        float64 (6,), relative errors of a, b, c, then errors of the angles in radians, that follow from the strain; 0
        where it was held.
    num_crystals, num_peaks
        That count.
    spread_px
        Spread of the peaks about their predicted places, along x and y.
    share_explained
        Part of the peaks that belong to their crystals.
    scatter
        Relative scatter of the crystals' cells, all axes alike; 0 where there are too few.
    pixel_m, clen_m
        Of the crystals, on the average.
    """

    displacement: Displacement
    covariance: Floats
    real_space_angstrom: Floats
    cell_errors: Floats
    num_crystals: int
    num_peaks: int
    spread_px: float
    share_explained: float
    scatter: float
    pixel_m: float
    clen_m: float

    @property
    def errors(self) -> Floats:
        """Standard errors of SHARED."""
        return np.sqrt(np.maximum(np.diag(self.covariance), 0.0))

    @property
    def values(self) -> Floats:
        """The displacement as SHARED has it."""
        return vector_of(self.displacement)


def fit_place(
    crystals: Sequence[CrystalEvidence],
    bases: Sequence[Floats],
    cell: Floats,
    strains: Floats,
    start: Displacement,
    *,
    is_near: bool = False,
) -> Steps[Fitted | None]:
    """Fit the detector's displacement to crystals of one lattice; None if there are too few that fit.

    Parameters
    ----------
    crystals
        What each has to say.
    bases
        float64 (3, 3) of each, rows a, b, c in the laboratory as it was found, all in the axes of `cell`.
    cell
        float64 (3, 3), the cell that they have, rows in any orientation.
    strains
        float64 (k, 3, 3), symmetric, in the axes in which `cell` is written: by which the cell may differ, all crystals alike;
        (0, 3, 3) holds it.
    start
        Where the detector may be.
    is_near
        Whether it is so near to that that peaks have their right indices: a few steps are enough then.
    """
    if not crystals:
        return None
    state = Equations.of(crystals, bases, cell, strains, start)
    turn = _CALLS + state.rank.size / _PAIRS
    yield turn
    if not is_near:
        turn /= _HURRY
    for part, near in () if is_near else _GROWTH:
        normal = state.normal(part, near)
        if normal is None:
            return None
        state.step(normal)
        yield turn
    state.scatter = _SCATTER if len(crystals) >= _FEW else 0.0
    for is_strict in (False, True):
        state.is_strict = is_strict
        if not (yield from _settled(state, turn)):
            return None
        yield turn
    return _fitted(state)


def _settled(state: Equations, turn: float) -> Steps[bool]:
    """Take steps until they are small; return whether any crystal fits. Each is so large a part of a frame's turn."""
    for _ in range(_MORE_STEPS):
        normal = state.normal(1.0, _NEAR)
        if normal is None:
            return False
        if state.step(normal) < _SMALL_STEP:
            break
        state.see_scatter(normal)
        yield turn
    return True


def _fitted(state: Equations) -> Fitted | None:
    """Return where the fit has come to, with its errors."""
    normal = state.normal(1.0, _NEAR)
    if normal is None:
        return None
    matrix, right = normal.matrix.sum(axis=0), normal.right.sum(axis=0)
    inverse = _inverse(matrix)
    num, unknowns = int(normal.counts.sum()), len(matrix)
    peaks = float(normal.weight.sum())
    chi2 = normal.squares / max(1.0, 3.0 * peaks - 3.0 * num - unknowns)
    covariance = inverse * chi2
    best = inverse @ right
    scores = (normal.right - normal.matrix @ best)[normal.counts]
    if num > unknowns:
        sandwich = inverse @ (scores.T @ scores) @ inverse * num / (num - unknowns)
        covariance = sandwich if num >= _FEW + unknowns else np.where(sandwich > covariance, sandwich, covariance)
    shared = len(SHARED)
    seen = max(1, int(np.isfinite(state.rank[normal.counts]).sum()))
    return Fitted(
        displacement_of(state.values),
        covariance[:shared, :shared],
        state.cell.copy(),
        _cell_errors(state.cell, state.strains, covariance[shared:, shared:]),
        num,
        int(peaks),
        normal.spread_px,
        peaks / seen,
        state.scatter,
        float(np.mean(state.pixel)),
        float(np.mean(state.clen)),
    )


def _cell_errors(cell: Floats, strains: Floats, covariance: Floats) -> Floats:
    """Errors of lengths, relative, and of angles that follow from those of the strain."""
    if not len(covariance):
        return np.zeros(6)
    unit = cell / np.linalg.norm(cell, axis=1)[:, None]
    of_lengths = np.einsum("ni,kij,nj->nk", unit, strains, unit)
    pairs = ((1, 2), (0, 2), (0, 1))
    of_angles = []
    for i, j in pairs:
        cosine = float(unit[i] @ unit[j])
        change = 2.0 * np.einsum("i,kij,j->k", unit[i], strains, unit[j])
        change -= cosine * (of_lengths[i] + of_lengths[j])
        of_angles.append(-change / math.sqrt(max(1e-9, 1.0 - cosine**2)))
    slopes = np.vstack([of_lengths, of_angles])
    return np.asarray(np.sqrt(np.einsum("nk,kl,nl->n", slopes, covariance, slopes)))


def _inverse(matrix: Floats) -> Floats:
    """The inverse of a matrix whose unknowns have different units; huge where something cannot be told."""
    scale = 1.0 / np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    values, vectors = np.linalg.eigh(matrix * np.outer(scale, scale))
    values = np.maximum(values, 1e-12 * values[-1])
    return np.asarray((vectors / values) @ vectors.T * np.outer(scale, scale))
