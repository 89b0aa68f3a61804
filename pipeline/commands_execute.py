"""Run a graph on behalf of the command line: signals, progress, report, exit status.

Exit status
    0
        The stream ended, or the first SIGINT or SIGTERM ended it: whatever was received is finished and written.
    1
        Something failed, and the report says what: an output could no longer be written (a full disk, say), the source broke
        off, an analysis or the end of a stage raised, a thread died.
    2
        The run could not start because of something the user can mend.
    3
        Frames came, and at some sink not one was delivered: all were rejected (or dropped). Frames in which nothing was
        found are delivered, so a run of blanks has status 0.
    4
        Nothing came at all, whatever ended the run; a script that goes on to the next step wants to know that also where a
        signal or a timeout did.
    130
        A second SIGINT or SIGTERM abandoned frames in flight; the report says how many. Or one came before the first frame
        could, while files were read and kernels compiled; nothing was received.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from pipeline.crash import crashes_leave_a_word
from pipeline.progress import ProgressLine

if TYPE_CHECKING:
    from pipeline.graph import Graph
    from pipeline.report import Progress, Report

log = logging.getLogger("streamajig.run")

FAILED = 1
NOTHING_DELIVERED = 3
NOTHING_RECEIVED = 4
ABANDONED = 130


def execute(graph: Graph, command_line: str, *, profile: bool = False, as_json: bool = False) -> int:
    """Run the graph, print the report on stdout, and return the exit status."""
    from pipeline.job import run

    stopping, abandon, opened = threading.Event(), threading.Event(), threading.Event()
    with crashes_leave_a_word(), ProgressLine() as progress, signals_end_the_run(stopping, abandon, opened):

        def on_progress(what: Progress) -> None:
            opened.set()
            progress(what)

        try:
            report = run(graph, command_line=command_line, on_progress=on_progress, stopping=stopping, abandon=abandon)
        except KeyboardInterrupt:
            _say("ended before anything was received")
            return ABANDONED
    show(report, profile=profile, as_json=as_json)
    return status_of(report)


def status_of(report: Report) -> int:
    """Return the exit status of a run with this report, and say in the log what it means unless the report does."""
    if report.failure is not None:
        return FAILED
    if report.abandoned:
        return ABANDONED
    if report.received == 0:
        log.warning("nothing was received (exit status %d)", NOTHING_RECEIVED)
        return NOTHING_RECEIVED
    empty = [name for name, tally in report.leaves.items() if tally.delivered == 0]
    if empty:
        log.warning("not one frame was delivered at %s (exit status %d)", ", ".join(empty), NOTHING_DELIVERED)
        return NOTHING_DELIVERED
    return 0


def show(report: Report, *, profile: bool, as_json: bool) -> None:
    """Print a report on stdout."""
    text = json.dumps(report.as_json(), indent=2, allow_nan=False) if as_json else report.text(profile=profile)
    print(text, flush=True)  # noqa: T201 - this is the program's output


@contextmanager
def signals_end_the_run(
    stopping: threading.Event, abandon: threading.Event, opened: threading.Event | None = None
) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM set `stopping`, the second `abandon`, and give the rest back to the system.

    Until `opened` is set there is nothing to finish, and compiling may take minutes: a signal raises KeyboardInterrupt.
    Outside the main thread, where Python allows no signal handlers, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if opened is not None and not opened.is_set():
            raise KeyboardInterrupt
        if not stopping.is_set():
            stopping.set()
            _say(f"{name}: asking for nothing more; finishing what was received (again to abandon it)")
        elif not abandon.is_set():
            abandon.set()
            _say(f"{name}: abandoning the frames in flight")
        else:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(text: str) -> None:
    """Write to stderr without locks: a signal may have come in the middle of somebody's writing."""
    os.write(2, f"\nstreamajig: {text}\n".encode())
