"""Run a graph: open everything, move frames until the stream ends, close everything, report.

Order of opening: replicas (files are read, kernels compiled), then outputs, then the source; so that nothing is asked for
before everything is ready to take it.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import importlib.metadata
import itertools
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pipeline import lost, registry
from pipeline.composing.backend_spec import describe_backend
from pipeline.composing.graph import Graph
from pipeline.counts import Count
from pipeline.faults import describe, fault, is_users_interrupt, opening, text_of
from pipeline.lost import Delivery
from pipeline.metrics import NodeMetrics, merge_metrics
from pipeline.protocols import Beginning, Findings, RunningSource, Watching, Writer
from pipeline.running import backends
from pipeline.running.collect import Collector, LeafTally, RejectionTally
from pipeline.running.dead_letters import DeadLetters
from pipeline.running.guards import Place
from pipeline.running.hand_over import Receiver
from pipeline.running.ingest import Inbox, Ingest
from pipeline.running.leaves import Arrived
from pipeline.running.memory import in_flight_bytes
from pipeline.running.report import Report, nothing_received
from pipeline.running.run_view import JobView
from pipeline.running.watchdog import SLOW_S, Watchdog
from pipeline.running.wiring import Replica, ReplicaSomewhere, Setup
from pipeline.stage import Context
from pipeline.watching import Progress

log = logging.getLogger("streamajig.run")

T = TypeVar("T")

_WAIT_S = 0.1


_PATIENCE_S = 5.0
"""When opening takes longer than this, why is said."""


@dataclass
class Job:
    """What a backend's ``drive(job, spec)`` has to work with.

    The backend opens as many replicas as it wants with :meth:`open_replica`, calls :meth:`start` once they are open, then
    calls :meth:`feed` from one thread until it returns False, takes frames from `inbox`, has a replica process each, hands
    what arrived to :meth:`finish_frame`, and returns when no frame is left or `abandon` is set.
    """

    graph: Graph
    setup: Setup
    stopping: threading.Event
    abandon: threading.Event
    on_progress: Callable[[Progress], None] | None
    inbox: Inbox = field(init=False)
    collector: Collector = field(init=False)
    replicas: list[ReplicaSomewhere] = field(default_factory=list)
    failure: Exception | None = None
    problems: list[Exception] = field(default_factory=list)
    abandoned: int = 0
    why_enough: str = ""
    writers: dict[str, Writer] = field(default_factory=dict)
    started_s: float = 0.0
    started_unix_s: float = 0.0
    progress: Progress | None = None
    """How it went when that was last looked at: a few times per second, if anybody wants to know."""
    ended: str = ""
    """Why it has ended, once it has."""
    patience: threading.Timer = field(init=False)
    afterwards: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    """What a backend has to end when everything is closed."""
    _shown: Mapping[str, tuple[Count, ...]] = field(init=False)
    _delivery: Delivery = field(init=False)
    _source_name: str = field(init=False)
    _receivers: list[Receiver] = field(default_factory=list)
    _ingest: Ingest | None = None
    _receiving: Place = field(default_factory=lambda: [None])
    _opening: Place = field(default_factory=lambda: [None])
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _left_behind: list[dict[str, NodeMetrics]] = field(default_factory=list)
    _watchdog: Watchdog | None = None
    _source: Any = None
    _source_findings: Mapping[str, Findings] = field(default_factory=dict)
    _recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=50))
    _last_progress_s: float = 0.0
    _watchers: list[Watching] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.patience = threading.Timer(_PATIENCE_S, _say_why_it_takes_long, (self.setup,))
        self._source_name = self.graph.source.name
        self._delivery = getattr(self.graph.source.stage, "delivery", Delivery.READ)
        self._shown = {leaf.name: self.graph.counts_at(leaf.name) for leaf in self.graph.leaves}

    def open_replica(self) -> Replica:
        """Open one more replica of the graph."""
        self._opening[0] = ("a new replica", None, time.perf_counter_ns())
        try:
            replica = Replica(self.setup, next(self._numbers))
        finally:
            self._opening[0] = None
        self.replicas.append(replica)
        return replica

    def leave_behind(self, replica: ReplicaSomewhere) -> None:
        """Keep what a replica counted, and let its thread close it, should that come back."""
        self.replicas.remove(replica)
        self._left_behind.append(copy.deepcopy(replica.metrics))

    def start(self, in_flight: int, open_source: Callable[[], RunningSource] | None = None) -> None:
        """Open the outputs, then the source.

        `in_flight` is the backend's default for frames in flight; `open_source` opens the source where the backend has it
        elsewhere, in another process say.
        """
        options = self.graph.options
        self.inbox = Inbox(
            options.in_flight or in_flight,
            lambda: self.collector.held_back,
            self._backlog,
            options.in_flight_bytes or in_flight_bytes(),
        )
        # the last ones first: an analysis that refuses its file does so before the stream is written over
        for leaf in reversed(self.graph.leaves):
            with opening(leaf.name):
                self.writers[leaf.name] = leaf.stage.open_writer(self.setup.context_of(leaf, 0))
        self.writers = {leaf.name: self.writers[leaf.name] for leaf in self.graph.leaves}
        self._receivers = [writer for writer in self.writers.values() if isinstance(writer, Receiver)]
        for receiver in self._receivers:
            receiver.on_taken = self.inbox.look_again
        in_order = frozenset(leaf.name for leaf in self.graph.leaves if getattr(leaf.stage, "in_order", False))
        letters = DeadLetters(options.dead_letters, options.max_dead_letters, options.dead_letter_bytes)
        self.collector = Collector(self.writers, in_order, letters, self.fail, options.serial_offset, self.end)
        stage = self.graph.source.stage
        with opening(self.graph.source.name):
            self._source = open_source() if open_source else stage.open(self.setup.context_of(self.graph.source, 0))
        when_full = getattr(stage, "when_full", "block")
        self._ingest = Ingest(self._source, self.inbox, self.collector, options, self.stopping, when_full)
        self.patience.cancel()
        self._watchdog = Watchdog(self._places, SLOW_S)
        self._watchdog.start()
        for name, writer in self.writers.items():
            if isinstance(writer, Beginning):
                with opening(name):
                    writer.begin()
        self.started_s, self.started_unix_s = time.monotonic(), time.time()
        self._begin_to_watch()

    def _begin_to_watch(self) -> None:
        """Let those writers look at the run that want to; all is open, and nothing has been asked for."""
        self._watchers = [writer for writer in self.writers.values() if isinstance(writer, Watching)]
        if self._watchers:
            self.progress = self._progress(time.monotonic())
        for leaf, writer in self.writers.items():
            if isinstance(writer, Watching):
                with opening(leaf):
                    writer.watch(JobView(self))

    @property
    def is_open(self) -> bool:
        """Whether the source was opened, so that something could be received."""
        return self._ingest is not None

    def feed(self, timeout_s: float = _WAIT_S) -> bool:
        """Receive once; False when no further frame will come."""
        assert self._ingest is not None
        if self.on_progress is not None or self._watchers:
            self.show_progress()
        if self.abandon.is_set():
            return False
        self._receiving[0] = (self._source_name, None, time.perf_counter_ns())
        try:
            return self._ingest.step(timeout_s)
        except BaseException as error:
            if is_users_interrupt(error):
                raise
            self.fail(fault(f"{self._source_name} failed", error))
            return False
        finally:
            self._receiving[0] = None

    def _backlog(self) -> int:
        """How many finished frames wait for the program that takes them."""
        return max([receiver.backlog() for receiver in self._receivers]) if self._receivers else 0

    def _places(self) -> list[Place]:
        """Where everything that may hang is just now."""
        return [
            *(replica.place for replica in list(self.replicas)),
            self.collector.place,
            getattr(self._source, "place", self._receiving),
            self._opening,
        ]

    def finish_frame(self, arrived: list[Arrived]) -> None:
        """Take what arrived at the leaves for one frame that was taken from the inbox."""
        self.collector.collect(arrived)
        self.inbox.done(arrived[0].serial)

    def fail(self, error: Exception) -> None:
        """End the run because of this error (the first one counts)."""
        if self.failure is None:
            self.failure = error
        self.stopping.set()

    def fail_by_fault(self, what: str, error: BaseException) -> None:
        """End the run because of a fault that is ours, not a frame's nor the user's; the log has all of it."""
        log.error("%s: %s", what, describe(error), exc_info=error)
        self.fail(fault(what, error))

    def end(self, leaf: str, why: str) -> None:
        """End the run, as if it had been stopped, because the analysis at this leaf has what it wants."""
        if not self.stopping.is_set():
            self.why_enough = f"{leaf}: {why}"
            log.info("%s", self.why_enough)
        self.stopping.set()

    def give_up(self) -> None:
        """Forget frames in flight, and count them."""
        self.abandoned = self.inbox.abandon()

    def show_progress(self, *, every_s: float = 0.2) -> None:
        """Tell those who want to know how it goes, not too often."""
        now = time.monotonic()
        is_wanted = self.on_progress is not None or self._watchers
        if not is_wanted or now - self._last_progress_s < every_s:
            return
        self._last_progress_s = now
        self.progress = self._progress(now)
        if self.on_progress is not None:
            self.on_progress(self.progress)

    def _progress(self, now: float) -> Progress:
        received, finished, dropped = self.collector.totals()
        self._recent.append((now, finished))
        (then, before) = self._recent[0]
        half_ms, nearly_all_ms = self.collector.receipt_to_disk_ms()
        statuses = self.collector.statuses()
        rejections = {where: tally.count for where, tally in list(self.collector.rejections.items())}
        return Progress(
            received=received,
            in_flight=len(self.inbox),
            rejected=sum(rejections.values()),
            dropped=dropped,
            counts=self.collector.counts(),
            frames_per_s=(finished - before) / (now - then) if now > then else 0.0,
            latency_ms=half_ms,
            latency_99_ms=nearly_all_ms,
            elapsed_s=now - self.started_s,
            status=", ".join(said for said in (self._slow_call(), self._status_of_source()) if said),
            live=", ".join(statuses.values()),
            lost=lost.lost(self.collector.numbers.tally, self._delivery),
            shown=self._shown[self.graph.leaves[0].name],
            statuses=statuses,
            sender_lost_since_unix_s=self._sender_lost_since(),
            silent_s=self._ingest.silent_s if self._ingest else 0.0,
            rejections=rejections,
        )

    def _slow_call(self) -> str:
        return self._watchdog.status() if self._watchdog else ""

    def _status_of_source(self) -> str:
        """What the source says of itself."""
        return self._asked_of_source(lambda: text_of(self._ingest.status()) if self._ingest else "", "")

    def _sender_lost_since(self) -> float | None:
        """Since when a sender is missing, of a source that knows of one."""
        return self._asked_of_source(lambda: self._ingest.lost_since() if self._ingest else None, None)

    def _asked_of_source(self, ask: Callable[[], T], otherwise: T) -> T:
        """Ask the source how it is; one that cannot say it ends the run, as one that cannot receive does."""
        try:
            return ask()
        except BaseException as error:
            if is_users_interrupt(error):
                raise
            self.fail(fault(f"{self.graph.source.name} failed", error))
            return otherwise

    def close(self) -> None:
        """Close the source, the replicas and the outputs, whatever happened before; what fails with that is a problem."""
        self._receiving[0] = (f"{self.graph.source.name}, close", None, time.perf_counter_ns())
        try:
            if self._ingest is not None:
                self._ingest.close()
                if hasattr(self._source, "findings"):
                    self._source_findings = {self.graph.source.name: self._source.findings()}
        except BaseException as error:
            if is_users_interrupt(error):
                raise
            self.problems.append(fault(f"{self.graph.source.name} could not be closed", error))
        self._receiving[0] = None
        for replica in self.replicas:
            self.problems += replica.close()
        for problem in self.problems:
            log.error("%s", text_of(problem))
        if hasattr(self, "collector"):
            self.ended = (self._why_ended() or "it broke off") if self.is_open else ""
            self.collector.close()
            self.problems += self.collector.problems
        else:
            for leaf, writer in self.writers.items():
                try:
                    writer.close()
                except BaseException as error:  # what kept the run from starting is the error to be said
                    log.error("%s could not be closed: %s", leaf, describe(error))

    def what_hangs(self) -> str:
        """Where the run is, for whoever has waited too long for it."""
        return ", ".join(at[0] for place in self._places() if (at := place[0]) is not None) or "it is closing"

    def stop_watching(self) -> None:
        """Nothing can hang any more."""
        if self._watchdog is not None:
            self._watchdog.stop()

    def report(self) -> Report:
        """What was counted."""
        collector = self.collector
        return dataclasses.replace(
            self._report(collector.received, collector.leaves, collector.drop_reasons, collector.rejections),
            why_ended=self._why_ended(),
            abandoned=self.abandoned,
            outputs={name: writer.outcomes for name, writer in self.writers.items() if hasattr(writer, "outcomes")},
            failure=self.failure or next(iter(self.problems), None),
            lost_letters=collector.dead_letters.lost(),
            findings={**self._source_findings, **collector.findings},
            letters_not_kept=collector.dead_letters.not_kept,
        )

    def report_now(self) -> Report:
        """What was counted, as if the run were abandoned at this moment; it must end then.

        For whoever ends a run one of whose threads is stuck: may be called from any thread, and waits for none of them.
        """
        if not hasattr(self, "collector"):
            return nothing_received(self.graph)
        received, leaves, abandoned = self.collector.abandon_now()
        drop_reasons = self.collector.drop_reasons + Counter(abandoned=abandoned)
        return dataclasses.replace(
            self._report(received, leaves, drop_reasons, dict(self.collector.rejections)),
            why_ended="abandoned" if received else "stopped before anything was received",
            abandoned=abandoned,
        )

    def report_so_far(self) -> Report:
        """What was counted until now, while the run goes on; frames on their way are counted as such. From any thread."""
        if not hasattr(self, "collector"):
            return nothing_received(self.graph)
        received, leaves, drop_reasons, rejections = self.collector.so_far()
        return dataclasses.replace(
            self._report(received, leaves, drop_reasons, rejections),
            in_flight={name: received - t.delivered - t.rejected - t.dropped for name, t in leaves.items()},
        )

    def _report(
        self,
        received: int,
        leaves: Mapping[str, LeafTally],
        drop_reasons: Mapping[str, int],
        rejections: Mapping[tuple[str, str], RejectionTally],
    ) -> Report:
        """What every report says, whenever it is asked for."""
        return Report(
            received=received,
            leaves=leaves,
            drop_reasons=drop_reasons,
            rejections=rejections,
            nodes=merge_metrics([*self._left_behind, *(replica.metrics for replica in list(self.replicas))]),
            latency=copy.deepcopy(self.collector.latency),
            elapsed_s=time.monotonic() - self.started_s if self.started_s else 0.0,
            why_ended="it has not ended",
            failure=self.failure,
            shown=self._shown,
            sender=dataclasses.replace(self.collector.numbers.tally),
            delivery=self._delivery,
        )

    def _why_ended(self) -> str:
        assert self._ingest is not None
        if self.abandoned:
            return "abandoned"
        if self.failure:
            return text_of(self.failure)
        stopped = self._ingest.why_finished == "stopped"
        return self.why_enough if stopped and self.why_enough else self._ingest.why_finished


def run(
    graph: Graph,
    *,
    command_line: str = "",
    on_progress: Callable[[Progress], None] | None = None,
    stopping: threading.Event | None = None,
    abandon: threading.Event | None = None,
    on_start: Callable[[Job], None] | None = None,
) -> Report:
    """Run a graph until its stream ends, and return the report.

    Parameters
    ----------
    graph
        Is checked first.
    command_line
        Goes into the headers of output files.
    on_progress
        Called in this thread a few times per second.
    stopping
        Set it to end the run: nothing more is asked for, all that was received is finished.
    abandon
        Set it to end at once: frames in flight are counted as dropped.
    on_start
        Called before anything is opened, with the job. Another thread may ask it for :meth:`Job.report_so_far`, and one that
        ends a run that is stuck for :meth:`Job.report_now`.

    Raises
    ------
    UserError
        The graph is wrong, or something cannot be opened. What goes wrong once frames flow does not raise: an output
        that can no longer be written, a source that fails, a thread that dies end the run and stand in ``report.failure``.
    KeyboardInterrupt
        Where Python's own handler takes Ctrl-C.
    """
    for module in graph.modules:
        registry.load_module(module)
    graph.check()
    variants, graph = graph.variants, graph.expanded()
    stopping = stopping or threading.Event()
    spec = describe_backend(graph.options.backend)
    context = Context(
        command_line=command_line, program=f"streamajig {version()}", stopping=stopping, variants=variants
    )
    setup = Setup(graph, context, graph.options.keep_messages)
    job = Job(graph, setup, stopping, abandon or threading.Event(), on_progress)
    if on_start is not None:
        on_start(job)
    try:
        job.patience.start()
        backends.load_backend(spec).drive(job, spec)  # type: ignore[attr-defined]
    except backends.StoppedEarly:
        log.debug("stopped while it opened")
    finally:
        job.patience.cancel()
        with job.afterwards:
            try:
                job.close()
            finally:
                job.stop_watching()
    report = job.report() if job.is_open else nothing_received(graph)
    if not report.is_conserved:
        raise AssertionError("frames were lost: " + "; ".join(report.law_lines()))
    return report


def _say_why_it_takes_long(setup: Setup) -> None:
    why = "the first time, kernels are compiled for a minute or more ('streamajig warm-up' compiles them all)"
    log.info("still opening %s: %s", setup.opening, why)


def version() -> str:
    """The installed version of streamajig."""
    return importlib.metadata.version("streamajig")
