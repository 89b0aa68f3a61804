"""The Dask cluster as a run needs it: which workers there are, a long task for one of them, and one that must be restarted.

A cluster of this machine's own is a scheduler in this process, reachable from this machine alone, and workers that are
processes (:mod:`pipeline.running.backends.dask.local_worker`); those that die are started anew, as Dask's nanny does on
other machines.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import logging
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pipeline.composing.backend_spec import BackendSpec
from pipeline.errors import UserError
from pipeline.faults import text_of
from pipeline.running.backends.dask import local_worker
from pipeline.running.signals import when_left

log = logging.getLogger("streamajig.dask")

_CONNECT_S = 10.0
_LOOK_S = 0.5
"""How often the scheduler is asked which workers there are."""

_LOST_S = 3.0
"""A connection to the scheduler that is not back after so long will not come back; workers that lose it end as well."""

_MOST_DEATHS = 3
"""When each local worker has ended so often without having opened a replica, they are not started again."""


class Cluster:
    """Belongs to one thread; that thread's end is the end of local workers."""

    def __init__(self, spec: BackendSpec) -> None:
        distributed = _distributed()
        import dask.config  # with distributed

        self._quiet = contextlib.ExitStack()
        self._quiet.callback(_silence())
        self._cluster: Any = None
        self._local: _LocalWorkers | None = None
        self._workers: dict[str, int] = {}
        self._asked: concurrent.futures.Future[dict[str, int]] | None = None
        self._asked_s = 0.0
        self._connected_s = time.monotonic()
        self._names = itertools.count()
        try:
            if spec.address:
                self.address = spec.address
                kind = {"scheduler_file": spec.address} if spec.address.endswith(".json") else {"address": spec.address}
                self._client = distributed.Client(**kind, timeout=_CONNECT_S, set_as_default=False)
            else:
                folder = self._quiet.enter_context(tempfile.TemporaryDirectory(prefix="streamajig-dask-"))
                self._quiet.enter_context(when_left(lambda: self._clear(folder)))
                with dask.config.set({"temporary-directory": folder}):  # where the scheduler makes its own
                    self._cluster = distributed.LocalCluster(
                        n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL
                    )
                self.address = self._cluster.scheduler_address
                self._client = distributed.Client(self._cluster, set_as_default=False)
                self._local = _LocalWorkers(self.address, spec.replicas, folder)
        except (OSError, ValueError, RuntimeError) as error:
            self.close()
            raise UserError(f"no Dask scheduler answers at {self.address}: {text_of(error)}") from error
        except BaseException:
            self.close()
            raise

    def _clear(self, folder: str) -> None:
        """Leave nothing on disk; for a program that is ended by force."""
        if self._local is not None:
            self._local.kill_all()
        shutil.rmtree(folder, ignore_errors=True)

    @property
    def is_local(self) -> bool:
        """Whether the workers are this run's own."""
        return self._cluster is not None

    @property
    def is_lost(self) -> bool:
        """Whether the scheduler is gone for good."""
        if self._client.status == "running":
            self._connected_s = time.monotonic()
        return time.monotonic() - self._connected_s > _LOST_S

    @property
    def known(self) -> list[str]:
        """The workers that there were when it was last asked; any thread."""
        return list(self._workers)

    def own_host(self) -> str:
        """The address of this machine on the way to the scheduler."""
        url = urlsplit(self._client.scheduler.address)
        host, port = url.hostname or "127.0.0.1", url.port or 8786
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:  # nothing is sent
            probe.connect((host, port))
            return str(probe.getsockname()[0])

    def workers(self) -> dict[str, int]:
        """The workers that there are, a moment ago, and how many threads each has; never waits."""
        if self._local is not None:
            self._local.look_after()
        if self._asked is not None and self._asked.done():
            with contextlib.suppress(Exception):  # the connection is lost, which `is_lost` says
                self._workers = dict(self._asked.result())
            self._asked = None
        if self._asked is None and time.monotonic() - self._asked_s > _LOOK_S and self._client.status == "running":
            self._asked_s = time.monotonic()
            loop = self._client.loop.asyncio_loop
            self._asked = asyncio.run_coroutine_threadsafe(self._client.scheduler.ncores(workers=None), loop)
        return self._workers

    def submit(self, address: str, function: Callable[[Any], str], argument: Any) -> Any:
        """Give one worker, and no other, something to do for long; returns Dask's future."""
        key = f"streamajig-{next(self._names)}-{id(self):x}"
        return self._client.submit(
            function, argument, key=key, workers=[address], allow_other_workers=False, pure=False, retries=0
        )

    def has_settled(self, pid: int) -> None:
        """A worker, with this process, has opened its replica."""
        if self._local is not None:
            self._local.has_settled(pid)

    def restart(self, address: str, pid: int) -> None:
        """End a worker that hangs, by force; another one takes its place."""
        if self._local is not None:
            self._local.kill(pid)
            return
        threading.Thread(target=self._restart, args=(address,), name="restart", daemon=True).start()

    def close(self) -> None:
        """Leave the cluster; end it if it is this run's own."""
        for part in (self._local, getattr(self, "_client", None), self._cluster):
            if part is not None:
                with contextlib.suppress(Exception):  # a scheduler that is gone cannot be said goodbye to
                    part.close()
        self._quiet.close()

    def _restart(self, address: str) -> None:
        try:
            self._client.restart_workers([address], timeout=60)
        except Exception as error:
            log.warning(
                "the Dask worker %s cannot be restarted (only those with a nanny can): %s", address, text_of(error)
            )


@dataclass
class _LocalWorker:
    process: subprocess.Popen[bytes]
    has_settled: bool = False


class _LocalWorkers:
    """Worker processes of this machine, started anew when they die."""

    def __init__(self, scheduler: str, count: int, folder: str) -> None:
        self._scheduler = scheduler
        self._folder = folder
        self._workers = [self._start() for _ in range(count)]
        self._deaths = 0

    def look_after(self) -> None:
        """Start anew those that have died; UserError if that does not help."""
        for n, worker in enumerate(self._workers):
            status = worker.process.poll()
            if status is None:
                continue
            self._deaths = 0 if worker.has_settled else self._deaths + 1
            how = f"signal {-status}" if status < 0 else f"exit status {status}"
            if self._deaths >= _MOST_DEATHS * len(self._workers):
                raise UserError(f"Dask workers of this machine end before they have opened a replica ({how})")
            log.info("a Dask worker of this machine has ended (%s); another one is started", how)
            self._workers[n] = self._start()

    def has_settled(self, pid: int) -> None:
        """A worker has opened its replica."""
        for worker in self._workers:
            worker.has_settled |= worker.process.pid == pid

    def kill(self, pid: int) -> None:
        """End one by force."""
        for worker in self._workers:
            if worker.process.pid == pid:
                worker.process.kill()

    def kill_all(self) -> None:
        """End all by force."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(1.0)

    def close(self) -> None:
        """End all."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            try:
                worker.process.wait(1.0)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()

    def _start(self) -> _LocalWorker:
        return _LocalWorker(local_worker.start(self._scheduler, self._folder))


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise UserError(f"the backend dask needs Dask: pip install 'streamajig[dask]' ({error})") from error
    return distributed


def _silence() -> Callable[[], None]:
    """Let Dask's loggers be quiet: what matters of what they say is said by this backend. Returns what undoes it."""
    names = [name for name in list(logging.root.manager.loggerDict) if name.split(".")[0] == "distributed"]
    before = {name: logging.getLogger(name).level for name in ("distributed", *names)}
    for name in before:
        logging.getLogger(name).setLevel(logging.CRITICAL)

    def undo() -> None:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)

    return undo
