"""Point groups by CrystFEL's names (-y), and the space group under which merged data are written."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from functools import lru_cache

import gemmi
import numpy as np
from numpy.typing import NDArray

from pipeline import UserError
from stages.merging._kernels import equivalents as kernel

_SYMBOLS = {
    "1": ("P 1", "1"),
    "-1": ("P -1", "1"),
    "2": ("P 1 1 2", "1 1 2"),
    "m": ("P 1 1 m", "1 1 2"),
    "2/m": ("P 1 1 2/m", "1 1 2"),
    "222": ("P 2 2 2", "2 2 2"),
    "mm2": ("P m m 2", "2 2 2"),
    "mmm": ("P m m m", "2 2 2"),
    "4": ("P 4", "4"),
    "-4": ("P -4", "4"),
    "4/m": ("P 4/m", "4"),
    "422": ("P 4 2 2", "4 2 2"),
    "4mm": ("P 4 m m", "4 2 2"),
    "-42m": ("P -4 2 m", "4 2 2"),
    "-4m2": ("P -4 m 2", "4 2 2"),
    "4/mmm": ("P 4/m m m", "4 2 2"),
    "3_H": ("P 3", "3"),
    "-3_H": ("P -3", "3"),
    "321_H": ("P 3 2 1", "3 2 1"),
    "312_H": ("P 3 1 2", "3 1 2"),
    "3m1_H": ("P 3 m 1", "3 2 1"),
    "31m_H": ("P 3 1 m", "3 1 2"),
    "-3m1_H": ("P -3 m 1", "3 2 1"),
    "-31m_H": ("P -3 1 m", "3 1 2"),
    "3_R": ("R 3:R", "3:R"),
    "-3_R": ("R -3:R", "3:R"),
    "32_R": ("R 3 2:R", "3 2:R"),
    "3m_R": ("R 3 m:R", "3 2:R"),
    "-3m_R": ("R -3 m:R", "3 2:R"),
    "6": ("P 6", "6"),
    "-6": ("P -6", "6"),
    "6/m": ("P 6/m", "6"),
    "622": ("P 6 2 2", "6 2 2"),
    "6mm": ("P 6 m m", "6 2 2"),
    "-62m": ("P -6 2 m", "6 2 2"),
    "-6m2": ("P -6 m 2", "6 2 2"),
    "6/mmm": ("P 6/m m m", "6 2 2"),
    "23": ("P 2 3", "2 3"),
    "m-3": ("P m -3", "2 3"),
    "432": ("P 4 3 2", "4 3 2"),
    "-43m": ("P -4 3 m", "4 3 2"),
    "m-3m": ("P m -3 m", "4 3 2"),
}
"""CrystFEL's name: a space group of that point group, unique axis c; the rotations of a space group for the merged data."""

_CENTRINGS = {**dict(zip("PABCIFH", kernel.CENTRINGS, strict=True)), "R": kernel.PRIMITIVE}
"""As the kernel counts them."""


@dataclass(frozen=True)
class PointGroup:
    """A point group in reciprocal space.

    Attributes
    ----------
    name
        CrystFEL's: ``4/mmm``, ``2/m_uab``, ``321_H``.
    operations
        int64 (n, 3, 3): the equivalents of a row hkl are ``hkl @ operations[i]``.
    """

    name: str
    operations: NDArray[np.int64] = field(repr=False, compare=False)

    @property
    def is_centrosymmetric(self) -> bool:
        """Whether Friedel mates are equivalent."""
        return any(np.array_equal(op, -np.eye(3)) for op in self.operations)

    @property
    def is_chiral(self) -> bool:
        """Whether it holds rotations alone, as crystals of proteins do: Friedel mates are then kept apart."""
        return bool((np.linalg.det(self.operations) > 0).all())

    def averaged(self, metric: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the reciprocal metric a* . b* with this symmetry that is nearest to one without."""
        ops = self.operations.astype(np.float64)
        return np.asarray(np.mean(ops @ metric @ ops.transpose(0, 2, 1), axis=0))

    def space_group(self, centring: str) -> gemmi.SpaceGroup:
        """A space group of these rotations, without screw axes, in which merged data of this lattice can be written.

        >>> point_group("4/mmm").space_group("I").xhm()
        'I 4 2 2'
        """
        name, _, axis = self.name.partition("_ua")
        rotations = _SYMBOLS[name][1]
        if axis in ("a", "b") and rotations == "1 1 2":
            rotations = {"a": "2 1 1", "b": "1 2 1"}[axis]
        elif axis in ("a", "b") and rotations != "2 2 2":
            rotations = ""
        letter = "R" if rotations.endswith(":R") or centring == "H" else centring
        symbol = f"{letter} {rotations}"
        if centring == "H":
            symbol = {"3": "R 3:H", "3 2 1": "R 3 2:H"}.get(rotations, "")
        found = gemmi.find_spacegroup_by_name(symbol) if rotations and symbol else None
        if found is None:
            raise UserError(
                f"no standard space group has the point group {self.name} and a lattice of type {centring}; give one "
                "with --space-group"
            )
        return found


def centring_code(centring: str) -> int:
    """The kernel's number for a centring."""
    return _CENTRINGS.get(centring, kernel.PRIMITIVE)


@lru_cache(maxsize=64)
def point_group(name: str) -> PointGroup:
    """Return the point group of this name; the unique axis is c unless ``_uaa`` or ``_uab`` says otherwise.

    >>> len(point_group("4/mmm").operations), len(point_group("2/m_uab").operations)
    (16, 4)
    >>> point_group("4/mm")
    Traceback (most recent call last):
    pipeline.errors.UserError: there is no point group '4/mm'; did you mean '4/mmm'?
    """
    found = re.fullmatch(r"(.+?)(?:_ua([abc]))?", name)
    base, axis = (found[1], found[2] or "c") if found else ("", "c")
    if base not in _SYMBOLS:
        close = difflib.get_close_matches(base, _SYMBOLS, n=1)
        both = [f"{base}_{lattice}" for lattice in "RH" if f"{base}_{lattice}" in _SYMBOLS]
        meant = f"; did you mean {close[0]!r}?" if close else "; there are: " + " ".join(_SYMBOLS)
        if both:
            meant = f"; say which axes: {' or '.join(both)} (R: rhombohedral, H: hexagonal)"
        raise UserError(f"there is no point group {name!r}{meant}")
    operations = gemmi.SpaceGroup(_SYMBOLS[base][0]).operations().sym_ops
    matrices = np.array([op.rot for op in operations], np.int64) // gemmi.Op.DEN
    shift = {"a": 1, "b": 2, "c": 0}[axis]  # cyclic: axis c becomes axis a, or b
    matrices = np.ascontiguousarray(np.roll(matrices, (shift, shift), (1, 2)))
    matrices.setflags(write=False)
    return PointGroup(name, matrices)
