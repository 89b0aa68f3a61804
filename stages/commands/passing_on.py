"""What ``record`` and ``relay`` have in common: they know no graph, and pass on what comes as it is, to disk or to others.

Both take the same options of where it comes from, end at a signal, show how it goes, and end with a report of what was counted.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Generic, Protocol, TypeVar

import typer

if TYPE_CHECKING:
    import threading

    from pipeline.metrics import Durations
    from pipeline.running.signals import Ending
    from pipeline.watching import Progress

log = logging.getLogger("streamajig")

Addresses = Annotated[
    list[str],
    typer.Option(
        "--zmq-input",
        metavar="ADDR",
        help="Receive data over ZeroMQ from this address; can be given several times, for senders with several.",
    ),
]
SUBSCRIBE = typer.Option(
    "--zmq-subscribe", metavar="TAG", help="Receive what is published under this tag; can be given several times."
)
ServerKey = Annotated[
    str | None,
    typer.Option("--zmq-server-key", metavar="KEY|FILE", help="Public key of the senders, or its file (CURVE)."),
]
SecretKey = Annotated[
    str | None,
    typer.Option(
        "--zmq-secret-key", metavar="FILE", help="File of our secret key, for senders that know whom they serve."
    ),
]
MaxMessageBytes = Annotated[
    int, typer.Option("--max-message-bytes", metavar="N", help="Drop messages larger than this.")
]
NoDataTimeout = Annotated[
    float | None,
    typer.Option("--no-data-timeout", metavar="SECONDS", help="End when nothing has arrived for this long."),
]

SPELT = {
    "address": "--zmq-input",
    "subscribe": "--zmq-subscribe",
    "server_key": "--zmq-server-key",
    "secret_key": "--zmq-secret-key",
}
"""Those of these options that are not spelt as their parameters are."""

_RATE_OVER = 20
"""The rate on the progress line is that of so many intervals between lines."""


class Report(Protocol):
    """What was counted by some moment."""

    @property
    def received(self) -> int:
        """Messages that came."""
        ...

    @property
    def passed_on(self) -> int:
        """Those that were passed on."""
        ...

    @property
    def dropped(self) -> int:
        """Those that never will be."""
        ...

    @property
    def took(self) -> Durations:
        """How long those that were passed on took for that."""
        ...

    @property
    def elapsed_s(self) -> float:
        """How long it has gone on."""
        ...

    @property
    def sender(self) -> str:
        """How it is with the sender now."""
        ...

    @property
    def is_abandoned(self) -> bool:
        """Whether messages were given up that had come."""
        ...

    @property
    def has_failed(self) -> bool:
        """Whether it ended as nobody wanted it to."""
        ...

    def law(self) -> str:
        """The conservation law."""
        ...

    def text(self) -> str:
        """The report for people."""
        ...


R = TypeVar("R", bound=Report)
R_co = TypeVar("R_co", bound=Report, covariant=True)


class Work(Protocol[R_co]):
    """What passes messages on."""

    def run(self, stopping: threading.Event, abandon: threading.Event, on_progress: Callable[[R_co], None]) -> R_co:
        """Do so until it is over, or `stopping` is set; what waits then is passed on, too, unless `abandon` is set."""
        ...

    def report(self) -> R_co:
        """Return what has been counted by now; may be called from another thread."""
        ...


def watched(ending: Ending, work: Work[R], completed: Callable[[Progress, R], Progress]) -> R:
    """Do the work as long as signals do not end it, and show how it goes; `completed` adds what one command alone shows."""
    from pipeline.command_line.progress import ProgressLine

    ending.last_words = lambda: _say(work.report())
    ending.opened()
    with ProgressLine() as line:
        return work.run(ending.stopping, ending.abandon, Shown(line, completed).show)


def concluded(ending: Ending, report: Report, what: str) -> int:
    """Print the report and return the exit status; `what` is not true of a single message where none was passed on."""
    from pipeline.command_line.execute import FAILED

    ending.finish()
    ending.status = _status_of(report, what, ending.came_early)
    if not _say(report):
        ending.status = ending.status or FAILED
    return ending.status


def _say(report: Report) -> bool:
    from pipeline.command_line.console import print_on_stdout

    why_not = print_on_stdout(report.text())
    if why_not:
        log.error("the report could not be written to stdout (%s): %s", why_not, report.law())
    return not why_not


def _status_of(report: Report, what: str, came_early: bool) -> int:
    """The exit status, as that of ``run``, with what is passed on in place of what is delivered."""
    from pipeline.command_line.execute import ABANDONED, FAILED, NOTHING_DELIVERED, NOTHING_RECEIVED

    if report.is_abandoned or (came_early and not report.received):
        return ABANDONED
    if report.has_failed:
        return FAILED
    if report.received == 0:
        log.warning("nothing was received (exit status %d)", NOTHING_RECEIVED)
        return NOTHING_RECEIVED
    if report.passed_on == 0:
        log.warning("not one %s (exit status %d)", what, NOTHING_DELIVERED)
        return NOTHING_DELIVERED
    return 0


class Shown(Generic[R]):
    """What the progress line shows of it."""

    def __init__(self, line: Callable[[Progress], None], completed: Callable[[Progress, R], Progress]) -> None:
        self._line, self._completed = line, completed
        self._recent: deque[tuple[float, int]] = deque([(0.0, 0)], maxlen=_RATE_OVER)

    def show(self, report: R) -> None:
        """Show it."""
        from pipeline.watching import Progress

        then_s, then = self._recent[0]
        self._recent.append((report.elapsed_s, report.passed_on))
        progress = Progress(
            received=report.received,
            in_flight=0,
            rejected=0,
            dropped=report.dropped,
            counts={},
            frames_per_s=(report.passed_on - then) / max(report.elapsed_s - then_s, 1e-9),
            latency_ms=report.took.quantile_ns(0.5) / 1e6,
            latency_99_ms=report.took.quantile_ns(0.99) / 1e6,
            elapsed_s=report.elapsed_s,
            status=report.sender,
        )
        self._line(self._completed(progress, report))
