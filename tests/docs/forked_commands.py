"""Commands ``streamajig`` without the seconds in which a new process imports numba and loads kernels.

A process that has done so once is kept, and each command is a fork of it with its own arguments, folder, environment and
standard streams: what it does and prints is the same, and SIGINT and SIGTERM are handed on to it. What is tested of starting
and of signals takes processes of its own.

As a program: ``python forked_commands.py SOCKET`` is that process, until its standard input ends.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import NoReturn

from pipeline.running.backends.children import end_with_parent

PATIENCE_S = 300  # a fresh clone compiles

_LONGEST_REQUEST = 1 << 17

_CLIENT = """\
import json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
    asking.connect(sys.argv[1])
    request = json.dumps({"words": sys.argv[2:], "folder": os.getcwd(), "environment": dict(os.environ)})
    socket.send_fds(asking, [request.encode()], [0, 1, 2])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: asking.send(str(int(number)).encode()))
    answer = asking.recv(64)
sys.exit(int(answer) if answer else "the process that is forked for commands has died")
"""


def script_for(folder: Path, project: Path) -> Path:
    """Write a program ``streamajig`` into the folder, for a shell to find, and return its path."""
    client = folder / "client.py"
    client.write_text(_CLIENT)
    file = folder / "streamajig"
    file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{client}" "{_address(project)}" "$@"\n')
    file.chmod(0o755)
    return file


@functools.cache
def _address(project: Path) -> str:
    """Start the process, once in each process of tests; return the name of its socket."""
    folder = tempfile.mkdtemp(prefix="forked-")
    address = f"{folder}/socket"
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1", "PYTHONPATH": ""}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(project), os.environ.get("PYTHONPATH", "")]))
    process = subprocess.Popen(
        [sys.executable, __file__, address],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )

    def end() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return address


def _prepare() -> None:
    """Import what commands import, and load the kernels that they use."""
    from pipeline import registry
    from pipeline.command_line import cli, execute  # noqa: F401
    from pipeline.running.wiring import Replica, Setup
    from stages.commands.warm_up import default_graphs

    registry.names()
    with tempfile.TemporaryDirectory() as folder:
        for _, graph in default_graphs(Path(folder)):
            Replica(Setup(graph)).close()
    registry.load("source/simulate").warm_up()


def _serve(address: str) -> None:
    """Fork for each request; returns in the fork, which is to run the command."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(address)
        listening.listen(16)
        print("ready", flush=True)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait for commands
        server = os.getpid()
        while True:
            ready, _, _ = select.select([listening, sys.stdin], [], [])
            if sys.stdin in ready:
                os._exit(0)
            asker, _ = listening.accept()
            if os.fork() == 0:
                end_with_parent(server)
                listening.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _answer(asker)
                return
            asker.close()


def _answer(asker: socket.socket) -> None:
    """Fork once more, hand signals on until it ends, and send the exit status; returns in the fork."""
    request, streams, _, _ = socket.recv_fds(asker, _LONGEST_REQUEST, 3)
    waiting = os.getpid()
    command = os.fork()
    if command == 0:
        end_with_parent(waiting)
    else:
        for stream in streams:
            os.close(stream)
        _hand_on(asker, command)
        status = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
        with contextlib.suppress(BrokenPipeError):
            asker.send(str(status if status >= 0 else 128 - status).encode())
        os._exit(0)
    asker.close()
    asked = json.loads(request)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.argv = ["streamajig", *asked["words"]]
    sys.path[0] = asked["folder"]


def _hand_on(asker: socket.socket, command: int) -> None:
    """Send the command the signals that whoever asked for it gets, until it has ended; it ends with them if they are killed."""
    ended = os.pidfd_open(command)
    while ended not in (ready := select.select([ended, asker], [], [])[0]):
        assert ready == [asker]
        number = asker.recv(64)
        os.kill(command, int(number) if number else signal.SIGKILL)
        if not number:
            break
    os.close(ended)


def _run() -> NoReturn:
    """Run the command, and end without taking apart all that was imported, which takes a second."""
    from pipeline.command_line.cli import main

    status: object = 1
    try:
        main()
    except SystemExit as ending:
        status = ending.code
    except BaseException:
        traceback.print_exc()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 0 if status is None else 1)


if __name__ == "__main__":
    _prepare()
    gc.collect()
    gc.freeze()  # forks leave alone what they share
    _serve(sys.argv[1])
    _run()
