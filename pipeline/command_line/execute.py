"""Run a graph on behalf of the command line: signals, progress, report, exit status.

Exit status
    0
        The stream ended, or a first SIGINT, SIGTERM or SIGHUP ended it: whatever was received is finished and written.
    1
        Something failed, and the report says what: an output could no longer be written (a full disk, say), the source broke
        off, an analysis or the end of a stage raised, a thread died. Or the report could not be written; then stderr has
        what was counted, if anybody reads that.
    2
        The run could not start because of something the user can mend.
    3
        Frames came, and at some sink not one was delivered: all were rejected (or dropped). Frames in which nothing was
        found are delivered, so a run of blanks has status 0.
    4
        Nothing came at all, whatever ended the run; a script that goes on to the next step wants to know that also where a
        signal or a timeout did.
    130
        A second signal abandoned frames in flight; the report says how many. Or one came before the first frame
        could, while files were read and kernels compiled; nothing was received.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pipeline.command_line.console import print_on_stdout
from pipeline.command_line.crash import crashes_leave_a_word
from pipeline.command_line.progress import ProgressLine
from pipeline.faults import text_of
from pipeline.running import signals

if TYPE_CHECKING:
    from pipeline.composing.graph import Graph
    from pipeline.running.report import Report
    from pipeline.watching import Progress

log = logging.getLogger("streamajig.run")

FAILED = 1
NOTHING_DELIVERED = 3
NOTHING_RECEIVED = 4
ABANDONED = signals.ENDED


def execute(
    load: Callable[[], Graph],
    command_line: str,
    *,
    profile: bool = False,
    as_json: bool = False,
    afterwards: Callable[[Report], None] = lambda _report: None,
) -> int:
    """Make the graph and run it, print the report on stdout, and return the exit status.

    The graph is made here because that takes a while, in which signals end the process as well. `afterwards` is called when
    the report has been printed.
    """
    from pipeline.running.report import nothing_received

    def say(report: Report) -> bool:
        return show(report, profile=profile, as_json=as_json)

    with signals.Ending() as ending, _no_garbage():
        ending.last_words = lambda: (say(nothing_received()), _abandoned(nothing_received()))
        report = run_watched(load(), command_line, ending, say)
        ending.status = status_of(report, ending.came_early)
        if ending.abandon.is_set() and not ending.status:
            _meaning(0, "nothing had to be abandoned: all that was received is finished", logging.INFO)
        if not say(report):
            ending.status = ending.status or FAILED
        afterwards(report)
        return ending.status


def run_watched(
    graph: Graph, command_line: str, ending: signals.Ending, last_words: Callable[[Report], object]
) -> Report:
    """Run a graph with a progress line, as long as signals do not end it; `last_words` are said if they must do so by force."""
    from pipeline.running.job import Job, run

    with crashes_leave_a_word(), ProgressLine() as progress:
        is_open = False

        def on_progress(what: Progress) -> None:
            nonlocal is_open
            if not is_open:
                gc.freeze()  # what there is now stays: to look through it for garbage takes as long as ten frames
                is_open = True
            ending.opened()
            progress(what)

        def on_start(job: Job) -> None:
            gc.freeze()
            gc.enable()

            def say_it() -> None:
                progress.leave()
                report = job.report_now()
                last_words(report)
                _abandoned(report)

            ending.last_words = say_it

        report = run(
            graph,
            command_line=command_line,
            on_progress=on_progress,
            stopping=ending.stopping,
            abandon=ending.abandon,
            on_start=on_start,
        )
        ending.finish()
    return report


@contextlib.contextmanager
def _no_garbage() -> Iterator[None]:
    """Do not look for garbage while the graph is made: all that is imported stays, and would be looked through many times.

    When the graph is opened the rest is looked after as ever, without what was there before.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def status_of(report: Report, came_early: bool = False) -> int:
    """Return the exit status of a run with this report, and let the log end with what it means, if it is not 0.

    `came_early` says that a signal came before anything could.
    """
    if report.failure is not None:
        return _meaning(FAILED, f"the run failed: {text_of(report.failure)}", logging.ERROR)
    if report.abandoned or (came_early and not report.received):
        return _abandoned(report)
    if report.received == 0:
        return _meaning(NOTHING_RECEIVED, "nothing was received")
    empty = [name for name, tally in report.leaves.items() if tally.delivered == 0]
    if empty:
        return _meaning(NOTHING_DELIVERED, f"not one frame was delivered at {', '.join(empty)}")
    return 0


def _abandoned(report: Report) -> int:
    what = f"{report.abandoned} frames in flight were abandoned" if report.received else "stopped before anything came"
    return _meaning(ABANDONED, what)


def _meaning(status: int, what: str, level: int = logging.WARNING) -> int:
    log.log(level, "%s (exit status %d)", what, status)
    return status


def show(report: Report, *, profile: bool, as_json: bool) -> bool:
    """Print a report on stdout; where that cannot be done, say what was counted on stderr, and return False."""
    text = json.dumps(report.as_json(), indent=2, allow_nan=False) if as_json else report.text(profile=profile)
    why_not = print_on_stdout(text)
    if why_not:
        log.error("the report could not be written to stdout (%s): %s", why_not, "; ".join(report.law_lines()))
    return not why_not
