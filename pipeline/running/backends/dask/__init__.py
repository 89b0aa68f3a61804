"""Replicas on the workers of a Dask cluster, on this machine or on many.

The process in which the run was started is the supervisor: its ingest counts and numbers, its collector counts, its writers
write. On each Dask worker one long task, an *outpost*, holds replicas in as many threads as the worker has, and a source of its
own, which gets frames from the sender directly: pixels pass neither Dask's scheduler nor the supervisor. Outposts connect back
to the supervisor over TCP, report each message when they receive it, and hand in what arrives at the leaves. Dask says which
workers there are, starts the outposts and restarts workers; of the frames it sees nothing.

:mod:`~pipeline.running.backends.dask.outpost` runs there, :mod:`~pipeline.running.backends.dask.crew` here.
``docs/decisions/0032-...`` says why.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pipeline.composing.backend_spec import BackendSpec
from pipeline.lost import Delivery
from pipeline.running.backends.dask.cluster import Cluster
from pipeline.running.backends.dask.crew import Crew
from pipeline.running.backends.moving import move_frames

if TYPE_CHECKING:
    from pipeline.running.job import Job


def drive(job: Job, spec: BackendSpec) -> None:
    """Run the job on a cluster; the caller's thread numbers frames, and looks after the outposts."""
    listen = _where_to_listen(job.graph.options.listen)
    has_sources = getattr(job.graph.source.stage, "delivery", None) is Delivery.SHARED
    with contextlib.ExitStack() as opened:
        cluster = opened.enter_context(contextlib.closing(Cluster(spec)))
        crew = opened.enter_context(Crew(job, cluster, has_sources, listen))
        crew.open_first()
        job.start(crew.in_flight, (lambda: crew.sources) if has_sources else None)
        crew.begin()
        move_frames(job, crew)


def _where_to_listen(text: str | None) -> tuple[str, int]:
    """Read ``run.listen``: an address, perhaps with a port; ``("", 0)`` finds both.

    >>> _where_to_listen("10.1.2.3:5010"), _where_to_listen("10.1.2.3"), _where_to_listen("[fd00::1]:5010")
    (('10.1.2.3', 5010), ('10.1.2.3', 0), ('fd00::1', 5010))
    """
    if not text:
        return "", 0
    host, _, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not port.isdecimal():
        host, port = text, "0"
    return host.strip("[]"), int(port)
