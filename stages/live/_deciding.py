"""What must be decided between variants for a run to end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import pydantic
from pydantic import Field
from pydantic.dataclasses import dataclass as pydantic_dataclass

from pipeline import UserError, Variant
from pipeline.hints import did_you_mean

ALL = "variants"
"""Instead of a node's name: decided among all variants."""


@pydantic_dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class UntilDecided:
    """When a run that compares variants ends."""

    decided: Annotated[
        str,
        Field(
            description="the name of a varied node: it is known which of its ways is the best, or that none is by more than "
            "`size`, whatever the other nodes' ways are; or `variants`: the same of all variants"
        ),
    ]
    frames: Annotated[int | None, Field(ge=1, description="or there have been so many frames")] = None

    def __str__(self) -> str:
        return f"{self.decided} decided" + (f" or {self.frames} frames" if self.frames else "")


def groups_of(decided: str, variants: Sequence[Variant], names: Sequence[str]) -> list[list[int]]:
    """Return the groups of columns among which it is to be decided; UserError if there is no such node.

    >>> grid = [Variant(p + i, {"peaks": p, "index": i}) for p in "ab" for i in "xyz"]
    >>> groups_of("peaks", grid, [variant.name for variant in grid])
    [[0, 3], [1, 4], [2, 5]]
    >>> groups_of("variants", (), ["left", "right"])
    [[0, 1]]
    """
    nodes = {node for variant in variants for node in variant.ways}
    if decided == ALL and ALL not in nodes:
        return [list(range(len(names)))]
    if decided not in nodes:
        known = [*sorted(nodes), ALL]
        raise UserError(
            f"until: decided: {decided}: there is no varied node of this name{did_you_mean(decided, known)}; "
            f"there {'are' if len(known) > 1 else 'is'}: {', '.join(known)}"
        )
    groups: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for variant in variants:
        if variant.name not in names:
            raise UserError(f"until: decided: {decided}: a node is varied that the verdict does not come after")
        others = tuple(sorted((node, way) for node, way in variant.ways.items() if node != decided))
        groups.setdefault(others, []).append(list(names).index(variant.name))
    return [group for group in groups.values() if len(group) > 1]
