"""One thread receives, n threads own a replica each. Kernels release the interpreter lock, so the replicas run at once.

The thread that receives looks after the others:

- one that dies, for whatever reason, ends the run: the frame that it had is counted as dropped, the others finish what was
  received, and the report says what it was;
- one that has been in a stage for longer than ``stage_timeout_s`` is left behind. Nothing can end a thread from outside, so it
  stays where it hangs; its frame is rejected, another thread with a new replica takes its place, and should it come back, what
  it brings is thrown away.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.composing.backend_spec import BackendSpec
from pipeline.errors import UserError
from pipeline.faults import STAGE_TIMEOUT, rejected, text_of
from pipeline.running.backends.moving import move_frames
from pipeline.running.guards import as_now

if TYPE_CHECKING:
    from pipeline.frame import Outcome, Rejected
    from pipeline.running.guards import At
    from pipeline.running.job import Job
    from pipeline.running.wiring import Replica

log = logging.getLogger("streamajig.threads")

_LOOK_S = 0.1

_LEFT_BEHIND = 32
"""When so many threads hang, it is no longer a frame that is at fault: the run ends. Each keeps the memory of its replica."""


def drive(job: Job, spec: BackendSpec) -> None:
    """Run the job with ``spec.replicas`` threads; the caller's thread receives, and looks after the others."""
    crew = Crew(job, [job.open_replica() for _ in range(spec.replicas)])
    job.start(in_flight=4 + 4 * spec.replicas)
    crew.start()
    if not move_frames(job, crew):
        crew.wait(_LOOK_S)


class Worker(threading.Thread):
    """A thread and its replica, which it opens itself where it takes the place of another.

    It is a daemon: a replica that is stuck in foreign code must not keep an abandoned run alive.
    """

    def __init__(
        self, job: Job, number: int, replica: Replica | None = None, inherited: Rejected | None = None
    ) -> None:
        super().__init__(name=f"replica-{number}", daemon=True)
        self._job = job
        self.replica = replica
        self._inherited = inherited
        self._handing_in = threading.Lock()
        self._is_left_behind = False
        self.has_ended = False
        self.error: BaseException | None = None

    def run(self) -> None:
        """Process frames until none will come, or this thread is no longer waited for."""
        try:
            replica = self.replica = self.replica or self._job.open_replica()
            if self._inherited is not None:
                replica.metrics[self._inherited.node].rejected += 1
                self._hand_in(replica, self._inherited)
            while not self._is_left_behind and (frame := self._job.inbox.take()) is not None:
                self._hand_in(replica, frame)
            self.has_ended = True
        except BaseException as error:  # stages are guarded, so it is a fault of ours; whoever looks after us says it
            self.error = error
        if self._is_left_behind and self.replica is not None:
            log.info("%s has come back; what it brings is thrown away", self.name)
            for problem in self.replica.close():
                log.error("%s", text_of(problem))

    def leave_behind(self, at: At) -> bool:
        """Wait for this thread no longer, if it is still there; what it brings after that is not taken."""
        with self._handing_in:
            if self.replica is None or self.replica.place[0] is not at:
                return False
            self._is_left_behind = True
            return True

    def _hand_in(self, replica: Replica, outcome: Outcome) -> None:
        arrived = replica.process(outcome)
        with self._handing_in:
            if self._is_left_behind:
                return
        self._job.finish_frame(arrived)


class Crew:
    """The threads of a run; it belongs to the thread that receives."""

    def __init__(self, job: Job, replicas: list[Replica]) -> None:
        self._job = job
        self._numbers = itertools.count()
        self._workers = [Worker(job, next(self._numbers), replica) for replica in replicas]
        self._left_behind: list[Worker] = []
        self._timeout_s = job.graph.options.stage_timeout_s or math.inf

    def start(self) -> None:
        """Start the threads."""
        for worker in self._workers:
            worker.start()

    def finish(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Wait until no thread that is still waited for runs, or the run is abandoned."""
        while any(worker.is_alive() for worker in self._workers) and not self._job.abandon.is_set():
            self.wait(_LOOK_S)
            self.look_after()
            meanwhile()
        self.look_after()

    def wait(self, timeout_s: float) -> None:
        """Wait for one of the threads, at most this long."""
        for worker in self._workers:
            if worker.is_alive():
                worker.join(timeout_s)
                return

    def look_after(self) -> None:
        """End the run if a thread has died; leave behind those that have been in a stage for too long."""
        for n, worker in enumerate(self._workers):
            if not worker.is_alive() and not worker.has_ended:
                worker.has_ended = True  # said once
                error = worker.error or RuntimeError("it ended, and nothing was raised")
                if not self._job.abandon.is_set():  # an abandoned run closes replicas under their threads
                    self._job.fail_by_fault(f"the thread {worker.name} died", error)
            at = worker.replica.place[0] if worker.replica is not None else None
            if at is not None and time.perf_counter_ns() - at[2] > self._timeout_s * 1e9 and worker.leave_behind(at):
                self._workers[n] = self._successor(worker, at)

    def _successor(self, worker: Worker, at: At) -> Worker:
        assert worker.replica is not None
        self._job.leave_behind(worker.replica)
        self._left_behind = [left for left in (*self._left_behind, worker) if left.is_alive()]
        if len(self._left_behind) >= _LEFT_BEHIND:
            self._job.fail(UserError(f"{len(self._left_behind)} threads hang, the last one in {at[0]}"))
        detail = f"the stage had not returned after {self._timeout_s:g} s, and its thread was left behind"
        given_up = rejected(as_now(at[1]), at[0], STAGE_TIMEOUT, detail)
        successor = Worker(self._job, next(self._numbers), inherited=given_up)
        try:
            successor.start()
        except RuntimeError as error:  # the system has no more threads
            successor.error = error
        return successor
