"""Indexing ambiguities: crystals that are indexed in one of several ways that their lattice cannot tell apart.

Where a lattice is more symmetric than the crystal, each crystal is found in any of the settings that the lattice's
rotations make of each other, and the mean over crystals is a twin's. Intensities tell: those of two crystals correlate if
both are in the same setting (Brehm & Diederichs, 2014, doi:10.1107/S1399004713025431). Here, in two parts:

- **A start.** Of the first crystals the correlation of each with each other one is taken, in each pair of settings. Which
  setting each is in is found by mean-field annealing: probabilities of the settings, each following from those of the others
  by a Boltzmann factor whose temperature falls; the best of some random starts is taken.
- **All.** Each crystal is correlated with the mean of all others that are assigned, in each setting, and put into the best one,
  until none changes: time grows with the number of crystals, not with its square (after Kabsch, 2014,
  doi:10.1107/S1399004714013534).

Before that, intensities are divided by their mean in shells of resolution, strong outliers are cut, and each crystal's
mean is 0. Whether there is anything to tell is asked of the halves of the reflections, each resolved by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gemmi
import numpy as np
from numpy.typing import NDArray

from pipeline import UserError
from stages.lattices.cell import UnitCell, rotations
from stages.merging.crystals import Observed
from stages.merging.point_group import PointGroup, point_group

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

AUTO = "auto"
"""Settings that follow from the point group and the cell."""

_FIRST = 150
"""So many crystals are compared each with each other for a start."""
_STARTS, _TEMPERATURES = 8, np.geomspace(0.02, 5.0, 40)
_CYCLES = 50
_FEWEST_COMMON = 5
"""Fewer reflections in common correlate by chance."""
_PER_SHELL, _SHELLS = 40, 8
_HIGHEST = 4.0
"""Intensities beyond this many means are cut: a few strong ones would decide alone."""
_SEED = 4
CLEAR = 0.1
"""A crystal whose correlations differ by less in its settings is not surely in one of them."""
ALIKE, _DEVIATIONS = 0.5, 3.0
"""Resolved with either half of the reflections alone, this part of the crystals more than by chance must come out alike, and so
many standard deviations more. With two settings that is 75 %, where 85 % are right with one half, and more with both."""


@dataclass(frozen=True, eq=False)
class Settings:
    """In which ways crystals may be indexed.

    Attributes
    ----------
    operations
        int64 (s, 3, 3), the first one the identity: a reflection hkl, a row, is ``hkl @ operations[i]`` in setting i.
    """

    operations: Integers

    def __len__(self) -> int:
        return len(self.operations)

    @property
    def names(self) -> tuple[str, ...]:
        """As ambigator writes operators: ``k,h,-l``."""
        return tuple(_name(op) for op in self.operations)


NO_AMBIGUITY = Settings(np.eye(3, dtype=np.int64)[None])
"""Crystals are in the setting in which they are indexed."""


def settings_of(how: str, group: PointGroup, cell: UnitCell | None) -> Settings:
    """Return the settings that a user asks for.

    Parameters
    ----------
    how
        AUTO; a point group that the lattice seems to have (ambigator's ``-w``): ``6/mmm``; or an operator: ``k,h,-l``.
    group
        The true one.
    cell
        For AUTO: the lattice's rotations within 2 % are taken.

    >>> settings_of("6/mmm", point_group("6/m"), None).names
    ('h,k,l', '-k,-h,-l')
    >>> settings_of("-h,h+k,-l", point_group("6/m"), None).names
    ('h,k,l', '-h,h+k,-l')
    """
    if "," in how:
        operation = _operator(how)
        if any(np.array_equal(operation, op) for op in group.operations):
            raise UserError(f"there is no indexing ambiguity: {how} is a symmetry of {group.name}")
        return Settings(np.array([np.eye(3, dtype=np.int64), operation]))
    if how == AUTO:
        if cell is None:
            raise UserError(
                "an indexing ambiguity is looked for by the cell, and none is given: name the operator (k,h,-l) or "
                "the point group that the lattice seems to have (6/mmm)"
            )
        candidates = [
            np.rint(turn.T).astype(np.int64) for turn in rotations(cell) if np.abs(turn - np.rint(turn)).max() < 1e-3
        ]
    else:
        candidates = [op for op in point_group(how).operations if np.linalg.det(op) > 0]
    found: list[Integers] = []
    seen: set[frozenset[bytes]] = set()
    for candidate in [np.eye(3, dtype=np.int64), *candidates]:
        coset = frozenset((candidate @ op).astype(np.int64).tobytes() for op in group.operations)
        if coset not in seen:
            seen.add(coset)
            found.append(candidate)
    if len(found) < 2:
        raise UserError(
            f"there is no indexing ambiguity: {'the lattice' if how == AUTO else how} has no rotation that {group.name} lacks"
        )
    return Settings(np.array(found))


@dataclass(frozen=True, eq=False)
class Resolution:
    """Which setting each of n crystals is in.

    Attributes
    ----------
    chosen
        int64 (n,).
    correlation
        float64 (settings, n), with the mean of the others, in each setting; 0 where too little is in common.
    alike
        Which part of the crystals comes out alike with either half of the reflections alone. Settings can be chosen that fit
        any intensities a little; those of the halves are then chosen by chance, each anew.
    """

    chosen: Integers
    correlation: Floats
    alike: float

    @property
    def num_turned(self) -> int:
        """Crystals that are in another setting than the first."""
        return int(np.count_nonzero(self.chosen))

    @property
    def as_chosen(self) -> float:
        """Mean correlation in the settings that were chosen (ambigator's f)."""
        return float(self.correlation[self.chosen, np.arange(len(self.chosen))].mean()) if len(self.chosen) else 0.0

    @property
    def otherwise(self) -> float:
        """Mean of the highest correlation in another setting (ambigator's g)."""
        if not len(self.chosen):
            return 0.0
        others = self.correlation.copy()
        others[self.chosen, np.arange(len(self.chosen))] = -np.inf
        return float(others.max(axis=0).mean())

    @property
    def num_unsure(self) -> int:
        """Crystals that are hardly better in their setting than in another one."""
        ordered = np.sort(self.correlation, axis=0)
        return int(np.count_nonzero(ordered[-1] - ordered[-2] < CLEAR))

    @property
    def is_clear(self) -> bool:
        """Whether there was anything to tell; if not, crystals are left in the settings in which they came."""
        chance, num = 1 / len(self.correlation), max(1, len(self.chosen))
        by_chance = chance + _DEVIATIONS * np.sqrt(chance * (1 - chance) / num)
        is_told = self.as_chosen - self.otherwise >= CLEAR
        return bool(is_told and self.alike >= max(chance + ALIKE * (1 - chance), by_chance))

    def in_words(self, settings: Settings) -> str:
        """Return what was done, in a sentence."""
        figures = (
            f"their correlation with the others is {self.as_chosen:.2f}, and {self.otherwise:.2f} in another setting; with "
            f"either half of the reflections alone {100 * self.alike:.1f} % come out alike"
        )
        num, others = len(self.chosen), ", ".join(settings.names[1:])
        if not self.is_clear:
            return (
                f"indexing ambiguity ({others}) NOT RESOLVED, {num} crystals left as they are indexed: {figures}: too near to "
                "tell; the intensities themselves have that symmetry, or the crystals have too little in common"
            )
        text = f"indexing ambiguity ({others}): {self.num_turned} of {num} crystals turned; {figures}"
        return text + (f"; {self.num_unsure} are unsure" if self.num_unsure else "")


def resolve(crystals: Sequence[Sequence[Observed]]) -> Resolution:
    """Find the setting of each crystal; each comes as it is in each setting, in the order of the settings."""
    if not crystals:
        return Resolution(np.zeros(0, np.int64), np.zeros((1, 0)), 0.0)
    data = _Data.of(crystals)
    chosen, correlation = _resolved(data)
    halves = [_resolved(half)[0] for half in data.halves()]
    table = np.zeros((len(data.number),) * 2, np.int64)
    np.add.at(table, tuple(halves), 1)
    found = Resolution(chosen, correlation, float(table.max(axis=1).sum()) / len(crystals))
    if found.is_clear:
        return found
    as_indexed = np.zeros(len(crystals), np.int64)
    return Resolution(as_indexed, data.with_others(as_indexed), found.alike)


def _resolved(data: _Data) -> tuple[Integers, Floats]:
    """The setting of each crystal, and its correlation with the others in each."""
    chosen = np.full(data.num_crystals, -1, np.int64)
    first = min(_FIRST, data.num_crystals)
    chosen[:first] = _start(data, first)
    correlation = data.with_others(chosen)
    for _ in range(_CYCLES):
        best = np.asarray(correlation.argmax(axis=0), np.int64)
        if (best == chosen).all():
            break
        chosen = best
        correlation = data.with_others(chosen)
    return chosen, correlation


class Reference:
    """The mean of crystals whose settings are known, against which further ones are put into theirs, one by one."""

    def __init__(self, crystals: Sequence[Observed]) -> None:
        self._sums: dict[int, list[float]] = {}
        for crystal in crystals:
            self._add(crystal)

    def choose(self, settings: Sequence[Observed]) -> tuple[int, Floats]:
        """Return the setting in which a crystal fits best, and its correlation in each; and take it into the mean."""
        correlation = np.array([self._correlation(crystal) for crystal in settings])
        best = int(np.argmax(correlation))
        self._add(settings[best])
        return best, correlation

    def _add(self, crystal: Observed) -> None:
        for key, value in zip(crystal.keys.tolist(), _normalised(crystal).tolist(), strict=True):
            known = self._sums.get(key)
            if known is None:
                self._sums[key] = [value, 1.0]
            else:
                known[0] += value
                known[1] += 1.0

    def _correlation(self, crystal: Observed) -> float:
        sums = [self._sums.get(key) for key in crystal.keys.tolist()]
        known = np.array([one is not None for one in sums])
        if np.count_nonzero(known) < _FEWEST_COMMON:
            return 0.0
        mean = np.array([one[0] / one[1] for one in sums if one is not None])
        own = _normalised(crystal)[known]
        spread = float(own.std() * mean.std())
        return float(((own - own.mean()) * (mean - mean.mean())).mean()) / spread if spread > 0 else 0.0


@dataclass(frozen=True, eq=False)
class _Data:
    """Intensities of all crystals, one after the other, and which unique reflection each is in each setting."""

    value: Floats
    owner: Integers
    number: Integers
    num_crystals: int
    num_unique: int

    @staticmethod
    def of(crystals: Sequence[Sequence[Observed]]) -> _Data:
        value = np.concatenate([_normalised(settings[0]) for settings in crystals])
        owner = np.repeat(np.arange(len(crystals)), [len(settings[0]) for settings in crystals])
        keys = np.array([np.concatenate([settings[s].keys for settings in crystals]) for s in range(len(crystals[0]))])
        unique, number = np.unique(keys, return_inverse=True)
        return _Data(value, owner, number.reshape(keys.shape), len(crystals), len(unique))

    def halves(self) -> tuple[_Data, _Data]:
        """Two parts of the reflections; what is one reflection in some setting is in one part in all of them."""
        first = np.random.default_rng(_SEED).random(self.num_unique)[self.number.min(axis=0)] < 0.5
        return self._of_some(first), self._of_some(~first)

    def _of_some(self, which: NDArray[np.bool_]) -> _Data:
        return _Data(self.value[which], self.owner[which], self.number[:, which], self.num_crystals, self.num_unique)

    def with_others(self, chosen: Integers) -> Floats:
        """Return the correlation of each crystal, in each setting, with the mean of all others that have one."""
        setting = chosen[self.owner]
        used = setting >= 0
        at = self.number[np.maximum(setting, 0), np.arange(len(setting))]
        total = np.bincount(at[used], self.value[used], self.num_unique)
        num = np.bincount(at[used], minlength=self.num_unique).astype(np.float64)
        correlation = np.zeros((len(self.number), self.num_crystals))
        for s, number in enumerate(self.number):
            own = used & (setting == s)
            others, count = total[number] - np.where(own, self.value, 0.0), num[number] - own
            known = count > 0
            mean = np.where(known, others / np.maximum(count, 1.0), 0.0)
            correlation[s] = _correlations(self.owner[known], self.value[known], mean[known], self.num_crystals)
        return correlation


def _correlations(owner: Integers, x: Floats, y: Floats, num: int) -> Floats:
    """Pearson's correlation of x and y for each owner, 0 for those with few."""
    n, sx, sy, sxx, syy, sxy = (np.bincount(owner, w, num) for w in (np.ones(len(x)), x, y, x * x, y * y, x * y))
    n = np.maximum(n, 1.0)
    spread = np.maximum((sxx - sx * sx / n) * (syy - sy * sy / n), 0.0)
    with np.errstate(all="ignore"):
        found = (sxy - sx * sy / n) / np.sqrt(spread)
    return np.where((n >= _FEWEST_COMMON) & (spread > 0), found, 0.0)


def _start(data: _Data, first: int) -> Integers:
    """Return the settings of the first crystals, from the correlation of each with each other."""
    num_settings = len(data.number)
    mine = data.owner < first
    number = data.number[:, mine]
    often, number = np.unique(number, return_inverse=True)
    number = number.reshape(num_settings, -1)
    size = len(often)
    value = np.zeros((num_settings, first, size), np.float32)
    there = np.zeros_like(value)
    for s in range(num_settings):
        value[s, data.owner[mine], number[s]] = data.value[mine]
        there[s, data.owner[mine], number[s]] = 1.0
    shared = there.sum(axis=(0, 1)) > 1  # a reflection that one crystal alone has says nothing
    of_each = value[..., shared].reshape(num_settings * first, -1)
    has = there[..., shared].reshape(num_settings * first, -1)
    n = has @ has.T
    sx, sxx = of_each @ has.T, (of_each * of_each) @ has.T
    with np.errstate(all="ignore"):
        covariance = of_each @ of_each.T - sx * sx.T / n
        variance = sxx - sx * sx / n
        each = covariance / np.sqrt(variance * variance.T)
    each = np.where((n >= _FEWEST_COMMON) & np.isfinite(each), each, 0.0) * np.sqrt(np.maximum(n - 3, 0))
    each = each.reshape(num_settings, first, num_settings, first)
    for i in range(first):
        each[:, i, :, i] = 0.0
    return _annealed(each.reshape(num_settings * first, -1).astype(np.float64), num_settings, first)


def _annealed(each: Floats, num_settings: int, first: int) -> Integers:
    random = np.random.default_rng(_SEED)
    best, best_sum = np.zeros(first, np.int64), -np.inf
    for _ in range(_STARTS):
        part = random.dirichlet(np.ones(num_settings), first).T
        for inverse_temperature in _TEMPERATURES:
            support = (each @ part.ravel()).reshape(num_settings, first)
            part = np.exp(inverse_temperature * (support - support.max(axis=0)))
            part /= part.sum(axis=0)
        chosen = np.asarray(part.argmax(axis=0), np.int64)
        alone = np.eye(num_settings)[:, chosen]
        total = float(alone.ravel() @ each @ alone.ravel())
        if total > best_sum:
            best, best_sum = chosen, total
    return best


def _normalised(crystal: Observed) -> Floats:
    """Intensities over their mean in shells of resolution, less their mean, with a sum of squares of 1."""
    shells = max(1, min(_SHELLS, len(crystal) // _PER_SHELL))
    value = np.empty(len(crystal))
    for part in np.array_split(np.argsort(crystal.inverse_d_squared, kind="stable"), shells):
        inside = crystal.intensity[part]
        value[part] = np.clip(inside / max(float(inside.mean()), 1e-12), -1.0, _HIGHEST)
    value -= value.mean()
    size = float(np.sqrt((value * value).sum()))
    return value / size if size > 0 else value


def _operator(text: str) -> Integers:
    """The matrix of rows of ``-h,h+k,-l``: its columns are what becomes of h, k and l."""
    try:
        op = gemmi.Op(text.replace(" ", "").lower().translate(str.maketrans("hkl", "xyz")))
    except (ValueError, RuntimeError):
        op = gemmi.Op("x/2,y/2,z/2")
    matrix, shift = np.array(op.rot, np.int64), np.array(op.tran, np.int64)
    if (matrix % op.DEN).any() or shift.any() or abs(round(np.linalg.det(matrix / op.DEN))) != 1:
        raise UserError(f"{text!r} is no operator: give what becomes of h, k and l, such as k,h,-l")
    return np.asarray((matrix // op.DEN).T, np.int64)


def _name(operation: Integers) -> str:
    """``k,h,-l`` for the matrix of rows."""
    words = []
    for column in operation.T:
        terms = [
            ("-" if c < 0 else "+") + ("" if abs(c) == 1 else str(abs(c))) + x
            for c, x in zip(column, "hkl", strict=True)
            if c
        ]
        words.append("".join(terms).removeprefix("+"))
    return ",".join(words)
