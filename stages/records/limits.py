"""The cell that a crystal is meant to have, and how far it may be from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.lattices.cell import UnitCell, are_near, parameters_of


@dataclass(frozen=True)
class CellLimits:
    """What a crystal was found with: whoever changes its cell asks here whether it is still the same.

    Attributes
    ----------
    target
        The given cell, or the one on which the crystals before it agree. The crystal is expressed in its axes.
    tolerance
        How far the crystal's cell may be from it: a, b, c in percent, al, be, ga in degrees; None if that is not asked.
    """

    target: UnitCell
    tolerance: tuple[float, ...] | None

    def allow(self, real_space_angstrom: NDArray[np.float64]) -> bool:
        """Whether a basis in the axes of the target is within the limits.

        >>> limits = CellLimits(UnitCell(40, 50, 60, *3 * [np.pi / 2]), (2.0, 2.0, 2.0, 1.0, 1.0, 1.0))
        >>> limits.allow(np.diag([40.7, 50.0, 60.0])), limits.allow(np.diag([40.9, 50.0, 60.0]))
        (True, False)
        """
        if self.tolerance is None:
            return True
        return are_near(parameters_of(real_space_angstrom), self.target.parameters, self.tolerance)
