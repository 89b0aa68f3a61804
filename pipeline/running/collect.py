"""Where all frames end: outcomes are counted at every leaf, written in the order asked for, rejections kept as dead letters.

The conservation law, at every leaf: **received = delivered + rejected + dropped**.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.errors import UserError
from pipeline.faults import STAGE, describe, fault, is_users_interrupt, named, refusal, text_of
from pipeline.frame import Frame
from pipeline.metrics import Durations
from pipeline.protocols import Findings, Writer
from pipeline.running.dead_letters import DeadLetters
from pipeline.running.guards import Place
from pipeline.running.leaves import Arrived
from pipeline.running.order import Order
from pipeline.sender_numbers import SenderNumbers

log = logging.getLogger("streamajig.collect")

_STUCK_S = 0.2
"""Nobody writes for longer than this, unless what is written to blocks."""


@dataclass
class LeafTally:
    """What arrived at one leaf."""

    delivered: int = 0
    rejected: int = 0
    dropped: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def count(self, counts: Mapping[str, int]) -> None:
        """Add what a frame's values count."""
        for name, number in counts.items():  # Counter.update takes ten times as long for so few
            self.counts[name] += number


MOST_REASONS = 100
"""So many reasons are told apart; a sender can invent them. A run that goes wrong in many ways has some ten."""

OTHER_REASONS = "other_reasons"
"""Under which those beyond are counted, each at its node."""


@dataclass
class RejectionTally:
    """Frames that one node rejected for one reason."""

    count: int = 0
    example: str = ""
    first_serial: int = 0


class Collector:
    """Takes what replicas bring, from any thread; writes at one place.

    Parameters
    ----------
    writers
        Leaf name -> the half of its sink that writes.
    in_order
        Names of the leaves that are written in serial order.
    dead_letters
        Where rejected frames are kept.
    first_serial
        The serial with which order begins.
    on_enough
        Called with leaf and reason when an analysis says for the first time that the run may end.
    on_failure
        Called with the exception when an output cannot be written, and the run should end; frames that could not be
        written count as dropped.

    Attributes
    ----------
    latency
        Time from the receipt of a message until the first leaf's writer has written what was made of it: with a stream until
        the operating system has it, so that any program that reads the file sees it. Where nothing is written of a frame
        nothing is added.
    numbers
        The numbers that the sender has given the messages.
    problems
        What went wrong and did not end the run: an analysis that cannot say how it goes, an output that cannot be closed.
    place
        Which writer is at work; see :data:`pipeline.running.guards.Place`.
    """

    def __init__(
        self,
        writers: Mapping[str, Writer],
        in_order: frozenset[str] = frozenset(),
        dead_letters: DeadLetters | None = None,
        on_failure: Callable[[Exception], None] = lambda _error: None,
        first_serial: int = 1,
        on_enough: Callable[[str, str], None] = lambda _leaf, _why: None,
    ) -> None:
        self.leaves = {name: LeafTally() for name in writers}
        self.received = 0
        self.finished = 0
        self.drop_reasons: Counter[str] = Counter()
        self.rejections: dict[tuple[str, str], RejectionTally] = {}
        self.latency = Durations()
        self.numbers = SenderNumbers(first_serial)
        self._writers = writers
        self._orders = {name: Order(first_serial) for name in in_order}
        self._num_held = self._held_bytes = 0
        self._first_leaf = next(iter(writers), "")
        self.dead_letters = dead_letters or DeadLetters(None)
        self._on_failure = on_failure
        self._on_enough = on_enough
        self._write_at = {leaf: (f"{leaf}, writing", _writing(leaf, writer)) for leaf, writer in writers.items()}
        self._asks = {leaf for leaf, writer in writers.items() if hasattr(writer, "enough")}
        self._failed: set[str] = set()
        self._broken: set[tuple[str, str]] = set()
        self.findings: dict[str, Findings] = {}
        self._figures: dict[str, dict[str, Any]] = {}
        self._lock = threading.RLock()  # a writer may look at its run while it is called
        self._closed = False
        self.problems: list[Exception] = []
        self.place: Place = [None]

    @property
    def held_back(self) -> tuple[int, int]:
        """How many frames are finished and wait until it is their turn to be written, and how many bytes of chunks they are."""
        return self._num_held, self._held_bytes

    def count_received(self, n: int = 1) -> None:
        """Count frames that came in."""
        with self._lock:
            self.received += n

    def collect(self, arrived: list[Arrived]) -> None:
        """Take one frame's arrivals, one for each leaf."""
        with self._lock:
            if self._closed:
                return
            for at_leaf in arrived:
                order = self._orders.get(at_leaf.leaf)
                if order is None:
                    self._write(at_leaf)
                    continue
                # its message goes to the dead letters at once, and is not held back
                self._take_turns(order, at_leaf.serial, at_leaf._replace(message=()) if at_leaf.message else at_leaf)
            self._note_rejections(arrived)
            self.numbers.take(arrived[0].serial, arrived[0].number)
            self.finished += 1

    def drop(self, serial: int, reason: str) -> None:
        """Count a frame that was received and will arrive nowhere, with the reason."""
        with self._lock:
            self._drop(serial, reason)

    def totals(self) -> tuple[int, int, int]:
        """Received, finished (arrived or dropped) and dropped frames so far."""
        with self._lock:
            return self.received, self.finished, sum(self.drop_reasons.values())

    def so_far(self) -> tuple[int, dict[str, LeafTally], Counter[str], dict[tuple[str, str], RejectionTally]]:
        """What was received, the leaves' tallies, why frames were dropped and rejected: copies, all of one moment."""
        with self._lock:
            tallies = {name: replace(tally, counts=Counter(tally.counts)) for name, tally in self.leaves.items()}
            rejections = {key: replace(tally) for key, tally in self.rejections.items()}
            return self.received, tallies, Counter(self.drop_reasons), rejections

    def receipt_to_disk_ms(self) -> tuple[float, float]:
        """In how many milliseconds half of all frames, and 99 of 100, were written after they came; NaN before the first."""
        with self._lock:
            return self.latency.quantile_ns(0.5) / 1e6, self.latency.quantile_ns(0.99) / 1e6

    def counts(self) -> Counter[str]:
        """The totals of the first leaf so far."""
        with self._lock:
            return Counter(next(iter(self.leaves.values())).counts) if self.leaves else Counter()

    def statuses(self) -> dict[str, str]:
        """What the analyses say for the progress line, by the names of their leaves."""
        with self._lock:
            said = {leaf: self._call(leaf, "status", "") for leaf in self._writers if leaf not in self._failed}
            return {leaf: text for leaf, text in said.items() if text}

    def figures(self) -> dict[str, dict[str, Any]]:
        """What the analyses have found by now, by the names of their leaves; when all is closed, what they had found last."""
        with self._lock:
            if not self._closed:
                self._figures = self._figures_now()
            return self._figures

    def close(self) -> None:
        """Take nothing more; write what waits for its turn; count what never arrived as dropped; close the outputs.

        The lock is not held while they close: one of them may wait for a thread of its own that asks for figures.
        """
        with self._lock:
            for order in self._orders.values():
                for ready in order.rest():
                    self._write(ready)
            missing = self.received - self.finished
            for _ in range(missing):
                self._drop(None, "abandoned")
            self.numbers.end()
            self._closed = True
            for leaf, writer in self._writers.items():
                if hasattr(writer, "findings"):
                    said_nothing = Findings("it ended without findings: see the log")
                    self.findings[leaf] = self._call(leaf, "findings", said_nothing)
            self._figures = self._figures_now()
        for leaf in self._writers:
            self._call(leaf, "close", None)
        self.dead_letters.close()

    def abandon_now(self) -> tuple[int, dict[str, LeafTally], int]:
        """Let nothing more be written, if that is possible at once; count what has not arrived at a leaf as dropped there.

        Returns what was received, the leaves' tallies, and how many frames that has dropped. For the end of a run in which a
        thread is stuck, perhaps while it was writing and has the lock: so it waits for nobody, and never lets go of the lock.
        """
        self._lock.acquire(timeout=_STUCK_S)
        tallies = {name: replace(tally, counts=Counter(tally.counts)) for name, tally in self.leaves.items()}
        received, dropped = self.received, 0
        for tally in tallies.values():
            missing = received - tally.delivered - tally.rejected - tally.dropped
            tally.dropped += missing
            dropped = max(dropped, missing)
        return received, tallies, dropped

    def _take_turns(self, order: Order, serial: int, arrived: Arrived | None) -> None:
        """Let an arrival (None: of a frame that will never come) wait for its turn; write those whose turn it is."""
        if arrived is not None and order.pass_by(serial):  # nothing is held back, nothing will be
            self._write(arrived)
            return
        if arrived is not None:
            self._held_bytes += _bytes_of(arrived)
        for ready in order.push(serial, arrived):
            self._held_bytes -= _bytes_of(ready)
            self._write(ready)
        self._num_held = max(map(len, self._orders.values()))

    def _write(self, arrived: Arrived) -> None:
        tally = self.leaves[arrived.leaf]
        if arrived.leaf in self._failed:
            tally.dropped += 1
            return
        if arrived.encoded is not None:
            name, write = self._write_at[arrived.leaf]
            self.place[0] = (name, arrived, time.perf_counter_ns())
            try:
                write(arrived.encoded)
            except (OSError, UserError) as error:
                tally.dropped += 1
                self._fail(arrived.leaf, error)
                return
            except BaseException as error:  # as in a stage: this frame is rejected here, and no other
                log.debug("sink %s failed on frame %d", arrived.leaf, arrived.serial, exc_info=True)
                frame = Frame(arrived.serial, arrived.event, arrived.received_ns)
                refused = arrived._replace(rejected=refusal(frame, arrived.leaf, error))
                tally.rejected += 1
                tally.count(arrived.counts)
                self._note_rejections([refused])
                return
            finally:
                self.place[0] = None
            if arrived.leaf == self._first_leaf:
                self.latency.add(max(0, time.time_ns() - arrived.received_ns))
            self._ask(arrived.leaf)
        if arrived.rejected is None:
            tally.delivered += 1
        else:
            tally.rejected += 1
        tally.count(arrived.counts)

    def _ask(self, leaf: str) -> None:
        """Let an analysis say that the run may end; it is asked until it does."""
        if leaf not in self._asks:
            return
        why = self._call(leaf, "enough", "")
        if why:
            self._asks.discard(leaf)
            self._on_enough(leaf, why)

    def _figures_now(self) -> dict[str, dict[str, Any]]:
        found = {leaf: self._call(leaf, "figures_now", {}) for leaf in self._writers if leaf not in self._failed}
        return {leaf: figures for leaf, figures in found.items() if figures}

    def _call(self, leaf: str, method: str, otherwise: Any) -> Any:
        """Call a method of a leaf's writer if it has it; one that fails is a problem, and is not called again."""
        called = getattr(self._writers[leaf], method, None)
        if called is None or (leaf, method) in self._broken:
            return otherwise
        self.place[0] = (f"{leaf}, {method}", None, time.perf_counter_ns())
        try:
            returned = called()
            if otherwise is not None and not isinstance(returned, type(otherwise)):
                raise TypeError(f"{method} should return {type(otherwise).__name__}, not {type(returned).__name__}")
            return returned
        except BaseException as error:
            if is_users_interrupt(error):
                raise
            self._broken.add((leaf, method))
            if leaf not in self._failed:  # else it has been said
                self.problems.append(fault(f"{leaf}: its {method} failed", error))
                log.error("%s: %s", leaf, describe(error))
            return otherwise
        finally:
            self.place[0] = None

    def _note_rejections(self, arrived: list[Arrived]) -> None:
        noted = set()
        for at_leaf in arrived:
            rejected = at_leaf.rejected
            if rejected is None or (rejected.node, rejected.reason) in noted:
                continue
            noted.add((rejected.node, rejected.reason))
            reason = rejected.reason
            if (rejected.node, reason) not in self.rejections and len(self.rejections) >= MOST_REASONS:
                reason = OTHER_REASONS
            tally = self.rejections.setdefault((rejected.node, reason), RejectionTally())
            if not tally.count:
                tally.example, tally.first_serial = rejected.detail, rejected.serial
                log.warning("%s", rejected)
            tally.count += 1
            self.dead_letters.add(at_leaf)

    def _drop(self, serial: int | None, reason: str) -> None:
        self.drop_reasons[reason] += 1
        self.finished += 1
        for tally in self.leaves.values():
            tally.dropped += 1
        if serial is not None:
            self.numbers.take(serial, None)
            for order in self._orders.values():
                self._take_turns(order, serial, None)

    def _fail(self, leaf: str, error: Exception) -> None:
        if leaf not in self._failed:
            self._failed.add(leaf)
            log.error("%s: %s", leaf, text_of(error))
            self._on_failure(error)


def _bytes_of(arrived: Arrived) -> int:
    """The bytes of what is to be written; of what is no text or bytes they are not known, and taken to be few."""
    encoded = arrived.encoded
    return memoryview(encoded).nbytes if isinstance(encoded, (bytes, bytearray, memoryview)) else 0


def _writing(leaf: str, writer: Writer) -> Callable[[Any], None]:
    def write(encoded: Any) -> None:
        writer.write(encoded)

    return named(f"{STAGE}{leaf}, writing", write)
