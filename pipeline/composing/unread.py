"""Results that nobody reads: a stage that works for nothing is a mistake, as a rule one of types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipeline.contract import ContractError, contract_of, tells_of
from pipeline.frame import Event

if TYPE_CHECKING:
    from pipeline.composing.graph import Graph
    from pipeline.composing.node import Node


def unread_problems(graph: Graph) -> Iterator[str]:
    """Say which stages make nothing that is read before it is made anew, or the frame is at its end."""
    for node in graph.nodes:
        made, tells = _results(node), tells_of(type(node.stage))
        if not made or Event in made or tells.publishes or tells.posts:  # it is there for more than its results
            continue
        ends = [end for kind in made for end in _ends(graph, node.name, kind)]
        if None in ends:
            continue
        names = " and ".join(kind.__name__ for kind in made)
        again = [end for end in ends if end]
        why = (
            f"{' and '.join(dict.fromkeys(again))} makes it anew without reading it"
            if again
            else "no node behind it does"
        )
        yield (
            f"{node.called} ({node.stage.stage_name}): nobody reads the {names} that it makes ({why}): put a stage or a "
            "sink that does behind it, or take it out"
        )


def _ends(graph: Graph, name: str, kind: type) -> Iterator[str | None]:
    """What becomes of a value on each way from a node: None where it is read, the node that makes it anew, or ``""``."""
    for child in graph.children(name):
        if child.role == "join":
            yield None  # whoever reads what is joined may read all of it
        elif child.role == "sink":
            yield None if _sink_reads(child.stage, kind) else ""
        elif child.role == "stage" and kind in _reads(child):
            yield None
        elif kind in _results(child):
            yield repr(child.name)
        else:
            yield from _ends(graph, child.name, kind)


def _sink_reads(sink: Any, kind: type) -> bool:
    """Whether a sink, or the report, which counts what arrives there, takes notice; one that does not say takes all."""
    may_read = getattr(sink, "may_read", None)
    return may_read is None or hasattr(kind, "counts") or kind in (*may_read, *getattr(sink, "reads", ()))


def _reads(node: Node) -> tuple[type, ...]:
    try:
        return contract_of(type(node.stage)).reads
    except ContractError:
        return ()  # that is said of the node itself


def _results(node: Node) -> tuple[type, ...]:
    try:
        return contract_of(type(node.stage)).writes if node.role == "stage" else ()
    except ContractError:
        return ()
