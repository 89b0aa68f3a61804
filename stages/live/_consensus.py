"""The cell on which crystals agree, and how it is told."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from stages.lattices.cell import UnitCell
from stages.lattices.clusters import Mean
from stages.lattices.scale import common_factor

_CLEAR = 0.005
_ALIKE, _ALIKE_RAD = 0.3, math.radians(0.3)
"""Of a common factor: from so much on it is one; lengths may differ besides by such a part of it, and angles by so much."""


@dataclass(frozen=True, eq=False)
class Consensus:
    """The cell of a cluster.

    Attributes
    ----------
    cell
        The mean, with its lattice type imposed.
    mean
        Mean, spread and so on in the same axes, without restrictions.
    is_of_target
        Whether it is in the axes of the target cell.
    """

    cell: UnitCell
    mean: Mean
    is_of_target: bool


def lattice_in_words(cell: UnitCell) -> str:
    """Lattice type, centring and unique axis."""
    lattice = cell.lattice
    axis = f", unique axis {lattice.unique_axis}" if lattice.unique_axis != "*" else ""
    return f"{lattice.lattice_type} {lattice.centering}{axis}"


def cell_in_words(cell: UnitCell) -> str:
    """The cell in one line."""
    lengths = " ".join(f"{x:.2f}" for x in cell.parameters[:3])
    angles = " ".join(f"{math.degrees(x):.1f}" for x in cell.parameters[3:])
    return f"{cell.lattice.lattice_type} {cell.lattice.centering} {lengths} A {angles} deg"


def numbers(cell: UnitCell, digits: int) -> list[str]:
    """a, b, c in Angstrom, alpha, beta, gamma in degrees."""
    return rounded([*cell.parameters[:3], *map(math.degrees, cell.parameters[3:])], digits)


def rounded(values: Any, digits: int = 3) -> list[str]:
    """Numbers as text; a dash where there is none."""
    return [f"{value:.{digits}f}" if math.isfinite(value) else "-" for value in values]


def off(cell: UnitCell, target: UnitCell) -> list[str]:
    """By how much a cell is off another, lengths in percent and angles in degrees."""
    lengths = [
        round(100 * (x / y - 1), 2) + 0.0 for x, y in zip(cell.parameters[:3], target.parameters[:3], strict=True)
    ]
    angles = [
        round(math.degrees(x - y), 2) + 0.0 for x, y in zip(cell.parameters[3:], target.parameters[3:], strict=True)
    ]
    return [f"{x:+.2f} %" for x in lengths] + [f"{x:+.2f}" for x in angles]


def common_factor_of(consensus: Consensus, target: UnitCell) -> float | None:
    """Return the factor by which a consensus is larger than the target in all axes; None if it is not, or not in all alike.

    It must be clear, half a per cent and three errors of the mean, and what else there is must be small beside it.
    """
    lengths = [x / y for x, y in zip(consensus.cell.parameters[:3], target.parameters[:3], strict=True)]
    angles = [abs(x - y) for x, y in zip(consensus.cell.parameters[3:], target.parameters[3:], strict=True)]
    factor = common_factor(consensus.cell, target)
    by = abs(factor - 1.0)
    error = float((consensus.mean.error[:3] / consensus.mean.parameters[:3]).max())
    alike = max(abs(x / factor - 1.0) for x in lengths) <= _ALIKE * by and max(angles) <= _ALIKE_RAD
    return factor if alike and by >= max(_CLEAR, 3.0 * error) else None


def distance_in_words(factor: float) -> str:
    """Say what makes all axes longer or shorter, and by how much it would have to be off.

    >>> distance_in_words(1.0213)
    '2.1 % larger in all axes: check the distance (clen times about 0.979) or the photon energy (times 1.021)'
    """
    how = "larger" if factor > 1.0 else "smaller"
    return (
        f"{abs(100 * (factor - 1.0)):.1f} % {how} in all axes: check the distance (clen times about {1 / factor:.3f}) or the "
        f"photon energy (times {factor:.3f})"
    )


def figures(consensus: Consensus | None) -> dict[str, Any] | None:
    """All of it, for JSON."""
    if consensus is None:
        return None
    cell, mean = consensus.cell, consensus.mean
    return {
        "lattice_type": cell.lattice.lattice_type,
        "centering": cell.lattice.centering,
        "unique_axis": cell.lattice.unique_axis,
        "parameters": [*cell.parameters[:3], *map(math.degrees, cell.parameters[3:])],
        "mean": mean.parameters.tolist(),
        "error": mean.error.tolist(),
        "spread": mean.spread.tolist(),
        "crystals": mean.num_crystals,
        "crystals_in_mean": mean.num_kept,
        "is_given_cell": consensus.is_of_target,
    }
