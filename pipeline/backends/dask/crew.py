"""Who works where: a replica's outpost on each Dask worker, those that are lost, and what becomes of the frames they had.

All of it happens in the thread that drives the run. The threads of the links hand in what is finished, and leave here what has
happened to them.

Each machine opens one outpost first: while it compiles kernels and writes them to the machine's cache, the others wait, and
read them there.
"""

from __future__ import annotations

import logging
import pickle
import secrets
import time
from collections import deque
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import urlsplit

from pipeline.backends import crossing
from pipeline.backends.dask import modules, outpost, spoken
from pipeline.backends.dask.cluster import Cluster
from pipeline.backends.dask.connections import Listener
from pipeline.backends.dask.feeder import Feeder, portable
from pipeline.backends.dask.link import Link, elsewhere
from pipeline.backends.dask.source import Sources
from pipeline.backends.dask.versions import differences, versions
from pipeline.board import Noticeboard, Ways
from pipeline.errors import UserError
from pipeline.faults import rejected, text_of
from pipeline.frame import Frame, Message, Outcome, Rejected

if TYPE_CHECKING:
    from pipeline.job import Job
    from pipeline.wiring import Replica

log = logging.getLogger("streamajig.dask")

WORKER_DIED = "worker_died"
"""The reason of frames that a worker took along; where no replica is left they are dropped with it."""

STAGE_TIMEOUT_S = 30.0
"""Without a limit that the user has set: a process of its own can be ended, so that a run does not hang for ever."""

_PER_REPLICA = 8
"""Frames in flight for each replica: the way to the supervisor and back takes longer than in one process."""

_MOST_FAILURES = 3
"""A worker on which a replica could so often not be opened, or was lost without having finished a frame, gets no other one."""

_QUEUED_S = 10.0
"""A task that has not begun by then waits for other people's, which is said."""

_SILENT_S = 10.0
"""An outpost that says nothing for so long, or as long as a stage may take, stands still: its interpreter's lock is held."""

_GOODBYE_S = 10.0
_ABANDON_S = 1.0


@dataclass
class Placement:
    """The outpost that one Dask worker was given."""

    number: int
    worker: str
    replicas: int
    future: Any
    first: int = 0
    since_s: float = field(default_factory=time.monotonic)
    link: Link | None = None
    refused: str = ""
    was_told: bool = False

    @property
    def host(self) -> str:
        """The machine."""
        return urlsplit(self.worker).hostname or self.worker


class Crew:
    """The outposts of a run."""

    def __init__(self, job: Job, cluster: Cluster, has_sources: bool, listen: tuple[str, int]) -> None:
        self._job = job
        self._cluster = cluster
        self._has_sources = has_sources
        self.sources = Sources()
        self.options = replace(job.graph.options, stage_timeout_s=job.graph.options.stage_timeout_s or STAGE_TIMEOUT_S)
        self._placed: dict[str, Placement] = {}
        self._warm: set[str] = set()
        self._failures: dict[str, int] = {}
        self._next_number = self._next_replica = 0
        self._happened: deque[tuple[str, Link]] = deque()
        self._orphans: deque[tuple[Outcome, str, str, str]] = deque()
        self._has_begun = self._is_ending = False
        self._notices: dict[tuple[Ways, type], spoken.Notice] = {}
        self._key = secrets.token_bytes(32)
        job.setup.context = replace(job.setup.context, board=Noticeboard(self._tell_all))
        self._modules = modules.shipped(job.graph.modules)
        graph = job.graph if cluster.is_local else job.graph.portable()
        graph = replace(graph, modules=(), options=self.options)
        self._setup = crossing.packed(replace(job.setup, graph=graph))
        self._host = listen[0] or cluster.own_host()
        try:
            self._listener = Listener(self._host, listen[1], self._key, self._meet)
        except OSError as error:
            raise UserError(
                f"cannot listen for Dask workers on {self._host}, port {listen[1]}: {error.strerror}"
            ) from error

    @property
    def links(self) -> list[Link]:
        """The outposts that can be given something."""
        return [p.link for p in self._placed.values() if p.link is not None and p.link.is_at_work]

    @property
    def replicas(self) -> int:
        """How many replicas there are, or will be soon."""
        return sum(self._cluster.workers().values())

    @property
    def in_flight(self) -> int:
        """How many frames may be in flight by default."""
        return 4 + _PER_REPLICA * max(1, self.replicas)

    # the run ----------------------------------------------------------------------------------------------------------

    def open_first(self) -> None:
        """Wait until the replicas of one worker are open; UserError if they cannot be opened."""
        said = False
        began_s = time.monotonic()
        while not self._warm:
            self._look_at_workers()
            self._look_at_happenings()
            if self._job.stopping.is_set() or self._job.abandon.is_set():
                raise UserError("stopped before a Dask worker had opened a replica")
            if self._cluster.is_lost:
                raise UserError(f"the Dask scheduler {self._cluster.address} is gone")
            if not said and not self._placed and time.monotonic() - began_s > _QUEUED_S:
                said = True
                log.warning("the Dask scheduler %s has no workers; waiting until one comes", self._cluster.address)
            time.sleep(0.02)

    def begin(self) -> None:
        """Everything is open: let the outposts work."""
        self._has_begun = True
        for link in self.links:
            self._begin(link)

    def look_after(self) -> None:
        """Take care of what has happened, and place outposts on workers that have come."""
        self._look_at_happenings()
        if not self._is_ending:
            try:
                if self._cluster.is_lost:
                    raise UserError(f"the Dask scheduler {self._cluster.address} was lost")
                self._look_at_workers()
            except UserError as error:  # outposts finish what they have, and no other one can be placed
                self._is_ending = True
                self._job.fail(error)
        self._look_at_hanging()
        self._give_orphans()

    def dispatch(self) -> None:
        """Tell outposts the serials of the messages that they have."""
        if not self._has_sources:
            return  # each outpost has a thread that feeds it
        by_link: dict[Link, list[tuple[int, Frame]]] = {}
        while (frame := self._job.inbox.take(0.0)) is not None:
            at = elsewhere(frame)
            assert at is not None
            by_link.setdefault(at.link, []).append((at.number, frame))
        for link, numbered in by_link.items():
            order = spoken.Serials([(number, frame.serial) for number, frame in numbered])
            if not link.give([frame for _, frame in numbered], order):
                self._lost_frames(link, [frame for _, frame in numbered])

    def finish(self) -> None:
        """Let everything that was received be finished."""
        while len(self._job.inbox) and not self._job.abandon.is_set():
            self.dispatch()
            self.look_after()
            if not self.links and self._is_ending:
                break
            self._job.show_progress()
            time.sleep(0.01)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._end(abandon=kind is not None or self._job.abandon.is_set())
        self._listener.close()

    def _end(self, abandon: bool) -> None:
        """Let all outposts close everything, and hear their last words."""
        self._is_ending = True
        for placement in self._placed.values():
            if placement.link is not None:
                placement.link.send(spoken.End(abandon))
        deadline = time.monotonic() + (_ABANDON_S if abandon else _GOODBYE_S)
        while any(p.link is not None for p in self._placed.values()) and time.monotonic() < deadline:
            if not abandon and self._job.abandon.is_set():
                break
            self._look_at_happenings()
            time.sleep(0.005)
        for placement in list(self._placed.values()):
            if placement.link is not None:
                self._lost(placement.link)
        for placement in list(self._placed.values()):
            self._forget(placement)
        if hasattr(self._job, "collector"):
            self._give_orphans()

    # in the threads of links ------------------------------------------------------------------------------------------

    def _meet(self, connection: Connection) -> None:
        """Somebody has connected who knows the key."""
        try:
            hello = spoken.Hello(**connection.recv())
            placement = next((p for p in list(self._placed.values()) if p.number == hello.number), None)
            if placement is None or placement.link is not None:
                connection.close()
                return
            wrong, different = differences(versions(), hello.versions)
            if wrong:
                placement.refused = (
                    f"{wrong} (here is this run, there the Dask worker {placement.worker} on {hello.host})"
                )
                connection.close()
                return
        except (OSError, EOFError, TypeError, ValueError):
            connection.close()
            return
        if different and not placement.was_told:
            placement.was_told = True
            log.warning("on the Dask worker %s on %s: %s", placement.worker, hello.host, different)
        link = Link(connection, placement.worker, hello, placement.replicas, self._take, self._on_lost)
        placement.link = link
        level = logging.getLogger("streamajig").getEffectiveLevel()
        board = tuple(self._notices.values())
        first, n = placement.first, placement.replicas
        link.send(spoken.Open(self._setup, self._modules, n, first, self._has_sources, board, level))
        if self._is_ending:
            link.send(spoken.End(abandon=True))
        link.read()

    def _take(self, link: Link, batch: spoken.Batch) -> None:
        """Take what an outpost says."""
        if batch.received:
            self.sources.announce(link, batch.received)
        for serial, data in batch.finished:
            if link.take_back(serial):
                self._failures.pop(link.worker, None)
                self._job.finish_frame(pickle.loads(data))
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
            case spoken.LogLine():
                logging.getLogger(report.logger).log(report.level, "%s: %s", link.worker, report.text)
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
        for placement in list(self._placed.values()):
            if placement.link is not None and placement.link is not source:
                placement.link.send(notice)

    # workers ----------------------------------------------------------------------------------------------------------

    def _look_at_workers(self) -> None:
        workers = self._cluster.workers()
        for address, placement in list(self._placed.items()):
            if placement.link is not None:
                continue
            if address not in workers:
                self._forget(placement)
            elif placement.future.status == "error" or placement.refused:
                self._could_not_open(placement, placement.refused or self._why(placement))
            elif placement.future.status in ("finished", "cancelled", "lost"):
                self._forget(placement)
            elif time.monotonic() - placement.since_s > _QUEUED_S and not placement.was_told:
                placement.was_told = True
                log.info("the Dask worker %s has not begun yet: it is busy, or still imports", address)
        for address, threads in workers.items():
            if address not in self._placed and self._failures.get(address, 0) < _MOST_FAILURES:
                self._place(address, threads)

    def _place(self, address: str, threads: int) -> None:
        host = urlsplit(address).hostname or address
        if host not in self._warm and any(p.host == host for p in self._placed.values()):
            return
        ticket = outpost.Ticket(self._host, self._listener.port, self._key, self._next_number)
        future = self._cluster.submit(address, outpost.serve, ticket)
        self._placed[address] = Placement(self._next_number, address, threads, future, self._next_replica)
        self._next_number += 1
        self._next_replica += threads

    def _why(self, placement: Placement) -> str:
        error = placement.future.exception(timeout=5)
        if isinstance(error, ModuleNotFoundError):
            return f"streamajig is not installed there: {error}"
        if isinstance(error, ConnectionError):
            return f"{error}; is a firewall between them? Which address and port are used says run.listen"
        return f"{type(error).__name__}: {text_of(error)}"

    def _could_not_open(self, placement: Placement, why: str) -> None:
        self._forget(placement)
        text = f"the Dask worker {placement.worker}: {why}"
        if not self._warm:
            raise UserError(text)
        log.error("%s; it gets no replica", text)
        self.sources.note(text)
        self._failures[placement.worker] = _MOST_FAILURES

    def _forget(self, placement: Placement) -> None:
        self._placed.pop(placement.worker, None)
        placement.future.release()

    # what has happened to links ---------------------------------------------------------------------------------------

    def _look_at_happenings(self) -> None:
        while self._happened:
            what, link = self._happened.popleft()
            placement = self._placed.get(link.worker)
            if placement is None or placement.link is not link:
                continue
            if what == "opened":
                self._opened(placement, link)
            elif what == "failed to open":
                why = link.why_lost[1] if link.why_lost else ""
                link.lose()
                self._could_not_open(placement, why)
            elif what == "failed":
                self._job.fail(UserError(f"{link.why_lost[1] if link.why_lost else ''} (on {link.worker})"))
            else:
                self._lost(link)

    def _opened(self, placement: Placement, link: Link) -> None:
        self._warm.add(placement.host)
        self._cluster.has_settled(link.hello.pid)
        link.is_open = True
        self._job.replicas.append(cast("Replica", link))
        if self._has_begun:
            self._begin(link)

    def _begin(self, link: Link) -> None:
        link.heard_s = time.monotonic()
        link.send(spoken.Begin())
        if self._has_sources:
            self.sources.add(link)
        else:
            Feeder(self._job, link).start()

    def _lost(self, link: Link) -> None:
        """An outpost has ended, in good order or not."""
        placement = self._placed[link.worker]
        self._forget(placement)
        self.sources.remove(link)
        frames = link.lose()
        if link.goodbye is None and not self._job.abandon.is_set():
            self._failures[link.worker] = self._failures.get(link.worker, 0) + 1
            had = f"{len(frames)} frame{'' if len(frames) == 1 else 's'}"
            log.warning("the Dask worker %s was lost, and with it %s", link.worker, had)
            if link.is_open:
                self._lost_frames(link, frames)
                self._job.leave_behind(cast("Replica", link))

    def _lost_frames(self, link: Link, frames: list[Outcome]) -> None:
        reason, detail = link.why_lost or (
            WORKER_DIED,
            f"the Dask worker {link.worker} was lost while it had the frame",
        )
        for n, frame in enumerate(frames):
            at = link.at[0] if link.at is not None and link.at[1] == frame.serial else self._job.graph.source.name
            if isinstance(frame, Frame) and not self._has_sources and n >= link.replicas:
                self._job.inbox.put_back(frame)  # nobody had begun with it
                continue
            if at in link.metrics:
                link.metrics[at].rejected += 1
            self._orphans.append((frame, at, reason, detail))

    def _give_orphans(self) -> None:
        """Let another replica take rejected frames to the leaves; where there is none they are dropped."""
        while self._orphans:
            frame, node, reason, detail = self._orphans[0]
            links = self.links
            if isinstance(frame, Rejected) or (not links and self._is_ending):  # it was lost twice, or nobody is left
                self._orphans.popleft()
                self._job.collector.drop(frame.serial, reason)
                self._job.inbox.done()
                continue
            if not links:
                return
            outcome = rejected(_here(frame), node, reason, detail)
            data = pickle.dumps(outcome)
            if links[0].give([outcome], spoken.Inherit(data)):
                self._orphans.popleft()

    def _look_at_hanging(self) -> None:
        """End workers whose interpreter stands still, or that have grown too large."""
        now = time.monotonic()
        patience_s = max(self.options.stage_timeout_s or STAGE_TIMEOUT_S, _SILENT_S)
        most = self.options.max_worker_memory
        for link in self.links:
            if not self._has_begun:
                return
            if now - link.heard_s > patience_s:
                detail = f"the Dask worker {link.worker} had not answered for {patience_s:g} s, and was ended"
                self._end_by_force(link, "stage_timeout", detail)
            elif most is not None and link.memory > most:
                detail = f"the Dask worker {link.worker} had {link.memory / 1e9:.3g} GB, and was ended"
                self._end_by_force(link, "worker_memory", detail)

    def _end_by_force(self, link: Link, reason: str, detail: str) -> None:
        log.warning("%s", detail)
        link.why_lost = reason, detail
        self._cluster.restart(link.worker, link.hello.pid)
        self._lost(link)


def _here(frame: Outcome) -> Frame:
    """A frame without what stands for a message that is elsewhere."""
    assert isinstance(frame, Frame)
    message = frame.get(Message)
    values: dict[type, object] = {} if message is None or elsewhere(frame) is not None else {Message: portable(message)}
    return Frame(frame.serial, frame.event, frame.received_ns, values)
