"""What live/merge merges of each group of frames by itself, and how groups differ."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Protocol

from pipeline import Findings
from stages.live._grouping import RESERVED, Values, in_order
from stages.merging.crystals import Observed
from stages.merging.difference import Difference, difference
from stages.merging.merger import Merged
from stages.merging.shells import Quality
from stages.merging.tables import HEADINGS, merit, number, percent, text_table

_FEWEST = 2
"""Groups that can be compared."""


class Merging(Protocol):
    """Merges crystals, as :class:`stages.live.merge.MergeWriter` does."""

    def write(self, encoded: tuple[tuple[Observed, ...], ...]) -> None:
        """Merge the crystals of one frame."""
        ...

    def enough(self) -> str:
        """Why there is enough; "" while there is not."""
        ...

    def merged(self) -> Merged:
        """The intensities with all that has come."""
        ...

    def quality(self) -> Quality:
        """How good they are."""
        ...

    def figures_now(self) -> dict[str, Any]:
        """What is known by now."""
        ...

    def findings(self) -> Findings:
        """The whole account."""
        ...


class MergedGroups:
    """Merges each group's crystals by themselves.

    Parameters
    ----------
    key
        By which frames are grouped; "" has no groups.
    make
        Makes what merges a group.
    compared
        How differences are taken, as keywords of :func:`stages.merging.difference.difference`.

    Attributes
    ----------
    spent_ns
        Time for that.
    """

    def __init__(self, key: str, make: Callable[[], Merging], **compared: Any) -> None:
        self._key = key
        self._make = make
        self._compared = compared
        self._values = Values()
        self._groups: dict[str, Merging] = {}
        self._differences: list[tuple[str, str, Difference]] = []
        self.spent_ns = 0

    def take(self, crystal: Observed) -> None:
        """Merge one crystal, which is in the setting in which all of them are."""
        if not self._key:
            return
        started = time.perf_counter_ns()
        label = self._values.group_of(crystal.group)
        if label not in self._groups:
            self._groups[label] = self._make()
        self._groups[label].write(((crystal,),))
        self.spent_ns += time.perf_counter_ns() - started

    def enough(self) -> bool:
        """Whether there are groups to be compared, and enough of each."""
        named = self._named()
        return len(named) >= _FEWEST and all(self._groups[label].enough() for label in named)

    def look(self) -> None:
        """See how each group differs from the first in their order, which of light and dark is dark."""
        named = self._named()
        if len(named) >= _FEWEST:
            first, *others = [self._groups[label].merged() for label in named]
            self._differences = [
                (label, named[0], difference(other, first, **self._compared))
                for label, other in zip(named[1:], others, strict=True)
            ]

    def lines(self) -> list[str]:
        """A table of the groups, and one of their differences."""
        if not self._key:
            return []
        rows = [_row(label, self._groups[label].quality()) for label in in_order(self._groups)]
        lines = ["", *text_table((self._key, "crystals", *HEADINGS), rows)] if rows else []
        for label, first, found in self._differences:
            lines += ["", *_difference_lines(label, first, found)]
        return lines

    def figures(self) -> dict[str, Any]:
        """All of it, for JSON; nothing where nothing is grouped."""
        if not self._key:
            return {}
        return self._with(lambda merging: merging.findings().figures)

    def figures_now(self, *, is_each_asked: bool) -> dict[str, Any]:
        """What is known by now; with how far the last group is from what is asked of each, if it is."""
        if not self._key:
            return {}
        found = self._with(lambda merging: merging.figures_now())
        return found | ({"to_go": self._last_to_come(found["groups"])} if is_each_asked else {})

    def _with(self, figures: Callable[[Merging], Any]) -> dict[str, Any]:
        return {
            "group_by": self._key,
            "groups": {label: figures(self._groups[label]) for label in in_order(self._groups)},
            "differences": [
                {"of": label, "from": first, **found.figures()} for label, first, found in self._differences
            ],
        }

    def _last_to_come(self, groups: dict[str, Any]) -> dict[str, Any]:
        """What is still missing in the group that takes longest, or of which it cannot be told."""
        named = self._named()
        if len(named) < _FEWEST:
            return {"crystals": None, "seconds": None, "what": f"there are no two groups by {self._key} yet"}
        to_go = {label: groups[label]["to_go"] for label in named}
        last = max(named, key=lambda label: _or_never(to_go[label]["seconds"]))
        return {**to_go[last], "what": f"{self._key} {last}: {to_go[last]['what']}"}

    def _named(self) -> list[str]:
        """The groups that are values of the key."""
        return [label for label in in_order(self._groups) if label not in RESERVED]


def _or_never(seconds: float | None) -> float:
    return math.inf if seconds is None else seconds


def _row(label: str, found: Quality) -> tuple[str, ...]:
    overall = found.overall
    return (
        label,
        str(found.num_crystals),
        number(overall.d_min_angstrom, 2),
        str(overall.possible) if overall.possible else "-",
        str(overall.measured),
        *merit(overall),
    )


def _difference_lines(label: str, first: str, found: Difference) -> list[str]:
    if not found.reflections:
        return [f"{label} and {first}: no reflection has been measured often enough in both"]
    rows = (
        ("correlation", number(found.correlation, 3), number(found.correlation_by_noise, 3)),
        ("R_iso", percent(found.r_iso), percent(found.r_iso_by_noise)),
        ("|dF|/sigma", number(found.difference_over_sigma, 2), number(found.difference_over_sigma_by_noise, 2)),
    )
    said = f"{label} and {first}: {found.reflections} reflections that each half of both has; relative scale "
    return [
        f"{said}{number(found.scale, 3)}, B {number(found.b_factor, 1)} A^2",
        *text_table(("", "measured", "by noise alone"), rows),
    ]
