"""Where the detector is, from many crystals at once: a least-squares fit of one displacement to all their peaks.

All crystals share the :class:`~stages.records.displacement.Displacement` x of the detector, and, as the case may be, the
strain E of the cell; each has its own orientation U. A peak at p, on a detector that is moved and turned to p(x), with
indices h, should lie where the ray along g + k of its lattice point g = h A*(E) U meets the detector, and g should lie on
the Ewald sphere:

    r = (g + k)_xy / (g + k)_z p_z(x) - p_xy(x),      e = |g + k| - |k|.

Deviations r count in their spread over all peaks, and so do excitation errors e. What belongs to one crystal alone is
eliminated from the normal equations of each (a Schur complement), so that the shared unknowns remain. Indices are assigned
anew before each step, since with the detector elsewhere other peaks belong to a crystal. Errors come from how crystals
differ (the sandwich estimator, White 1980, doi:10.2307/1912934), not from how well each fits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.diagnosis.place.evidence import CrystalEvidence
from stages.lattices.cell import nearest_rotation
from stages.records.displacement import Displacement

Floats = NDArray[np.float64]

SHARED = ("shift_x", "shift_y", "along", "tilt_x", "tilt_y")
"""Unknowns of the displacement, in metres and radians."""

_GROWTH = ((0.3, 0.25), (0.3, 0.25), (0.45, 0.25), (0.45, 0.25), (0.65, 0.25), (0.65, 0.25), (1.0, 0.25), (1.0, 0.4))
"""Which peaks count in each of the first steps: so large a part of each crystal's, from the beam outwards, if they are so
near to whole indices. With the detector still elsewhere those far out would be taken for their neighbours."""
_NEAR = 0.4
"""So near to whole indices are peaks that may belong to a crystal; what is far off its place is left out besides."""
_FEWEST_PEAKS = 6
"""Crystals to which fewer peaks belong do not count: three of their unknowns are their orientation."""
_MORE_STEPS = 10
_SMALL_STEP = 1e-2
"""A step of less than so many standard errors is the last one."""
_CUT = 3.5
"""Deviations of more than so many spreads are another lattice's, or noise."""
_CUTS = 3
"""So often is that asked: among many spurious peaks the spread is too large at first."""
_LEAST_PX, _LEAST_ERROR = 0.05, 1e-5
"""Spreads are not smaller than that, in pixels and 1/Angstrom."""
_FEW = 10
"""Among fewer crystals their differences tell no errors; those that follow from the fit are taken then, if they are larger."""


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


def vector_of(move: Displacement) -> Floats:
    """Return a displacement as SHARED has it."""
    return np.array([*move.shift_m, move.along_m, *move.tilt_rad])


def displacement_of(values: Floats) -> Displacement:
    """Return the displacement of these numbers."""
    x, y, along, about_x, about_y = (float(value) for value in values)
    return Displacement((x, y), along, (about_x, about_y))


def fit_place(
    crystals: Sequence[CrystalEvidence],
    bases: Sequence[Floats],
    cell: Floats,
    strains: Floats,
    start: Displacement,
    *,
    is_near: bool = False,
) -> Fitted | None:
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
    state = _State.of(crystals, bases, cell, strains, start)
    for part, near in (*(() if is_near else _GROWTH), *_MORE_STEPS * ((1.0, _NEAR),)):
        normal = state.normal(part, near)
        if normal is None:
            return None
        if state.step(normal) < _SMALL_STEP and part == 1.0 and near == _NEAR:
            break
    return state.fitted()


@dataclass(frozen=True, eq=False)
class _Normal:
    """The normal equations of each crystal: of what is shared, after its orientation has been eliminated."""

    matrix: Floats
    right: Floats
    local: Floats
    local_right: Floats
    cross: Floats
    counts: NDArray[np.bool_]
    weight: Floats
    spread_px: float
    squares: float


@dataclass(eq=False)
class _State:
    """A fit on its way; arrays over C crystals and P peaks, padded."""

    lab: Floats
    rank: Floats
    wave_number: Floats
    clen: Floats
    pixel: Floats
    cell: Floats
    strains: Floats
    turns: Floats
    values: Floats

    @staticmethod
    def of(
        crystals: Sequence[CrystalEvidence], bases: Sequence[Floats], cell: Floats, strains: Floats, start: Displacement
    ) -> _State:
        most = max(len(one.lab_m) for one in crystals)
        lab = np.zeros((len(crystals), most, 3))
        lab[..., 2] = 1.0
        rank = np.full((len(crystals), most), np.inf)  # from the beam outwards, 0 to 1
        for n, one in enumerate(crystals):
            num = len(one.lab_m)
            lab[n, :num] = one.lab_m
            rank[n, np.argsort(np.hypot(one.lab_m[:, 0], one.lab_m[:, 1]), kind="stable")] = np.arange(num) / num
        turns = np.array([nearest_rotation(cell, basis)[1].T for basis in bases])
        return _State(
            lab,
            rank,
            np.array([1.0 / one.wavelength_angstrom for one in crystals]),
            np.array([one.clen_m for one in crystals]),
            np.array([one.pixel_m for one in crystals]),
            np.array(cell),
            strains,
            turns,
            vector_of(start),
        )

    def normal(self, part: float, nearness: float) -> _Normal | None:
        """Linearise about where the fit is, with a part of the peaks; see _GROWTH."""
        move = displacement_of(self.values)
        turn = move.rotation.T
        centre = np.zeros((len(self.lab), 1, 3))
        centre[:, 0, 2] = self.clen
        turned = (self.lab - centre) @ turn
        moved = turned + centre + np.array([*move.shift_m, move.along_m])
        k = self.wave_number[:, None]
        q = moved / np.linalg.norm(moved, axis=2, keepdims=True) * k[..., None]
        q[..., 2] -= k
        real = self.cell @ self.turns
        index = q @ real.transpose(0, 2, 1)
        h = np.rint(index)
        near = (self.rank < part) & (np.abs(index - h).max(axis=2) < nearness) & h.any(axis=2)
        star = np.linalg.inv(self.cell).T
        in_cell = h @ star
        g = in_cell @ self.turns
        out = g.copy()
        out[..., 2] += k
        length = np.linalg.norm(out, axis=2)
        ratio = out[..., :2] / out[..., 2:]
        px = self.pixel[:, None, None]
        off = (ratio * moved[..., 2:] - moved[..., :2]) / px
        error = length - k
        if np.count_nonzero(near) < _FEWEST_PEAKS:
            return None
        for _ in range(_CUTS):
            spread = max(_LEAST_PX, 1.4826 * float(np.median(np.abs(off[near]))))
            width = max(_LEAST_ERROR, 1.4826 * float(np.median(np.abs(error[near]))))
            near &= (np.abs(off).max(axis=2) < _CUT * spread) & (np.abs(error) < _CUT * width)
        counts = near.sum(axis=1) >= _FEWEST_PEAKS
        if not counts.any():
            return None
        near &= counts[:, None]
        residual = np.concatenate([off / spread, (error / width)[..., None]], axis=2) * near[..., None]
        by_turn = np.cross(np.eye(3), g[..., None, :])  # of a turn about each axis of the laboratory
        by_strain = -(in_cell[..., None, None, :] @ self.strains)[..., 0, :] @ self.turns[:, None]
        dg = np.concatenate([by_turn, by_strain], axis=2)
        slope_g = self._slope_of_lattice(dg, out, length, moved, near, spread, width)
        slope_x = self._slope_of_detector(turned, ratio, near, spread, move)
        local, shared = slope_g[..., :3, :], np.concatenate([slope_x, slope_g[..., 3:, :]], axis=2)
        return self._eliminate(local, shared, residual, counts, near, spread)

    def _slope_of_lattice(
        self,
        dg: Floats,
        out: Floats,
        length: Floats,
        moved: Floats,
        near: NDArray[np.bool_],
        spread: float,
        width: float,
    ) -> Floats:
        """Derivatives of the residuals, (C, P, m, 3), by what moves lattice points by `dg`, (C, P, m, 3)."""
        z = out[..., None, 2:]
        on_plane = (dg[..., :2] - out[..., None, :2] * dg[..., 2:] / z) / z * moved[..., None, 2:]
        across = (dg * out[..., None, :]).sum(axis=3) / length[..., None]
        slope = np.concatenate(
            [on_plane / (self.pixel[:, None, None, None] * spread), (across / width)[..., None]], axis=3
        )
        return np.asarray(slope * near[..., None, None])

    def _slope_of_detector(
        self, turned: Floats, ratio: Floats, near: NDArray[np.bool_], spread: float, move: Displacement
    ) -> Floats:
        """Derivatives of the residuals, (C, P, 5, 3), by SHARED; excitation errors do not depend on it."""
        about_y = move.tilt_rad[1]
        axis_x = np.array(
            [math.cos(about_y), 0.0, -math.sin(about_y)]
        )  # the first turn's axis, as the second leaves it
        dp = np.empty((*turned.shape[:2], 5, 3))
        dp[..., :3, :] = np.eye(3)
        dp[..., 3, :] = np.cross(axis_x, turned)
        dp[..., 4, :] = np.cross(np.array([0.0, 1.0, 0.0]), turned)
        slope = np.zeros_like(dp)
        slope[..., :2] = (ratio[..., None, :] * dp[..., 2:] - dp[..., :2]) / (self.pixel[:, None, None, None] * spread)
        return np.asarray(slope * near[..., None, None])

    def _eliminate(
        self,
        local: Floats,
        shared: Floats,
        residual: Floats,
        counts: NDArray[np.bool_],
        near: NDArray[np.bool_],
        spread: float,
    ) -> _Normal:
        num = len(residual)
        u = local.transpose(0, 1, 3, 2).reshape(num, -1, local.shape[2])
        v = shared.transpose(0, 1, 3, 2).reshape(num, -1, shared.shape[2])
        r = residual.reshape(num, -1, 1)
        uu = u.transpose(0, 2, 1) @ u + 1e-9 * np.eye(3) * (1.0 + np.einsum("nij,nij->n", u, u))[:, None, None]
        uv = u.transpose(0, 2, 1) @ v
        ur = u.transpose(0, 2, 1) @ r
        gain = np.linalg.solve(uu, uv)
        matrix = v.transpose(0, 2, 1) @ v - uv.transpose(0, 2, 1) @ gain
        right = (v.transpose(0, 2, 1) @ r)[..., 0] - (gain.transpose(0, 2, 1) @ ur)[..., 0]
        return _Normal(
            matrix, right, uu, ur[..., 0], uv, counts, near.sum(axis=1).astype(float), spread, float((r * r).sum())
        )

    def step(self, normal: _Normal) -> float:
        """Take one step; return its size in standard errors."""
        matrix, right = normal.matrix.sum(axis=0), normal.right.sum(axis=0)
        scale = 1.0 / np.sqrt(np.maximum(np.diag(matrix), 1e-300))
        scaled = matrix * np.outer(scale, scale)
        solved = -scale * np.linalg.lstsq(scaled, scale * right, rcond=1e-9)[0]
        turns = -np.linalg.solve(normal.local, (normal.local_right + normal.cross @ solved)[..., None])[..., 0]
        self.values = self.values + solved[: len(SHARED)]
        self.cell = self.cell @ (np.eye(3) + np.tensordot(solved[len(SHARED) :], self.strains, axes=1))
        self.turns = self.turns @ _turns(np.clip(turns, -0.05, 0.05))
        return float(math.sqrt(abs(solved @ matrix @ solved)))

    def fitted(self) -> Fitted | None:
        """Return where the fit has come to, with its errors."""
        normal = self.normal(1.0, _NEAR)
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
        seen = max(1, int(np.isfinite(self.rank[normal.counts]).sum()))
        return Fitted(
            displacement_of(self.values),
            covariance[:shared, :shared],
            self.cell.copy(),
            self._cell_errors(covariance[shared:, shared:]),
            num,
            int(peaks),
            normal.spread_px,
            peaks / seen,
            float(np.mean(self.pixel)),
            float(np.mean(self.clen)),
        )

    def _cell_errors(self, covariance: Floats) -> Floats:
        """Errors of lengths, relative, and of angles that follow from those of the strain."""
        if not len(covariance):
            return np.zeros(6)
        unit = self.cell / np.linalg.norm(self.cell, axis=1)[:, None]
        of_lengths = np.einsum("ni,kij,nj->nk", unit, self.strains, unit)
        pairs = ((1, 2), (0, 2), (0, 1))
        of_angles = []
        for i, j in pairs:
            cosine = float(unit[i] @ unit[j])
            change = 2.0 * np.einsum("i,kij,j->k", unit[i], self.strains, unit[j])
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


def _turns(vectors: Floats) -> Floats:
    """Rotations by small vectors (n, 3) in radians, as matrices that rows are multiplied with from the left (Rodrigues)."""
    angle = np.linalg.norm(vectors, axis=1)[:, None, None]
    axis = vectors / np.maximum(angle[..., 0], 1e-12)
    cross = np.cross(np.eye(3)[None], axis[:, None, :])  # row i: e_i x axis
    outer = axis[:, :, None] * axis[:, None, :]
    return np.asarray(np.cos(angle) * np.eye(3) + (1 - np.cos(angle)) * outer - np.sin(angle) * cross)
