"""Which Dask worker has been given an outpost: one each, also those that come later, but none that cannot open it.

Each machine opens one outpost first: while it compiles kernels and writes them to the machine's cache, the others wait, and
read them there.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from pipeline.errors import UserError
from pipeline.faults import text_of
from pipeline.running.backends.dask import outpost
from pipeline.running.backends.dask.cluster import Cluster
from pipeline.running.backends.dask.link import Link

log = logging.getLogger("streamajig.dask")

_MOST_FAILURES = 3
"""A worker that was lost so often before it had finished a frame gets no other outpost."""

_QUEUED_S = 10.0
"""What has not begun by then waits for something, which is said."""


@dataclass
class Placement:
    """The outpost that one Dask worker was given.

    Attributes
    ----------
    number, first
        Its own number, and that of its first replica.
    future
        Dask's, of the long task.
    link
        The connection, once it is there.
    refused
        Why it was turned away.
    was_told
        Whether it has been said that it has not begun.
    """

    number: int
    first: int
    worker: str
    replicas: int
    future: Any
    since_s: float = field(default_factory=time.monotonic)
    link: Link | None = None
    refused: str = ""
    was_told: bool = False

    @property
    def host(self) -> str:
        """The machine."""
        return _host(self.worker)


class Placing:
    """Belongs to the thread that drives the run; others may look up placements.

    Parameters
    ----------
    cluster
        Where the workers are.
    ticket
        Makes the ticket with which the outpost of a number reports.
    on_refusal
        Is told why a worker gets no outpost, once at least one other has one.
    """

    def __init__(
        self, cluster: Cluster, ticket: Callable[[int], outpost.Ticket], on_refusal: Callable[[str], None]
    ) -> None:
        self._cluster = cluster
        self._ticket = ticket
        self._on_refusal = on_refusal
        self._placed: dict[str, Placement] = {}
        self._warm: set[str] = set()
        self._failures: dict[str, int] = {}
        self._numbers = itertools.count()
        self._replicas = 0

    def __iter__(self) -> Iterator[Placement]:
        return iter(list(self._placed.values()))

    def links(self) -> list[Link]:
        """All connections."""
        return [placement.link for placement in self if placement.link is not None]

    @property
    def is_warm(self) -> bool:
        """Whether a replica has been opened anywhere."""
        return bool(self._warm)

    def find(self, number: int) -> Placement | None:
        """The placement of this number."""
        return next((placement for placement in self if placement.number == number), None)

    def on_the_same_machine(self, placement: Placement) -> int:
        """How many workers are on the machine of this one, itself included."""
        return max(1, sum(_host(address) == placement.host for address in self._cluster.known))

    def of(self, link: Link) -> Placement | None:
        """The placement of this connection."""
        placement = self._placed.get(link.worker)
        return placement if placement is not None and placement.link is link else None

    def look(self) -> None:
        """Place outposts on workers that have none; UserError if the first one cannot be opened."""
        workers = self._cluster.workers()
        for placement in self:
            if placement.link is None:
                self._look_at(placement, is_there=placement.worker in workers)
        for address, threads in workers.items():
            if address not in self._placed and self._failures.get(address, 0) < _MOST_FAILURES:
                self._place(address, threads)

    def has_opened(self, placement: Placement, pid: int) -> None:
        """An outpost has opened its replicas."""
        self._warm.add(placement.host)
        self._cluster.has_settled(pid)

    def has_finished(self, worker: str) -> None:
        """A worker has finished a frame; any thread."""
        self._failures.pop(worker, None)

    def could_not_open(self, placement: Placement, why: str) -> None:
        """Place nothing there any more; UserError if no other worker has opened a replica."""
        self.forget(placement)
        self._failures[placement.worker] = _MOST_FAILURES
        text = f"the Dask worker {placement.worker}: {why}"
        if not self._warm:
            raise UserError(text)
        log.error("%s; it gets no replica", text)
        self._on_refusal(text)

    def lost(self, placement: Placement) -> None:
        """A worker was lost before the run had ended."""
        self.forget(placement)
        self._failures[placement.worker] = self._failures.get(placement.worker, 0) + 1

    def forget(self, placement: Placement) -> None:
        """It is over."""
        self._placed.pop(placement.worker, None)
        placement.future.release()

    def _place(self, address: str, threads: int) -> None:
        if _host(address) not in self._warm and any(placement.host == _host(address) for placement in self):
            return
        number = next(self._numbers)
        future = self._cluster.submit(address, outpost.serve, self._ticket(number))
        self._placed[address] = Placement(number, self._replicas, address, threads, future)
        self._replicas += threads

    def _look_at(self, placement: Placement, is_there: bool) -> None:
        """See what became of an outpost that has not connected."""
        if not is_there:
            self.forget(placement)
        elif placement.refused:
            self.could_not_open(placement, placement.refused)
        elif placement.future.status == "error":
            self.could_not_open(placement, _why(placement.future.exception(timeout=5)))
        elif placement.future.status in ("finished", "cancelled", "lost"):
            self.forget(placement)
        elif time.monotonic() - placement.since_s > _QUEUED_S and not placement.was_told:
            placement.was_told = True
            log.info("the Dask worker %s has not begun yet: it is busy, or still imports", placement.worker)


def _host(address: str) -> str:
    return urlsplit(address).hostname or address


def _why(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"streamajig is not installed there: {error}"
    if isinstance(error, ConnectionError):
        return f"{error}; is a firewall between them? run.listen says which address and port are used"
    return f"{type(error).__name__}: {text_of(error)}"
