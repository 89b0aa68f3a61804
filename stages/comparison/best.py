"""Which variant is kept, and the file in which it is: a graph as YAML, with the reason in its first lines.

The best one is kept; of several that are alike the one that takes less time than the others. If none is known to be that, it is
the one that was named first among those that are not known to be worse than another: what one has is not given up without a
reason. The file says which it was.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline import UserError, Variant
from pipeline.texts import one_line
from stages.comparison.verdict import Verdict

MARK = "# kept by a verdict of streamajig: "
"""The first line of a file of our own begins so."""

_NOT_BEST = "it is NOT KNOWN to be the best: "

_WIDTH = 110


@dataclass(frozen=True)
class Choice:
    """A variant that is kept, the verdict, and, if that does not say that it is the best, why it is kept all the same."""

    name: str
    verdict: str
    reason: str = ""


def choose(verdict: Verdict, names: Sequence[str]) -> Choice | None:
    """Return the variant to keep of those that were compared, in the order in which they were named; None without frames."""
    if not verdict.frames:
        return None
    if verdict.best is not None:
        return Choice(verdict.best, verdict.why)
    left = [name for name in names if name in verdict.leaders]
    reason = "was named first of those that are alike"
    if not left:
        worse = {other for one in names for other in names if _is_better(verdict, one, other)}
        left = [name for name in names if name not in worse] or list(names)
        reason = "was named first of those that are not known to be worse than another"
    return Choice(left[0], verdict.why, f"{left[0]} {reason}")


def yaml_of(variants: Sequence[Variant], choice: Choice, folder: Path | None = None) -> str:
    """Return the chosen variant's graph as YAML that may lie in this folder (or anywhere), the reason before it."""
    graph = next((variant.graph for variant in variants if variant.name == choice.name), None)
    if graph is None:
        raise UserError(
            f"the variant {choice.name} cannot be kept: it has no graph of its own (variants of a graph have one: "
            "write `variants:` instead of branches)"
        )
    return f"{_comment(choice)}{graph.portable(folder).to_yaml()}"


def _comment(choice: Choice) -> str:
    said = [choice.verdict, *([_NOT_BEST + choice.reason] if choice.reason else [])]
    lines = [line for text in said for line in textwrap.wrap(one_line(text), _WIDTH)]
    return "".join([f"{MARK}{one_line(choice.name)}\n", *(f"# {line}\n" for line in lines)])


def _is_better(verdict: Verdict, one: str, other: str) -> bool:
    found = verdict.between(verdict.aim, one, other)
    return found is not None and found.outcome == "better"
