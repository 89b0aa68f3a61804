"""The supervisor's end of the connection to one outpost: what it was given and has said, and what it takes along if it dies.

To the job a link is one of its replicas: it has metrics, a place, and can be closed.
"""

from __future__ import annotations

import logging
import pickle
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from pipeline.errors import UserError
from pipeline.frame import Frame, Message, Outcome
from pipeline.metrics import NodeMetrics
from pipeline.protocols import Findings
from pipeline.running.backends.crossing import FrameElsewhere
from pipeline.running.backends.dask import spoken
from pipeline.running.backends.dask.connections import break_off, set_send_timeout

if TYPE_CHECKING:
    from pipeline.running.guards import Place

log = logging.getLogger("streamajig.dask")

_SEND_S = 30.0
"""An outpost that does not take an order for so long is lost."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Stands for the memory of a message that is in another process: with which link, and its number there."""

    link: Link
    number: int


@dataclass
class Link:
    """One outpost, from the moment it has said hello.

    Attributes
    ----------
    worker
        The address of its Dask worker.
    unfinished
        Frames that it was told to process and has not handed in, by serial, the oldest first.
    granted, announced
        How many messages its source may have received, and how many it has reported.
    at, status, pending, lost_since, is_over
        Where its replicas are, and what its source says; see :class:`~pipeline.running.backends.dask.spoken.Pulse`.
    goodbye
        What it said when it ended in good order.
    """

    connection: Connection
    worker: str
    hello: spoken.Hello
    replicas: int
    on_batch: Callable[[Link, spoken.Batch], None]
    on_lost: Callable[[Link], None]
    metrics: dict[str, NodeMetrics] = field(default_factory=dict)
    place: Place = field(default_factory=lambda: [None])
    at: spoken.At | None = None
    unfinished: dict[int, Outcome] = field(default_factory=dict)
    granted: int = 0
    announced: int = 0
    status: str = ""
    pending: int | None = None
    lost_since: float | None = None
    memory: int = 0
    is_open: bool = False
    is_over: bool = False
    is_lost: bool = False
    why_lost: tuple[str, str] | None = None
    goodbye: spoken.Goodbye | None = None
    heard_s: float = field(default_factory=time.monotonic)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _sending: threading.Lock = field(default_factory=threading.Lock)

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    @property
    def outstanding(self) -> int:
        """How many messages its source may receive now; so many requests may be out."""
        return 0 if self.is_over else max(0, self.granted - self.announced)

    @property
    def is_at_work(self) -> bool:
        """Whether it can be given something."""
        return self.is_open and not self.is_lost and self.goodbye is None

    def read(self) -> None:
        """Read what the outpost reports until it ends; the work of a thread."""
        set_send_timeout(self.connection, _SEND_S)
        try:
            while self.goodbye is None:
                batch: spoken.Batch = pickle.loads(self.connection.recv_bytes())
                self.heard_s = time.monotonic()
                self.on_batch(self, batch)
        except (OSError, EOFError):
            pass
        finally:
            self.on_lost(self)
            with self._sending:
                self.connection.close()

    def send(self, order: spoken.Order) -> bool:
        """Give an order; False if nobody is there to take it. Whoever reads sees that, too."""
        data = pickle.dumps(order, pickle.HIGHEST_PROTOCOL)
        with self._sending:
            if self.is_lost:
                return False
            try:
                self.connection.send_bytes(data)
                return True
            except (OSError, ValueError):
                break_off(self.connection)
                return False

    def give(self, frames: list[Outcome], order: spoken.Order) -> bool:
        """Let it process frames; False, and they are not its own, if it is lost."""
        with self._changed:
            if self.is_lost:
                return False
            self.unfinished.update({frame.serial: frame for frame in frames})
        self.send(order)  # where that fails the link is lost, and they are among what it took along
        return True

    def take_back(self, serial: int) -> bool:
        """A frame is finished; False if it was given up before."""
        with self._changed:
            self._changed.notify_all()
            return self.unfinished.pop(serial, None) is not None

    def wait_for_room(self, most: int, timeout_s: float) -> bool:
        """Wait until it has fewer than `most` frames, or is lost; False if that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: self.is_lost or len(self.unfinished) < most, timeout_s)

    def lose(self) -> list[Outcome]:
        """Nothing more will come from it; return the frames that it had."""
        with self._changed:
            self.is_lost = True
            lost = list(self.unfinished.values())
            self.unfinished.clear()
            self._changed.notify_all()
        self.place[0] = None
        break_off(self.connection)
        return lost

    def note(self, pulse: spoken.Pulse) -> None:
        """Take what it says of how it goes."""
        self.metrics = pulse.metrics
        self.at = pulse.at
        self.status, self.pending, self.memory = pulse.status, pulse.pending, pulse.memory
        self.lost_since = pulse.lost_since
        if pulse.at is None:
            self.place[0] = None
        else:
            node, serial, seconds = pulse.at
            work = FrameElsewhere(serial) if serial is not None else None
            self.place[0] = (f"{node} on {self.worker}", work, time.perf_counter_ns() - int(seconds * 1e9))

    def close(self) -> list[Exception]:
        """What could not be closed there; it was told to close when the run ended."""
        problems = self.goodbye.problems if self.goodbye is not None else []
        return [UserError(f"{problem} (on {self.worker})") for problem in problems]

    def findings(self) -> Findings:
        """What its source found out; nothing if it was lost."""
        return pickle.loads(self.goodbye.findings) if self.goodbye is not None else Findings("")


def stand_in(link: Link, number: int, received_ns: int) -> Message:
    """The message that an outpost has received, as it is known here: without what is in it."""
    return Message(b"", received_ns, (), Elsewhere(link, number))


def elsewhere(frame: Frame) -> Elsewhere | None:
    """Where a frame's message is; None if it is here."""
    message = frame.get(Message)
    kept: Any = message.keep_alive if message is not None else None
    return kept if isinstance(kept, Elsewhere) else None


def summed(figures: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up the figures of several sources; what is no number is taken from the first.

    >>> summed([{"asked_again": 1, "address": "a"}, {"asked_again": 2, "address": "a"}])
    {'asked_again': 3, 'address': 'a'}
    """
    total: dict[str, Any] = {}
    for each in figures:
        for name, value in each.items():
            adds = isinstance(value, (int, float)) and not isinstance(value, bool) and name in total
            total[name] = total[name] + value if adds else total.get(name, value)
    return total
