"""One stage in its place in a graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pipeline.contract import role_of
from pipeline.functions import with_defaults


@dataclass(frozen=True)
class Node:
    """One stage in its place: a name, the stage with its parameters, and the nodes it comes after."""

    name: str
    stage: Any
    after: tuple[str, ...] = ()
    ways: tuple[tuple[str, str], ...] = ()
    """In a graph that was expanded: the varied nodes on which it depends, each with its way."""
    place: str = field(default="", compare=False, repr=False)
    """Where it was read: ``file:line:column``, for what is to be said of it."""

    @property
    def behind(self) -> tuple[str, ...]:
        """After what the next node comes unless that is said: after this one, or beside it if it is a sink."""
        return self.after if hasattr(self.stage, "open_writer") else (self.name,)

    @property
    def called(self) -> str:
        """The beginning of a sentence about what is wrong with the node: its name, and where it was read if it was."""
        return f"{self.place}: node {self.name!r}" if self.place else f"node {self.name!r}"

    def __post_init__(self) -> None:
        object.__setattr__(self, "stage", with_defaults(self.stage))

    @cached_property
    def role(self) -> str:
        """source, stage, join or sink. Kept: to read it from annotations takes long, and it is asked for with every frame."""
        return role_of(type(self.stage))
