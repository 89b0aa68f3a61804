"""Cells that agree but for one common factor: what a wrong distance of the detector, or a wrong wavelength, makes of one.

A spot at r from the beam is taken for q = r / (distance * wavelength), at small angles; if the distance is believed to be 2 %
longer than it is, all q are 2 % shorter, and all axes 2 % longer.
"""

from __future__ import annotations

from stages.lattices.cell import UnitCell, agree

ALIKE = (2.0, 2.0, 2.0, 1.5, 1.5, 1.5)
"""Cells that differ by no more, in percent and degrees, when the common factor is taken out, have no other difference: what a
single still says of its axes is about as exact."""

LARGEST = 0.1
"""A distance that is off by more than that is no error of a measurement; small cells would agree with many others."""


def common_factor(found: UnitCell, reference: UnitCell) -> float:
    """Return the factor that makes the reference's volume that of the found cell.

    >>> cell = UnitCell(40, 50, 60, 1.5, 1.5, 1.5)
    >>> round(common_factor(scaled(cell, 1.02), cell), 6)
    1.02
    """
    return float((abs(found.volume) / abs(reference.volume)) ** (1 / 3))


def scaled(cell: UnitCell, factor: float) -> UnitCell:
    """Return the cell with all its axes so many times longer."""
    a, b, c, alpha, beta, gamma = cell.parameters
    return UnitCell(factor * a, factor * b, factor * c, alpha, beta, gamma, cell.lattice)


def factor_between(found: UnitCell, reference: UnitCell, tolerance: tuple[float, ...] = ALIKE) -> float | None:
    """Return the common factor if the cells, in the same axes, agree but for it; None if they differ otherwise.

    >>> cell = UnitCell(40, 50, 60, 1.5, 1.5, 1.5)
    >>> found = factor_between(scaled(cell, 1.06), cell)
    >>> found is not None and round(found, 4), factor_between(UnitCell(40, 50, 66, 1.5, 1.5, 1.5), cell)
    (1.06, None)
    """
    factor = common_factor(found, reference)
    alike = abs(factor - 1.0) <= LARGEST and agree(scaled(found, 1.0 / factor), reference, tolerance)
    return factor if alike else None
