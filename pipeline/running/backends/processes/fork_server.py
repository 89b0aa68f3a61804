"""A process that has loaded everything, has one thread, and does nothing but fork: workers begin within milliseconds.

A fork of the program itself would not be safe: it has threads, whose locks would be held for ever in the child. Fresh
interpreters would be, but each would import for a second, load machine code for another, and keep a copy of all tables. So one
fresh interpreter does that once, before it has any thread, and is forked; workers share with it what they do not change, the
code of kernels and the tables of stages above all (``docs/decisions/0031-...``).

It opens the built-in stages once and closes them, for what that loads. Users' stages are opened in the workers alone, since
what they open need not survive a fork.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from pipeline.own_packages import BUILT_IN
from pipeline.running.backends.children import end_with_parent, leave_signals_to_parent
from pipeline.running.backends.crossing import packed, unpacked
from pipeline.running.signals import held_back
from pipeline.running.wiring import Setup

if TYPE_CHECKING:
    from pipeline.composing.node import Node

INGEST = 0
"""The child that receives; the others are workers, from 1."""

_PACKET = 1 << 16
_STATUS_S = 2.0
_END_S = 5.0
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
"""A replica uses one thread, and whoever forks must have one alone."""


@dataclass(frozen=True)
class Inherited:
    """What every child has from the fork server.

    Attributes
    ----------
    setup
        With the tables that were made already; None where it could not be unpacked, which a worker will say.
    messages, pages
        File descriptors of the shared memories.
    """

    setup: Setup | None
    packed: bytes
    messages: int
    pages: int
    log_level: int


class ForkServer:
    """The supervisor's side."""

    def __init__(self, setup: Setup, messages: int, pages: int) -> None:
        self._setup = setup
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sending = threading.Lock()
        self._changed = threading.Condition()
        self._ended: dict[int, int] = {}
        self._pids: dict[int, int] = {}
        self._launched = 0
        self._is_gone = False
        level = min(logging.getLogger(name).getEffectiveLevel() for name in ("streamajig", None))
        arguments = [theirs.fileno(), messages, pages, level, os.getpid()]
        code = (
            "import sys; sys.path[:] = sys.argv[6:]; from pipeline.running.backends.processes.fork_server import main; "
            "main(*map(int, sys.argv[1:6]))"
        )
        with held_back():  # a Ctrl-C while it starts would end it
            self._process = subprocess.Popen(
                [sys.executable, "-c", code, *map(str, arguments), *sys.path],
                stdin=subprocess.PIPE,
                pass_fds=(theirs.fileno(), messages, pages),
                env={**dict.fromkeys(_ONE_THREAD, "1"), **os.environ},
            )
        theirs.close()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as pipe:
            pipe.write(packed(setup))
        self._listener = threading.Thread(target=self._listen, name="fork-server", daemon=True)
        self._listener.start()

    def launch(self, child: int, end: socket.socket) -> int:
        """Fork a child with its end of a link; return by what number it is known from now on. OSError if the server is gone."""
        with self._sending:
            self._launched += 1
            launch = self._launched
            request = json.dumps({"fork": launch, "child": child}).encode()
            socket.send_fds(self._ours, [request], [end.fileno()])
        end.close()
        return launch

    def kill(self, launch: int) -> None:
        """Kill a child, if it has not ended."""
        with contextlib.suppress(OSError), self._sending:
            self._ours.send(json.dumps({"kill": launch}).encode())

    def status(self, launch: int, timeout_s: float = _STATUS_S) -> int | None:
        """The exit code of a child that is ending, negative for a signal; None if it cannot be had in this time."""
        with self._changed:
            self._changed.wait_for(lambda: launch in self._ended or self._is_gone, timeout_s)
            return self._ended.get(launch)

    def pid(self, launch: int) -> int | None:
        """The process of a child; None if it has ended, or has not begun."""
        return self._pids.get(launch)

    def close(self) -> None:
        """End the server, and with it all its children."""
        with contextlib.suppress(OSError):
            self._ours.shutdown(socket.SHUT_RDWR)
        self._listener.join(_END_S)
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._ours.close()

    def _listen(self) -> None:
        while True:
            try:
                packet = self._ours.recv(_PACKET)
            except OSError:
                packet = b""
            if not packet:
                break
            said = json.loads(packet)
            if "opening" in said:
                self._setup.opening = said["opening"]
                continue
            if "began" in said:
                self._pids[said["began"]] = said["pid"]
                continue
            with self._changed:
                self._pids.pop(said["ended"], None)
                self._ended[said["ended"]] = said["status"]
                self._changed.notify_all()
        with self._changed:
            self._is_gone = True
            self._changed.notify_all()


def main(control: int, messages: int, pages: int, log_level: int, parent: int) -> None:
    """Serve until the supervisor hangs up; does not return in a child."""
    end_with_parent(parent)
    leave_signals_to_parent()
    data = sys.stdin.buffer.read()
    with socket.socket(fileno=control) as supervisor:
        setup = _warmed(data, supervisor)
        inherited = Inherited(setup, data, messages, pages, log_level)
        gc.collect()
        gc.freeze()
        _serve(supervisor, inherited)


class _TellingSetup(Setup):
    """Lets the supervisor know what is being opened, since that may take minutes the first time."""

    supervisor: socket.socket

    def context_of(self, node: Node, replica: int) -> Any:
        _tell(self.supervisor, opening=node.name)
        return super().context_of(node, replica)


def _warmed(data: bytes, supervisor: socket.socket) -> Setup | None:
    """Unpack the setup, and open what is built in once; what goes wrong goes wrong again in the workers, which say it."""
    try:
        setup = unpacked(data)
    except Exception:
        return None
    telling = _TellingSetup(setup.graph, setup.context, tables=setup.tables)
    telling.supervisor = supervisor
    running = []
    for node in setup.graph.in_order():
        ours = type(node.stage).__module__.split(".")[0] == BUILT_IN
        if ours and node.role not in ("source", "join") and hasattr(node.stage, "open"):
            with contextlib.suppress(Exception):
                running.append(node.stage.open(telling.context_of(node, 0)))
    for one in reversed(running):
        with contextlib.suppress(Exception):
            getattr(one, "close", lambda: None)()
    return setup


def _serve(supervisor: socket.socket, inherited: Inherited) -> None:
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    running: dict[int, int] = {}
    while True:
        ready = select.select([supervisor.fileno(), woken], [], [])[0]
        if woken in ready:
            os.read(woken, 512)
        _reap(supervisor, running)
        if supervisor.fileno() not in ready:
            continue
        packet, handles, _, _ = socket.recv_fds(supervisor, _PACKET, 1)
        if not packet:
            return  # and the kernel ends the children
        asked = json.loads(packet)
        if "kill" in asked:
            for pid, launch in running.items():
                if launch == asked["kill"]:
                    os.kill(pid, signal.SIGKILL)
            continue
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            for fd in (woken, wake):
                os.close(fd)
            supervisor.close()
            _be_child(asked["child"], handles[0], inherited, server)
        os.close(handles[0])
        running[pid] = asked["fork"]
        _tell(supervisor, began=asked["fork"], pid=pid)


def _reap(supervisor: socket.socket, running: dict[int, int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        _tell(supervisor, ended=running.pop(pid), status=os.waitstatus_to_exitcode(status))


def _tell(supervisor: socket.socket, **what: Any) -> None:
    with contextlib.suppress(OSError):  # one that is gone is noticed when it is listened to
        supervisor.send(json.dumps(what).encode())


def _be_child(child: int, handle: int, inherited: Inherited, server: int) -> None:
    """Be a worker or the process that receives, and end."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        end_with_parent(server)
        gc.enable()
        if child == INGEST:
            from pipeline.running.backends.processes.ingest_process import serve
        else:
            from pipeline.running.backends.processes.worker import serve
        status = serve(child, Connection(handle), inherited)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        status = 0  # the supervisor wants no more
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
