"""What of a verdict is said first: of six variants and eight measures there are 120 differences, and few of them matter.

Everything is said against one variant: the best, or as long as it is not known the one that is ahead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from toolz import unique

from stages.comparison.estimates import estimates
from stages.comparison.paired import Difference
from stages.comparison.sentences import at_what_time
from stages.comparison.table import MEASURES, FrameTable, Measure
from stages.comparison.verdict import Verdict

_ALWAYS = ("hits", "indexed", "ms")
"""Measures that are shown first, whatever they are; others only where variants differ in them, or are judged by them."""

_SENSE = {"better": 1, "worse": -1}

APART_DEG = 1.0
"""Orientations further apart than this are different ones: with a cell of 80 A, reflections at 2 A are 1.4 degrees apart."""


@dataclass(frozen=True)
class Against:
    """A difference, seen from one variant: its own number less the other's.

    Attributes
    ----------
    difference, low, high
        In the unit of the measure; for one that is compared in parts of the mean, as a part of the other's.
    sense
        1 if it is better by more than chance, -1 if worse, 0 if neither is known.
    size
        The smallest difference of interest.
    """

    difference: float
    low: float
    high: float
    sense: int
    size: float


def against(verdict: Verdict, measure: str, one: str, other: str) -> Against | None:
    """Return the difference of two variants as the first of them sees it; None where there is none to be seen."""
    found = verdict.between(measure, one, other)
    if found is None or not found.unequal or not math.isfinite(found.difference):
        return None
    values = (found.difference, found.low, found.high)
    if found.measure.relative:
        values = _of_other(values[0]), _of_other(values[1]), _of_other(values[2])
    return Against(*values, _SENSE.get(found.outcome, 0), found.size)


def _of_other(part: float) -> float:
    """Of a difference as a part of the mean of both the part that it is of the other: (x - y) / y from 2 (x - y) / (x + y)."""
    return 2 * part / (2 - part) if part < 2 else math.inf


def ahead(verdict: Verdict, table: FrameTable) -> int:
    """Return the number of the best variant; of the one that is ahead, the first of several, if none is known to be best."""
    if verdict.best in table.variants:
        return table.variants.index(verdict.best)
    return in_rank(verdict, table)[0]


def in_rank(verdict: Verdict, table: FrameTable) -> list[int]:
    """Return the numbers of the variants, the best first, by the mean of the measure that was aimed at."""
    sign = MEASURES[verdict.aim].better or 1
    means = [found.mean for found in estimates(table, verdict.aim)]
    ranked = sorted(range(len(means)), key=lambda i: -sign * means[i] if math.isfinite(means[i]) else math.inf)
    if verdict.best in table.variants:
        best = table.variants.index(verdict.best)
        ranked = [best, *(i for i in ranked if i != best)]
    return ranked


def shown_measures(verdict: Verdict, table: FrameTable) -> list[Measure]:
    """Return the measures that a table has columns for, the one that was aimed at among the first."""
    names = unique([*_ALWAYS[:-1], verdict.aim, _ALWAYS[-1], *(name for name in MEASURES if _varies(table, name))])
    return [MEASURES[name] for name in names if table.has(name)]


def sentences(verdict: Verdict, table: FrameTable, most: int = 6) -> list[str]:
    """Return the sentences that matter most and do not stand in ``verdict.why``.

    In this order: the best against the next ones in what was aimed at; in what it is worse than they; what else it is better
    in than the next; variants that gave the same in every measure.
    """
    return list(unique(found.sentence() for found in _in_order(verdict, table) if not _is_said(found, verdict.why)))[
        :most
    ]


def _is_said(found: Difference, why: str) -> bool:
    """Whether a difference stands in a text, as a sentence or in half of one."""
    if found.sentence() in why or found.mirrored().sentence() in why:
        return True
    names = found.one in why and found.other in why
    return (
        found.measure.name == "ms"
        and names
        and any(said and said in why for said in (at_what_time(found), at_what_time(found.mirrored())))
    )


def _in_order(verdict: Verdict, table: FrameTable) -> Iterator[Difference]:
    best, *others = [table.variants[i] for i in in_rank(verdict, table)]
    seen = [
        found
        for other in others
        for measure in compared(verdict)
        if (found := verdict.between(measure.name, best, other))
    ]
    aimed = [found for found in seen if found.measure.name == verdict.aim]
    yield from aimed[:2]
    rest = [found for found in seen if found.measure.name != verdict.aim]
    worse = [found for found in rest if found.outcome == "worse" and not _is_said(found, verdict.why)]
    yield from unique(worse, key=lambda found: found.measure)  # than the highest in rank of those that are better in it
    yield from (found for found in rest if found.outcome == "better" and found.other == others[0])
    yield from (
        found for found in verdict.differences if found.measure.name == verdict.aim and found.outcome == "identical"
    )
    yield from aimed[2:]


def compared(verdict: Verdict) -> list[Measure]:
    """Return the measures in which variants are compared, first the one that was aimed at."""
    found = unique(each.measure for each in verdict.differences)
    return sorted(found, key=lambda measure: measure.name != verdict.aim)


@dataclass(frozen=True)
class Differing:
    """Frames on which variants do not agree.

    Attributes
    ----------
    rows
        Their places in the table: those first that the best variant does not index, and another one does; then those that it
        alone does; then other disagreement; then frames in which a variant found another orientation than the best.
    num_indexed, num_turned
        Frames that some variants index and others do not; frames that are indexed in different orientations.
    """

    rows: tuple[int, ...]
    num_indexed: int
    num_turned: int


def differing(table: FrameTable, reference: int, most: int) -> Differing:
    """Return the frames on which variants differ, at most so many of them."""
    indexed = table.column("indexed") == 1.0
    count = indexed.sum(axis=1)
    v = indexed.shape[1]
    disagree = (count > 0) & (count < v)
    turned = is_turned(table, reference).any(axis=1)
    own = indexed[:, reference]
    kind = np.select([disagree & ~own, disagree & own & (count == 1), disagree, turned], [0, 1, 2, 3], 4)
    order = np.argsort(kind, kind="stable")
    rows = order[: min(most, int((kind < 4).sum()))]
    return Differing(tuple(rows.tolist()), int(disagree.sum()), int(turned.sum()))


def is_turned(table: FrameTable, reference: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """bool (n, v), whether a variant found another orientation than the reference."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.degrees(table.angles_to(reference)) > APART_DEG)


def _varies(table: FrameTable, name: str) -> bool:
    """Whether variants differ in any frame: by a number, or by having one."""
    column = table.column(name)
    same = (column == column[:, :1]) | (np.isnan(column) & np.isnan(column[:, :1]))
    return not bool(same.all())
