"""What every child process begins with: it ends when its parent does, and leaves signals to it."""

from __future__ import annotations

import ctypes
import os
import signal
from types import FrameType

from pipeline.running.signals import NUMBERS

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, whatever ends that; leave at once if it has ended already."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def leave_signals_to_parent() -> None:
    """Do nothing for those that end a run: a terminal and a launcher send them to all processes, and the supervisor decides.

    They are handled, not ignored: what a stage starts would inherit that. From now on they need not be held back.
    """
    for number in NUMBERS:
        signal.signal(number, _do_nothing)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, NUMBERS)


def how_it_ended(status: int | None) -> str:
    """Say what a process ended with, by its exit code: negative for a signal.

    >>> how_it_ended(-11), how_it_ended(3), how_it_ended(None)
    ('was killed by SIGSEGV', 'left with exit status 3', 'is gone')
    """
    if status is None:
        return "is gone"
    if status >= 0:
        return f"left with exit status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def _do_nothing(number: int, frame: FrameType | None) -> None:
    pass
