"""Files that hold a unit cell: CrystFEL's own, and the CRYST1 line of a PDB file.

gemmi knows the space groups of PDB files. A cell that makes no sense is refused, with file, line and what was expected.
"""

from __future__ import annotations

import logging
import math
import re
from pathlib import Path
from typing import NamedTuple

import gemmi

from pipeline import UserError
from stages.files._cell_check import checked_cell, checked_lattice
from stages.files.words import number_or_nan
from stages.lattices.cell import CENTERINGS, LATTICE_TYPES, WITH_UNIQUE_AXIS, Lattice, UnitCell
from stages.lattices.given_type import CENTRINGS

log = logging.getLogger("streamajig.cell_file")

VERSION_LINE = "CrystFEL unit cell file version 1.0"
_PARAMETERS = {"a": "a", "b": "b", "c": "c", "al": "alpha", "be": "beta", "ga": "gamma"}
_LENGTHS_IN_ANGSTROM = {"A": 1.0, "nm": 10.0}
_ANGLES_IN_RADIANS = {"deg": math.pi / 180, "rad": 1.0}


class TargetCell(NamedTuple):
    """The cell that is looked for, and the text of its ``.cell`` file as it goes into streams."""

    cell: UnitCell
    text: str


def read_cell(path: Path) -> TargetCell:
    """Read a CrystFEL unit cell file or the CRYST1 line of a PDB file; return the cell and the text of a .cell file.

    The text is the file's own, verbatim, or made by :func:`cell_text` if the file is a PDB file. Raises UserError, naming
    file, line and what was expected, if the file is neither or makes no sense.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the unit cell file {path}: {error.strerror or error}") from error
    text = raw.decode("utf-8", errors="replace").removeprefix("\ufeff")
    lines = text.splitlines()
    if lines and lines[0].strip() == VERSION_LINE:
        return TargetCell(_parse_cell(lines, path), text)
    for number, line in enumerate(lines, start=1):
        if line.startswith("CRYST1"):
            cell = _parse_cryst1(line, f"{path}:{number}")
            return TargetCell(cell, cell_text(cell))
    first = repr(lines[0][:60]) if lines else "nothing: it is empty"
    looks = any(re.match(r"\s*(a|lattice_type)\s*=", line) for line in lines[:100])
    hint = " It looks like a cell file whose first line is missing: add that line." if looks else ""
    raise UserError(
        f"{path} is no unit cell file: expected the first line {VERSION_LINE!r}, or a PDB file with a CRYST1 line; "
        f"its first line is {first}.{hint}"
    )


class _Fields(NamedTuple):
    """What stands in a cell file: the parameters by their names, the lattice, and whether the lattice type is among it."""

    values: dict[str, float]
    lattice: Lattice
    has_type: bool


def parse_cell(text: str, called: str) -> TargetCell:
    """Read the text of a CrystFEL unit cell file, such as streams have in their heads; raises UserError."""
    return TargetCell(_parse_cell(text.splitlines(), Path(called)), text)


def lattice_alone(path: Path) -> Lattice | None:
    """Return the lattice of a cell file that has a lattice type and no parameters; None for any other file.

    It restricts a search without a cell, as it does CrystFEL's. Raises UserError if there is no such lattice, and for what is
    wrong with the lines of the file.
    """
    try:
        lines = path.read_bytes().decode("utf-8", errors="replace").removeprefix("\ufeff").splitlines()
    except OSError:
        return None  # whoever reads the cell says what is wrong
    if not lines or lines[0].strip() != VERSION_LINE:
        return None
    fields = _fields(lines, path)
    if fields.values or not fields.has_type:
        return None
    lattice = checked_lattice(fields.lattice, str(path))
    possible = CENTRINGS[lattice.lattice_type].replace(lattice.unique_axis.upper(), "")
    if lattice.centering not in possible:
        raise UserError(
            f"{path}: a {lattice.lattice_type} lattice with centering {lattice.centering} is one with a smaller cell: the "
            f"centring of a {lattice.lattice_type} lattice is {' or '.join(possible)}"
        )
    return lattice


def _parse_cell(lines: list[str], path: Path) -> UnitCell:
    values, lattice, has_type = _fields(lines, path)
    missing = [short for short, name in _PARAMETERS.items() if name not in values]
    if has_type and not values:
        raise UserError(
            f"{path} has a lattice type and no parameters, and a whole unit cell is needed here: add a, b, c, al, be and ga, "
            "or index without a cell, which the lattice type restricts (--indexing=auto or lattice)"
        )
    if missing:
        raise UserError(f"{path}: the unit cell needs a, b, c, al, be and ga; found no {', '.join(missing)}")
    return checked_cell(UnitCell(**values, lattice=lattice), str(path))


def _fields(lines: list[str], path: Path) -> _Fields:
    values: dict[str, float] = {}
    lattice_type, centering, unique_axis, has_type = "triclinic", "P", "*", False
    for number, line in enumerate(lines[1:], start=2):
        words = line.split()
        where = f"{path}:{number}"
        if not words or words[0].startswith(";"):
            continue
        key = words[0].partition("=")[0]
        known = key in _PARAMETERS or key in ("lattice_type", "centering", "unique_axis")
        if len(words) < 3 or words[1] != "=":
            if not known:
                log.warning("%s: %r is not understood and is ignored", where, line.strip()[:60])
                continue
            example = "79.1 A" if key in "abc" else "90.0 deg" if key in _PARAMETERS else "..."
            raise UserError(
                f"{where}: expected '{key} = {example}' with blanks around '=', found {line.strip()[:60]!r}"
            )
        value = words[2]
        if key == "lattice_type":
            if value not in LATTICE_TYPES:
                raise UserError(
                    f"{where}: lattice_type {value!r} is unknown; expected one of {', '.join(LATTICE_TYPES)}"
                )
            lattice_type, has_type = value, True
        elif key == "centering":
            if len(value) != 1 or value not in CENTERINGS:
                raise UserError(f"{where}: centering {value!r} is unknown; expected one of {', '.join(CENTERINGS)}")
            centering = value
        elif key == "unique_axis":
            if value not in ("a", "b", "c", "*", "?"):
                raise UserError(f"{where}: unique_axis {value!r} is unknown; expected a, b or c")
            unique_axis = "*" if value == "?" else value
        elif key in _PARAMETERS:
            values[_PARAMETERS[key]] = _quantity(words, where)
        else:
            log.warning("%s: unit cell files have no field %r; it is ignored", where, key)
    return _Fields(values, Lattice(lattice_type, centering, unique_axis), has_type)


def _quantity(words: list[str], where: str) -> float:
    key, _, text, *unit = words
    units = _LENGTHS_IN_ANGSTROM if key in "abc" else _ANGLES_IN_RADIANS
    wanted = " or ".join(units)
    value = number_or_nan(text)
    if not math.isfinite(value):
        raise UserError(f"{where}: expected a number for {key!r}, found {text!r}")
    if not unit or unit[0] not in units:
        found = repr(unit[0]) if unit else "none"
        raise UserError(f"{where}: expected the unit {wanted} behind {key} = {text}, found {found}")
    return value * units[unit[0]]


def _parse_cryst1(line: str, where: str) -> UnitCell:
    fields = (line[6:15], line[15:24], line[24:33], line[33:40], line[40:47], line[47:54])
    try:
        a, b, c, *angles = (float(text) for text in fields)
    except ValueError:
        raise UserError(
            f"{where}: expected six numbers in columns 7 to 54 of the CRYST1 line, found {line[6:54]!r}"
        ) from None
    alpha, beta, gamma = (math.radians(x) for x in angles)
    if max(a, b, c) <= 1.0:
        raise UserError(
            f"{where}: the CRYST1 line has a dummy cell ({a:g} {b:g} {c:g} A), as models without crystal have"
        )
    name = line[55:66].strip()
    group = gemmi.find_spacegroup_by_name(name, angles[0], angles[2]) if name else None
    cell = UnitCell(a, b, c, alpha, beta, gamma)
    by_metric = _lattice_of_metric(cell, name[:1] if name[:1] in CENTERINGS and name else "P")
    if group is None:
        log.warning("%s: space group %r is unknown; the lattice is taken as %s", where, name, by_metric)
        lattice = by_metric
    elif group.number == 1:
        lattice = by_metric
    else:
        lattice = _lattice_of_group(group)
    cell = UnitCell(a, b, c, alpha, beta, gamma, lattice)
    return checked_cell(cell, where, f"the space group {name!r}" if group is not None else "")


def _lattice_of_group(group: gemmi.SpaceGroup) -> Lattice:
    system = group.crystal_system_str()
    centring = group.centring_type()
    if system == "trigonal":
        if group.ext == "R":  # rhombohedral axes
            return Lattice("rhombohedral", "R", "*")
        return Lattice("hexagonal", "H" if centring in "RH" else centring, "c")
    axis = {"monoclinic": group.monoclinic_unique_axis(), "tetragonal": "c", "hexagonal": "c"}.get(system, "*")
    return Lattice(system, centring, axis)


def _lattice_of_metric(cell: UnitCell, centring: str) -> Lattice:
    """Return the lattice type that equal lengths and special angles show, to the digits of a CRYST1 line."""
    lengths = cell.parameters[:3]
    angles = [round(math.degrees(x), 2) for x in cell.parameters[3:]]
    right = [x == 90.0 for x in angles]
    same = [lengths[(i + 1) % 3] == lengths[(i + 2) % 3] for i in range(3)]
    if all(right):
        if all(same):
            return Lattice("cubic", centring, "*")
        return (
            Lattice("tetragonal", centring, "abc"[same.index(True)]) if any(same) else Lattice("orthorhombic", centring)
        )
    if all(same) and angles[0] == angles[1] == angles[2]:
        return Lattice("rhombohedral", "R" if centring == "P" else centring, "*")
    if sum(right) == 2:
        i = right.index(False)
        return Lattice("hexagonal" if angles[i] == 120.0 and same[i] else "monoclinic", centring, "abc"[i])
    return Lattice("triclinic", centring)


def cell_text(cell: UnitCell) -> str:
    """Return the cell as a CrystFEL unit cell file.

    >>> print(cell_text(UnitCell(40, 40, 50, *3 * [math.pi / 2], Lattice("tetragonal", "I", "c"))))
    CrystFEL unit cell file version 1.0
    <BLANKLINE>
    lattice_type = tetragonal
    unique_axis = c
    centering = I
    a = 40.0 A
    b = 40.0 A
    c = 50.0 A
    al = 90.0 deg
    be = 90.0 deg
    ga = 90.0 deg
    <BLANKLINE>
    """
    lattice = cell.lattice
    lines = [VERSION_LINE, "", f"lattice_type = {lattice.lattice_type}"]
    if lattice.lattice_type in WITH_UNIQUE_AXIS:
        lines.append(f"unique_axis = {lattice.unique_axis}")
    lines.append(f"centering = {lattice.centering}")
    for key, value in zip("abc", cell.parameters[:3], strict=True):
        lines.append(f"{key} = {round(float(value), 6)} A")
    for key, value in zip(("al", "be", "ga"), cell.parameters[3:], strict=True):
        lines.append(f"{key} = {round(math.degrees(value), 6)} deg")
    return "\n".join(lines) + "\n"
