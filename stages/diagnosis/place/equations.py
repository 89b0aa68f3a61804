"""The equations by which all crystals together tell where the detector is: residuals, their derivatives, and a step.

All crystals share the :class:`~stages.records.displacement.Displacement` x of the detector, and, as the case may be, the
strain E of the cell; each has its own orientation U, and its own scale s of the cell. A peak at p, on a detector that is moved
and turned to p(x), with indices h, should lie where the ray along g + k of its lattice point g = h A*(E) U / s meets the
detector, and g should lie on the Ewald sphere:

    r = (g + k)_xy / (g + k)_z p_z(x) - p_xy(x),      e = |g + k| - |k|.

Deviations r count in their spread over all peaks, and so do excitation errors e. A scale counts in the scatter that scales
are found to have: cells of crystals differ by some 0.2 %, which moves peaks far out by more than a pixel, and by more than
a milliradian of tilt does. With the distance it is the mean of all scales that cannot be told apart, so that the
distance is as uncertain as that mean. What belongs to one crystal alone is eliminated from the normal equations of each (a
Schur complement), so that the shared unknowns remain.
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

_FEWEST_PEAKS = 6
"""Crystals to which fewer peaks belong do not count: three of their unknowns are their orientation."""
_OWN = 4
"""Unknowns of each crystal: three turns, and the scale of its cell."""
_CUT = 3.5
"""Deviations of more than so many spreads are another lattice's, or noise."""
_CUTS = 3
"""So often is that asked: among many spurious peaks the spread is too large at first."""
_LEAST_PX, _LEAST_ERROR = 0.05, 1e-5
"""Spreads are not smaller than that, in pixels and 1/Angstrom."""
_LEAST_SCATTER = 1e-4
"""Nor is the scatter of scales."""
_PART_OF_MEDIAN = 0.5
"""A crystal to which less than this part of the median crystal's share of peaks belongs has a wrong orientation: where
lattices are dense many peaks are near enough to one of its spots by chance."""
_WORSE = 3.5
"""So has one whose peaks scatter more than the others' by so many standard errors: chance pairs lie evenly within the cut, by
twice as far as right ones."""


def vector_of(move: Displacement) -> Floats:
    """Return a displacement as SHARED has it."""
    return np.array([*move.shift_m, move.along_m, *move.tilt_rad])


def displacement_of(values: Floats) -> Displacement:
    """Return the displacement of these numbers."""
    x, y, along, about_x, about_y = (float(value) for value in values)
    return Displacement((x, y), along, (about_x, about_y))


@dataclass(frozen=True, eq=False)
class Normal:
    """The normal equations of each crystal: of what is shared, after its orientation and scale have been eliminated.

    Attributes
    ----------
    matrix, right
        float64 (C, m, m) and (C, m), of what is shared.
    local, local_right, cross
        float64 (C, 4, 4), (C, 4) and (C, 4, m): a crystal's own, three turns and the scale, and with what is shared.
    counts
        bool (C,), which crystals count.
    weight
        float64 (C,), to how many peaks each is fitted.
    spread_px, squares
        Of the peaks about their places, and the sum of all squared residuals.
    """

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
class Equations:
    """A fit on its way; arrays over C crystals and P peaks, padded.

    Attributes
    ----------
    lab, rank
        float64 (C, P, 3) and (C, P): where peaks lie by the geometry file, metres; their order from the beam outwards, 0 to 1.
    wave_number, clen, pixel
        float64 (C,), 1/Angstrom and metres.
    cell, strains
        float64 (3, 3), rows a, b, c; float64 (k, 3, 3), by which it may differ.
    turns, scales
        float64 (C, 3, 3) and (C,), of each crystal: rows of its basis are those of `cell`, turned, times its scale.
    values
        float64 (5,), SHARED.
    scatter
        Relative scatter of the scales; 0 holds them.
    is_strict
        Whether crystals that fit clearly worse than the others are left out.
    """

    lab: Floats
    rank: Floats
    wave_number: Floats
    clen: Floats
    pixel: Floats
    cell: Floats
    strains: Floats
    turns: Floats
    values: Floats
    scales: Floats
    scatter: float = 0.0
    is_strict: bool = False

    @staticmethod
    def of(
        crystals: Sequence[CrystalEvidence], bases: Sequence[Floats], cell: Floats, strains: Floats, start: Displacement
    ) -> Equations:
        """Return where a fit begins; see :func:`~stages.diagnosis.place.fit.fit_place`."""
        most = max(len(one.lab_m) for one in crystals)
        lab = np.zeros((len(crystals), most, 3))
        lab[..., 2] = 1.0
        rank = np.full((len(crystals), most), np.inf)  # from the beam outwards, 0 to 1
        for n, one in enumerate(crystals):
            num = len(one.lab_m)
            lab[n, :num] = one.lab_m
            rank[n, np.argsort(np.hypot(one.lab_m[:, 0], one.lab_m[:, 1]), kind="stable")] = np.arange(num) / num
        turns = np.array([nearest_rotation(cell, basis)[1].T for basis in bases])
        return Equations(
            lab,
            rank,
            np.array([1.0 / one.wavelength_angstrom for one in crystals]),
            np.array([one.clen_m for one in crystals]),
            np.array([one.pixel_m for one in crystals]),
            np.array(cell),
            strains,
            turns,
            vector_of(start),
            np.ones(len(crystals)),
        )

    def normal(self, part: float, nearness: float) -> Normal | None:
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
        scales = self.scales[:, None, None]
        real = self.cell @ self.turns * scales
        index = q @ real.transpose(0, 2, 1)
        h = np.rint(index)
        near = (self.rank < part) & (np.abs(index - h).max(axis=2) < nearness) & h.any(axis=2)
        star = np.linalg.inv(self.cell).T
        in_cell = h @ star
        g = in_cell @ self.turns / scales
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
        if self.is_strict and counts.any():
            counts &= self._fit_as_well_as_others(counts, near, off)
        if not counts.any():
            return None
        near &= counts[:, None]
        residual = np.concatenate([off / spread, (error / width)[..., None]], axis=2) * near[..., None]
        by_turn = np.cross(np.eye(3), g[..., None, :])  # of a turn about each axis of the laboratory
        by_scale = -g[..., None, :] * (self.scatter > 0.0)
        by_strain = -(in_cell[..., None, None, :] @ self.strains)[..., 0, :] @ self.turns[:, None]
        dg = np.concatenate([by_turn, by_scale, by_strain], axis=2)
        slope_g = self._slope_of_lattice(dg, out, length, moved, near, spread, width)
        slope_x = self._slope_of_detector(turned, ratio, near, spread, move)
        local, shared = slope_g[..., :_OWN, :], np.concatenate([slope_x, slope_g[..., _OWN:, :]], axis=2)
        return self._eliminate(local, shared, residual, counts, near, spread)

    def _fit_as_well_as_others(
        self, counts: NDArray[np.bool_], near: NDArray[np.bool_], off: Floats
    ) -> NDArray[np.bool_]:
        """Which crystals have enough peaks, and peaks that lie well enough, as compared with the others."""
        num = near.sum(axis=1)
        share = num / np.maximum(1, np.isfinite(self.rank).sum(axis=1))
        squares = ((off**2).sum(axis=2) * near).sum(axis=1) / np.maximum(1, 2 * num - _OWN)
        most = np.median(squares[counts]) * (1.0 + _WORSE / np.sqrt(np.maximum(1, num)))
        return np.asarray((share >= _PART_OF_MEDIAN * np.median(share[counts])) & (squares <= most))

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
    ) -> Normal:
        num = len(residual)
        u = local.transpose(0, 1, 3, 2).reshape(num, -1, local.shape[2])
        v = shared.transpose(0, 1, 3, 2).reshape(num, -1, shared.shape[2])
        r = residual.reshape(num, -1, 1)
        uu = u.transpose(0, 2, 1) @ u + 1e-9 * np.eye(_OWN) * (1.0 + np.einsum("nij,nij->n", u, u))[:, None, None]
        uv = u.transpose(0, 2, 1) @ v
        ur = u.transpose(0, 2, 1) @ r
        if self.scatter > 0.0:  # what scales are likely counts like a residual
            uu[:, 3, 3] += self.scatter**-2
            ur[:, 3, 0] += np.log(self.scales) * self.scatter**-2
        gain = np.linalg.solve(uu, uv)
        matrix = v.transpose(0, 2, 1) @ v - uv.transpose(0, 2, 1) @ gain
        right = (v.transpose(0, 2, 1) @ r)[..., 0] - (gain.transpose(0, 2, 1) @ ur)[..., 0]
        return Normal(
            matrix, right, uu, ur[..., 0], uv, counts, near.sum(axis=1).astype(float), spread, float((r * r).sum())
        )

    def step(self, normal: Normal) -> float:
        """Take one step; return its size in standard errors."""
        matrix, right = normal.matrix.sum(axis=0), normal.right.sum(axis=0)
        scale = 1.0 / np.sqrt(np.maximum(np.diag(matrix), 1e-300))
        scaled = matrix * np.outer(scale, scale)
        solved = -scale * np.linalg.lstsq(scaled, scale * right, rcond=1e-9)[0]
        turns = -np.linalg.solve(normal.local, (normal.local_right + normal.cross @ solved)[..., None])[..., 0]
        self.values = self.values + solved[: len(SHARED)]
        self.cell = self.cell @ (np.eye(3) + np.tensordot(solved[len(SHARED) :], self.strains, axes=1))
        self.turns = self.turns @ _turns(np.clip(turns[:, :3], -0.05, 0.05))
        self.scales = self.scales * np.exp(np.clip(turns[:, 3], -0.05, 0.05))
        return float(math.sqrt(abs(solved @ matrix @ solved)))

    def see_scatter(self, normal: Normal) -> None:
        """Take for the scatter of scales what the last step has found: that of the found ones, and their errors."""
        if self.scatter > 0.0:
            logs = np.log(self.scales[normal.counts])
            found = 1.4826 * float(np.median(np.abs(logs - np.median(logs))))  # what all have is the distance's
            error = math.sqrt(float(np.median(np.linalg.inv(normal.local[normal.counts])[:, 3, 3])))
            self.scatter = max(_LEAST_SCATTER, math.hypot(found, error))


def _turns(vectors: Floats) -> Floats:
    """Rotations by small vectors (n, 3) in radians, as matrices that rows are multiplied with from the left (Rodrigues)."""
    angle = np.linalg.norm(vectors, axis=1)[:, None, None]
    axis = vectors / np.maximum(angle[..., 0], 1e-12)
    cross = np.cross(np.eye(3)[None], axis[:, None, :])  # row i: e_i x axis
    outer = axis[:, :, None] * axis[:, None, :]
    return np.asarray(np.cos(angle) * np.eye(3) + (1 - np.cos(angle)) * outer - np.sin(angle) * cross)
