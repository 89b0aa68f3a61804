"""Run ``streamajig`` in forks of a process that has imported all of it: a run starts in a tenth of a second, not in three.

A fork is a process like any other, and goes through the same ``main``. What it has not got is the time before that, so what
happens while the interpreter starts is tested with a process that is started as users do it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_LOOK_S = 0.01


class Nursery:
    """The process that forks; started with the first run, and ended with the tests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told = threading.Condition()
        self._statuses: dict[int, int] = {}
        self._process: subprocess.Popen[str] | None = None
        self._pids: list[int] = []

    def start(
        self, words: Sequence[str], out: Path, err: Path, folder: Path, environment: Mapping[str, str]
    ) -> ForkedRun:
        """Start ``streamajig`` with these words."""
        order = {"words": words, "out": str(out), "err": str(err), "folder": str(folder), "environment": environment}
        with self._lock, self._told:
            process = self._process = self._process or self._begin()
            assert process.stdin is not None
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            assert self._told.wait_for(lambda: self._pids, 60.0)
            return ForkedRun(self, self._pids.pop())

    def status(self, pid: int, timeout_s: float) -> int | None:
        """The exit status of a run, as subprocess gives it; None while it runs."""
        with self._told:
            self._told.wait_for(lambda: pid in self._statuses, timeout_s)
            return self._statuses.get(pid)

    def close(self) -> None:
        """End the process; runs that still go on are left to those who started them."""
        if self._process is not None:
            self._process.communicate(timeout=60.0)

    def _begin(self) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()
        return process

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with self._told:
                what, pid, *status = line.split()
                if what == "began":
                    self._pids.append(int(pid))
                else:
                    self._statuses[int(pid)] = os.waitstatus_to_exitcode(int(status[0]))
                self._told.notify_all()


class ForkedRun:
    """One run; a part of what Popen has."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid

    def poll(self) -> int | None:
        """The exit status, None while it runs."""
        return self._nursery.status(self.pid, 0.0)

    def wait(self, timeout: float) -> int:
        """Wait for its end."""
        status = self._nursery.status(self.pid, timeout)
        if status is None:
            raise subprocess.TimeoutExpired("streamajig", timeout)
        return status


def _fork_runs() -> None:
    """Fork as told on stdin, and say who has ended; returns in the forks, and when stdin is closed."""
    waiting: dict[int, None] = {}
    while True:
        if select.select([0], [], [], _LOOK_S)[0]:
            line = sys.stdin.readline()
            if not line:
                os._exit(0)
            pid = os.fork()
            if not pid:
                return _become(json.loads(line))
            waiting[pid] = None
            print("began", pid, flush=True)
        for pid in list(waiting):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del waiting[pid]
                print("ended", pid, status, flush=True)


def _become(order: Mapping[str, Any]) -> None:
    os.setsid()
    for number, name in enumerate((os.devnull, order["out"], order["err"])):
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        os.dup2(fd, number)
        os.close(fd)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    sys.argv = ["streamajig", *order["words"]]


def _import_all() -> None:
    """What a run of the graph imports, and the compiled code that it loads."""
    import importlib

    for name in (
        "command_line.cli",
        "command_line.commands",
        "command_line.execute",
        "running.job",
        "running.backends.serial",
        "running.backends.threads",
    ):
        importlib.import_module(f"pipeline.{name}")
    from pipeline import Context
    from stages.decode.headers_only import HeadersOnly

    for name in (
        "source.zmq_pull",
        "source.zmq_req",
        "source.zmq_sub",
        "geometry_map.map_panels",
        "peaks.from_message",
        "sink.headers_only",
    ):
        importlib.import_module(f"stages.{name}")
    HeadersOnly().open(Context())


if __name__ == "__main__":
    import pipeline.command_line.cli

    _import_all()
    with contextlib.suppress(KeyboardInterrupt):
        _fork_runs()
        pipeline.command_line.cli.main()
