"""The process that receives: it has the source, and puts what comes into slots of shared memory.

For the run the source is a :class:`RemoteSource`, with the protocol of any other. The right to receive a message is a free
slot, so that no message is without room.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from pipeline.errors import UserError
from pipeline.faults import fault, opening
from pipeline.frame import Message, Preamble
from pipeline.protocols import EndOfStream, Findings, RunningSource
from pipeline.running.backends.children import how_it_ended
from pipeline.running.backends.crossing import crossable, to_worker, unpacked
from pipeline.running.backends.logs import log_here
from pipeline.running.backends.processes.link import Link, link_of_child, pair
from pipeline.running.backends.processes.page import Page, SeenPlace, SharedEvent
from pipeline.running.backends.processes.slots import Leases, Reader, Written, leased, leased_preamble, write
from pipeline.running.ingest import lost_since
from pipeline.running.memory import keep_what_is_freed
from pipeline.running.wiring import Setup

if TYPE_CHECKING:
    from pipeline.running.backends.processes.fork_server import ForkServer, Inherited

log = logging.getLogger("streamajig.processes")

_WAIT_S = 0.02
"""So long the source may wait for a message before the supervisor is heard again."""

PREAMBLES_AHEAD = 2
"""Slots that the process has for what senders say once."""

_STATUS_EVERY_S = 0.2
_ANSWER_S = 10.0
_CLOSE_S = 5.0


class RemoteSource:
    """The source as the run sees it; it belongs to the thread that receives."""

    def __init__(
        self, server: ForkServer, child: int, page: Page, reader: Reader, leases: Leases, for_preambles: Leases
    ) -> None:
        self._server = server
        connection, theirs = pair()
        self._link = Link(connection, to_worker)
        self._reader = reader
        self._leases = leases
        self._for_preambles = for_preambles
        self._granted = 0
        self._granted_preambles = 0
        self._preamble: Preamble | None = None
        self._waiting: deque[Message] = deque()
        self._has_ended = False
        self._is_stopped = False
        self._is_closed = False
        self._status = ""
        self._lost_since: float | None = None
        self._failure: BaseException | None = None
        self._findings = Findings("")
        self.place = SeenPlace(page)
        page.clear()
        self._launch = server.launch(child, theirs)

    def open(self) -> RemoteSource:
        """Open the source; raises what that raises."""
        self._link.send("open")
        self._ask("opened")
        return self

    def receive(self, timeout_s: float, credit: int) -> Sequence[Message]:
        """Grant free slots, and return what has come; what waits there when the run ends is without its parts."""
        if self._is_stopped and timeout_s <= 0 and not self._waiting:
            self._link.send("rest")
            return [Message(topic, received_ns, ()) for topic, received_ns in self._ask("rest")[0]]
        until = time.monotonic() + timeout_s
        self._grant(credit)
        while self._link.poll(0.0 if self._waiting else max(0.0, until - time.monotonic())):
            self._take(self._receive())
            if self._has_ended:
                break
        if not self._waiting and self._has_ended:
            self._raise_failure()
            raise EndOfStream
        return [self._waiting.popleft() for _ in range(len(self._waiting))]

    def stop_asking(self) -> int:
        """Ask for nothing more; return how many messages may still come, and wait here."""
        if self._is_closed or self._has_ended:
            return len(self._waiting)
        self._is_stopped = True
        self._link.send("stop")
        return int(self._ask("stopping")[0]) + len(self._waiting)

    def status(self) -> str:
        """What the source has said of itself last."""
        return self._status

    def lost_since(self) -> float | None:
        """Since when a sender is missing, as the source has said last."""
        return self._lost_since

    def findings(self) -> Findings:
        """What the source has said when it was closed."""
        return self._findings

    def close(self) -> None:
        """Close the source and end its process."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._link.send("close")
            (self._findings,) = self._ask("closed", _CLOSE_S)
        except OSError as error:
            raise UserError(self._obituary()) from error
        finally:
            self._server.kill(self._launch)
            self._link.close()

    def _grant(self, credit: int) -> None:
        """Give the process free slots until it has as many as may be received."""
        slots = self._leases.take(max(0, min(credit, 1 << 20) - self._granted - len(self._waiting)))
        preambles = self._for_preambles.take(PREAMBLES_AHEAD - self._granted_preambles)
        if (slots or preambles) and not self._has_ended:
            self._granted += len(slots)
            self._granted_preambles += len(preambles)
            self._send("grant", slots, preambles)

    def _send(self, *what: Any) -> None:
        try:
            self._link.send(*what)
        except OSError as error:
            raise UserError(self._obituary()) from error

    def _ask(self, answer: str, timeout_s: float = _ANSWER_S) -> tuple[Any, ...]:
        """Take what comes until the answer has come, and return it."""
        until = time.monotonic() + timeout_s
        while answer == "opened" or self._link.poll(max(0.0, until - time.monotonic())):
            what, *values = self._receive()
            if what == answer:
                return tuple(values)
            self._take((what, *values))
            self._raise_failure()
        raise UserError(f"the process that receives has not answered within {timeout_s:g} s")

    def _receive(self) -> Any:
        try:
            return self._link.receive()
        except EOFError as error:
            self._has_ended = True
            raise UserError(self._obituary()) from error

    def _take(self, said: tuple[Any, ...]) -> None:
        match said:
            case ("messages", written):
                self._granted -= len(written)
                self._waiting += [leased(one, self._reader, self._leases, self._preamble_of(one)) for one in written]
            case ("status", text, lost_since_unix_s):
                self._status, self._lost_since = text, lost_since_unix_s
            case ("end",):
                self._has_ended = True
            case ("failed", error):
                self._failure = error
                self._has_ended = True  # it is raised when all that came before it is handed out
            case ("log", record):
                log_here(record)

    def _preamble_of(self, written: Written) -> Preamble | None:
        """The preamble of a message: the one of the message before it, or another in a slot that was granted."""
        if written.preamble is None:
            return None
        number, where = written.preamble
        if self._preamble is None or self._preamble.number != number:
            self._granted_preambles -= 1
            self._preamble = leased_preamble(number, where, self._reader, self._for_preambles)
        return self._preamble

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _obituary(self) -> str:
        return f"the process that receives {how_it_ended(self._server.status(self._launch))}"


def serve(child: int, connection: Connection, inherited: Inherited) -> int:
    """Be the process that receives; returns its exit status."""
    keep_what_is_freed()
    link = link_of_child(connection, inherited.log_level)
    setup = inherited.setup or unpacked(inherited.packed)
    source_node = setup.graph.source
    page = Page(inherited.pages, child, [source_node.name, f"{source_node.name}, close"])
    link.receive()  # when everything else is open
    host = Host(setup, link, page, inherited.messages)
    try:
        host.open()
    except BaseException as error:
        link.send("failed", crossable(error))
        return 1
    link.send("opened")
    try:
        while host.step():
            pass
    finally:
        host.close()
    return 0


class Host:
    """The source at work, in its process."""

    def __init__(self, setup: Setup, link: Link, page: Page, memory: int) -> None:
        self._setup = setup
        self._link = link
        self._page = page
        self._memory = memory
        self._free: deque[int] = deque()
        self._free_preambles: deque[int] = deque()
        self._preamble: tuple[int, Written] | None = None
        """The last one that was written; the supervisor holds its slot until another comes."""
        self._beyond: deque[Message] = deque()
        """What came although there was no slot for it: a message with several maps."""
        self._last_words: tuple[Any, ...] = ()
        """What is said when all that came is handed out: that no more will come, and why."""
        self._has_ended = False
        self._status: tuple[str, float | None] = ("", None)
        self._said_s = 0.0
        self._source: RunningSource

    def open(self) -> None:
        """Open the source."""
        context = self._setup.context_of(self._setup.graph.source, 0)
        context = dataclasses.replace(context, stopping=SharedEvent(self._page))
        with opening(self._setup.graph.source.name):
            self._source = self._setup.graph.source.stage.open(context)

    def step(self) -> bool:
        """Hear the supervisor, and receive; False when the source is to be closed."""
        while self._link.poll(0.0 if self._can_hand_out() or self._can_receive() else _STATUS_EVERY_S):
            if not self._obey(self._link.receive()):
                return False
        self._hand_out()
        if self._can_receive():
            self._receive()
        now = time.monotonic()
        if now - self._said_s > _STATUS_EVERY_S:
            self._said_s = now
            self._say_status()
        return True

    def close(self) -> None:
        """Close the source, and hand over what it has found."""
        name = self._setup.graph.source.name
        self._page.place[0] = (f"{name}, close", None, time.perf_counter_ns())
        self._source.close()
        findings = self._source.findings() if hasattr(self._source, "findings") else Findings("")
        self._link.send("closed", findings)

    def _obey(self, said: tuple[Any, ...]) -> bool:
        match said:
            case ("grant", slots, preambles):
                self._free += slots
                self._free_preambles += preambles
            case ("stop",):
                left = 0 if self._has_ended else self._source.stop_asking()
                self._link.send("stopping", left + len(self._beyond))
            case ("rest",):
                rest = [*self._beyond, *self._from_source(0.0, 1 << 20)]
                self._beyond.clear()
                self._link.send("rest", [(message.topic, message.received_ns) for message in rest])
            case ("close",):
                return False
        return True

    def _can_hand_out(self) -> bool:
        return bool(self._free and self._beyond and self._has_place_for(self._beyond[0].preamble))

    def _has_place_for(self, preamble: Preamble | None) -> bool:
        return preamble is None or bool(self._free_preambles) or self._is_written(preamble)

    def _is_written(self, preamble: Preamble) -> bool:
        return self._preamble is not None and self._preamble[0] == preamble.number

    def _can_receive(self) -> bool:
        return not self._has_ended and len(self._free) > len(self._beyond)

    def _receive(self) -> None:
        self._beyond += self._from_source(_WAIT_S, len(self._free) - len(self._beyond))
        self._hand_out()

    def _from_source(self, timeout_s: float, credit: int) -> Sequence[Message]:
        if self._has_ended:
            return []
        self._page.place[0] = (self._setup.graph.source.name, None, time.perf_counter_ns())
        try:
            return self._source.receive(timeout_s, credit)
        except EndOfStream:
            self._end("end")
        except BaseException as error:
            self._end("failed", crossable(fault(f"{self._setup.graph.source.name} failed", error)))
        finally:
            self._page.place[0] = None
        return []

    def _end(self, *why: Any) -> None:
        self._has_ended = True
        self._last_words = why

    def _hand_out(self) -> None:
        """Put what has come into slots, and tell the supervisor."""
        done: list[Written] = []
        try:
            while self._can_hand_out():
                preamble = self._written_preamble(self._beyond[0].preamble)
                written = write(self._memory, self._free[0], self._beyond[0])
                done.append(dataclasses.replace(written, preamble=preamble))
                self._free.popleft()
                self._beyond.popleft()
        except (OSError, UserError) as error:
            self._end("failed", UserError(f"no shared memory for a message: {error}"))
        if done:
            self._link.send("messages", done)
        if self._last_words and (not self._beyond or self._last_words[0] == "failed"):
            self._link.send(*self._last_words)
            self._last_words = ()

    def _written_preamble(self, preamble: Preamble | None) -> tuple[int, Written] | None:
        """Where a preamble lies; it is written if it is another one than that of the message before."""
        if preamble is None:
            return None
        if not self._is_written(preamble):
            where = write(self._memory, self._free_preambles[0], Message(b"", 0, preamble.parts))
            self._free_preambles.popleft()
            self._preamble = preamble.number, where
        return self._preamble

    def _say_status(self) -> None:
        try:
            status = str(self._source.status()), lost_since(self._source)
        except BaseException as error:
            self._end("failed", crossable(fault(f"{self._setup.graph.source.name} failed", error)))
            return
        if status != self._status:
            self._status = status
            self._link.send("status", *status)
