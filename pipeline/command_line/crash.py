"""A process that dies without Python noticing leaves a word about the stage that was running.

- A segmentation fault, an abort, a bus error: ``faulthandler`` writes the stacks of all threads to stderr. The function that
  guards a stage has the name of its node (:func:`pipeline.faults.named`), so ``in stage count`` stands below the user's own.
- ``os._exit`` runs no handler; while a run goes on it is another function, which writes where it was called, and leaves.
- A stage that holds the interpreter's lock stops every other thread, the watchdog and signal handlers too. A thread of
  ``faulthandler``'s own, which needs no lock, then writes the stacks.

Nobody can do so after SIGKILL.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn, TextIO

from pipeline.faults import STAGE

_SILENT_S = 40.0
"""When no Python code has run in any thread for so long, the stacks are written; the watchdog would have spoken by then."""

_ALIVE_S = 10.0
"""How often the thread that must not fall silent shows itself."""


@contextlib.contextmanager
def crashes_leave_a_word() -> Iterator[None]:
    """While a run goes on in this process, on the command line."""
    stderr = sys.__stderr__
    if stderr is None or stderr.closed:  # its number may be some other file by now
        yield
        return
    ours = not faulthandler.is_enabled()
    if ours:
        faulthandler.enable(stderr)
    done = threading.Event()
    alive = threading.Thread(target=_show_life, args=(stderr, done), name="alive", daemon=True)
    alive.start()
    leave = os._exit
    os._exit = _leaving_a_word(leave)  # type: ignore[assignment]
    try:
        yield
    finally:
        os._exit = leave
        done.set()
        alive.join()
        if ours:
            faulthandler.disable()


def _show_life(stderr: TextIO, done: threading.Event) -> None:
    while not done.is_set():
        faulthandler.dump_traceback_later(_SILENT_S, file=stderr)
        done.wait(_ALIVE_S)
    faulthandler.cancel_dump_traceback_later()


def _leaving_a_word(leave: object) -> object:
    process = os.getpid()

    def _exit(status: int) -> NoReturn:
        stage = _stage_of(sys._getframe())
        if stage and os.getpid() == process:  # and not a child of a stage's own, which leaves in this way
            text = f"os._exit({status}) was called in {stage}: the run is over, without a report"
            with contextlib.suppress(OSError):
                os.write(2, f"\nstreamajig: {text}\n".encode(errors="replace"))
            status = status or 1
        leave(status)  # type: ignore[operator]
        raise AssertionError("unreachable")

    return _exit


def _stage_of(frame: FrameType | None) -> str:
    """The stage that is running in a stack, and its frame."""
    while frame is not None:
        if frame.f_code.co_name.startswith(STAGE):
            work: Any = frame.f_locals.get("outcome")
            return frame.f_code.co_name + (f", on frame {work.serial}" if hasattr(work, "serial") else "")
        frame = frame.f_back
    return ""
