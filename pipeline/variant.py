"""One of the ways in which a graph is tried on the same frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.composing.graph import Graph


@dataclass(frozen=True)
class Variant:
    """One of the ways in which a graph is tried on the same frames.

    Attributes
    ----------
    name
        What people read, and what stands in the names of its nodes (``sink@longest``) and files (``out.longest.txt``).
    ways
        Name of each node that is varied -> name of the way in which this variant does it.
    graph
        The variant as a graph of its own.
    """

    name: str
    ways: Mapping[str, str] = field(default_factory=dict)
    graph: Graph | None = None
