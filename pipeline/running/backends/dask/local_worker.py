"""A Dask worker on this machine: a process of its own that ends with the run, whatever ends that.

It is started afresh (neither forked nor by multiprocessing, which would import a script's main module once more), in a
session of its own, so that Ctrl-C on the terminal reaches the run alone. The kernel kills it when the thread that started it is
gone, kill -9 included.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import logging
import os
import subprocess
import sys

from pipeline.running.backends.children import end_with_parent

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from pipeline.running.backends.dask.local_worker import main; main(sys.argv[2], int(sys.argv[3]), sys.argv[4] or None)"
)


def start(scheduler: str, folder: str = "") -> subprocess.Popen[bytes]:
    """Start a worker; it is killed when the thread that calls this ends.

    What Dask keeps on disk for it is in `folder`, by default where Dask says.
    """
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _START, json.dumps(sys.path), scheduler, str(os.getpid()), folder],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def main(scheduler: str, parent: int, folder: str | None = None) -> None:
    """Be a worker, until the scheduler or the parent is gone."""
    end_with_parent(parent)
    faulthandler.enable()
    import dask.config
    import distributed

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("distributed."):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    # Dask's own watching samples the stacks of all threads a hundred times a second
    with dask.config.set(
        {"distributed.worker.profile.enabled": False, "distributed.admin.system-monitor.gil.enabled": False}
    ):
        asyncio.run(_work(distributed.Worker, scheduler, folder))


async def _work(make: type, scheduler: str, folder: str | None) -> None:
    async with make(
        scheduler, nthreads=1, memory_limit=0, dashboard=False, death_timeout=10, local_directory=folder
    ) as worker:
        await worker.finished()
