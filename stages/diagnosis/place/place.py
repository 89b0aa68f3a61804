"""From what crystals say to where the detector is, and to whose fault it is: distance, energy, or the cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.diagnosis.place.evidence import CrystalEvidence
from stages.diagnosis.place.fit import Fitted, fit_place
from stages.diagnosis.place.lattices import OneLattice, largest, of_target, strains_of
from stages.diagnosis.place.vote import APART_PX, Voted, chance_of, surprise_of, vote
from stages.diagnosis.steps import Steps
from stages.lattices.bravais import bravais_of
from stages.lattices.cell import Lattice, UnitCell
from stages.records.displacement import Displacement

Floats = NDArray[np.float64]

_FEWEST = 5
"""Crystals that must agree."""
_QUICK, _QUICK_PEAKS = 60, 50
"""So many are asked, with so many peaks each, whether anything is wrong at all."""
_WHO_KNOW = 0.5
"""On a geometry that is off by more than a lattice vector at least so many of the crystals that index know the true shift."""
_DENSE_PX = 5.0
"""With reciprocal axes of fewer pixels a search finds a lattice vector for a shift."""
_PLACES, _ON_TRIAL = 4, 30
"""So many shifts are tried, if crystals agree on so many, with so many crystals."""
_PEAKS_OF_FEW, _PART_OF_SPACING = 60, 0.4
"""Fewer crystals tell a shift, if so many peaks belong to them and it is less than such a part of the shortest reciprocal
axis."""
_SHARE_THAT_FITS = 0.4
"""Of the crystals of one lattice so many must fit where the detector is said to be."""
_WORST_PX = 2.0
"""Peaks that scatter more than that about their places were not understood."""

_SELECTED = 0.5
"""Such a part of what decides whether a hit indexes is its cell: in the study of docs/studies/diagnosis it was 0.3 to 0.45."""

SURE = 5.0
"""Standard errors from which on something is said to be."""
LEAST_SHIFT_PX, LEAST_ALONG, LEAST_TILT_RAD = 0.4, 0.0015, 1e-3
"""What is less is of no matter, however sure: in pixels, as a part of the distance, and as an angle."""
LEAST_EXPLAINED = 0.4
"""Part of the peaks that must belong to crystals for a tilt to be told."""


@dataclass(frozen=True, eq=False)
class Place:
    """Where the detector is.

    Attributes
    ----------
    fit
        With the given cell held, or, without one, with a free cell.
    free
        With the cell free, too, where both were done: it says whether the distance is off or all else that makes cells larger.
    cell
        The cell that was found, in conventional axes, with the symmetry that it has within its errors; None with a target.
    factor, factor_error
        By how much all axes are found longer than the target's with the detector's angles alone (cell free), and its error; NaN
        where that was not asked.
    is_of_target
        Whether the cell was given, and the crystals have it, but for a common factor.
    is_of_few
        Whether so few crystals were asked that nothing but a shift can be told.
    share_indexed
        Of which part of the hits crystals were asked, those that the file's geometry let index; 1 if of a fair sample of all.
    """

    fit: Fitted
    free: Fitted | None = None
    cell: UnitCell | None = None
    factor: float = math.nan
    factor_error: float = math.nan
    is_of_target: bool = False
    is_of_few: bool = False
    share_indexed: float = 1.0

    @property
    def best(self) -> Fitted:
        """The fit that is right: where the energy is off the given cell must not be held."""
        return self.free if self.free is not None and self.is_energy else self.fit

    @property
    def is_shifted(self) -> bool:
        """Whether the detector is off across the beam, and it matters."""
        x, y = self.best.values[:2]
        size, error = math.hypot(x, y), self.shift_error_m
        return size > SURE * error and size > LEAST_SHIFT_PX * self.fit.pixel_m

    @property
    def shift_error_m(self) -> float:
        """Of either component, the larger one."""
        return float(self.best.errors[:2].max())

    @property
    def along_error_m(self) -> float:
        """Of the distance, and more than the fit's where only some hits index because the distance is off.

        It is those whose cell happens to make up for it: with a share p of the hits their scales are off by at most
        the mean of a normal distribution beyond its quantile p, in units of the scatter.
        """
        share = self.share_indexed
        if not 0.0 < share < 1.0:
            return float(self.fit.errors[2])
        normal = NormalDist()
        beyond = normal.pdf(normal.inv_cdf(share)) / share
        return math.hypot(float(self.fit.errors[2]), _SELECTED * beyond * self.fit.scatter * self.fit.clen_m)

    @property
    def is_along(self) -> bool:
        """Whether the distance is off, and it matters."""
        along, error = float(self.fit.values[2]), float(self.fit.errors[2])
        matters = abs(along) > SURE * error and abs(along) > LEAST_ALONG * self.fit.clen_m
        return matters and not self.is_of_few

    @property
    def is_tilted(self) -> bool:
        """Whether the detector is turned, and it matters.

        A turn moves peaks by less than a pixel: where most are no crystal's, those that pair by chance would tell it.
        """
        understood = self.best.share_explained >= LEAST_EXPLAINED and not self.is_of_few
        return understood and any(
            abs(angle) > SURE * error and abs(angle) > LEAST_TILT_RAD
            for angle, error in zip(self.best.values[3:], self.best.errors[3:], strict=True)
        )

    @property
    def is_energy(self) -> bool:
        """Whether the energy, and not the distance, is off: the cell is another one where the distance is right."""
        if self.free is None or math.isnan(self.factor):
            return False
        along, error = float(self.free.values[2]), float(self.free.errors[2])
        return (
            abs(along) < 3.0 * error and abs(self.factor - 1.0) > SURE * self.factor_error and not self.may_be_distance
        )

    @property
    def may_be_distance(self) -> bool:
        """Whether what makes the cell another one may be the distance."""
        return math.isnan(self.factor) or abs(self.factor - 1.0) <= 3.0 * max(self.factor_error, 2e-4)

    @property
    def may_be_energy(self) -> bool:
        """Whether what makes the cell another one may be the energy."""
        if self.free is None or not self.is_of_target:
            return False
        return abs(float(self.free.values[2])) <= 3.0 * float(self.free.errors[2])

    @property
    def correction(self) -> Displacement:
        """What of the displacement is certain, and matters; none of what cannot be told, or is the energy's."""
        x, y, along, about_x, about_y = (float(value) for value in self.best.values)
        return Displacement(
            (x, y) if self.is_shifted else (0.0, 0.0),
            along if self.is_along and not self.is_energy else 0.0,
            (about_x, about_y) if self.is_tilted else (0.0, 0.0),
        )

    def figures(self) -> dict[str, Any]:
        """Return it for JSON."""
        units = ("shift_x_m", "shift_y_m", "along_m", "tilt_x_rad", "tilt_y_rad")
        figures: dict[str, Any] = {}
        for name, value, error in zip(units, self.best.values, self.best.errors, strict=True):
            stem, unit = name.rsplit("_", 1)
            figures[name], figures[f"{stem}_error_{unit}"] = float(value), float(error)
        figures["along_error_m"] = self.along_error_m
        return {
            **figures,
            "clen_m": self.fit.clen_m,
            "pixel_m": self.fit.pixel_m,
            "crystals_fitted": self.fit.num_crystals,
            "peaks_fitted": self.fit.num_peaks,
            "spread_px": self.fit.spread_px,
            "share_explained": self.fit.share_explained,
            "cell_factor": None if math.isnan(self.factor) else self.factor,
            "cell_factor_error": None if math.isnan(self.factor) else self.factor_error,
        }


def find_place(
    crystals: Sequence[CrystalEvidence], target: UnitCell | None, last: Displacement | None = None
) -> Steps[Place | None]:
    """Return where the detector is; None if crystals do not agree on anything.

    Most runs have it where the file says: that is seen with some of the crystals and in a few steps. Only if they say
    something else all are fitted, from `last` on, where it was found before, or else from low resolution outwards.

    They vote for the shift, since with large cells each knows it but for a lattice vector; where they all were found with the
    right indices already, the vote is for what they were found with.
    """
    if len(crystals) >= _FEWEST:
        quick = yield from _quick(crystals, target, last)
        if quick is not None and quick.correction.is_none:
            return quick
        yield 1.0
    group = largest(crystals) if target is None else of_target(crystals, target)
    if len(group.crystals) < _FEWEST:
        return (yield from _of_few(group))
    strains = strains_of(group.cell, Lattice()) if target is None else np.zeros((0, 3, 3))
    fit = yield from _best(group, strains, last)
    if fit is None or _is_ambiguous(fit, group):
        return None
    if target is None:
        return Place(fit, cell=_conventional(fit))
    place = Place(fit, is_of_target=True)
    if not (place.is_along or place.is_tilted):
        return place
    strains = strains_of(group.cell, group.lattice)
    free = yield from _fit_from(group, strains, fit.displacement, is_near=True)
    if free is None:
        return place
    ratios = np.linalg.norm(free.real_space_angstrom, axis=1) / np.linalg.norm(group.cell, axis=1)
    factor, error = float(np.mean(ratios)), float(free.cell_errors[:3].max())
    if np.abs(ratios / factor - 1.0).max() > 3.0 * error + 1e-3:
        return Place(free)  # another cell, not another scale: it is not to be held
    return Place(fit, free, None, factor, error, is_of_target=True)


def _quick(
    crystals: Sequence[CrystalEvidence], target: UnitCell | None, last: Displacement | None
) -> Steps[Place | None]:
    """Return what some of the crystals, and some of their peaks, say in a few steps; None if that is not understood."""
    some = [one.thinned(_QUICK_PEAKS) for one in crystals[:_QUICK]]
    group = largest(some) if target is None else of_target(some, target)
    if len(group.crystals) < max(_FEWEST, _SHARE_THAT_FITS * len(some)):
        return None
    start = _plain_start(group) if last is None else last
    strains = strains_of(group.cell, Lattice()) if target is None else np.zeros((0, 3, 3))
    yield len(some) / _QUICK
    fit = yield from _fit_from(group, strains, start, is_near=True)
    if fit is None:
        return None
    yield 0.5
    if _is_dense(group) and (
        _is_ambiguous(fit, group)
        or any(np.hypot(*(fit.values[:2] - voted.shift_m)) > APART_PX * fit.pixel_m for voted in _votes(group))
    ):
        return None  # it may be a lattice vector elsewhere
    return Place(fit, is_of_target=target is not None)


def _of_few(group: OneLattice) -> Steps[Place | None]:
    """Return what few crystals can tell, if they have many peaks: a shift, and one that is not a lattice vector's.

    How crystals differ is not known, so that errors are those of the fit, three times as large.
    """
    if not group.crystals:
        return None
    found = yield from fit_place(group.crystals, group.bases, group.cell, np.zeros((0, 3, 3)), _plain_start(group))
    fit = _good(found, group, fewest=1)
    if fit is None or fit.num_peaks < _PEAKS_OF_FEW or fit.share_explained < LEAST_EXPLAINED:
        return None
    if math.hypot(*fit.displacement.shift_m) > _PART_OF_SPACING * group.shortest_axis_m:
        return None
    return Place(replace(fit, covariance=9.0 * fit.covariance), is_of_few=True)


def _plain_start(group: OneLattice) -> Displacement:
    """Where crystals were found with the detector, in the median, and the distance that makes the target of their cells."""
    moved = [one.found_with for one in group.crystals]
    x, y = (float(np.median([move.shift_m[axis] for move in moved])) for axis in (0, 1))
    about_x, about_y = (float(np.median([move.tilt_rad[axis] for move in moved])) for axis in (0, 1))
    along = float(np.median([move.along_m for move in moved])) + group.clen_m * (1.0 / group.factor - 1.0)
    return Displacement((x, y), along, (about_x, about_y))


def _best(group: OneLattice, strains: Floats, last: Displacement | None) -> Steps[Fitted | None]:
    """Fit from where it was found before, or from where crystals were found, and from all shifts on which they agree.

    The most peaks, and the sharpest, are at the true one: elsewhere each crystal is off by its own way to a lattice vector.
    Some of the crystals tell that, so that all are fitted only once.
    """
    starts = [(start, False) for start in _starts(group)]
    if last is not None:
        apart = APART_PX * group.pixel_m
        starts = [
            (last, True),
            *(one for one in starts if np.hypot(*np.subtract(one[0].shift_m, last.shift_m)) >= apart),
        ]
    if len(starts) > 1:  # which of them it is some of the crystals tell
        some = group.thinned(_ON_TRIAL, _QUICK_PEAKS)
        sharp = []
        for start in starts:
            fit = yield from _fit_from(some, strains, *start)
            sharp += [] if fit is None else [(_sharpness(fit), start)]
        starts = [max(sharp, key=lambda one: one[0])[1]] if sharp else []
    return (yield from _fit_from(group, strains, *starts[0])) if starts else None


def _fit_from(group: OneLattice, strains: Floats, start: Displacement, is_near: bool) -> Steps[Fitted | None]:
    return _good(
        (yield from fit_place(group.crystals, group.bases, group.cell, strains, start, is_near=is_near)), group
    )


def _sharpness(fit: Fitted) -> float:
    return fit.num_peaks * math.log(2.0 * _WORST_PX / fit.spread_px)


def _starts(group: OneLattice) -> list[Displacement]:
    """Where to begin: as it was found, but with the shifts that crystals agree on, if there are any."""
    plain = _plain_start(group)
    return [replace(plain, shift_m=voted.shift_m) for voted in _votes(group)] or [plain]


def _votes(group: OneLattice) -> list[Voted]:
    """The shifts worth a trial: which of them it is the fits decide."""
    if _is_dense(group):
        return vote(group.shifts_px, group.pixel_m, _PLACES, sure=0.0)
    return vote(group.shifts_px, group.pixel_m)


def _is_dense(group: OneLattice) -> bool:
    """Whether lattice vectors are so short that crystals index with the detector a lattice vector elsewhere."""
    return group.shortest_axis_m < _DENSE_PX * group.pixel_m


def _is_ambiguous(fit: Fitted, group: OneLattice) -> bool:
    """Whether the true shift might be another one for which too few crystals could vote.

    All that was indexed looks right where it was indexed. That tells nothing if lattice vectors are so short, and crystals so
    few, that the votes of those that know the true shift would not stand out.
    """
    if np.hypot(*(fit.values[:2] - _plain_start(group).shift_m)) > APART_PX * fit.pixel_m:
        return False
    num = len(group.crystals)
    return surprise_of(_WHO_KNOW * num, chance_of(group.shifts_px) * num) < 0.0


def _good(fit: Fitted | None, group: OneLattice, fewest: int = _FEWEST) -> Fitted | None:
    """Return a fit if it has understood its crystals, and so many of them at least."""
    if fit is None or fit.num_crystals < max(fewest, _SHARE_THAT_FITS * len(group.crystals)):
        return None
    return fit if fit.spread_px <= _WORST_PX and np.isfinite(fit.covariance).all() else None


def _conventional(fit: Fitted) -> UnitCell:
    """The cell in conventional axes, with the highest symmetry that it has within its errors."""
    error = float(max(fit.cell_errors[:3].max(), fit.cell_errors[3:].max()))
    found = bravais_of(fit.real_space_angstrom, tolerance=min(0.03, max(0.002, 4.0 * error)))
    return UnitCell.from_vectors(found.real_space_angstrom, found.lattice)
