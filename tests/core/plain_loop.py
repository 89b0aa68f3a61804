"""The oracle: the same graphs run by a plain loop, without streamz and without guards from the wiring."""

from __future__ import annotations

from typing import Any

from pipeline import RejectFrame
from pipeline.by_type import ByType
from pipeline.composing.graph import Graph
from pipeline.composing.join import Join, join
from pipeline.contract import contract_of, role_of
from pipeline.frame import Frame, Outcome, Rejected
from pipeline.stage import Context


def run_plainly(graph: Graph, frame: Frame) -> dict[str, Any]:
    """Return what each leaf's encoder makes of one frame."""
    outcomes: dict[str, Outcome] = {}
    leaves: dict[str, Any] = {}
    published: dict[str, dict[type, object]] = {}
    for node in graph.in_order():
        told = ByType(value for before in graph.upstream(node.name) for value in published[before.name].values())
        context = Context(node=node.name, upstream=told, published=published.setdefault(node.name, {}))
        if role_of(type(node.stage)) == "source":
            outcomes[node.name] = frame
        elif isinstance(node.stage, Join):
            outcomes[node.name] = join({parent: outcomes[parent] for parent in node.after})
        elif role_of(type(node.stage)) == "sink":
            leaves[node.name] = node.stage.open(context)(outcomes[node.after[0]])
        else:
            running = node.stage.open(context) if hasattr(node.stage, "open") else node.stage
            outcomes[node.name] = apply(node.name, node.stage, running, outcomes[node.after[0]])
    return leaves


def apply(name: str, stage: Any, running: Any, before: Outcome) -> Outcome:
    if isinstance(before, Rejected):
        return before
    contract = contract_of(type(stage))
    try:
        result = running(*[before.values[kind] for kind in contract.reads])
    except RejectFrame as error:
        return Rejected(before.serial, before.event, before.received_ns, name, error.reason, error.detail, before)
    except ZeroDivisionError as error:
        return Rejected(before.serial, before.event, before.received_ns, name, "stage_failed", str(error), before)
    if not contract.writes:
        return before
    results = result if len(contract.writes) > 1 else (result,)
    return before.with_items(zip(contract.writes, results, strict=False))
