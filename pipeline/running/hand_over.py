"""The leaf at which a run hands its outcomes to the program that started it.

It is no stage that a YAML file could name: :meth:`Graph.start` and :meth:`Graph.frames` put it into the graph that they run.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.errors import UserError
from pipeline.frame import Outcome
from pipeline.stage import Context

if TYPE_CHECKING:
    from pipeline.composing.graph import Graph
    from pipeline.running.report import Report


def _nothing() -> None:
    pass


_receivers: weakref.WeakValueDictionary[int, Receiver] = weakref.WeakValueDictionary()


class Receiver:
    """Takes what a run hands over; as the leaf's writer it is called in one place, by whichever thread finishes a frame.

    Attributes
    ----------
    on_taken
        Set by the run: to be called when :meth:`backlog` has become less.
    """

    on_taken: Callable[[], None] = staticmethod(_nothing)

    def __reduce__(self) -> Any:
        # serial:debug pickles the graph, and whoever receives stays in this process
        _receivers[id(self)] = self
        return _receiver, (id(self),)

    def write(self, encoded: Outcome) -> None:
        """Take one outcome; must not wait."""
        raise NotImplementedError

    def backlog(self) -> int:
        """How many outcomes wait here; so many frames less may be in flight."""
        return 0

    def close(self) -> None:
        """Nothing more will come."""


@dataclass(frozen=True, eq=False)
class HandOver:
    """Hand every outcome that arrives here to a receiver in this process.

    Attributes
    ----------
    receiver
        Who takes them.
    keep_image
        Whether frames keep their pixels; if not, they hold no memory of the message in which they came.
    in_order
        Whether they come in the order of their serials.
    """

    stage_name: ClassVar[str] = "graph/hand_over"
    keeps_frames: ClassVar[bool] = True
    stands_once: ClassVar[bool] = True

    receiver: Receiver = field(repr=False)
    keep_image: bool = False
    in_order: bool = True

    def open(self, context: Context) -> Callable[[Outcome], Outcome]:
        """Return what lets go of pixels."""
        return _as_it_is if self.keep_image else _detached

    def open_writer(self, context: Context) -> Receiver:
        """Return the receiver."""
        return self.receiver


def with_leaf(graph: Graph, leaf: HandOver, after: str | None) -> tuple[Graph, str]:
    """Return the graph with this leaf, and the leaf's name.

    It comes after node `after`; without one, beside the graph's first sink, or where the graph has none, at its end. There,
    nodes that do not lead to it are left out.
    """
    if after is None:
        if graph.leaves:
            after = graph.leaves[0].after[0] if graph.leaves[0].after else None
        elif ends := [node.name for node in graph.nodes if not graph.children(node.name)]:
            after = ends[-1]
    elif graph.node(after).role == "sink":
        raise UserError(f"frames are taken after a node that hands them on, and {after!r} is a sink")
    name = "frames"
    while name in graph.names:
        name += "_"
    if not graph.leaves and after is not None:  # what comes behind it would lead nowhere
        on_the_way = {after, *(node.name for node in graph.upstream(after))}
        graph = dataclasses.replace(graph, nodes=tuple(node for node in graph.nodes if node.name in on_the_way))
    return graph.add(leaf, name=name, after=after if after is not None else ()), name


def without_leaf(report: Report, name: str) -> Report:
    """Return the report without the leaf of this name, as the graph would have given it; if it is the only one it stays."""
    if len(report.leaves) < 2:
        return report

    def others(counted: Any) -> dict[str, Any]:
        return {key: value for key, value in counted.items() if key != name}

    return dataclasses.replace(
        report,
        leaves=others(report.leaves),
        nodes=others(report.nodes),
        shown=others(report.shown),
        in_flight=others(report.in_flight),
    )


def _receiver(number: int) -> Receiver:
    return _receivers.get(number) or Receiver()  # in another process, where nobody receives


def _as_it_is(outcome: Outcome) -> Outcome:
    return outcome


def _detached(outcome: Outcome) -> Outcome:
    return outcome.detached()
