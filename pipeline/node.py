"""One stage in its place in a graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.contract import role_of


@dataclass(frozen=True)
class Node:
    """One stage in its place: a name, the stage with its parameters, and the nodes it comes after."""

    name: str
    stage: Any
    after: tuple[str, ...] = ()

    @property
    def role(self) -> str:
        """source, stage, join or sink."""
        return role_of(type(self.stage))
