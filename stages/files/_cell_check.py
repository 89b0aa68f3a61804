"""Does a cell that somebody has written make sense? What contradicts itself is refused, with what it could be meant to be.

A search with a cell that contradicts its lattice type finds crystals all the same, as the cell is a good one; but refinement
imposes the lattice type, and what comes out is neither the one nor the other.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator

from pipeline import UserError
from stages.lattices.cell import WITH_UNIQUE_AXIS, Lattice, UnitCell, impose_bravais
from stages.lattices.restrictions import (
    NEAR_ANGLE,
    NEAR_LENGTH,
    asks_for,
    centrings_of,
    could_be,
    departure,
    has_centring,
    obeys,
)

log = logging.getLogger("streamajig.cell_file")

_EXACT_LENGTH, _EXACT_ANGLE = 1e-4, math.radians(0.01)
"""What a file's digits make of a cell that obeys its lattice type; more than that is worth a word."""


def checked_cell(cell: UnitCell, where: str, group: str = "") -> UnitCell:
    """Return the cell with its lattice type imposed; raise UserError if it is impossible or contradicts itself.

    Parameters
    ----------
    where
        File, and line if there is one, for the message.
    group
        Who says which lattice it is, if not the file's own fields: the space group of a PDB file.
    """
    _check_parameters(cell, where)
    lattice = checked_lattice(cell.lattice, where)
    cell = UnitCell(*cell.parameters, lattice=lattice)
    off = departure(cell, lattice)
    if off.is_within(_EXACT_LENGTH, _EXACT_ANGLE):
        return cell
    imposed = UnitCell.from_vectors(impose_bravais(cell.real_space_angstrom, lattice), lattice)
    if obeys(cell, lattice):
        log.warning("%s: %s; it is off by %s, and is taken as %s", where, _asked(cell, group), off, _numbers(imposed))
        return imposed
    raise UserError(f"{where}: {_asked(cell, group)}, but the cell is {_numbers(cell)}. {_meant(cell, imposed, group)}")


def checked_lattice(lattice: Lattice, where: str) -> Lattice:
    """Return the lattice, perhaps with its centring put into the right letter; raise UserError if there is no such lattice."""
    kind, centering, axis = lattice.lattice_type, lattice.centering, lattice.unique_axis
    if kind in WITH_UNIQUE_AXIS and axis == "*":
        raise UserError(f"{where}: a {kind} lattice needs its unique axis: add e.g. 'unique_axis = c'")
    if kind not in WITH_UNIQUE_AXIS and axis != "*":
        log.warning("%s: a %s lattice has no unique axis; %r is ignored", where, kind, axis)
        axis = "*"
    if kind == "hexagonal" and centering == "R":
        log.warning("%s: centering R on hexagonal axes is written H in unit cell files; it is taken as H", where)
        centering = "H"
    if kind == "rhombohedral" and centering == "P":
        log.warning(
            "%s: centering P of a rhombohedral lattice is written R in unit cell files; it is taken as R", where
        )
        centering = "R"
    lattice = Lattice(kind, centering, axis)
    if centering == "H" and not has_centring(lattice):
        raise UserError(
            f"{where}: centering H goes with 'lattice_type = hexagonal' and 'unique_axis = c', found {_a(kind)} lattice"
            + (f" with 'unique_axis = {axis}'" if axis != "*" else "")
        )
    if centering == "R" and not has_centring(lattice):
        raise UserError(
            f"{where}: centering R goes with 'lattice_type = rhombohedral', whose axes are equal, found {_a(kind)} lattice; on "
            "hexagonal axes such a lattice is 'lattice_type = hexagonal', 'centering = H', 'unique_axis = c'"
        )
    if kind == "monoclinic" and centering.lower() == axis:
        log.warning("%s: the centring %s matches the unique axis of a monoclinic lattice", where, centering)
    elif not has_centring(lattice):
        possible = _listed(centrings_of(kind, axis), "or")
        about = f" with unique axis {axis}" if axis != "*" else ""
        raise UserError(
            f"{where}: centering {centering} is impossible for {_a(kind)} lattice{about}, which has {possible}"
        )
    return lattice


def _check_parameters(cell: UnitCell, where: str) -> None:
    al, be, ga = cell.parameters[3:]
    if min(cell.parameters[:3]) <= 0:
        raise UserError(
            f"{where}: the lengths of the unit cell must be above 0, found {cell.a:g} {cell.b:g} {cell.c:g} A"
        )
    if max(cell.parameters[:3]) > 1e6 * min(cell.parameters[:3]) or min(al, be, ga) < math.radians(10):
        raise UserError(f"{where}: an angle below 10 degrees, or an axis a million times another: {cell}")
    if not (max(al, be, ga) < math.pi and al + be + ga < 2 * math.pi and 2 * max(al, be, ga) < al + be + ga):
        degrees = " ".join(f"{math.degrees(x):g}" for x in (al, be, ga))
        raise UserError(f"{where}: no unit cell has the angles {degrees} degrees")


def _asked(cell: UnitCell, group: str) -> str:
    """Say what the lattice type asks for, in the words of the file."""
    lattice = cell.lattice
    asks = f"asks for {asks_for(lattice)}"
    if group:
        kind = "trigonal" if lattice.centering in "HR" else lattice.lattice_type
        return f"{group} is {kind} and {asks}"
    axis = f" with unique_axis = {lattice.unique_axis}" if lattice.unique_axis != "*" else ""
    return f"lattice_type = {lattice.lattice_type}{axis} {asks}"


def _numbers(cell: UnitCell) -> str:
    lengths = " ".join(f"{round(x, 3):.7g}" for x in cell.parameters[:3])
    angles = " ".join(f"{round(math.degrees(x), 2):.6g}" for x in cell.parameters[3:])
    return f"{lengths} A, {angles} deg"


def _meant(cell: UnitCell, imposed: UnitCell, group: str) -> str:
    """Say what the cell could be meant to be: another lattice type, other axes, or numbers that obey."""
    lattice = could_be(cell)
    said = []
    if cell.lattice.lattice_type == "hexagonal" and _obeys_with_120(cell):
        said.append("The same lattice has axes with 120 deg instead of 60: write that.")
    elif group:
        axis = f", unique axis {lattice.unique_axis}" if lattice.unique_axis != "*" else ""
        said.append(f"Such a cell is {lattice.lattice_type} {lattice.centering}{axis}: is the space group right?")
    else:
        axes = {"H": "hexagonal", "R": "its own"}.get(lattice.centering)
        what = f"a rhombohedral lattice on {axes} axes: " if axes else ""
        said.append(f"Is it meant to be {what}{_listed(_lines_that_differ(cell.lattice, lattice), 'and')}?")
    if departure(cell, cell.lattice).is_within(NEAR_LENGTH, NEAR_ANGLE):
        said.append(f"If the lattice type is right, write {_numbers(imposed)}.")
    return " ".join(said)


def _listed(words: Iterable[str], conjunction: str) -> str:
    """Join words with commas, and the last with a conjunction."""
    *most, last = words
    return f"{', '.join(most)} {conjunction} {last}" if most else last


def _lines_that_differ(given: Lattice, meant: Lattice) -> Iterator[str]:
    if meant.lattice_type != given.lattice_type:
        yield f"'lattice_type = {meant.lattice_type}'"
    if meant.centering != given.centering:
        yield f"'centering = {meant.centering}'"
    if meant.unique_axis not in ("*", given.unique_axis):
        yield f"'unique_axis = {meant.unique_axis}'"


def _obeys_with_120(cell: UnitCell) -> bool:
    """Whether a cell obeys its hexagonal lattice type when one of its axes is turned round."""
    a, b, c, *angles = cell.parameters
    axis = "abc".index(cell.lattice.unique_axis)
    angles[axis] = math.pi - angles[axis]
    al, be, ga = angles
    return obeys(UnitCell(a, b, c, al, be, ga), cell.lattice)


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
