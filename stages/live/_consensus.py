"""The cell on which crystals agree, and how it is told."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from stages.lattices.cell import UnitCell
from stages.live._clusters import Mean


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
