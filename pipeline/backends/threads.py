"""One thread receives, n threads own a replica each. Kernels release the interpreter lock, so the replicas run at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pipeline.backends import BackendSpec

if TYPE_CHECKING:
    from pipeline.job import Job
    from pipeline.wiring import Replica

_LOOK_S = 0.1


def drive(job: Job, spec: BackendSpec) -> None:
    """Run the job with ``spec.replicas`` threads; the caller's thread receives."""
    replicas = [job.open_replica() for _ in range(spec.replicas)]
    job.start(in_flight=4 + 4 * spec.replicas)
    # daemon threads: a replica stuck in foreign code must not keep an abandoned run alive
    workers = [
        threading.Thread(target=_work, args=(job, replica), name=f"replica-{n}", daemon=True)
        for n, replica in enumerate(replicas)
    ]
    for worker in workers:
        worker.start()
    try:
        while job.feed():
            pass
    finally:
        job.inbox.close()
    for worker in workers:
        while worker.is_alive() and not job.abandon.is_set():
            worker.join(_LOOK_S)
            job.show_progress()
    if job.abandon.is_set():
        job.give_up()
        for worker in workers:
            worker.join(_LOOK_S)


def _work(job: Job, replica: Replica) -> None:
    try:
        while (frame := job.inbox.take()) is not None:
            job.finish_frame(replica.process(frame))
    except Exception as error:  # a fault of ours, not of a frame: end the run and let it be seen
        if not job.abandon.is_set():  # an abandoned run closes replicas under their threads
            job.fail(error)
            job.abandon.set()
