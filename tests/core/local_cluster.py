"""A Dask cluster on this machine, which outlives the runs."""

from __future__ import annotations

import subprocess

import distributed

from pipeline.backends.dask import local_worker


class Cluster:
    """A scheduler, and two workers that can be killed and started."""

    def __init__(self) -> None:
        self._cluster = distributed.LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=":0", silence_logs=50)
        self.address: str = self._cluster.scheduler_address
        self.workers: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        self.workers.append(local_worker.start(self.address))

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self._cluster.close()
