"""The outposts of a run: who is met, what they say, and what becomes of those that are lost.

What concerns the whole run happens in the thread that drives it. The threads of the links hand in what is finished, and leave
here what has happened to them.
"""

from __future__ import annotations

import logging
import pickle
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pipeline.amounts import several
from pipeline.board import Ways
from pipeline.errors import UserError
from pipeline.faults import STAGE_TIMEOUT, WORKER_MEMORY
from pipeline.frame import Frame
from pipeline.running.backends import StoppedEarly, crossing
from pipeline.running.backends.dask import modules, outpost, spoken
from pipeline.running.backends.dask.cluster import Cluster
from pipeline.running.backends.dask.connections import Listener
from pipeline.running.backends.dask.feeder import Feeder
from pipeline.running.backends.dask.link import Link, elsewhere
from pipeline.running.backends.dask.orphans import Orphans
from pipeline.running.backends.dask.placing import Placement, Placing
from pipeline.running.backends.dask.source import Sources
from pipeline.running.backends.dask.versions import differences, versions
from pipeline.running.backends.logs import LogsOfWorkers

if TYPE_CHECKING:
    from pipeline.running.job import Job

log = logging.getLogger("streamajig.dask")

PER_REPLICA = 8
"""Frames in flight for each replica: the way to the supervisor and back takes longer than in one process."""

_SILENT_S = 10.0
"""An outpost that says nothing for so long, or as long as a stage may take, stands still: its interpreter's lock is held."""

_NOBODY_S = 10.0
"""When no worker has come by then, that is said."""

_GOODBYE_S = 10.0
_ABANDON_S = 1.0


class Crew:
    """A context manager: when it is left, all outposts have closed everything, or are given up."""

    def __init__(self, job: Job, cluster: Cluster, has_sources: bool, listen: tuple[str, int]) -> None:
        self._job = job
        self._cluster = cluster
        self._has_sources = has_sources
        self.sources = Sources()
        options = job.graph.options
        self._timeout_s = options.worker_timeout_s
        self._happened: deque[tuple[str, Link]] = deque()
        self._orphans = Orphans(job, put_back=not has_sources)
        self._logs = LogsOfWorkers()
        self._has_begun = self._is_ending = False
        self._notices: dict[tuple[Ways, type], spoken.Notice] = {}
        job.setup.context.board.on_post = self._tell_all
        job.setup.opening = "replicas on Dask workers"
        self._modules = modules.shipped(job.graph.modules)
        graph = job.graph if cluster.is_local else job.graph.portable()
        graph = replace(graph, modules=(), options=replace(options, stage_timeout_s=self._timeout_s))
        self._setup = crossing.packed(replace(job.setup, graph=graph))
        self._key = secrets.token_bytes(32)
        self._host = listen[0] or cluster.own_host()
        try:
            self._listener = Listener(self._host, listen[1], self._key, self._meet)
        except OSError as error:
            where = f"{self._host}, port {listen[1] or 'any'}"
            raise UserError(
                f"cannot listen for Dask workers on {where}: {error.strerror}; run.listen says where"
            ) from error
        self._placing = Placing(cluster, self._ticket, self.sources.note)

    @property
    def in_flight(self) -> int:
        """How many frames may be in flight by default, with all workers that there are."""
        return 4 + PER_REPLICA * max(1, sum(self._cluster.workers().values()))

    # the run ----------------------------------------------------------------------------------------------------------

    def open_first(self) -> None:
        """Wait until the replicas of one worker are open; UserError if they cannot be opened."""
        was_said = False
        began_s = time.monotonic()
        while not self._placing.is_warm:
            self._placing.look()
            self._look_at_happenings()
            if self._job.stopping.is_set() or self._job.abandon.is_set():
                raise StoppedEarly
            if self._cluster.is_lost:
                raise UserError(f"the Dask scheduler {self._cluster.address} was lost")
            if not was_said and not list(self._placing) and time.monotonic() - began_s > _NOBODY_S:
                was_said = True
                log.warning("the Dask scheduler %s has no workers; waiting until one comes", self._cluster.address)
            time.sleep(0.02)

    def begin(self) -> None:
        """Everything is open: let the outposts work."""
        self._has_begun = True
        for link in self._at_work():
            self._begin(link)

    def _dispatch(self) -> None:
        """Tell outposts the serials of the messages that they have."""
        if not self._has_sources:
            return  # each outpost has a thread that feeds it
        by_link: dict[Link, list[tuple[int, Frame]]] = {}
        while (frame := self._job.inbox.take(0.0)) is not None:
            at = elsewhere(frame)
            assert at is not None
            by_link.setdefault(at.link, []).append((at.number, frame))
        for link, numbered in by_link.items():
            frames = [frame for _, frame in numbered]
            order = spoken.Serials([(number, frame.serial) for number, frame in numbered])
            if not link.give(list(frames), order):
                self._orphans.add(link, list(frames))

    def look_after(self) -> None:
        """Take care of what has happened, give out what has come, and place outposts on workers that are new."""
        self._dispatch()
        self._look_at_happenings()
        if not self._is_ending:
            try:
                if self._cluster.is_lost:
                    raise UserError(f"the Dask scheduler {self._cluster.address} was lost")
                self._placing.look()
            except UserError as error:  # outposts finish what they have, and no other one can be placed
                self._is_ending = True
                self._job.fail(error)
        self._look_at_hanging()
        self._orphans.give(self._at_work(), are_all=self._is_ending)

    def finish(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Let everything that was received be finished."""
        while len(self._job.inbox) and not self._job.abandon.is_set():
            self.look_after()
            if self._is_ending and not self._at_work():
                return
            meanwhile()
            time.sleep(0.01)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._end(abandon=kind is not None or self._job.abandon.is_set())
        self._listener.close()

    def _end(self, abandon: bool) -> None:
        """Let all outposts close everything, and hear their last words."""
        self._is_ending = True
        for link in self._placing.links():
            link.send(spoken.End(abandon))
        deadline = time.monotonic() + (_ABANDON_S if abandon else _GOODBYE_S)
        while self._placing.links() and time.monotonic() < deadline:
            if not abandon and self._job.abandon.is_set():
                break
            self._look_at_happenings()
            time.sleep(0.005)
        for placement in self._placing:
            if placement.link is not None:
                self._lost(placement, placement.link)
            else:
                self._placing.forget(placement)
        if hasattr(self._job, "collector"):
            self._orphans.give([], are_all=True)

    # in the threads of links ------------------------------------------------------------------------------------------

    def _ticket(self, number: int) -> outpost.Ticket:
        return outpost.Ticket(self._host, self._listener.port, self._key, number)

    def _meet(self, connection: Connection) -> None:
        """Somebody has connected who knows the key."""
        try:
            hello = spoken.Hello(**connection.recv())
        except (OSError, EOFError, TypeError, ValueError):
            connection.close()
            return
        placement = self._placing.find(hello.number)
        if placement is None or placement.link is not None or self._turns_away(placement, hello):
            connection.close()
            return
        link = Link(connection, placement.worker, hello, placement.replicas, self._take, self._on_lost)
        placement.link = link
        level = logging.getLogger("streamajig").getEffectiveLevel()
        link.send(
            spoken.Open(
                self._setup,
                self._modules,
                placement.replicas,
                placement.first,
                self._has_sources,
                tuple(self._notices.values()),
                self._placing.on_the_same_machine(placement),
                level,
            )
        )
        if self._is_ending:
            link.send(spoken.End(abandon=True))
        link.read()

    def _turns_away(self, placement: Placement, hello: spoken.Hello) -> bool:
        """Compare software; what may differ is said, what may not is refused."""
        wrong, different = differences(versions(), hello.versions)
        if wrong:
            placement.refused = f"{wrong} (here is this run, there the Dask worker {placement.worker} on {hello.host})"
        elif different:
            log.warning("on the Dask worker %s on %s: %s", placement.worker, hello.host, different)
        return bool(wrong)

    def _take(self, link: Link, batch: spoken.Batch) -> None:
        """Take what an outpost says."""
        if batch.received:
            self.sources.announce(link, batch.received)
        for serial, data in batch.finished:
            if link.take_back(serial):
                self._job.finish_frame(pickle.loads(data))
        if batch.finished:
            self._placing.has_finished(link.worker)
        for report in batch.reports:
            self._hear(link, report)

    def _hear(self, link: Link, report: spoken.Report) -> None:
        match report:
            case spoken.Opened():
                crossing.with_published(self._job.setup, pickle.loads(report.published))
                self._happened.append(("opened", link))
            case spoken.Failed():
                link.why_lost = "failed", report.text
                self._happened.append(("failed to open" if report.is_opening else "failed", link))
            case spoken.Pulse():
                link.note(report)
                self.sources.look_again()
            case spoken.SourceOver():
                link.is_over = True
                self.sources.look_again()
            case spoken.Logged():
                self._logs.log(link.worker, report.record)
            case spoken.Notice():
                value = pickle.loads(report.value)
                self._job.setup.context.board.of(report.ways).put(value)
                self._pass_on(report, type(value), link)
            case spoken.Goodbye():
                link.metrics = report.metrics
                link.goodbye = report

    def _on_lost(self, link: Link) -> None:
        self._happened.append(("lost", link))

    def _tell_all(self, ways: Ways, value: object) -> None:
        """An analysis has posted something."""
        self._pass_on(spoken.Notice(ways, crossing.to_worker(value)), type(value))

    def _pass_on(self, notice: spoken.Notice, kind: type, source: Link | None = None) -> None:
        self._notices[notice.ways, kind] = notice
        for link in self._placing.links():
            if link is not source:
                link.send(notice)

    # what has happened to links ---------------------------------------------------------------------------------------

    def _at_work(self) -> list[Link]:
        return [link for link in self._placing.links() if link.is_at_work]

    def _look_at_happenings(self) -> None:
        while self._happened:
            what, link = self._happened.popleft()
            placement = self._placing.of(link)
            if placement is None:
                continue
            why = link.why_lost[1] if link.why_lost else ""
            if what == "opened":
                self._opened(placement, link)
            elif what == "failed to open":
                link.lose()
                self._placing.could_not_open(placement, why)
            elif what == "failed":
                self._job.fail(UserError(f"{why} (on the Dask worker {link.worker})"))
            else:
                self._lost(placement, link)

    def _opened(self, placement: Placement, link: Link) -> None:
        self._placing.has_opened(placement, link.hello.pid)
        link.is_open = True
        self._job.replicas.append(link)
        if self._has_begun:
            self._begin(link)

    def _begin(self, link: Link) -> None:
        if self._job.graph.options.in_flight is None:
            self._job.inbox.widen(self.in_flight)
        link.heard_s = time.monotonic()
        link.send(spoken.Begin())
        if self._has_sources:
            self.sources.add(link)
        else:
            Feeder(self._job, link).start()

    def _lost(self, placement: Placement, link: Link) -> None:
        """An outpost has ended, in good order or not."""
        self.sources.remove(link)
        frames = link.lose()
        if link.goodbye is not None or self._job.abandon.is_set():
            self._placing.forget(placement)
            return
        self._placing.lost(placement)
        had = several(len(frames), "frame")
        log.warning("the Dask worker %s was lost, and with it %s", link.worker, had)
        if link.is_open:
            self._orphans.add(link, frames)
            self._job.leave_behind(link)

    def _look_at_hanging(self) -> None:
        """End workers whose interpreter stands still, or that have grown too large."""
        now = time.monotonic()
        patience_s = max(self._timeout_s, _SILENT_S)
        most = self._job.graph.options.max_worker_memory
        for link in self._at_work():
            if now - link.heard_s > patience_s:
                detail = f"the Dask worker {link.worker} had not answered for {patience_s:g} s, and was ended"
                self._end_by_force(link, STAGE_TIMEOUT, detail)
            elif most is not None and link.memory > most:
                detail = (
                    f"the Dask worker {link.worker} had {link.memory / 1e6:.0f} MB (max_worker_memory = {most:.0f})"
                )
                self._end_by_force(link, WORKER_MEMORY, detail)

    def _end_by_force(self, link: Link, reason: str, detail: str) -> None:
        log.warning("%s", detail)
        link.why_lost = reason, detail
        self._cluster.restart(link.worker, link.hello.pid)
        placement = self._placing.of(link)
        if placement is not None:
            self._lost(placement, link)
