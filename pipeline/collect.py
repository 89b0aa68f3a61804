"""Where all frames end: outcomes are counted at every leaf, written in the order asked for, rejections kept as dead letters.

The conservation law, at every leaf: **received = delivered + rejected + dropped**.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.faults import STAGE, describe, fault, is_users_interrupt, named, refusal, text_of
from pipeline.frame import Frame
from pipeline.metrics import Durations
from pipeline.protocols import Findings, Writer
from pipeline.wiring import Arrived, Place

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


class DeadLetters:
    """The reasons of rejected frames, one JSON line each, and their raw messages if they are kept.

    The folder and its file are made when the first frame is rejected. What goes beyond the limits is counted in
    `not_kept`, from the first on that does. What cannot be written is counted too: a full disk there is no reason to end
    a run whose outputs have room.
    """

    def __init__(self, folder: Path | None, most: int = 100_000, most_bytes: int = 10_000_000_000) -> None:
        self._folder = folder
        self._most, self._most_bytes = most, most_bytes
        self._kept = self._bytes = self.not_kept = 0
        self._lost = 0
        self._trouble = ""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        self._name = f"{stamp}-{os.getpid()}"

    def add(self, arrived: Arrived) -> None:
        """Write down one rejected frame."""
        rejected = arrived.rejected
        if self._folder is None or rejected is None:
            return
        suffixes = [f".{n}" if len(arrived.message) > 1 else "" for n in range(len(arrived.message))]
        names = [f"{self._name}-{arrived.serial:07d}{suffix}.msgpack" for suffix in suffixes]
        letter = {
            "serial": rejected.serial,
            "event": rejected.event,
            "node": rejected.node,
            "reason": rejected.reason,
            "detail": rejected.detail,
            "received": datetime.fromtimestamp(rejected.received_ns / 1e9, UTC).isoformat(),
            "message": names,
        }
        line = json.dumps(letter).encode()
        if not self._has_room(len(line) + sum(map(len, arrived.message))):
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for name, part in zip(names, arrived.message, strict=True):
                (self._folder / name).write_bytes(part)
            _append_line(self._folder / f"{self._name}.jsonl", line)
        except OSError as error:
            for name in names:  # no half of a message
                with contextlib.suppress(OSError):
                    (self._folder / name).unlink()
            self._lost += 1
            if not self._trouble:
                self._trouble = error.strerror or str(error)
                log.error("cannot write dead letters to %s: %s; the run goes on", self._folder, self._trouble)

    def lost(self) -> str:
        """How many could not be written, and why; empty if all were."""
        return f"{self._lost} not written to {self._folder}: {self._trouble}" if self._lost else ""

    def _has_room(self, size: int) -> bool:
        """Whether this many bytes are kept, too; once some are not, none is, so that what is kept has no gap."""
        if not self.not_kept and self._kept < self._most and self._bytes + size <= self._most_bytes:
            self._kept += 1
            self._bytes += size
            return True
        if not self.not_kept:
            log.warning(
                "%d dead letters of %d bytes are in %s; those that follow are counted and not kept "
                "(max_dead_letters = %d, dead_letter_bytes = %d)",
                self._kept, self._bytes, self._folder, self._most, self._most_bytes,
            )  # fmt: skip
        self.not_kept += 1
        return False


def _append_line(path: Path, line: bytes) -> None:
    """Append a line, or nothing of it."""
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        if file.write(line + b"\n") <= len(line):
            file.truncate(before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


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
    held_back
        How many frames are finished and wait until it is their turn to be written.
    problems
        What went wrong and did not end the run: an analysis that cannot say how it goes, an output that cannot be closed.
    place
        Which writer is at work; see :data:`pipeline.wiring.Place`.
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
        self._writers = writers
        self._orders = {name: _Order(first_serial) for name in in_order}
        self.dead_letters = dead_letters or DeadLetters(None)
        self._on_failure = on_failure
        self._on_enough = on_enough
        self._write_at = {leaf: _writing(leaf, writer) for leaf, writer in writers.items()}
        self._asks = {leaf for leaf, writer in writers.items() if hasattr(writer, "enough")}
        self._failed: set[str] = set()
        self._broken: set[tuple[str, str]] = set()
        self.findings: dict[str, Findings] = {}
        self._lock = threading.Lock()
        self._closed = False
        self.held_back = 0
        self.problems: list[Exception] = []
        self.place: Place = [None]

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
                for ready in order.push(at_leaf.serial, replace(at_leaf, message=()) if at_leaf.message else at_leaf):
                    self._write(ready)
            self.held_back = max(map(len, self._orders.values()), default=0)
            self._note_rejections(arrived)
            self.finished += 1
            self.latency.add(max(0, time.time_ns() - arrived[0].received_ns))

    def drop(self, serial: int, reason: str) -> None:
        """Count a frame that was received and will arrive nowhere, with the reason."""
        with self._lock:
            self._drop(serial, reason)

    def totals(self) -> tuple[int, int, int]:
        """Received, finished (arrived or dropped) and dropped frames so far."""
        with self._lock:
            return self.received, self.finished, sum(self.drop_reasons.values())

    def counts(self) -> Counter[str]:
        """The totals of the first leaf so far."""
        with self._lock:
            return Counter(next(iter(self.leaves.values())).counts) if self.leaves else Counter()

    def status(self) -> str:
        """What the analyses say for the progress line."""
        with self._lock:
            said = [self._call(leaf, "status", "") for leaf in self._writers if leaf not in self._failed]
            return ", ".join(text for text in said if text)

    def close(self) -> None:
        """Take nothing more; write what waits for its turn; count what never arrived as dropped; close the outputs."""
        with self._lock:
            for order in self._orders.values():
                for ready in order.rest():
                    self._write(ready)
            missing = self.received - self.finished
            for _ in range(missing):
                self._drop(None, "abandoned")
            self._closed = True
            for leaf, writer in self._writers.items():
                if hasattr(writer, "findings"):
                    said_nothing = Findings("it ended without findings: see the log")
                    self.findings[leaf] = self._call(leaf, "findings", said_nothing)
            for leaf in self._writers:
                self._call(leaf, "close", None)

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

    def _write(self, arrived: Arrived) -> None:
        tally = self.leaves[arrived.leaf]
        if arrived.leaf in self._failed:
            tally.dropped += 1
            return
        if arrived.encoded is not None:
            self.place[0] = (f"{arrived.leaf}, writing", arrived, time.perf_counter_ns())
            try:
                self._write_at[arrived.leaf](arrived.encoded)
            except (OSError, UserError) as error:
                tally.dropped += 1
                self._fail(arrived.leaf, error)
                return
            except BaseException as error:  # as in a stage: this frame is rejected here, and no other
                log.debug("sink %s failed on frame %d", arrived.leaf, arrived.serial, exc_info=True)
                frame = Frame(arrived.serial, arrived.event, arrived.received_ns)
                refused = replace(arrived, rejected=refusal(frame, arrived.leaf, error))
                tally.rejected += 1
                tally.counts.update(arrived.counts)
                self._note_rejections([refused])
                return
            finally:
                self.place[0] = None
            self._ask(arrived.leaf)
        if arrived.rejected is None:
            tally.delivered += 1
        else:
            tally.rejected += 1
        tally.counts.update(arrived.counts)

    def _ask(self, leaf: str) -> None:
        """Let an analysis say that the run may end; it is asked until it does."""
        if leaf not in self._asks:
            return
        why = self._call(leaf, "enough", "")
        if why:
            self._asks.discard(leaf)
            self._on_enough(leaf, why)

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
            for order in self._orders.values():
                for ready in order.push(serial, None):
                    self._write(ready)
            self.held_back = max(map(len, self._orders.values()), default=0)

    def _fail(self, leaf: str, error: Exception) -> None:
        if leaf not in self._failed:
            self._failed.add(leaf)
            log.error("%s: %s", leaf, text_of(error))
            self._on_failure(error)


def _writing(leaf: str, writer: Writer) -> Callable[[Any], None]:
    def write(encoded: Any) -> None:
        writer.write(encoded)

    return named(f"{STAGE}{leaf}, writing", write)


class _Order:
    """Holds arrivals back until all serials before theirs have come.

    Frames that will never come (None) are kept as gaps, one for any number of serials in a row: while one frame hangs,
    thousands may be dropped.

    >>> order = _Order(first=4)
    >>> order.push(5, "b"), order.push(6, None), order.push(4, "a"), order.push(7, "c")
    ([], [], ['a', 'b'], ['c'])
    >>> [order.push(serial, None) for serial in (9, 11, 10)], len(order), order.push(12, "d"), len(order)
    ([[], [], []], 0, [], 1)
    >>> order.push(8, "e"), len(order)
    (['e', 'd'], 0)
    """

    def __init__(self, first: int) -> None:
        self._next = first
        self._heap: list[tuple[int, Any]] = []
        self._gap_to: dict[int, int] = {}  # first serial of a gap -> the one behind its last, and the other way round
        self._gap_from: dict[int, int] = {}

    def __len__(self) -> int:
        """How many items are held back."""
        return len(self._heap)

    def push(self, serial: int, item: Any) -> list[Any]:
        """Add an item (None for a frame that will never come) and return those whose turn it is."""
        if item is not None:
            heapq.heappush(self._heap, (serial, item))
        else:
            begin, end = self._gap_from.pop(serial, serial), self._gap_to.pop(serial + 1, serial + 1)
            self._gap_to[begin], self._gap_from[end] = end, begin
        return self._ready()

    def rest(self) -> list[Any]:
        """Return what still waits, in order of serial."""
        return [heapq.heappop(self._heap)[1] for _ in range(len(self._heap))]

    def _ready(self) -> list[Any]:
        ready = []
        while True:
            if self._next in self._gap_to:
                self._next = self._gap_to.pop(self._next)
                del self._gap_from[self._next]
            elif self._heap and self._heap[0][0] == self._next:
                ready.append(heapq.heappop(self._heap)[1])
                self._next += 1
            else:
                return ready
