"""Which values frames hold where in a graph, and which node has written each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.contract import ContractError, contract_of
from pipeline.frame import Event, Joined, Message

if TYPE_CHECKING:
    from pipeline.composing.graph import Graph
    from pipeline.composing.node import Node

Written = dict[type, str]
"""Type of a value -> name of the node that has written it last."""


def written_at(graph: Graph) -> dict[str, Written]:
    """Return for each node what frames hold when they leave it; a stage that does not say what it writes adds nothing."""
    written: dict[str, Written] = {}
    for node in graph.in_order():
        written[node.name] = arriving_at(node, written) | dict.fromkeys(_added_by(node), node.name)
    return written


def arriving_at(node: Node, written: Mapping[str, Written]) -> Written:
    """Return what frames hold when they come to a node; at a join what all its branches have from the same node."""
    first, *others = [written[parent] for parent in node.after] or [{}]
    return {kind: by for kind, by in first.items() if all(other.get(kind) == by for other in others)}


def _added_by(node: Node) -> tuple[type, ...]:
    if node.role == "source":
        return (Message, Event)
    if node.role == "join":
        return (Joined,)
    try:
        return contract_of(type(node.stage)).writes if node.role == "stage" else ()
    except ContractError:
        return ()  # that is said of the node itself
