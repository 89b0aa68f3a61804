"""What live/merge merges of each group of frames by itself, and how groups differ."""

from __future__ import annotations

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
    """

    def __init__(self, key: str, make: Callable[[], Merging], **compared: Any) -> None:
        self._key = key
        self._make = make
        self._compared = compared
        self._values = Values()
        self._groups: dict[str, Merging] = {}

    def take(self, crystal: Observed) -> None:
        """Merge one crystal, which is in the setting in which all of them are."""
        if not self._key:
            return
        label = self._values.group_of(crystal.group)
        if label not in self._groups:
            self._groups[label] = self._make()
        self._groups[label].write(((crystal,),))

    def enough(self) -> bool:
        """Whether there are groups to be compared, and enough of each."""
        named = [merging for label, merging in self._groups.items() if label not in RESERVED]
        return len(named) >= _FEWEST and all(merging.enough() for merging in named)

    def differences(self) -> list[tuple[str, str, Difference]]:
        """How each group differs from the first in their order, which of light and dark is dark: (group, first, difference)."""
        named = [label for label in in_order(self._groups) if label not in RESERVED]
        data = {label: self._groups[label].merged() for label in named} if len(named) >= _FEWEST else {}
        return [
            (label, named[0], difference(data[label], data[named[0]], **self._compared)) for label in named[1:] if data
        ]

    def lines(self) -> list[str]:
        """A table of the groups, and one of their differences."""
        if not self._key:
            return []
        rows = [_row(label, self._groups[label].quality()) for label in in_order(self._groups)]
        lines = ["", *text_table((self._key, "crystals", *HEADINGS), rows)] if rows else []
        for label, first, found in self.differences():
            lines += ["", *_difference_lines(label, first, found)]
        return lines

    def figures(self) -> dict[str, Any]:
        """All of it, for JSON; nothing where nothing is grouped."""
        if not self._key:
            return {}
        groups = {label: self._groups[label].findings().figures for label in in_order(self._groups)}
        differences = [{"of": label, "from": first, **found.figures()} for label, first, found in self.differences()]
        return {"group_by": self._key, "groups": groups, "differences": differences}


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
