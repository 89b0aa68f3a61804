"""A graph with the node that shows a run while it goes on: the built-in stages name its stage in ``stages.MONITOR``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline import registry
from pipeline.own_packages import built_in
from pipeline.parameters import changed

if TYPE_CHECKING:
    from pipeline.composing.graph import Graph

NODE = "monitor"
"""What the node is called, where the graph has none with this stage."""


def with_monitor(graph: Graph, if_new: Mapping[str, Any], **parameters: Any) -> Graph:
    """Return the graph with that node; if it has none, beside its first sink.

    Parameters
    ----------
    if_new
        Parameters of a node that is added.
    parameters
        Those of its stage that are to change, wherever it comes from.
    """
    stage = registry.load(built_in("MONITOR"))
    there = next((node for node in graph.nodes if isinstance(node.stage, stage)), None)
    if there is not None:
        return graph.replace(there.name, changed(there.stage, there.called, parameters))
    if not graph.leaves:
        return graph
    made = changed(stage(), stage.stage_name, {**if_new, **parameters})
    return graph.add(made, name=NODE, after=graph.leaves[0].after)
