"""Everything in the caller's thread: receive, process, collect, one frame after the other."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

from pipeline.composing.backend_spec import BackendSpec
from pipeline.faults import is_users_interrupt

if TYPE_CHECKING:
    from pipeline.running.job import Job
    from pipeline.running.wiring import Replica


def drive(job: Job, spec: BackendSpec) -> None:
    """Run the job here. With ``serial:debug`` whatever would cross to another process is pickled on its way."""
    if spec.debug:
        job.setup.graph = pickle.loads(pickle.dumps(job.setup.graph))
    replica = job.open_replica()
    job.start(in_flight=8)
    try:
        _move_frames(job, replica, spec)
    except BaseException as error:  # stages are guarded, so it is a fault of ours
        if is_users_interrupt(error):
            raise
        job.fail_by_fault("the run broke off", error)
    if job.abandon.is_set() or job.failure is not None:
        job.give_up()


def _move_frames(job: Job, replica: Replica, spec: BackendSpec) -> None:
    more = True
    while not job.abandon.is_set():
        waiting = len(job.inbox)
        more = more and job.feed(0.0 if waiting else 0.1)
        frame = job.inbox.take(0.0)
        if frame is not None:
            arrived = replica.process(frame)
            job.finish_frame(pickle.loads(pickle.dumps(arrived)) if spec.debug else arrived)
        elif not more:
            return
