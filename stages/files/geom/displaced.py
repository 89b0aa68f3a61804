"""What a geometry file must say for its detector to stand somewhere else: a displacement as changes of directives.

The fewest lines that do it. A shift is added to ``detector_shift_x`` and ``detector_shift_y``, or to the corners of all panels
where each frame brings its own. A distance is added to ``clen``, or to ``coffset`` of all panels where ``clen`` comes with each
frame. Only a tilt changes the directions of panels, and with them corners and ``coffset``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.files.geom.edits import Edit
from stages.files.geom.model import GeometryFile
from stages.records.displacement import Displacement

_SAME_M = 1e-10
"""A change that moves nothing by more than this is none."""

_DECIMALS_M, _DECIMALS_PX, _DECIMALS_STEP = 9, 6, 10
"""Written behind the point of metres, pixels, and pixels a step: a thousand pixels of 0.1 mm then stand within 1e-9 m."""


@dataclass(frozen=True)
class _Places:
    """Where panels stand, in the units of the file: float64 arrays over its P panels, and metres."""

    corner_px: NDArray[np.float64]
    coffset_m: NDArray[np.float64]
    fs_px: NDArray[np.float64]
    ss_px: NDArray[np.float64]
    clen_m: float | None
    shift_m: tuple[float, float] | None


def displacement_edits(file: GeometryFile, move: Displacement, why: str) -> tuple[Edit, ...]:
    """Return the changes after which the file's detector stands where :meth:`DetGeom.displaced` puts it.

    That is exact, but for a tilt of a file whose shift comes with each frame: the shift is not turned, which moves panels by
    shift times tilt along the beam, a hundredth of a millimetre.

    Parameters
    ----------
    file
        As it is.
    move
        Where the detector stands, as seen from there.
    why
        The comment for each line.
    """
    before = _places(file)
    after = _moved(file, before, move)
    return tuple(Edit(name, value, why) for name, value in _changes(file, before, after))


def _places(file: GeometryFile) -> _Places:
    shifts = (file.shift_x, file.shift_y)
    is_fixed = all(shift is None or shift.number is not None for shift in shifts)
    x, y = (0.0 if shift is None or shift.number is None else shift.number for shift in shifts)
    return _Places(
        corner_px=np.array([panel.corner_px for panel in file.panels]),
        coffset_m=np.array([panel.coffset_m for panel in file.panels]),
        fs_px=np.array([panel.fs_px for panel in file.panels]),
        ss_px=np.array([panel.ss_px for panel in file.panels]),
        clen_m=file.clen.number,
        shift_m=(x, y) if is_fixed else None,
    )


def _moved(file: GeometryFile, before: _Places, move: Displacement) -> _Places:
    """Turn about (0, 0, mean distance), then move: what :meth:`DetGeom.displaced` does, in the units of the file."""
    res = np.array([[panel.res_per_m] for panel in file.panels])
    mean = before.coffset_m.mean()
    shift = np.array(before.shift_m or (0.0, 0.0))
    turn = move.rotation.T
    corners = np.column_stack([before.corner_px / res + shift, before.coffset_m - mean]) @ turn
    corner = corners[:, :2] - shift if before.shift_m is not None else corners[:, :2] + np.array(move.shift_m)
    along = move.along_m if before.clen_m is None else 0.0
    return _Places(
        corner_px=corner * res,
        coffset_m=corners[:, 2] + mean + along,
        fs_px=before.fs_px @ turn,
        ss_px=before.ss_px @ turn,
        clen_m=None if before.clen_m is None else before.clen_m + move.along_m,
        shift_m=None if before.shift_m is None else (shift[0] + move.shift_m[0], shift[1] + move.shift_m[1]),
    )


def _changes(file: GeometryFile, before: _Places, after: _Places) -> Iterator[tuple[str, str]]:
    """Directives and their new values, where they differ."""
    if before.clen_m is not None and after.clen_m is not None and abs(after.clen_m - before.clen_m) > _SAME_M:
        yield "clen", f"{_fixed(after.clen_m, _DECIMALS_M)} m"
    if before.shift_m is not None and after.shift_m is not None:
        changed = np.abs(np.subtract(after.shift_m, before.shift_m)) > _SAME_M
        if changed.any():
            is_new = file.shift_x is None or file.shift_y is None  # CrystFEL knows both or none
            for axis, metres, other in zip("xy", after.shift_m, changed, strict=True):
                if other or is_new:
                    yield f"detector_shift_{axis}", f"{_fixed(metres, _DECIMALS_M)} m"
    res = np.array([panel.res_per_m for panel in file.panels])
    size = np.array([max(panel.panel.width, panel.panel.height) for panel in file.panels])
    columns: list[tuple[str, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], Callable[[Any], str]]] = [
        ("corner_x", before.corner_px[:, 0], after.corner_px[:, 0], 1 / res, _pixels),
        ("corner_y", before.corner_px[:, 1], after.corner_px[:, 1], 1 / res, _pixels),
        ("coffset", before.coffset_m, after.coffset_m, np.ones(len(res)), _metres),
        ("fs", before.fs_px, after.fs_px, size / res, _direction),
        ("ss", before.ss_px, after.ss_px, size / res, _direction),
    ]
    for name, old, new, scale_m, written in columns:
        change_m = np.abs(new - old).reshape(len(res), -1).max(axis=1) * scale_m
        if not (change_m > _SAME_M).any():
            continue
        values = [written(value) for value in new]
        if len(set(values)) == 1:
            yield name, values[0]
            continue
        for placed, value, change in zip(file.panels, values, change_m, strict=True):
            if change > _SAME_M:
                yield f"{placed.panel.name}/{name}", value


def _metres(value: float) -> str:
    return _fixed(value, _DECIMALS_M)


def _pixels(value: float) -> str:
    return _fixed(value, _DECIMALS_PX)


def _direction(value: NDArray[np.float64]) -> str:
    """A sum of multiples of x, y and z, without exponents.

    >>> _direction(np.array([0.9999, -0.01, 0.0]))
    '+0.9999x -0.01y'
    """
    terms = [(_fixed(number, _DECIMALS_STEP), axis) for number, axis in zip(value, "xyz", strict=True)]
    return " ".join(f"{'' if number[0] == '-' else '+'}{number}{axis}" for number, axis in terms if float(number))


def _fixed(value: float, decimals: int) -> str:
    """A number without an exponent or zeros at its end.

    >>> _fixed(0.1040, 9), _fixed(-1e-12, 9), _fixed(-512.0, 6)
    ('0.104', '0', '-512')
    """
    text = f"{value:.{decimals}f}".rstrip("0").rstrip(".")
    return "0" if float(text) == 0 else text
