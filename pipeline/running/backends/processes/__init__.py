"""One process receives, n processes own a replica each, and this one, the supervisor, counts and writes.

Messages lie in shared memory (``slots.py``), and only what was made of them goes through a pipe. What ends a worker ends no
more than that: its frame is rejected, and another takes its place (``keeper.py``). All are children of a fork server
(``fork_server.py``), and the kernel kills them when it, or the supervisor, is gone.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.board import Ways
from pipeline.composing.backend_spec import BackendSpec
from pipeline.faults import STAGE_TIMEOUT, WORKER_MEMORY
from pipeline.running.backends.crossing import with_published
from pipeline.running.backends.logs import LogsOfWorkers
from pipeline.running.backends.moving import move_frames
from pipeline.running.backends.processes.fork_server import INGEST, ForkServer
from pipeline.running.backends.processes.ingest_process import PREAMBLES_AHEAD, RemoteSource
from pipeline.running.backends.processes.keeper import Keeper
from pipeline.running.backends.processes.page import Page, make_pages
from pipeline.running.backends.processes.slots import Leases, Reader, make_memory
from pipeline.running.backends.processes.worker import places_of
from pipeline.running.guards import At
from pipeline.running.memory import private_bytes

if TYPE_CHECKING:
    from pipeline.running.job import Job

log = logging.getLogger("streamajig.processes")

_LOOK_S = 0.1
_MEMORY_EVERY_S = 0.5
_SPARE_SLOTS = 8
"""Beyond those for frames in flight: for what comes unasked while the oldest is being dropped."""


def drive(job: Job, spec: BackendSpec) -> None:
    """Run the job with ``spec.replicas`` workers; the caller's thread receives, and looks after the others."""
    in_flight = job.graph.options.in_flight or 4 + 4 * spec.replicas
    slots = in_flight + _SPARE_SLOTS
    # each message in a slot may have a preamble of its own, one is that of messages to come, and two are free for what comes
    preambles = slots + 1 + PREAMBLES_AHEAD
    messages, pages = make_memory(slots + preambles), make_pages(1 + spec.replicas)
    for fd in (messages, pages):
        job.afterwards.callback(os.close, fd)
    job.setup.opening = "worker processes"
    server = ForkServer(job.setup, messages, pages)
    job.afterwards.callback(server.close)
    names = job.graph.names
    workers = range(1, 1 + spec.replicas)
    logs = LogsOfWorkers()
    keepers = [Keeper(job, server, child, _page(job, pages, child, places_of(names)), logs) for child in workers]
    job.replicas.extend(keepers)
    for keeper in keepers:
        keeper.opened()
        with_published(job.setup, keeper.published)
    name = job.graph.source.name
    page = _page(job, pages, INGEST, [name, f"{name}, close"])
    reader = Reader(messages)
    job.afterwards.callback(reader.close)
    source = RemoteSource(server, INGEST, page, reader, Leases(slots), Leases(preambles, first=slots))
    board = job.setup.context.board
    board.on_post = lambda ways, value: _post(keepers, ways, value)
    job.start(in_flight, source.open)
    crew = Crew(job, keepers, page)
    crew.start()
    move_frames(job, crew)


def _page(job: Job, pages: int, child: int, names: list[str]) -> Page:
    page = Page(pages, child, names)
    job.afterwards.callback(page.close)
    return page


def _post(keepers: list[Keeper], ways: Ways, value: object) -> None:
    for keeper in keepers:
        keeper.post(ways, value)


class Crew:
    """The keepers of a run; it belongs to the thread that receives."""

    def __init__(self, job: Job, keepers: list[Keeper], receiving: Page) -> None:
        self._job = job
        self._keepers = keepers
        self._receiving = receiving
        options = job.graph.options
        self._timeout_s = options.worker_timeout_s
        self._most_bytes = options.max_worker_memory or math.inf
        self._seen: dict[str, tuple[tuple[At | None, int] | None, int]] = {}
        self._weighed_s = 0.0
        self._told_to_stop = False
        self._dead: set[str] = set()

    def start(self) -> None:
        """Start the threads."""
        for keeper in self._keepers:
            keeper.start()

    def finish(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Wait until all frames are finished, or the run is abandoned."""
        while any(keeper.is_alive() for keeper in self._keepers) and not self._job.abandon.is_set():
            for keeper in self._keepers:
                if keeper.is_alive():
                    keeper.join(_LOOK_S)
                    break
            self.look_after()
            meanwhile()
        self.look_after()

    def look_after(self) -> None:
        """End the run if a keeper has died; kill workers that hang or have grown too large."""
        if self._job.stopping.is_set() and not self._told_to_stop:
            self._told_to_stop = True
            for page in (self._receiving, *(keeper.page for keeper in self._keepers)):
                page.stop()
        for keeper in self._keepers:
            if keeper.error is not None and keeper.name not in self._dead:
                self._dead.add(keeper.name)
                if not self._job.abandon.is_set():
                    self._job.fail_by_fault(f"{keeper.name} could not be replaced", keeper.error)
            self._look_for_hanging(keeper)
        if self._most_bytes < math.inf and time.monotonic() - self._weighed_s > _MEMORY_EVERY_S:
            self._weighed_s = time.monotonic()
            for keeper in self._keepers:
                self._weigh(keeper)

    def _look_for_hanging(self, keeper: Keeper) -> None:
        now = time.perf_counter_ns()
        seen = (keeper.place[0], keeper.answers)
        before, since = self._seen.get(keeper.name, (None, now))
        if seen != before or not keeper.is_busy:
            self._seen[keeper.name] = (seen, now)
            return  # what is seen once may have been half written
        at = seen[0]
        since = min(since, at[2]) if at is not None else since
        if now - since > self._timeout_s * 1e9:
            what = "the stage had not returned" if at is not None else "its process had not answered"
            serial = at[1].serial if at is not None and at[1] is not None else None
            keeper.kill(STAGE_TIMEOUT, f"{what} after {self._timeout_s:g} s, and was killed", serial)
            del self._seen[keeper.name]

    def _weigh(self, keeper: Keeper) -> None:
        size = private_bytes(keeper.pid)
        if size > self._most_bytes:
            detail = (
                f"the process that worked on it had {size / 1e6:.0f} MB (max_worker_memory = {self._most_bytes:.0f})"
            )
            log.warning("%s has grown to %.0f MB: it is replaced", keeper.name, size / 1e6)
            keeper.kill(WORKER_MEMORY, detail)
