"""Processes that need the same kernel compiled take turns: one compiles it, the others wait and find it on disk.

A process that compiles a function holds a lock on a file beside the function's code. The kernels that it calls are compiled
meanwhile, each under a lock of its own; since kernels do not call each other in circles, no two processes can wait for one
another. The system lets go of the locks of a process that ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

PATIENCE_S = 120.0
"""After so long a wait a function is compiled here all the same: whoever has the lock may have been halted."""

_LOOK_S = 0.05

_is_waited_for = True

_held: dict[Path, list[int]] = {}
"""Descriptors of what this process compiles just now; numba's lock of its compiler guards this, too."""


def let_nobody_wait() -> None:
    """Take no turns in this process, which gives way to all others: what it is at work on others compile, too."""
    global _is_waited_for  # noqa: PLW0603
    _is_waited_for = False


def take(lock: Path) -> bool:
    """Begin to compile; return whether another process did so before, so that there may be something on disk now."""
    if not _is_waited_for:
        return False
    if lock in _held:  # for other types of arguments, say
        _held[lock].append(-1)
        return False
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:
        return False  # nothing can be kept there, and whoever tries to says so
    _held[lock] = [descriptor]
    begin = time.monotonic()
    has_waited = False
    while not _locked(descriptor) and time.monotonic() < begin + PATIENCE_S:
        has_waited = True
        time.sleep(_LOOK_S)
    return has_waited


def leave(lock: Path) -> None:
    """Let others go on: it is compiled, or was found after all."""
    descriptors = _held.get(lock, [])
    if descriptors:
        descriptor = descriptors.pop()
        if descriptor >= 0:
            os.close(descriptor)
        if not descriptors:
            del _held[lock]


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system that has no locks
    return True
