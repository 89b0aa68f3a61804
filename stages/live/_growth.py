"""How merged data have grown with the number of crystals, and how far it is to what is asked for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.comparison.sentences import round_number
from stages.live._forecast import PoissonTail, crystals_for, odds
from stages.live._until import Until
from stages.merging.shells import Quality, Shell
from stages.merging.tables import percent

_SAME_LIMIT = 0.005
"""Looks are compared whose resolution limits differ by no more than this part."""

_RATE_S = 60.0
"""Crystals per second are told over at least so long, if there is as much."""

_MERITS = ("completeness", "multiplicity", "cc_half", "r_split", "i_over_sigma")


@dataclass(frozen=True)
class Look:
    """The merged data at one time."""

    crystals: int
    overall: Shell
    shells: tuple[Shell, ...] = ()


@dataclass(frozen=True)
class _Wanted:
    """One thing that is asked for: what it is called, and with how many crystals it is there, or why that cannot be told."""

    what: str
    crystals: float | str
    is_forecast: bool = True


class Growth:
    """The looks at the merged data of a run.

    Parameters
    ----------
    until
        What is asked for, if anything is.
    min_measurements
        How often a reflection must be measured to count.
    clock
        Seconds.
    """

    def __init__(self, until: Until | None, min_measurements: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._until = until
        self._tail = PoissonTail(min_measurements)
        self._clock = clock
        self._times: list[tuple[float, int]] = []
        self._shown: dict[str, Any] = {}
        self._next: _Wanted | None = None
        self.looks: list[Look] = []

    def add(self, found: Quality) -> None:
        """Take one more look."""
        self.looks.append(Look(found.num_crystals, found.overall, found.shells))
        self._times.append((self._clock(), found.num_crystals))
        self._shown = {}

    def figures(self, crystals: int) -> dict[str, Any]:
        """Return the looks and the shells of the last one, as columns, and how far it is; `crystals` have been merged by now.

        float32 arrays: ``looks`` has crystals, completeness, multiplicity, cc_half, r_split, i_over_sigma; ``shells``, from low
        to high resolution, has d_max and d_min (Angstrom), completeness, multiplicity, cc_half, r_split, i_over_sigma,
        measured and possible. NaN is what could not be told.
        """
        if not self._shown:
            last = self.looks[-1].shells if self.looks else ()
            limits = {"d_max": [s.d_max_angstrom for s in last], "d_min": [s.d_min_angstrom for s in last]}
            counts = {"measured": [s.measured for s in last], "possible": [s.possible for s in last]}
            self._next = self._last_to_come()
            self._shown = {
                "looks": _columns(
                    {"crystals": [look.crystals for look in self.looks], **_merits(look.overall for look in self.looks)}
                ),
                "shells": _columns({**limits, **_merits(last), **counts}),
                "until": str(self._until) if self._until else None,
                "targets": _targets(self._until),
            }
        return {**self._shown, "to_go": self._to_go(crystals)}

    def _to_go(self, crystals: int) -> dict[str, Any] | None:
        """How many crystals are missing, and in how many seconds they will have come if they come as they do; None: unknown."""
        if self._until is None:
            return None
        if self._next is None:
            return {"crystals": None, "seconds": None, "what": "it cannot be told before the first look"}
        needed = self._next.crystals
        if isinstance(needed, str):
            what = f"{self._next.what}: it cannot be told when ({needed})"
            return {"crystals": None, "seconds": None, "what": what}
        missing = max(0, math.ceil(needed) - crystals)
        per_s = self._crystals_per_s(crystals)
        seconds = 0.0 if not missing else missing / per_s if per_s else None
        when = f" with about {round_number(math.ceil(needed))} crystals" if self._next.is_forecast else ""
        what = f"{self._next.what}{when if missing else ': about now'}"
        return {"crystals": missing, "seconds": seconds, "what": what}

    def _crystals_per_s(self, crystals: int) -> float:
        """How fast crystals have come lately; 0.0 where that is not known, or none have."""
        now = self._clock()
        long_ago = (one for one in reversed(self._times) if now - one[0] >= _RATE_S)
        since, before = next(long_ago, self._times[0])
        return (crystals - before) / (now - since) if now > since else 0.0

    def _last_to_come(self) -> _Wanted | None:
        """What is asked for and takes longest, or cannot be told; None before the first look."""
        if self._until is None or not self.looks:
            return None
        wanted = list(self._missing(self._until))
        there = _Wanted("what is asked for", float(self.looks[-1].crystals))
        return max(wanted, key=lambda one: math.inf if isinstance(one.crystals, str) else one.crystals, default=there)

    def _missing(self, until: Until) -> Iterator[_Wanted]:
        """What is asked for and was not there at the last look."""
        last = self.looks[-1]
        if until.crystals is not None and last.crystals < until.crystals:
            yield _Wanted(f"{until.crystals} crystals", float(until.crystals), is_forecast=False)
        alike = [look for look in self.looks if _is_alike(look, last)]
        crystals = [look.crystals for look in alike]
        yield from self._missing_of("", until, crystals, [look.overall for look in alike])
        for n, shell in enumerate(last.shells if until.each_shell else ()):
            where = f" in the shell to {shell.d_min_angstrom:.2f} A"
            yield from self._missing_of(where, until, crystals, [look.shells[n] for look in alike])

    def _missing_of(self, where: str, until: Until, crystals: list[int], seen: list[Shell]) -> Iterator[_Wanted]:
        asked: tuple[tuple[str, float | None, str, Callable[[float], float]], ...] = (
            ("completeness", until.completeness, percent(until.completeness or 0.0), self._tail),
            ("cc_half", until.cc_half, f"{until.cc_half}", odds),
            ("multiplicity", until.multiplicity, f"{until.multiplicity}", float),
        )
        for name, wanted, number, measure in asked:
            values = [getattr(shell, name) for shell in seen]
            if wanted is not None and not values[-1] >= wanted:
                found = crystals_for(crystals, values, wanted, measure)
                yield _Wanted(f"{_WORDS[name]} {number}{where}", found)


_WORDS = {"completeness": "completeness", "cc_half": "CC1/2", "multiplicity": "multiplicity"}


def _is_alike(look: Look, last: Look) -> bool:
    """Whether a look was at the reflections between the same limits."""
    return all(
        math.isclose(getattr(look.overall, limit), getattr(last.overall, limit), rel_tol=_SAME_LIMIT)
        for limit in ("d_min_angstrom", "d_max_angstrom")
    )


def _merits(shells: Iterable[Shell]) -> dict[str, list[float]]:
    seen = list(shells)
    return {name: [getattr(shell, name) for shell in seen] for name in _MERITS}


def _columns(columns: dict[str, list[Any]]) -> dict[str, NDArray[np.float32]]:
    return {name: np.array(column, np.float32) for name, column in columns.items()}


def _targets(until: Until | None) -> dict[str, float] | None:
    """What is asked for, by name, without what is not."""
    if until is None:
        return None
    names = ("completeness", "cc_half", "multiplicity", "crystals", "resolution")
    return {name: value for name in names if (value := getattr(until, name)) is not None}
