"""Programs of a study that work beside it, say what they do in lines of JSON, and end when their input is closed."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

PATIENCE_S = 600.0
"""Kernels that were never compiled take so long, and what has to share a machine."""


@contextlib.contextmanager
def program(
    script: Path | str, *arguments: str, cores: Sequence[int] = (), patience_s: float = PATIENCE_S
) -> Iterator[subprocess.Popen[str]]:
    """A Python program (``-m``: a module) at work, in a session of its own; when this is left it has some seconds to end.

    Whoever leaves it has told it to, by :func:`end` mostly. It is killed after `patience_s` of work.
    """
    process = subprocess.Popen(
        [sys.executable, str(script), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    if cores:
        os.sched_setaffinity(
            process.pid, cores
        )  # its threads and processes, which it has not started yet, do as it does
    too_late = threading.Timer(patience_s, process.kill)
    too_late.start()
    try:
        yield process
        if process.wait(30.0) != 0:
            raise SystemExit(f"{script} {' '.join(arguments)} has ended with status {process.returncode}")
    finally:
        too_late.cancel()
        if process.poll() is None:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def said_by(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """What a program prints, line by line."""
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)
    raise SystemExit(f"{process.args!r} has ended before it was told to")


def asked(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Ask a program that answers each line of its input with one."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())  # type: ignore[no-any-return]


def end(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Close a program's input, and return the last of what it prints."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    lines = process.stdout.readlines()
    return json.loads(lines[-1]) if lines else {}
