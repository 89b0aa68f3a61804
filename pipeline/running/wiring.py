"""From a Graph to one replica of it: a synchronous streamz graph in which no exception ever reaches streamz.

streamz wires the nodes; what they do is ours: stages that follow each other are one chain, each of them guarded
(:mod:`pipeline.running.guards`), branches are joined by serial, and at the leaves (:mod:`pipeline.running.leaves`) each frame
arrives exactly once. Of streamz only ``Stream.__init__``, ``downstreams`` and ``destroy`` are used
(``docs/decisions/0001-streamz.md`` says why), and all nodes are held strongly, since streamz holds its downstream nodes weakly.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from toolz import concat

from pipeline.board import BoardOfVariant, Noticeboard
from pipeline.by_type import ByType
from pipeline.composing.expansion import compares
from pipeline.composing.graph import Graph
from pipeline.composing.join import join
from pipeline.composing.node import Node
from pipeline.contract import contract_of, tells_of
from pipeline.faults import fault, is_users_interrupt, opening
from pipeline.frame import Outcome
from pipeline.metrics import TOGETHER, NodeMetrics
from pipeline.running.guards import Link, Place, chain, link
from pipeline.running.leaves import Arrived, Ears, guard_encoder
from pipeline.running.streams import Stream
from pipeline.stage import Context, SharedTables


@dataclass
class Setup:
    """What all replicas of a run share, and what opening them brings to light.

    Attributes
    ----------
    published
        What each node's stage published when it opened, by node name.
    opening
        The node whose stage was the last to be opened.
    """

    graph: Graph
    context: Context = field(default_factory=Context)
    keep_messages: bool = False
    tables: SharedTables = field(default_factory=SharedTables)
    published: dict[str, dict[type, object]] = field(default_factory=dict)
    opening: str = ""

    def context_of(self, node: Node, replica: int) -> Context:
        """The context with which a node's stage opens: it sees what it has declared of what those upstream have published."""
        self.opening = node.name
        tells = tells_of(type(node.stage))
        told = concat(self.published.get(before.name, {}).values() for before in self.graph.upstream(node.name))
        return Context(
            node=node.name,
            replica=replica,
            tables=self.tables,
            upstream=ByType(told, allowed=(*tells.needs, *tells.uses)),
            tells=tells,
            published=self.published.setdefault(node.name, {}),
            board=self.board_of(node),
            command_line=self.context.command_line,
            program=self.context.program,
            stopping=self.context.stopping,
            variants=self.context.variants,
        )

    def board_of(self, node: Node) -> Noticeboard:
        """The noticeboard as a node sees it: what other variants of what it waits for have found is not there."""
        return BoardOfVariant(self.context.board, self.graph.nodes, node.ways) if node.ways else self.context.board


class Wired(Stream):  # type: ignore[misc]
    """A streamz node that knows what hangs on it.

    streamz keeps that as weak references, walks them anew for each value, and holds on to the value: 3 us a node, where a loop
    over a tuple takes a tenth of one.
    """

    targets: tuple[Stream, ...] = ()

    def wired(self) -> None:
        """All that hangs on this node is there."""
        self.targets = tuple(self.downstreams)

    def push(self, outcome: Outcome) -> None:
        """Hand an outcome on to all that hangs on this node."""
        for target in self.targets:
            target.update(outcome, self)


class Step(Wired):
    """A streamz node that runs one guarded stage, and with it those that follow, up to where the graph forks or ends."""

    def __init__(self, upstream: Stream, link: Link, place: Place) -> None:
        super().__init__(upstream=upstream)
        self.link = link
        self._place = place
        self._pass_through: Callable[[Outcome], Outcome] = chain([link], place)
        self._last = self

    def wired(self) -> None:
        """All that hangs on this node is there: one stage alone is of the same chain."""
        links, last = [self.link], self
        while len(last.downstreams) == 1 and isinstance(following := next(iter(last.downstreams)), Step):
            links.append(following.link)
            last = following
        self._pass_through = chain(links, self._place)
        self._last = last
        self.targets = tuple(last.downstreams)

    def update(self, x: Outcome, who: Stream | None = None, metadata: Any = None) -> None:
        """Process one outcome and push the result on, as from the last of the stages."""
        done = self._pass_through(x)
        for target in self.targets:
            target.update(done, self._last)


class Meeting(Wired):
    """A streamz node that waits until every branch has brought its outcome for a serial."""

    def __init__(self, upstreams: list[Stream], branches: list[str]) -> None:
        super().__init__(upstreams=upstreams)
        self._branch_of = {id(stream): name for stream, name in zip(upstreams, branches, strict=True)}
        self._waiting: dict[int, dict[str, Outcome]] = {}

    def update(self, x: Outcome, who: Stream | None = None, metadata: Any = None) -> None:
        """Keep one branch's outcome; push the joined frame on when it is the last."""
        arrived = self._waiting.setdefault(x.serial, {})
        arrived[self._branch_of[id(who)]] = x
        if len(arrived) < len(self._branch_of):
            return
        del self._waiting[x.serial]
        self.push(join({name: arrived[name] for name in self._branch_of.values()}))


class Leaf(Wired):
    """A streamz node at which a sink's encoder makes of the outcome what the collector takes."""

    def __init__(self, upstream: Stream, encode: Callable[[Outcome], Arrived]) -> None:
        super().__init__(upstream=upstream)
        self._encode = encode
        self.arrived: list[Arrived] = []

    def update(self, x: Outcome, who: Stream | None = None, metadata: Any = None) -> None:
        """Encode one outcome and keep what arrived."""
        self.arrived.append(self._encode(x))


class ReplicaSomewhere(Protocol):
    """A replica as the run knows it, wherever it is."""

    @property
    def metrics(self) -> dict[str, NodeMetrics]:
        """What each node has counted."""
        ...

    @property
    def place(self) -> Place:
        """Where it is."""
        ...

    def close(self) -> list[Exception]:
        """Close every stage; return what went wrong with that."""
        ...


class Replica:
    """One replica of a graph: stages opened, streamz wired, ready to process whole frames.

    A replica belongs to one thread. ``process`` never raises because of a frame. `place` is where it says where it is, if that
    is to be seen elsewhere.
    """

    def __init__(self, setup: Setup, number: int = 0, place: Place | None = None) -> None:
        self.metrics: dict[str, NodeMetrics] = {}
        self.place: Place = [None] if place is None else place
        self._running: list[tuple[str, Any]] = []
        self._entry = Wired()
        self._streams: dict[str, Wired] = {}
        self._leaves: list[Leaf] = []
        self._ears = Ears()
        self._unsorted = 0
        compared = [leaf for leaf in setup.graph.leaves if compares(leaf)]
        self._timed = {node.name for leaf in compared for node in setup.graph.upstream(leaf.name)}
        try:
            for node in setup.graph.in_order():
                self._wire(node, setup, number)
            for stream in self._streams.values():
                stream.wired()
        except BaseException:
            self.close()
            raise

    def process(self, frame: Outcome) -> list[Arrived]:
        """Run one frame through the graph and return what arrived at each leaf, in the leaves' order.

        One that is rejected already goes to the leaves as it is.
        """
        self._entry.push(frame)
        self._ears.forget()
        self._unsorted += 1
        if self._unsorted >= TOGETHER:
            self._unsorted = 0
            for metrics in self.metrics.values():
                metrics.durations.sort()
        arrived = [leaf.arrived.pop() for leaf in self._leaves if leaf.arrived]
        if len(arrived) != len(self._leaves) or any(leaf.arrived for leaf in self._leaves):
            raise AssertionError(f"frame {frame.serial} did not arrive exactly once at every leaf")
        return arrived

    def close(self) -> list[Exception]:
        """Close every stage that can be closed, last opened first; return what went wrong with that."""
        for stream in self._streams.values():
            stream.destroy()
        self._streams.clear()
        problems = []
        for node, running in reversed(self._running):
            self.place[0] = (f"{node}, close", None, time.perf_counter_ns())
            try:
                closer = getattr(running, "close", None)
                if closer is not None:
                    closer()
            except BaseException as error:  # the others are to be closed, and the report is to be printed
                if is_users_interrupt(error):
                    raise
                problems.append(fault(f"{node} could not be closed", error))
        self.place[0] = None
        self._running.clear()
        return problems

    def _wire(self, node: Node, setup: Setup, number: int) -> None:
        if node.role == "source":
            self._streams[node.name] = self._entry
            return
        upstreams = [self._streams[parent] for parent in node.after]
        metrics = self.metrics[node.name] = NodeMetrics()
        if node.role == "join":
            self._streams[node.name] = Meeting(upstreams, list(node.stage.names or node.after))
            return
        running = node.stage
        if hasattr(running, "open"):
            with opening(node.name):
                running = running.open(setup.context_of(node, number))
            self._running.append((node.name, running))
        if node.role == "sink":
            keep_messages = setup.keep_messages
            encode = guard_encoder(node.name, running, metrics, self.place, self._ears, keep_messages=keep_messages)
            leaf = Leaf(upstreams[0], encode)
            self._leaves.append(leaf)
            self._streams[node.name] = leaf
        else:
            contract, timed = contract_of(type(node.stage)), node.name in self._timed
            one = link(node.name, contract, running, metrics, keeps_time=timed)
            self._streams[node.name] = Step(upstreams[0], one, self.place)
