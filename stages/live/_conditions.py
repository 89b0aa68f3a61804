"""Which conditions the indices of a crystal's peaks obey: l even, h + k even, -h + k + l a multiple of 3, and so on.

Each condition is ``w.h = 0 mod p``, h being the indices in the primitive cell: 7 for p = 2, and 13 for p = 3 (w and -w are
one). Those peaks count that lie near a reciprocal lattice point. Of the right cell's peaks a part 1 - 1/p breaks a condition,
of a superlattice's none but those near a point by chance. Peaks with w.h = 0 say nothing, and do not count: in a pattern of
one zone all are of that kind. A crystal may be found in any of the orientations that its cell's rotations allow (obverse or
reverse, say), so that what it obeys is turned into one that stands for all.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.lattices.cell import UnitCell, metric_rotations, primitive
from stages.records.crystal import Crystal
from stages.records.geometry import DetGeom, q_on_shifted
from stages.records.peaklist import PeakList

Integers = NDArray[np.int64]

NEAR = 0.1
"""So near to a lattice point are peaks that count. One of a lattice half as large that is off by less than 0.9 of an index is
never taken for the point beside its own."""

FEWEST_PEAKS, BREAKING = 12, 12
"""With fewer peaks a crystal says nothing; one in so many may break a condition that it obeys. Of 12 peaks of the right cell no
more than one breaks a given condition with a probability of 0.3 %."""

_SIGNS = np.array([(1, 1, 1), (1, 1, -1), (1, -1, 1), (1, -1, -1)])


@dataclass(frozen=True)
class Obeyed:
    """What one crystal says.

    Attributes
    ----------
    cell
        The cell that it was looked for with.
    conditions
        Bit n is set if it obeys condition n, all of it turned into one of the equivalent orientations.
    num_peaks, num_breaking
        Its peaks that count, and those of them that break one of these conditions.
    """

    cell: UnitCell
    conditions: int
    num_peaks: int
    num_breaking: int


@dataclass(frozen=True, eq=False)
class Conditions:
    """The conditions for a cell.

    Attributes
    ----------
    to_primitive
        float64 (3, 3): ``to_primitive @ conventional`` is the primitive basis.
    w, p
        float64 (20, 3), whole numbers from -1 to 1, and int64 (20,).
    zones
        float64 (20 * 4, 3): peaks with zones.h = 0 are of a zone in which a condition holds for all. Modulo 2 the signs in w
        are free, modulo 3 all four are w.
    turned
        int64 (rotations, 20): which condition each becomes when the crystal is turned onto itself.
    """

    to_primitive: NDArray[np.float64]
    w: NDArray[np.float64]
    p: Integers
    zones: NDArray[np.float64]
    turned: Integers

    @staticmethod
    @lru_cache(maxsize=16)
    def of(cell: UnitCell) -> Conditions:
        """Make the conditions for a cell.

        >>> conditions = Conditions.of(UnitCell(40, 50, 60, *3 * [np.pi / 2]))
        >>> np.bincount(conditions.p)[2:].tolist()
        [7, 13]
        """
        reduced = primitive(cell)
        every = [(p, _normal(w, p)) for p in (2, 3) for w in itertools.product(range(p), repeat=3) if any(w)]
        unique = list(dict.fromkeys(every))
        number = {condition: n for n, condition in enumerate(unique)}
        w, p = np.array([w for _, w in unique]), np.array([p for p, _ in unique])
        rotations = metric_rotations(np.array(reduced.real_space_angstrom))
        turned = [[number[q, _normal(v @ turn, q)] for q, v in zip(p.tolist(), w, strict=True)] for turn in rotations]
        w[w == 2] = -1
        signs = np.where((p == 2)[:, None, None], _SIGNS, 1)
        zones = (signs * w[:, None]).reshape(-1, 3).astype(np.float64)
        return Conditions(np.linalg.inv(reduced.to_conventional), w.astype(np.float64), p, zones, np.array(turned))

    def obeyed(self, hkl: Integers) -> tuple[int, int, int]:
        """Return the conditions that primitive indices (n, 3) obey as bits, how many peaks count, and how many break one."""
        n = len(hkl)
        if n < FEWEST_PEAKS:
            return 0, n, 0
        h = hkl.astype(np.float64)  # products of floats are much faster
        value = h @ self.w.T
        counts = (h @ self.zones.T != 0).reshape(n, -1, len(_SIGNS)).all(axis=2)
        breaks = counts & (np.mod(value, self.p) != 0)
        num = counts.sum(axis=0)
        obeys = (num >= FEWEST_PEAKS) & (BREAKING * breaks.sum(axis=0) <= num)
        if not obeys.any():
            return 0, n, 0
        self._close(obeys)
        bits = (1 << self.turned[:, obeys]).sum(axis=1).min()
        return int(bits), n, int(breaks[:, obeys].any(axis=1).sum())

    def _close(self, obeys: NDArray[np.bool_]) -> None:
        """Add what follows from two conditions: h + k and h + l even, so k + l is."""
        number = {(int(p), *w): n for n, (p, w) in enumerate(zip(self.p, self.w.astype(int).tolist(), strict=True))}
        for i, j in itertools.combinations(np.flatnonzero(obeys), 2):
            p = int(self.p[i])
            if p == self.p[j]:
                for sign in (1, -1):
                    obeys[number[p, *_normal(self.w[i] + sign * self.w[j], p)]] = True


def _normal(w: NDArray[Any] | tuple[int, ...], p: int) -> tuple[int, ...]:
    """Return w modulo p, of w and -w the one that is larger: -1 counts as less than 1."""
    reduced = [int(x) % p for x in w]
    other = [-x % p for x in reduced]
    return tuple(max(other, reduced, key=lambda v: [-x % p for x in v]))


def obeyed_by(crystal: Crystal, peaks: PeakList, geom: DetGeom) -> Obeyed | None:
    """Return which conditions the peaks of a crystal obey; None for one that was found without a cell, or of few peaks."""
    if crystal.limits is None:
        return None
    cell = crystal.limits.target
    conditions = Conditions.of(cell)
    q = q_on_shifted(peaks, geom, crystal.det_shift_m)
    h = q[np.isfinite(q).all(axis=1)] @ (conditions.to_primitive @ crystal.real_space_angstrom).T
    whole = np.rint(h)
    near = (np.abs(h - whole).max(axis=1, initial=0.0) < NEAR) & whole.any(axis=1)
    bits, n, num_breaking = conditions.obeyed(whole[near].astype(np.int64))
    return Obeyed(cell, bits, n, num_breaking) if n >= FEWEST_PEAKS else None
