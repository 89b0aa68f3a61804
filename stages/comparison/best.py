"""Which variant is kept, and the file in which it is: a graph as YAML, with the reason in its first lines.

The best one is kept. If there is none, the one that was named first among those that are not known to be worse than another:
what one has is not given up without a reason. If these are known to be alike, it is the one among them that takes least time, if
that is known. The file says which it was.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline import UserError, Variant
from pipeline.texts import one_line
from stages.comparison.chosen import against, between

if TYPE_CHECKING:
    from stages.comparison.verdict import Verdict

_ALIKE = {"identical", "no_difference"}

MARK = "# kept by a verdict of streamajig: "
"""The first line of a file of our own begins so."""

_NOT_BEST = "# It is NOT KNOWN to be the best.\n"

_WIDTH = 110


@dataclass(frozen=True)
class Choice:
    """A variant, why it is the one that is kept, and whether it is known to be best."""

    name: str
    why: str
    is_best: bool


def choose(verdict: Verdict, names: Sequence[str]) -> Choice | None:
    """Return the variant to keep of those that were compared, in the order in which they were named; None without frames."""
    if not verdict.frames:
        return None
    if verdict.best is not None:
        return Choice(verdict.best, verdict.why, is_best=True)
    left = [name for name in names if not any(_sense(verdict, verdict.aim, name, other) < 0 for other in names)]
    left = left or list(names)
    others = [
        found for one in left for other in left if one < other and (found := between(verdict, verdict.aim, one, other))
    ]
    if others and all(found.outcome in _ALIKE for found in others):
        for name in left:
            if all(_sense(verdict, "ms", name, other) > 0 for other in left if other != name):
                return Choice(name, f"{verdict.why}; {name} takes less time than those it is as good as")
        return Choice(left[0], f"{verdict.why}; {left[0]} was named first of those that are alike")
    return Choice(
        left[0], f"UNDECIDED: {verdict.why}; {left[0]} was named first of those that are not known to be worse"
    )


def yaml_of(variants: Sequence[Variant], choice: Choice | None) -> str:
    """Return the chosen variant's graph as YAML, the reason before it."""
    if choice is None:
        raise UserError("no variant is kept: there were no frames to compare")
    graph = next((variant.graph for variant in variants if variant.name == choice.name), None)
    if graph is None:
        raise UserError(
            f"the variant {choice.name} cannot be kept: it has no graph of its own (variants of a graph have one: "
            "write `variants:` instead of branches)"
        )
    return f"{_comment(choice)}{graph.to_yaml()}"


def _kept(verdict: Verdict, name: str, reason: str) -> Choice:
    return Choice(name, f"{verdict.why}; {name} is kept, which {reason}", is_best=False)


def _comment(choice: Choice) -> str:
    lines = textwrap.wrap(one_line(choice.why), _WIDTH) or [""]
    known = "" if choice.is_best else _NOT_BEST
    return "".join([f"{MARK}{one_line(choice.name)}\n", known, *(f"# {line}\n" for line in lines)])


def _sense(verdict: Verdict, measure: str, one: str, other: str) -> int:
    found = None if one == other else between(verdict, measure, one, other)
    return 0 if found is None else against(found, one).sense
