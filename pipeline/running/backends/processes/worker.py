"""A worker: one replica of the graph in a process of its own, forked from the fork server."""

from __future__ import annotations

import dataclasses
import faulthandler
import gc
import logging
import sys
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from pipeline.board import Noticeboard, Ways
from pipeline.faults import rejected
from pipeline.frame import Buffer, Frame, Message, Preamble, Rejected
from pipeline.running.backends.crossing import as_it_can_cross, crossable, to_supervisor, unpacked
from pipeline.running.backends.processes.link import Link, link_of_child
from pipeline.running.backends.processes.page import Page, SharedEvent
from pipeline.running.backends.processes.slots import Reader, Written
from pipeline.running.leaves import Arrived
from pipeline.running.wiring import Replica, Setup

if TYPE_CHECKING:
    from pipeline.running.backends.processes.fork_server import Inherited

log = logging.getLogger("streamajig.processes")

_METRICS_EVERY_S = 0.5


@dataclass(frozen=True)
class Task:
    """A frame to be processed; `refused`: node, reason and detail of one that is rejected, and goes to the leaves alone."""

    serial: int
    event: str
    received_ns: int
    written: Written
    refused: tuple[str, str, str] | None = None


def places_of(names: tuple[str, ...]) -> list[str]:
    """What a worker's page can say of where it is, for the names of a graph's nodes."""
    return [*names, *(f"{name}, close" for name in names)]


def serve(child: int, connection: Connection, inherited: Inherited) -> int:
    """Be a worker; returns its exit status."""
    faulthandler.enable(sys.stderr)
    link = link_of_child(connection, inherited.log_level)
    try:
        worker = Worker(child, link, inherited)
    except BaseException as error:
        log.debug("a worker could not be opened", exc_info=True)
        link.send("failed", crossable(error))
        return 1
    link.send("opened", worker.published)
    worker.work()
    return 0


class Worker:
    """The replica, and what it has of messages."""

    def __init__(self, child: int, link: Link, inherited: Inherited) -> None:
        self._link = link
        setup = inherited.setup or unpacked(inherited.packed)
        self._page = Page(inherited.pages, child, places_of(setup.graph.names))
        self._board = Noticeboard(on_post=self._tell)
        context = dataclasses.replace(setup.context, board=self._board, stopping=SharedEvent(self._page))
        # the message itself stays in its slot, where the supervisor has it, too
        setup = Setup(setup.graph, context, keep_messages=False, tables=setup.tables)
        self._replica = Replica(setup, child - 1, place=self._page.place)
        self.published = setup.published
        self._reader = Reader(inherited.messages)
        self._preamble: Preamble | None = None
        self._held: list[tuple[int, Memory]] = []
        self._copies = False
        self._told_s = time.monotonic()

    def work(self) -> None:
        """Process what comes until the supervisor wants no more."""
        while True:
            what, *values = self._link.receive()
            if what == "task":
                self._process(values[0])
            elif what == "notice":
                self._board.of(values[0]).put(values[1])
            elif what == "close":
                problems = self._replica.close()
                self._link.send("closed", [crossable(problem) for problem in problems], self._replica.metrics)
                return

    def _process(self, task: Task) -> None:
        self._page.begin(task.serial)
        parts = self._reader.parts(task.written)
        memory = _memory_of(parts)
        seen = tuple(bytes(part) for part in parts) if self._copies and memory else parts
        written = task.written
        preamble = self._preamble_of(written)
        message = Message(written.topic, written.received_ns, seen, None, preamble, written.sender)
        frame: Frame | Rejected = Frame(task.serial, task.event, task.received_ns, {Message: message})
        if task.refused is not None:
            node, reason, detail = task.refused
            frame = rejected(frame, node, reason, detail)
            self._replica.metrics[node].rejected += 1
        arrived = self._replica.process(frame)
        pickled = [self._pickled(one) for one in arrived]
        del message, frame, arrived, seen, parts
        kept = memory is not None and self._is_kept(task.written.slot, memory)
        self._link.send("arrived", task.serial, pickled, kept, self._freed())
        self._tell_metrics()

    def _preamble_of(self, written: Written) -> Preamble | None:
        """What the sender has said before the message: a copy that is made once, since stages keep what they make of it."""
        if written.preamble is None:
            return None
        number, where = written.preamble
        if self._preamble is None or self._preamble.number != number:
            self._preamble = Preamble(number, self._reader.parts(where)).as_bytes()
        return self._preamble

    def _pickled(self, arrived: Arrived) -> bytes:
        try:
            return to_supervisor(arrived)
        except TypeError as error:  # what a sink's encoder made cannot leave this process
            log.debug("%s: %s", arrived.leaf, error)
            self._replica.metrics[arrived.leaf].rejected += 1
            return to_supervisor(as_it_can_cross(arrived))

    def _is_kept(self, slot: int, memory: Memory) -> bool:
        """Whether somebody still looks at the message, so that its slot must not be written."""
        if memory() is None:
            return False
        gc.collect()  # a traceback in a circle, perhaps
        if memory() is None:
            return False
        if not self._copies:
            log.info("a stage keeps the pixels of a frame that is finished: from now on messages are copied for it")
        self._copies = True
        self._held.append((slot, memory))
        return True

    def _freed(self) -> list[int]:
        """Slots at which nobody looks any more."""
        freed = [slot for slot, memory in self._held if memory() is None]
        self._held = [(slot, memory) for slot, memory in self._held if slot not in freed]
        return freed

    def _tell(self, ways: Ways, value: object) -> None:
        self._link.send("notice", ways, value)

    def _tell_metrics(self) -> None:
        now = time.monotonic()
        if now - self._told_s > _METRICS_EVERY_S:
            self._told_s = now
            self._link.send("metrics", self._replica.metrics)


Memory = weakref.ref[Any]
"""The array behind all that was made of a message's parts: a view of a view, or an array on one, keeps it alive."""


def _memory_of(parts: Sequence[Buffer]) -> Memory | None:
    """The memory in shared memory on which these parts lie; None where they are plain bytes."""
    shared = [part.obj for part in parts if isinstance(part, memoryview) and not isinstance(part.obj, bytes)]
    return weakref.ref(shared[0]) if shared else None
