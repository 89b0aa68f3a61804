"""What runs on a Dask worker: replicas of the graph in threads, and the source that feeds them, as one long task.

It is a run of the ``threads`` backend whose ingest and collector are elsewhere: to that backend an :class:`Outpost` is the job.
Each message is reported the moment it is received, before anything else is done with it, and waits for the serial that the
supervisor gives it. What arrives at the leaves is handed in. So the supervisor knows of every frame that a worker takes along
when it dies.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import logging
import os
import pickle
import platform
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, cast

from pipeline.composing.backend_spec import BackendSpec
from pipeline.faults import describe, fault, opening, text_of
from pipeline.frame import Frame, Message
from pipeline.metrics import NodeMetrics, merge_metrics
from pipeline.protocols import EndOfStream, Findings
from pipeline.running.backends import crossing, threads
from pipeline.running.backends.dask import modules, spoken
from pipeline.running.backends.dask.connections import break_off, connect
from pipeline.running.backends.dask.outgoing import Outgoing
from pipeline.running.backends.dask.versions import versions
from pipeline.running.backends.logs import portable_record
from pipeline.running.ingest import Inbox, lost_since
from pipeline.running.leaves import Arrived
from pipeline.running.memory import in_flight_bytes, private_bytes
from pipeline.running.wiring import Replica, Setup

if TYPE_CHECKING:
    from pipeline.board import Ways
    from pipeline.composing.graph import Graph
    from pipeline.running.job import Job

_LOOK_S = 0.05
"""How long the source waits at most before it is told how much more it may ask for."""

_PULSE_S = 0.5

_UNLIMITED = 1 << 30
"""The supervisor's inbox limits what is in flight."""

_LAST_WORDS_S = 10.0


@dataclass(frozen=True)
class Ticket:
    """Where a task is to report, as what, and with which key."""

    host: str
    port: int
    key: bytes
    number: int


def serve(ticket: Ticket) -> str:
    """Serve a run until it ends; this is what the Dask worker is given to do."""
    try:
        connection = connect(ticket.host, ticket.port, ticket.key)
    except (OSError, EOFError, AuthenticationError) as error:
        why = text_of(error) or type(error).__name__
        raise ConnectionError(
            f"cannot connect from {platform.node()} to the run at {ticket.host}:{ticket.port}: {why}"
        ) from error
    with contextlib.closing(connection):
        hello = spoken.Hello(ticket.number, platform.node(), os.getpid(), versions())
        try:
            connection.send(hello.__dict__)
            order = connection.recv()
        except (OSError, EOFError):
            return "the run went away"
        if isinstance(order, spoken.Open):
            _serve(connection, order)
    return "the run is over"


def _serve(connection: Connection, order: spoken.Open) -> None:
    abandon = threading.Event()
    outgoing = Outgoing(connection, abandon.set)
    obeying: threading.Thread | None = None
    with _reporting_logs(outgoing, order.log_level):
        try:
            modules.load(order.modules)
            outpost = Outpost(order, outgoing, abandon)
            obeying = threading.Thread(target=outpost.obey, args=(connection,), name="orders", daemon=True)
            obeying.start()
            threads.drive(cast("Job", outpost), BackendSpec("threads", order.replicas))
            outgoing.say(outpost.goodbye())
        except BaseException as error:  # whatever a stage raises when it opens
            text = text_of(fault("the replica could not be opened", error))
            outgoing.say(spoken.Failed(text, is_opening=True))
        finally:
            outgoing.close(_LAST_WORDS_S)
            break_off(connection)
            if obeying is not None:
                obeying.join(_LAST_WORDS_S)


class Outpost:
    """What the threads backend takes for its job.

    Its own thread receives, as a job's does; another one reads the orders; replicas hand in from their threads.
    """

    def __init__(self, order: spoken.Open, outgoing: Outgoing, abandon: threading.Event) -> None:
        self.abandon = abandon
        self._outgoing = outgoing
        self._stopping = threading.Event()
        self._setup: Setup = crossing.unpacked(order.setup, self._stopping, self._post)
        for notice in order.board:
            self._pin(notice)
        self.graph: Graph = self._setup.graph
        limit_bytes = self.graph.options.in_flight_bytes or in_flight_bytes() // order.neighbours
        self.inbox = Inbox(_UNLIMITED, limit_bytes=limit_bytes)
        self.replicas: list[Replica] = []
        self._left_behind: list[dict[str, NodeMetrics]] = []
        self._numbers = itertools.count(order.first)
        self._has_source = order.has_source
        self._source: Any = None
        self._is_over = False
        self._messages = itertools.count()
        self._held: dict[int, Message] = {}
        self._received = self._granted = 0
        self._changed = threading.Condition()
        self._begun = self._ended = False
        self._inherited: deque[Any] = deque()
        self._last_pulse_s = 0.0

    # what the threads backend asks of a job ---------------------------------------------------------------------------

    def open_replica(self) -> Replica:
        """Open one more replica."""
        replica = Replica(self._setup, next(self._numbers))
        self.replicas.append(replica)
        return replica

    def leave_behind(self, replica: Replica) -> None:
        """Keep what a replica counted; its thread hangs."""
        self.replicas.remove(replica)
        self._left_behind.append(copy.deepcopy(replica.metrics))

    def start(self, in_flight: int) -> None:
        """Say that the replicas are open, and open the source when everything is; how much is in flight the supervisor says."""
        self._outgoing.say(spoken.Opened(crossing.to_supervisor(self._setup.published)))
        with self._changed:
            while not (self._begun or self._ended or self.abandon.is_set()):
                self._changed.wait(_LOOK_S)
        if self._has_source and self._begun and not self._ended:
            node = self.graph.source
            with opening(node.name):
                self._source = node.stage.open(self._setup.context_of(node, 0))

    def feed(self) -> bool:
        """Receive once, or wait for a moment; False when the supervisor has said that this is the end."""
        self._pulse()
        if self._ended or self.abandon.is_set():
            self._sweep()
            return False
        granted, room = self._granted, self.inbox.free() - len(self._held)
        if self._source is None or self._is_over:
            self._wait_for_credit(granted)
        elif room <= 0 and not self._stopping.is_set():  # the messages that are here fill the memory
            self.inbox.wait_for_room(_LOOK_S)
        else:
            # at the end what has come unasked is received, too
            credit = room if self._stopping.is_set() else min(granted - self._received, room)
            return self._receive(max(0, credit), granted)
        return True

    def _receive(self, credit: int, granted: int) -> bool:
        """Ask for as many messages, and take those that come; False if that fails."""
        try:
            if self._stopping.is_set():
                self._source.stop_asking()
            # without credit answers may be on their way all the same: a message of several maps uses up more than was asked for
            may_wait = credit or self._stopping.is_set()
            messages = self._source.receive(_LOOK_S if may_wait else 0.0, credit)
        except EndOfStream:
            self._is_over = True
            self._outgoing.say(spoken.SourceOver())
            return True
        except BaseException as error:
            self.fail(fault(f"{self.graph.source.name} failed", error))
            return False
        self._report(messages)
        if not messages and not may_wait:
            self._wait_for_credit(granted)
        return True

    def _wait_for_credit(self, granted: int) -> None:
        """Wait for a moment until more than this is granted."""
        with self._changed:
            if not self._ended and self._granted == granted:
                self._changed.wait(_LOOK_S)

    def show_progress(self) -> None:
        """Say how it goes."""
        self._pulse()

    def finish_frame(self, arrived: list[Arrived]) -> None:
        """Hand in what arrived for one frame."""
        try:
            data = crossing.to_supervisor(arrived)
        except TypeError:
            data = crossing.to_supervisor([crossing.as_it_can_cross(each) for each in arrived])
        self._outgoing.finished(arrived[0].serial, data)
        self.inbox.done(arrived[0].serial)

    def fail(self, error: Exception) -> None:
        """End this outpost because of an error."""
        self._outgoing.say(spoken.Failed(text_of(error), is_opening=False))
        self.abandon.set()

    def fail_by_fault(self, what: str, error: BaseException) -> None:
        """End this outpost because of a fault that is ours; the log has all of it."""
        logging.getLogger("streamajig.dask").error("%s: %s", what, describe(error), exc_info=error)
        self.fail(fault(what, error))

    def give_up(self) -> None:
        """Forget the frames that wait; the supervisor counts them."""
        self.inbox.abandon()

    # orders -----------------------------------------------------------------------------------------------------------

    def obey(self, connection: Connection) -> None:
        """Read orders until there are none."""
        try:
            while True:
                self._obey(pickle.loads(connection.recv_bytes()))
        except (OSError, EOFError, ValueError):  # the supervisor is gone, or has ended this
            self._outgoing.lose()
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _obey(self, order: spoken.Order) -> None:
        match order:
            case spoken.Serials():
                for number, serial in order.of:
                    message = self._held.pop(number)
                    self.inbox.put(Frame(serial, "", message.received_ns, {Message: message}))
            case spoken.Work():
                message = order.message
                self.inbox.put(Frame(order.serial, "", message.received_ns, {Message: message}))
            case spoken.Inherit():
                self.inbox.put(pickle.loads(order.rejected))
            case spoken.Notice():
                self._pin(order)
            case spoken.StopAsking():
                self._stopping.set()
                self._last_pulse_s = 0.0  # the next one says what may still come
            case _:
                with self._changed:
                    match order:
                        case spoken.Credit():
                            self._granted = max(self._granted, order.total)
                        case spoken.Begin():
                            self._begun = True
                        case spoken.End():
                            self._ended = True
                            if order.abandon:
                                self.abandon.set()
                    self._changed.notify_all()

    def goodbye(self) -> spoken.Goodbye:
        """Close everything and say what came of it."""
        problems: list[Exception] = []
        findings = Findings("")
        if self._source is not None:
            try:
                self._source.close()
                findings = self._source.findings() if hasattr(self._source, "findings") else findings
            except BaseException as error:
                problems.append(fault(f"{self.graph.source.name} could not be closed", error))
        for replica in self.replicas:
            problems += replica.close()
        said = [text_of(problem) for problem in problems]
        return spoken.Goodbye(crossing.to_supervisor(findings), said, self._metrics())

    # the rest ---------------------------------------------------------------------------------------------------------

    def _report(self, messages: Any) -> None:
        if not messages:
            return
        numbered = [(next(self._messages), message) for message in messages]
        self._received += len(numbered)
        self._held.update(numbered)
        self._outgoing.received([(number, message.received_ns) for number, message in numbered])

    def _sweep(self) -> None:
        """Report what has come to the source and was not received yet: it counts as received, and is dropped."""
        if self._source is None or self._is_over:
            return
        self._is_over = True
        with contextlib.suppress(EndOfStream):
            for _ in range(self._source.stop_asking()):
                left_over = self._source.receive(0.0, _UNLIMITED)
                if not left_over:
                    break
                self._report(left_over)

    def _post(self, ways: Ways, value: object) -> None:
        self._outgoing.say(spoken.Notice(ways, crossing.to_supervisor(value)))

    def _pin(self, notice: spoken.Notice) -> None:
        self._setup.context.board.of(notice.ways).put(pickle.loads(notice.value))

    def _pulse(self) -> None:
        now = time.monotonic()
        if now - self._last_pulse_s < _PULSE_S:
            return
        self._last_pulse_s = now
        places = [place for replica in list(self.replicas) if (place := replica.place[0]) is not None]
        longest = min(places, key=lambda place: place[2], default=None)
        at: spoken.At | None = None
        if longest is not None:
            seconds = (time.perf_counter_ns() - longest[2]) / 1e9
            at = (longest[0], getattr(longest[1], "serial", None), seconds)
        pending = None
        if self._stopping.is_set():
            pending = 0 if self._source is None or self._is_over else self._source.stop_asking()
        status = text_of(self._source.status()) if self._source is not None else ""
        memory = private_bytes(os.getpid())
        self._outgoing.say(spoken.Pulse(at, self._metrics(), status, pending, memory, lost_since(self._source)))

    def _metrics(self) -> dict[str, NodeMetrics]:
        living = [replica.metrics for replica in list(self.replicas)]
        return copy.deepcopy(merge_metrics([*self._left_behind, *living]))


@contextlib.contextmanager
def _reporting_logs(outgoing: Outgoing, level: int) -> Iterator[None]:
    """While it lasts, what streamajig's loggers say is said where the run was started."""
    logger = logging.getLogger("streamajig")
    handler = _Reporting(outgoing, level)
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


class _Reporting(logging.Handler):
    def __init__(self, outgoing: Outgoing, level: int) -> None:
        super().__init__(level)
        self._outgoing = outgoing

    def emit(self, record: logging.LogRecord) -> None:
        self._outgoing.say(spoken.Logged(portable_record(record)))
