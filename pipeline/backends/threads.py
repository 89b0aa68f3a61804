"""One thread receives, n threads own a replica each. Kernels release the interpreter lock, so the replicas run at once.

A replica's thread that dies, for whatever reason, ends the run: the frame that it had is counted as dropped, the others finish
what was received, and the report says what it was.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pipeline.backends import BackendSpec

if TYPE_CHECKING:
    from pipeline.job import Job
    from pipeline.wiring import Replica

_LOOK_S = 0.1


def drive(job: Job, spec: BackendSpec) -> None:
    """Run the job with ``spec.replicas`` threads; the caller's thread receives, and looks after the others."""
    crew = [Worker(job, job.open_replica(), n) for n in range(spec.replicas)]
    job.start(in_flight=4 + 4 * spec.replicas)
    for worker in crew:
        worker.start()
    try:
        while job.feed():
            _look_after(crew, job)
    finally:
        job.inbox.close()
    for worker in crew:
        while worker.is_alive() and not job.abandon.is_set():
            worker.join(_LOOK_S)
            job.show_progress()
    _look_after(crew, job)
    if job.abandon.is_set() or len(job.inbox):  # where all threads have died, frames are left
        job.give_up()
        for worker in crew:
            worker.join(_LOOK_S)


class Worker(threading.Thread):
    """A thread and its replica.

    It is a daemon: a replica that is stuck in foreign code must not keep an abandoned run alive.
    """

    def __init__(self, job: Job, replica: Replica, number: int) -> None:
        super().__init__(name=f"replica-{number}", daemon=True)
        self._job = job
        self._replica = replica
        self.has_ended = False
        self.error: BaseException | None = None

    def run(self) -> None:
        """Process frames until none will come."""
        try:
            while (frame := self._job.inbox.take()) is not None:
                self._job.finish_frame(self._replica.process(frame))
            self.has_ended = True
        except BaseException as error:  # stages are guarded, so it is a fault of ours; whoever looks after us says it
            self.error = error


def _look_after(crew: list[Worker], job: Job) -> None:
    """End the run if a thread has died."""
    for worker in crew:
        if not worker.is_alive() and not worker.has_ended:
            worker.has_ended = True  # said once
            error = worker.error or RuntimeError("it ended, and nothing was raised")
            if not job.abandon.is_set():  # an abandoned run closes replicas under their threads
                job.fail_by_fault(f"the thread {worker.name} died", error)
