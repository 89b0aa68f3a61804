"""The supervisor's side of one worker: a thread that gives it frames, takes what it makes of them, and replaces the dead."""

from __future__ import annotations

import dataclasses
import logging
import pickle
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.board import Ways
from pipeline.errors import UserError
from pipeline.faults import STAGE_FAILED, WORKER_DIED, describe, rejected
from pipeline.frame import Frame, Message, Rejected
from pipeline.metrics import NodeMetrics, merge_metrics
from pipeline.running.backends.children import how_it_ended
from pipeline.running.backends.crossing import Published, to_worker
from pipeline.running.backends.logs import LogsOfWorkers
from pipeline.running.backends.processes.link import Link, pair
from pipeline.running.backends.processes.page import Page, SeenPlace
from pipeline.running.backends.processes.slots import Lease, Written
from pipeline.running.backends.processes.worker import Task
from pipeline.running.leaves import Arrived

if TYPE_CHECKING:
    from pipeline.running.backends.processes.fork_server import ForkServer
    from pipeline.running.job import Job

log = logging.getLogger("streamajig.processes")

_AHEAD = 2
"""Frames that a worker has at once: one that it works on, and one with which it goes on at once."""

_LIVELY_S = 0.01
"""A worker that has answered so lately is taken to be at work."""

_BEGINS_S = 0.002
_LOOK_AHEAD_S = 0.02
"""A worker has begun with a frame after the first, as a rule; later it is looked so often whether there is one more for it."""

_DEATHS = 3
"""So many workers in a row may die without having begun a frame; then it is not a frame that kills them."""

_CLOSE_S = 10.0
"""A worker has so long to close its stages."""


@dataclass(frozen=True)
class Sentence:
    """Why a worker is killed, and on which frame that depends."""

    launch: int
    reason: str
    detail: str
    serial: int | None


class Keeper(threading.Thread):
    """One worker and those that take its place. For the run it is a replica: it has metrics, a place, and can be closed.

    Attributes
    ----------
    page
        Where the worker says where it is.
    published
        What the worker's stages have published when they opened.
    answers
        How many answers have come: while that does not change, the worker works on one and the same frame, or has none.
    error
        What has ended this thread, if it was not the end of the run.
    """

    def __init__(self, job: Job, server: ForkServer, child: int, page: Page, logs: LogsOfWorkers) -> None:
        super().__init__(name=f"worker-{child}", daemon=True)
        self._job = job
        self._server = server
        self._child = child
        self._logs = logs
        self.page = page
        self.place = SeenPlace(page)
        self.published: Published = {}
        self.answers = 0
        self.error: BaseException | None = None
        self._leaves = [node.name for node in job.graph.in_order() if node.role == "sink"]
        self._metrics: dict[str, NodeMetrics] = {}
        self._before: list[dict[str, NodeMetrics]] = []
        self._sent: deque[Frame] = deque()
        self._held: dict[int, Frame] = {}
        self._notices: deque[bytes] = deque()
        self._posted: dict[tuple[Ways, type], bytes] = {}
        self._sentence: Sentence | None = None
        self._deaths = 0
        self._answered_s = 0.0
        self._is_open = False
        self._is_closing = False
        self._noticing = threading.Lock()
        self._launch = 0
        self._link: Link
        self._start()

    # ---- called by the thread that looks after all

    def opened(self) -> None:
        """Wait until the worker has opened its replica; raises what that raised."""
        try:
            self.published = self._wait_until_open()
        except EOFError:
            how = how_it_ended(self._server.status(self._launch))
            raise UserError(f"a worker process {how} while it opened its stages") from None

    def post(self, ways: Ways, value: object) -> None:
        """Let the worker know of a notice before its next frame; those that take its place, too."""
        data = to_worker(("notice", ways, value))
        with self._noticing:
            self._posted[ways, type(value)] = data
            self._notices.append(data)

    def kill(self, reason: str, detail: str, serial: int | None = None) -> None:
        """Kill the worker because of what it does to its frame, which is that of the serial if one is given."""
        self._sentence = Sentence(self._launch, reason, detail, serial)
        self._server.kill(self._launch)

    @property
    def pid(self) -> int | None:
        """The worker's process; None if it has ended."""
        return self._server.pid(self._launch)

    @property
    def is_busy(self) -> bool:
        """Whether the worker has a frame."""
        return bool(self._sent)

    @property
    def metrics(self) -> dict[str, NodeMetrics]:
        """What this worker and those before it have counted, to within half a second."""
        return merge_metrics([*self._before, self._metrics])

    def close(self) -> list[Exception]:
        """Let the worker close its stages, and end it; what goes wrong with that is returned."""
        self._is_closing = True
        problems: list[Exception] = []
        if self.is_alive() or self.error is not None or not self._is_open:  # it may be stuck, and is not waited for
            self._server.kill(self._launch)
            if self.is_alive():
                self.join(_CLOSE_S)
            return problems
        try:
            self._link.send("close")
            until = time.monotonic() + _CLOSE_S
            while self._link.poll(max(0.0, until - time.monotonic())):
                what, *values = self._link.receive()
                if what == "closed":
                    problems, self._metrics = values
                    break
                self._hear(what, values)
            else:
                at = self.place[0]
                problems.append(UserError(f"{at[0] if at else 'a worker'} has not returned within {_CLOSE_S:g} s"))
        except (OSError, EOFError):
            at, how = self.place[0], how_it_ended(self._server.status(self._launch))
            if at is not None:
                problems.append(UserError(f"a worker process {how} in {at[0]}"))
            else:  # it had no frame, so that nothing is lost
                log.warning("%s %s when all its frames were finished", self.name, how)
        self._server.kill(self._launch)
        self._link.close()
        return problems

    # ---- the thread

    def run(self) -> None:
        """Keep the worker busy until no frame is left, or the run is abandoned."""
        try:
            while self._give():
                try:
                    self._give_ahead()
                    self._take()
                except EOFError:
                    if self._is_closing or self._job.abandon.is_set():
                        return
                    self._replace()
        except BaseException as error:
            self.error = error

    def _give(self) -> bool:
        """Give the worker a frame if it has none, and wait for one; False when there will be none."""
        if not self._sent:
            frame = self._job.inbox.take()
            if frame is None:
                return False
            self._hand(frame)
        return True

    def _give_ahead(self) -> None:
        """While no answer has come, give the worker further frames, so that it has the next one when it is done.

        Only when it is at work: one that stands still would keep them from the others.
        """
        wait_s = _BEGINS_S
        while len(self._sent) < _AHEAD:
            frame = self._job.inbox.take_ahead() if self._is_at_work() else None
            if frame is not None:
                self._hand(frame)
            elif self._link.poll(wait_s):
                return
            else:
                wait_s = _LOOK_AHEAD_S

    def _is_at_work(self) -> bool:
        return time.monotonic() - self._answered_s < _LIVELY_S or self.page.begun == self._sent[0].serial

    def _hand(self, frame: Frame, refused: tuple[str, str, str] | None = None) -> None:
        self._sent.append(frame)
        self._send(Task(frame.serial, frame.event, frame.received_ns, _written(frame), refused))

    def _send(self, task: Task) -> None:
        try:
            while self._notices:
                self._link.send_pickled(self._notices.popleft())
            self._link.send_pickled(pickle.dumps(("task", task)))
        except OSError:
            pass  # it has died, which shows when its answer is waited for

    def _take(self) -> None:
        """Take one answer; EOFError if the worker has died."""
        while True:
            what, *values = self._link.receive()
            if what == "arrived":
                break
            self._hear(what, values)
        serial, pickled, keeps, freed = values
        self.answers += 1
        self._answered_s = time.monotonic()
        self._deaths = 0
        at = next(n for n, frame in enumerate(self._sent) if frame.serial == serial)
        frame = self._sent[at]
        del self._sent[at]
        self._finish(frame, [_loaded(data, leaf, frame) for data, leaf in zip(pickled, self._leaves, strict=True)])
        if keeps:
            self._held[frame[Message].keep_alive.written.slot] = frame  # type: ignore[attr-defined]
        for slot in freed:
            self._held.pop(slot, None)

    def _hear(self, what: str, values: list[Any]) -> None:
        match what:
            case "log":
                self._logs.log(self.name, values[0])
            case "metrics":
                (self._metrics,) = values
            case "notice":
                ways, value = values
                self._job.setup.context.board.of(ways).post(value)

    def _finish(self, frame: Frame, arrived: list[Arrived]) -> None:
        if self._job.setup.keep_messages and any(one.rejected for one in arrived):
            message = tuple(bytes(part) for part in frame[Message].parts)
            said = frame[Message].preamble
            arrived = [one._replace(message=message, preamble=said) if one.rejected else one for one in arrived]
        self._job.finish_frame(arrived)

    # ---- when the worker has died

    def _replace(self) -> None:
        """Start another worker; what the dead one worked on is rejected, what it had not begun is for whoever is free."""
        status = self._server.status(self._launch)
        at, begun = self.place[0], self.page.begun
        sentence, self._sentence = self._sentence, None
        if sentence is not None and sentence.launch != self._launch:
            sentence = None
        is_innocent = sentence is not None and sentence.serial not in (None, begun)  # it came back in the last moment
        held = next((frame for frame in self._sent if frame.serial == begun and not is_innocent), None)
        for frame in reversed(self._sent):
            if frame is not held:
                self._job.inbox.put_back(frame)
        self._sent.clear()
        self._held.clear()
        self._deaths += 1
        where = f" in {at[0]}" if at else ""
        how = how_it_ended(status)
        log.error("%s %s%s", self.name, how, where)
        self._start_anew()
        if held is not None:
            self._deaths = 0
            node = at[0] if at is not None and at[0] in self._job.graph.names else self._job.graph.leaves[0].name
            reason = sentence.reason if sentence else WORKER_DIED
            detail = (
                sentence.detail if sentence else f"the process that worked on it {how}{where or ', between stages'}"
            )
            self._refuse(held, node, reason, detail)

    def _refuse(self, frame: Frame, node: str, reason: str, detail: str) -> None:
        """Have the leaves encode the rejection of a frame; should that kill the worker as well, it goes without."""
        self._hand(frame, (node, reason, detail))
        try:
            while self._sent:
                self._take()
        except EOFError:
            self._sent.clear()
            refused = rejected(frame, node, reason, detail)
            self._finish(frame, [_bare(leaf.name, refused) for leaf in self._job.graph.leaves])
            self._start_anew()

    def _start(self) -> None:
        """Have a worker forked."""
        connection, theirs = pair()
        self.page.clear()
        self._link = Link(connection, to_worker)
        self._is_open = False
        self._launch = self._server.launch(self._child, theirs)
        with self._noticing:
            self._notices = deque(self._posted.values())

    def _start_anew(self) -> None:
        """Have workers forked until one has opened its replica."""
        self._before = [merge_metrics([*self._before, self._metrics])]
        self._metrics = {}
        self._link.close()
        while True:
            if self._deaths > _DEATHS:
                how = how_it_ended(self._server.status(self._launch))
                raise UserError(
                    f"{self._deaths} worker processes in a row have died without a frame; the last one {how}"
                )
            self._start()
            try:
                self._wait_until_open()
                return
            except EOFError:
                self._deaths += 1

    def _wait_until_open(self) -> Published:
        while True:
            what, *values = self._link.receive()
            if what == "opened":
                self._is_open = True
                published: Published = values[0]
                return published
            if what == "failed":
                raise values[0]
            self._hear(what, values)


def _written(frame: Frame) -> Written:
    """Where a frame's message lies."""
    message = frame[Message]
    lease: Lease = message.keep_alive  # type: ignore[assignment]
    return lease.written


def _bare(leaf: str, refused: Rejected) -> Arrived:
    bare = dataclasses.replace(refused, frame=Frame(refused.serial, refused.event, refused.received_ns))
    return Arrived(leaf, bare.serial, bare.event, bare.received_ns, None, bare, {})


def _loaded(data: bytes, leaf: str, frame: Frame) -> Arrived:
    """What a worker has made of a frame at one leaf; a rejection if it cannot be read here."""
    try:
        arrived: Arrived = pickle.loads(data)
        return arrived
    except Exception as error:
        return _bare(
            leaf,
            rejected(frame, leaf, STAGE_FAILED, f"it cannot be read in the process that writes: {describe(error)}"),
        )
