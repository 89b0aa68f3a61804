"""Is the given cell too large? Indices that never occur.

A lattice whose cell is doubled, or whose centring is left out, has all the points of the true one and more: every pattern of
the crystal is explained, every crystal agrees, and of the indices only those occur that obey a condition
(:mod:`stages.live._conditions`). Of the crystals of a run only counts are kept.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.lattices.bravais import bravais_of
from stages.lattices.cell import Lattice, UnitCell, primitive
from stages.lattices.restrictions import centrings_of, obeys
from stages.live._conditions import FEWEST_PEAKS, Conditions, Integers, Obeyed
from stages.live._consensus import cell_in_words
from stages.merging.tables import percent

FEWEST_CRYSTALS, SHARE = 3, 0.7
"""So many crystals, and such a part of those that say something, must obey the same conditions."""

CHANCE = 0.03
"""So large a part of the peaks may break them by chance, where most peaks of a frame are spurious; in the study it is 1.5 %."""

_MOST_KINDS = 100
_MOST_CELLS = 4


@dataclass(frozen=True)
class Missing:
    """Indices that never occur in the crystals of a run.

    Attributes
    ----------
    given
        The cell that was looked for.
    smaller
        The lattice that has just the indices that do occur.
    num_crystals, num_asked
        Crystals of which this is true, and those with peaks enough to say so.
    num_peaks, num_breaking
        Peaks of these crystals, and those that have other indices all the same.
    """

    given: UnitCell
    smaller: _Smaller
    num_crystals: int
    num_asked: int
    num_peaks: int
    num_breaking: int

    def figures(self) -> dict[str, Any]:
        """All of it, for JSON."""
        cell = self.smaller.cell
        return {
            "conditions": self.smaller.conditions,
            "index": self.smaller.index,
            "crystals": self.num_crystals,
            "crystals_asked": self.num_asked,
            "peaks": self.num_peaks,
            "peaks_breaking": self.num_breaking,
            "lattice_type": cell.lattice.lattice_type,
            "centering": cell.lattice.centering,
            "unique_axis": cell.lattice.unique_axis,
            "parameters": [*cell.parameters[:3], *map(math.degrees, cell.parameters[3:])],
        }

    def __str__(self) -> str:
        index, except_for = self.smaller.index, self.num_breaking / self.num_peaks
        part = {2: "HALF", 3: "TWO THIRDS", 4: "THREE QUARTERS"}.get(index, f"{index - 1} OF {index}")
        never, but = ("NEVER", "") if except_for <= CHANCE else ("HARDLY EVER", "if this is no superstructure, ")
        return (
            f"{part} OF THE INDICES {never} OCCUR: {self.smaller.conditions}, in {self.num_crystals} of {self.num_asked} "
            f"crystals with {FEWEST_PEAKS} peaks or more, {percent(except_for)} of their peaks excepted; {but}the given cell, "
            f"{cell_in_words(self.given)}, is too large: try {cell_in_words(self.smaller.cell)}"
        )


class Indices:
    """Counts what crystals say, for each cell that they were looked for with; the last few cells are kept."""

    def __init__(self) -> None:
        self._counts: dict[UnitCell, Counter[int]] = {}
        self._peaks: dict[UnitCell, dict[int, tuple[int, int]]] = {}

    def add(self, said: Obeyed) -> None:
        """Take what a crystal says."""
        if said.cell not in self._counts and len(self._counts) >= _MOST_CELLS:
            oldest = next(iter(self._counts))
            del self._counts[oldest], self._peaks[oldest]
        counts = self._counts.setdefault(said.cell, Counter())
        kind = said.conditions if said.conditions in counts or len(counts) < _MOST_KINDS else -1
        counts[kind] += 1
        peaks = self._peaks.setdefault(said.cell, {})
        n, breaking = peaks.get(kind, (0, 0))
        peaks[kind] = n + said.num_peaks, breaking + said.num_breaking

    def missing(self) -> Missing | None:
        """Return what never occurs, of the cell that most crystals were looked for with; None if all indices do."""
        if not self._counts:
            return None
        cell, counts = max(self._counts.items(), key=lambda item: item[1].total())
        kind, num = counts.most_common(1)[0]
        if kind <= 0 or num < FEWEST_CRYSTALS or num < SHARE * counts.total():
            return None
        smaller = min((_Smaller.of(cell, same) for same in _equivalents(cell, kind)), key=_Smaller.oddness)
        return Missing(cell, smaller, num, counts.total(), *self._peaks[cell][kind])


def _equivalents(cell: UnitCell, kind: int) -> set[int]:
    """The same conditions for the crystal in each of its equivalent orientations, as bits."""
    turned = Conditions.of(cell).turned
    return {sum(1 << int(turn[n]) for n in range(turned.shape[1]) if kind >> n & 1) for turn in turned}


@dataclass(frozen=True)
class _Smaller:
    """The lattice in which all indices obey some conditions.

    Attributes
    ----------
    cell, is_in_axes
        Its cell, and whether that is in the given axes, or halves and thirds of them.
    conditions
        In words.
    index
        How many times smaller than the given one it is.
    """

    cell: UnitCell
    is_in_axes: bool
    conditions: str
    index: int

    @staticmethod
    def of(cell: UnitCell, kind: int) -> _Smaller:
        """Make it for the given cell and the conditions as bits."""
        real = _real_space_of(cell, kind)
        found = _in_axes_of(cell, real)
        index = round(_primitive_volume(cell) / abs(float(np.linalg.det(real))))
        return _Smaller(found or bravais_of(real, 1e-3).cell, found is not None, _in_words(cell, kind), index)

    def oddness(self) -> tuple[bool, int, bool, str]:
        """Of several ways to say the same the least is best: the given axes, few letters, and the obverse of H."""
        words = self.conditions
        return (
            not self.is_in_axes,
            sum(words.count(letter) for letter in "+-"),
            not words.startswith("-h + k + l"),
            words,
        )


def _real_space_of(cell: UnitCell, kind: int) -> NDArray[np.float64]:
    """Return a basis of the lattice in which all indices of a cell obey these conditions.

    The points with ``w.h = 0 mod p`` are the reciprocal lattice of the basis and the vector ``w.basis / p`` besides.
    """
    conditions = Conditions.of(cell)
    rows = [np.eye(3, dtype=np.int64) * 6]
    rows += [
        (6 // p * w).astype(np.int64)[None]
        for n, (p, w) in enumerate(zip(conditions.p, conditions.w, strict=True))
        if kind >> n & 1
    ]
    return np.asarray(_basis_of(np.concatenate(rows)) / 6 @ primitive(cell).real_space_angstrom, np.float64)


def _in_axes_of(cell: UnitCell, real: NDArray[np.float64]) -> UnitCell | None:
    """Return the cell of a lattice in the axes of another cell, or in halves and thirds of them, in its lattice type."""
    kind, axis = cell.lattice.lattice_type, cell.lattice.unique_axis
    inverse = np.linalg.inv(real)
    volume = abs(float(np.linalg.det(real)))
    for parts in itertools.product((1, 2, 3), repeat=3):
        axes = cell.real_space_angstrom / np.array(parts)[:, None]
        for centring in centrings_of(kind, axis):
            found = UnitCell.from_vectors(axes, Lattice(kind, centring, axis))
            change = np.linalg.inv(primitive(found).to_conventional) @ axes @ inverse
            is_same = np.abs(change - np.rint(change)).max() < 1e-6
            if is_same and math.isclose(_primitive_volume(found), volume, rel_tol=1e-6) and obeys(found, found.lattice):
                return found
    return None


def _primitive_volume(cell: UnitCell) -> float:
    """Volume of the primitive cell in cubic Angstrom."""
    return abs(float(np.linalg.det(primitive(cell).real_space_angstrom)))


def _basis_of(vectors: Integers) -> Integers:
    """Return a basis (3, 3) of the lattice that integer vectors (n, 3) span: Euclid's algorithm in each column."""
    rows = [row.copy() for row in vectors]
    basis = []
    for column in range(3):
        while True:
            rest = sorted((row for row in rows if row[column]), key=lambda row: abs(int(row[column])))
            if len(rest) == 1:
                break
            for row in rest[1:]:
                row[:] -= row[column] // rest[0][column] * rest[0]
        basis.append(rest[0])
        rows = [row for row in rows if row is not rest[0]]
    return np.array(basis)


_SIGNED = sorted(
    (v for v in itertools.product((0, 1, -1), repeat=3) if any(v)),
    key=lambda v: (sum(map(abs, v)), sum(x < 0 for x in v), [x > 0 for x in v]),
)


def _in_words(cell: UnitCell, kind: int) -> str:
    """Say the conditions in the indices of the cell's own axes."""
    conditions = Conditions.of(cell)
    to_conventional = primitive(cell).to_conventional
    grid = np.array(list(itertools.product(range(6), repeat=3)))
    said = []
    for n, (p, w) in enumerate(zip(conditions.p, conditions.w, strict=True)):
        if not kind >> n & 1:
            continue
        obeys = grid @ w % p == 0
        for v in _SIGNED:
            value = grid @ (np.array(v) @ to_conventional)
            modulus = next((m for m in (2, 3, 4, 6) if ((value % m == 0) == obeys).all()), None)
            if modulus is not None:
                said.append((_sum_of(v), "even" if modulus == 2 else f"a multiple of {modulus}"))
                break
    parts = []
    for what, sums in itertools.groupby(said, key=lambda one: one[1]):
        names = [name for name, _ in sums]
        joined = " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
        parts.append(f"{joined} {'are' if len(names) > 1 else 'is'} always {what}")
    return ", ".join(parts) or "they are those of a smaller cell"


def _sum_of(v: tuple[int, ...]) -> str:
    """Write h + k and the like.

    >>> _sum_of((1, 1, 0)), _sum_of((-1, 1, 1)), _sum_of((0, 0, 1))
    ('h + k', '-h + k + l', 'l')
    """
    text = ""
    for x, letter in zip(v, "hkl", strict=True):
        if x:
            text += (" + " if x > 0 else " - ") + letter if text else ("" if x > 0 else "-") + letter
    return text
