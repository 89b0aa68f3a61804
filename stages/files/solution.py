"""Solution files: crystals found elsewhere or before, a line each, as CrystFEL's ``--indexing=file`` reads them.

A line is ``filename frameID asx asy asz bsx bsy bsz csx csy csz xshift yshift latt_cen``: reciprocal vectors in 1/nm, in the
laboratory (z along the beam, y up), the detector's shift in mm, and lattice type, centring and unique axis in letters, such as
``aP``, ``oC``, ``tPc``. Several lines of one frame are several crystals. Inside, vectors are in Angstrom, shifts in metres.

Frames of streamajig have one name, the event as it was sent, ``file // 12`` as a rule; in a stream, and so in a solution file,
that is the file name ``file`` and the event. CrystFEL's ``stream2sol`` writes the event's last word alone. All spellings are
understood, since both are compared without regard to blanks and slashes between file name and event.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from toolz import groupby, valmap

from pipeline import UserError
from stages.files.words import number_or_nan
from stages.lattices.cell import CENTERINGS, Lattice
from stages.records.crystal import Crystal

METHOD = "file"
UNKNOWN_FILE = "ZMQdata"
"""How streams call the file of frames whose event names none."""

_LETTERS = {
    "a": "triclinic",
    "m": "monoclinic",
    "o": "orthorhombic",
    "t": "tetragonal",
    "c": "cubic",
    "h": "hexagonal",
    "r": "rhombohedral",
}
_LETTER_OF = {name: letter for letter, name in _LETTERS.items()}
_WITH_AXIS = "mth"
_NUM_WORDS = 12
"""Nine vector components, two shifts and the code stand at the end of a line; names, which may have blanks, before them."""

_BETWEEN = re.compile(r"\s*//\s*|\s+")


@dataclass(frozen=True, eq=False)
class Solution:
    """One line: which frame, and the crystal."""

    frame: str
    crystal: Crystal


def read_solutions(path: Path) -> dict[str, tuple[Crystal, ...]]:
    """Read a solution file; the crystals of each frame, by the key that :func:`keys_of` makes of its event.

    Empty lines and those that begin with ``#`` or ``;`` are left out. Raises UserError with file and line, what was found and
    what was wanted.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"cannot read the solution file {path}: {error.strerror or error}") from error
    solutions = [
        parse_line(line, f"{path}:{number}")
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and line.lstrip()[0] not in "#;"
    ]
    if not solutions:
        raise UserError(f"{path} holds no solution: expected lines 'filename frameID', 9 + 2 numbers and e.g. tPc")
    by_frame = groupby(lambda solution: solution.frame, solutions)
    return dict(valmap(lambda found: tuple(solution.crystal for solution in found), by_frame))


def parse_line(line: str, where: str = "line") -> Solution:
    """Read one line; `where` begins the message of the UserError.

    >>> solution = parse_line("run 3 //7 0.125 0 0 0 0.125 0 0 0 0.25 0.1 0 tPc")
    >>> solution.frame, solution.crystal.real_space_angstrom.diagonal().tolist(), solution.crystal.det_shift_m
    ('run 3 7', [80.0, 80.0, 40.0], (0.0001, 0.0))
    >>> parse_line("run //7 0.1 0 0 0 0.1 0 0 0 0.2 0 0 tP", "a.sol:1")
    Traceback (most recent call last):
    pipeline.errors.UserError: a.sol:1: lattice 'tP' needs its unique axis (a, b or c) as third letter, e.g. tPc
    """
    words = line.replace(",", " ").split()
    if len(words) < _NUM_WORDS + 2:
        raise UserError(
            f"{where}: expected a file name, a frame, 9 components of a*, b*, c*, 2 shifts and the lattice, {_NUM_WORDS + 2} "
            f"words or more; found {len(words)}: {line.strip()[:80]!r}"
        )
    numbers = [_number(word, where) for word in words[-_NUM_WORDS:-1]]
    stars = np.array(numbers[:9]).reshape(3, 3) / 10.0
    with np.errstate(all="ignore"):
        volume = float(np.linalg.det(stars))
    if not abs(volume) > 1e-12 * float(np.prod(np.linalg.norm(stars, axis=1))):
        raise UserError(f"{where}: the three reciprocal vectors lie in one plane and span no cell: {words[-12:-3]}")
    real = np.linalg.inv(stars).T
    crystal = Crystal(
        np.asarray(real, np.float64),
        parse_code(words[-1], where),
        METHOD,
        det_shift_m=(numbers[9] / 1e3, numbers[10] / 1e3),
    )
    return Solution(_key(" ".join(words[:-_NUM_WORDS])), crystal)


def parse_code(code: str, where: str = "lattice") -> Lattice:
    """Read lattice type, centring and unique axis.

    >>> parse_code("mCb")
    Lattice(lattice_type='monoclinic', centering='C', unique_axis='b')
    """
    kind, centering, axis = code[:1], code[1:2], code[2:]
    if kind not in _LETTERS or kind == "":
        letters = ", ".join(f"{letter} ({name})" for letter, name in _LETTERS.items())
        raise UserError(f"{where}: lattice {code!r}: the first letter should be one of {letters}")
    if centering not in CENTERINGS or centering == "":
        raise UserError(f"{where}: lattice {code!r}: the second letter, the centring, should be one of {CENTERINGS}")
    if kind in _WITH_AXIS and axis not in ("a", "b", "c"):
        raise UserError(
            f"{where}: lattice {code!r} needs its unique axis (a, b or c) as third letter, e.g. {code[:2]}c"
        )
    if kind not in _WITH_AXIS and axis not in ("", "*"):
        raise UserError(
            f"{where}: lattice {code!r}: a {_LETTERS[kind]} lattice has no unique axis; expected {code[:2]}"
        )
    return Lattice(_LETTERS[kind], centering, axis if kind in _WITH_AXIS else "*")


def code_of(lattice: Lattice) -> str:
    """Write lattice type, centring and unique axis in letters.

    >>> code_of(Lattice("tetragonal", "I", "c")), code_of(Lattice("orthorhombic", "F"))
    ('tIc', 'oF')
    """
    letter = _LETTER_OF[lattice.lattice_type]
    return letter + lattice.centering + (lattice.unique_axis if letter in _WITH_AXIS else "")


def keys_of(event: str) -> tuple[str, ...]:
    """The names under which a frame may stand in a solution file, the most explicit first.

    >>> keys_of("run 3 // 12")
    ('run 3 12', 'run 3 run 3 12')
    >>> keys_of("12")
    ('ZMQdata 12', '12')
    """
    file, slashes, _ = event.rpartition("//")
    if slashes and file.strip():
        return _key(event), _key(f"{file} {event}")
    return _key(f"{UNKNOWN_FILE} {event}"), _key(event)


def solution_lines(
    filename: str, event: str, crystals: Iterable[tuple[NDArray[np.float64], Lattice, tuple[float, float]]]
) -> Iterator[str]:
    """Write the lines of one frame of a stream.

    Parameters
    ----------
    filename, event
        As they stand in the stream.
    crystals
        Of each crystal: float64 (3, 3) reciprocal vectors in 1/nm as rows, lattice, shift of the detector in mm.

    >>> shown = solution_lines("run", "run // 12", [(np.eye(3) / 4, Lattice("cubic", "P"), (0.0, 0.0))])
    >>> print(*shown)
    run //12 0.25 0.0 0.0 0.0 0.25 0.0 0.0 0.0 0.25 0.0 0.0 cP
    """
    file, slashes, number = event.rpartition("//")
    frame = f"//{number.strip()}" if slashes and file.strip() in (filename, "") else event
    for stars_per_nm, lattice, shift_mm in crystals:
        shift = [x if math.isfinite(x) else 0.0 for x in shift_mm]
        numbers = " ".join(repr(float(x)) for x in (*stars_per_nm.ravel(), *shift))
        yield f"{filename} {frame} {numbers} {code_of(lattice)}"


def _key(name: str) -> str:
    return _BETWEEN.sub(" ", name).strip()


def _number(word: str, where: str) -> float:
    number = number_or_nan(word)
    if not math.isfinite(number):
        raise UserError(f"{where}: expected a number, found {word!r} (11 numbers stand before the lattice)")
    return number
