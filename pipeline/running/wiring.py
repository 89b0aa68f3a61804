"""From a Graph to one replica of it: a synchronous streamz graph in which no exception ever reaches streamz.

streamz wires the nodes; everything else is here: a guard around each stage that turns an exception into
:class:`~pipeline.frame.Rejected`, the time each stage takes, the join by serial, and the leaves, where each frame
arrives exactly once. Of streamz only ``Stream.__init__``, ``downstreams`` and ``destroy`` are used
(``docs/decisions/0001-streamz.md`` says why), and all nodes are held strongly, since streamz holds its downstream nodes weakly.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

from toolz import concat

from pipeline.board import BoardOfVariant, Noticeboard
from pipeline.by_type import ByType
from pipeline.composing.expansion import compares
from pipeline.composing.graph import Graph
from pipeline.composing.join import join
from pipeline.composing.node import Node
from pipeline.contract import Contract, contract_of, tells_of
from pipeline.faults import STAGE, fault, is_users_interrupt, named, opening, refusal
from pipeline.frame import Event, Frame, Message, Outcome, Preamble, Rejected, Spent
from pipeline.metrics import NodeMetrics
from pipeline.protocols import Encoder
from pipeline.running.streams import Stream
from pipeline.sender_numbers import SenderNumber
from pipeline.stage import Context, SharedTables

log = logging.getLogger("streamajig.wiring")


class Arrived(NamedTuple):
    """What one leaf made of one frame; what crosses from a replica to the collector.

    Attributes
    ----------
    encoded
        What the sink's encoder returned, for its writer; None writes nothing.
    rejected
        The rejection, without the frame's values, or None for a frame that was delivered.
    counts
        What the frame's values add to the run's totals.
    message
        The raw message's parts as bytes, for dead letters that ask for it; empty otherwise.
    number
        The message's number in its sender's count, if a value of the frame has one.
    preamble
        What the sender has said before the raw message and others, where that is kept.
    """

    leaf: str
    serial: int
    event: str
    received_ns: int
    encoded: Any
    rejected: Rejected | None
    counts: Mapping[str, int]
    message: tuple[bytes, ...] = ()
    number: SenderNumber | None = None
    preamble: Preamble | None = None


class Encoded(NamedTuple):
    """What a leaf's encoder has made of an outcome, and what the report counts of it."""

    outcome: Outcome
    encoded: Any
    counts: Mapping[str, int]
    number: SenderNumber | None


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


At = tuple[str, Any, int]
"""Node, what it works on, and since when by ``time.perf_counter_ns``."""

Place = list[At | None]
"""Where a replica is: its one item, None between stages.

It is set at each stage and read by whoever watches from another thread; a store and a load of one item need no lock.
"""


def guard(
    node: str,
    contract: Contract,
    call: Callable[..., Any],
    metrics: NodeMetrics,
    place: Place,
    *,
    keeps_time: bool = False,
) -> Callable[[Outcome], Outcome]:
    """Wrap a running stage: take its arguments from the frame, add its results, turn exceptions into rejections.

    With `keeps_time` the frame is told how long stages have worked on it (:class:`Spent`).
    """
    taking = _taking(contract)
    adding = _adding(contract.writes)

    def step(outcome: Outcome) -> Outcome:
        if isinstance(outcome, Rejected):
            return outcome
        started = time.perf_counter_ns()
        place[0] = (node, outcome, started)
        try:
            done = adding(outcome, call(*taking(outcome)))
            return _with_time(done, outcome, started) if keeps_time else done
        except BaseException as error:  # the guard's purpose: whatever a stage raises rejects this frame and no other
            metrics.rejected += 1
            log.debug("stage %s failed on frame %d", node, outcome.serial, exc_info=True)
            return refusal(_with_time(outcome, outcome, started) if keeps_time else outcome, node, error)
        finally:
            place[0] = None
            metrics.durations.add(time.perf_counter_ns() - started)

    return named(f"{STAGE}{node}", step)


def guard_encoder(leaf: str, encoder: Encoder, metrics: NodeMetrics, place: Place) -> Callable[[Outcome], Encoded]:
    """Wrap a sink's encoder: return the outcome, what is to be written, what its values count, and its sender's number.

    A frame that cannot be encoded or counted is rejected here, and nothing is written of it. One that comes rejected here,
    because encoding it took too long, is not tried again.
    """

    def step(outcome: Outcome) -> Encoded:
        started = time.perf_counter_ns()
        place[0] = (leaf, outcome, started)
        encoded: Any = None
        counts: Mapping[str, int] = {}
        number: SenderNumber | None = None
        try:
            number = _number_of(outcome)
            counts = _counts(outcome)
            if not (isinstance(outcome, Rejected) and outcome.node == leaf):
                encoded = encoder(outcome)
        except BaseException as error:  # as in guard
            metrics.rejected += 1
            log.debug("sink %s failed on frame %d", leaf, outcome.serial, exc_info=True)
            outcome = refusal(outcome, leaf, error)
        finally:
            place[0] = None
            metrics.durations.add(time.perf_counter_ns() - started)
        return Encoded(outcome, encoded, counts, number)

    return named(f"{STAGE}{leaf}", step)


class _Tells(NamedTuple):
    """What values of a type say beyond themselves: what they count (HasCounts), and their sender's number (HasNumber)."""

    counts: bool
    number: bool


_TELLS: dict[type, _Tells] = {}
"""By type: to look at each value anew takes longer than all else at a leaf."""


def _tells(value: object) -> _Tells:
    return _TELLS.setdefault(type(value), _Tells(hasattr(value, "counts"), hasattr(value, "sender_number")))


def _counts(outcome: Outcome) -> Mapping[str, int]:
    frame = outcome.frame if isinstance(outcome, Rejected) else outcome
    counts: dict[str, int] = {}
    for value in frame.values.values():
        if (_TELLS.get(type(value)) or _tells(value)).counts:
            for name, number in value.counts().items():  # type: ignore[attr-defined]
                if type(name) is not str:
                    raise TypeError(f"counts() should name what it counts, and one of the names is {name!r}")
                counts[name] = counts.get(name, 0) + number
    return counts


def _number_of(outcome: Outcome) -> SenderNumber | None:
    """The message's number in its sender's count, of the value that has one (:class:`~pipeline.protocols.HasNumber`)."""
    frame = outcome.frame if isinstance(outcome, Rejected) else outcome
    for value in frame.values.values():
        if (_TELLS.get(type(value)) or _tells(value)).number:
            number = value.sender_number  # type: ignore[attr-defined]
            if isinstance(number, SenderNumber):
                message = frame.get(Message)
                return number._replace(sender=message.sender) if message is not None and message.sender else number
    return None


def _taking(contract: Contract) -> Callable[[Frame], Iterable[Any]]:
    """How a stage's arguments are taken from a frame; one that is wanted and not there is a KeyError that says so."""
    kinds = [(kind, kind in contract.optional) for kind in contract.reads]

    def ask(frame: Frame) -> Iterable[Any]:
        return [frame.get(kind) if may_lack else frame[kind] for kind, may_lack in kinds]

    def take(frame: Frame) -> Iterable[Any]:
        values = frame.values
        try:
            return [values.get(kind) if may_lack else values[kind] for kind, may_lack in kinds]
        except KeyError:
            return ask(frame)

    return ask if Event in contract.reads else take  # an event is no value; else asking a frame takes twice as long


def _adding(writes: tuple[type, ...]) -> Callable[[Frame, Any], Frame]:
    """How what a stage returns is added to its frame; TypeError for what it should not return."""
    if not writes:
        return lambda frame, _: frame
    if len(writes) > 1 or writes[0] is Event:
        return lambda frame, result: _with_results(frame, writes, result)
    (kind,) = writes

    def add(frame: Frame, result: Any) -> Frame:
        if not isinstance(result, kind):
            raise _wrong(kind, result)
        return Frame(frame.serial, frame.event, frame.received_ns, {**frame.values, kind: result})

    return add


def _with_results(frame: Frame, writes: tuple[type, ...], result: Any) -> Frame:
    results = result if len(writes) > 1 else (result,)
    if not isinstance(results, tuple) or len(results) != len(writes):
        raise TypeError(f"the stage should return {len(writes)} values and returned {type(result).__name__}")
    for kind, value in zip(writes, results, strict=True):
        if not isinstance(value, kind):
            raise _wrong(kind, value)
    return frame.with_items(zip(writes, results, strict=True))


def _wrong(kind: type, value: Any) -> TypeError:
    return TypeError(f"the stage should return a {kind.__name__} and returned a {type(value).__name__}")


def _with_time(frame: Frame, before: Frame, started: int) -> Frame:
    """Add what a stage that began at `started` has taken to what those before it took."""
    spent = before.get(Spent)
    return frame.with_values(Spent((spent.ns if spent else 0) + time.perf_counter_ns() - started))


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
    """A streamz node that runs one guarded stage."""

    def __init__(self, upstream: Stream, step: Callable[[Outcome], Outcome]) -> None:
        super().__init__(upstream=upstream)
        self._step = step

    def update(self, x: Outcome, who: Stream | None = None, metadata: Any = None) -> None:
        """Process one outcome and push the result on."""
        self.push(self._step(x))


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

    def __init__(
        self,
        upstream: Stream,
        name: str,
        encode: Callable[[Outcome], Encoded],
        keep_messages: bool,
    ) -> None:
        super().__init__(upstream=upstream)
        self._leaf = name
        self._encode = encode
        self._keep_messages = keep_messages
        self.arrived: list[Arrived] = []

    def update(self, x: Outcome, who: Stream | None = None, metadata: Any = None) -> None:
        """Encode one outcome and keep what arrived."""
        self.arrived.append(_arrived(self._leaf, self._encode(x), self._keep_messages))


def _arrived(leaf: str, made: Encoded, keep_messages: bool) -> Arrived:
    outcome, encoded, counts, number = made
    rejected = outcome if isinstance(outcome, Rejected) else None
    message: tuple[bytes, ...] = ()
    preamble = None
    if rejected is not None:
        raw = rejected.frame.get(Message)
        if keep_messages and raw is not None:
            message = tuple(bytes(part) for part in raw.parts)
            preamble = raw.preamble
        bare = Frame(rejected.serial, rejected.event, rejected.received_ns)
        rejected = replace(rejected, frame=bare)
    return Arrived(
        leaf, outcome.serial, outcome.event, outcome.received_ns, encoded, rejected, counts, message, number, preamble
    )


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
            encode = guard_encoder(node.name, running, metrics, self.place)
            leaf = Leaf(upstreams[0], node.name, encode, setup.keep_messages)
            self._leaves.append(leaf)
            self._streams[node.name] = leaf
        else:
            contract, timed = contract_of(type(node.stage)), node.name in self._timed
            step = guard(node.name, contract, running, metrics, self.place, keeps_time=timed)
            self._streams[node.name] = Step(upstreams[0], step)
