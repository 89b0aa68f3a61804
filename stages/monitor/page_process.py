"""The page of a run as a process of its own, which the run starts, watches and takes along when it ends.

Nothing that happens there holds up the run: a page that cannot start, or dies, costs one warning. The process is not of the
terminal's group, so that Ctrl-C ends the run first, and the page when it has handed on the last state; that it is time to do so
it is told by a line on stdin. It looks itself whether the run is still there, since that may be killed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from typing import Any

from pipeline import UserError

log = logging.getLogger("streamajig.monitor")

_NEEDS = ("starlette", "uvicorn", "websockets", "prometheus_client")

_KEPT_LINES = 20
OVER = "over"
"""What the process is told on stdin when the run has ended."""

_HANDING_ON_S = 6.0
_TERMINATED_S = 2.0


def check_installed() -> None:
    """UserError if what the page needs is not installed."""
    missing = [name for name in _NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"the page of the monitor needs {', '.join(missing)}; install it with: pip install 'streamajig[monitor]'"
        )


class PageProcess:
    """The process; starts at once.

    Parameters
    ----------
    address
        Where the run publishes.
    port
        Of the page; 0: one that is free.

    Attributes
    ----------
    url
        The address of the page; "" until it is known.
    """

    def __init__(self, address: str, port: int = 0) -> None:
        self.url = ""
        self._is_ending = False
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        command = [sys.executable, "-m", "streamajig", "--log-level", "warning", "monitor", address]
        command += ["--port", str(port), "--parent", str(os.getpid())]
        self._process: subprocess.Popen[str] | None = None
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            log.warning("the page of the monitor cannot be started: %s; the run goes on without it", error)
            return
        self._thread = threading.Thread(target=self._watch, args=(self._process,), name="monitor page", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def finish(self) -> None:
        """Wait until browsers have the last state, for some seconds at most, and end the process. May be called twice."""
        if self._is_ending or self._process is None:
            return
        self._is_ending = True
        if self.url:
            log.info("the page ends with the run: what browsers show stays there, and --report FILE keeps it in a file")
        elif self.is_alive:  # nobody looks: it has not begun yet
            log.info("the run was over before its page could be opened; --report FILE keeps what it shows in a file")
            self._process.terminate()
        self._tell_that_it_is_over(self._process)
        for wait_s, number in ((_HANDING_ON_S, signal.SIGTERM), (_TERMINATED_S, signal.SIGKILL)):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(wait_s)
                break
            self._process.send_signal(number)
        self._process.wait()
        self._thread.join(_TERMINATED_S)

    @staticmethod
    def _tell_that_it_is_over(process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError), process.stdin as told:
            told.write(f"{OVER}\n")

    def _watch(self, process: subprocess.Popen[str]) -> None:
        """Read what the process says until it ends."""
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self._hear(line.strip())
        status = process.wait()
        if not self._is_ending:
            said = f": {self._lines[-1]}" if self._lines else ""
            log.warning(
                "the page of the monitor has ended (exit status %d)%s; the run goes on without it", status, said
            )

    def _hear(self, line: str) -> None:
        if not self.url:
            with contextlib.suppress(ValueError, TypeError, KeyError):
                said: Any = json.loads(line)
                self.url = said["url"]
                log.info("see the run at %s", self.url)
                return
        if line:
            log.debug("the page of the monitor: %s", line)
            self._lines.append(line)
