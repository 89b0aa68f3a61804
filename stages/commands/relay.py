"""``streamajig relay``: a subscription for several programs."""

from __future__ import annotations

import logging
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.watching import Progress
    from stages.wire.relay_report import RelayReport
    from stages.wire.relaying import Relay

log = logging.getLogger("streamajig.relay")

_OPTIONS = {
    "address": "--zmq-input",
    "server_key": "--zmq-server-key",
    "secret_key": "--zmq-secret-key",
    "subscribe": "--zmq-subscribe",
    "tags": "--no-tags",
    "drain_s": "--drain",
}
"""Options that are not spelt as the parameters of a relay are."""

_RATE_OVER = 20
"""The rate on the progress line is that of so many intervals between lines."""


def relay(  # noqa: PLR0913  # long: one parameter for each option of the command line
    zmq_input: Annotated[
        list[str],
        typer.Option(
            "--zmq-input",
            metavar="ADDR",
            help="Receive data over ZeroMQ from this address; can be given several times.",
        ),
    ],
    zmq_subscribe: Annotated[
        list[str],
        typer.Option(
            "--zmq-subscribe",
            metavar="TAG",
            help="Receive what is published under this tag; can be given several times.",
        ),
    ],
    zmq_server_key: Annotated[
        str | None,
        typer.Option("--zmq-server-key", metavar="KEY|FILE", help="Public key of the sender, or its file (CURVE)."),
    ] = None,
    zmq_secret_key: Annotated[
        str | None,
        typer.Option(
            "--zmq-secret-key", metavar="FILE", help="File of our secret key, for senders that know whom they serve."
        ),
    ] = None,
    bind: Annotated[
        str, typer.Option("--bind", metavar="ADDR", help="Endpoint to answer at; tcp://*:5003 answers other machines.")
    ] = "tcp://127.0.0.1:5003",
    request: Annotated[str, typer.Option("--request", metavar="STR", help="Request that is answered.")] = "next",
    when_full: Annotated[
        str,
        typer.Option(
            "--when-full",
            metavar="HOW",
            help="What becomes of frames that come faster than they are asked for: drop_oldest, drop_newest, or block; "
            "what is dropped is counted.",
        ),
    ] = "drop_oldest",
    max_queue_frames: Annotated[
        int, typer.Option("--max-queue-frames", metavar="N", help="Frames that may wait to be asked for.")
    ] = 1000,
    max_queue_bytes: Annotated[
        str,
        typer.Option(
            "--max-queue-bytes", metavar="SIZE", help="Bytes of frames that may wait to be asked for (2GB, say)."
        ),
    ] = "1GiB",
    max_message_bytes: Annotated[
        int, typer.Option("--max-message-bytes", metavar="N", help="Drop messages larger than this.")
    ] = 1 << 30,
    tags: Annotated[
        bool,
        typer.Option(
            "--tags/--no-tags",
            help="Send the tag with each frame, or the frame alone, as OM answers (indexamajig reads no tag).",
        ),
    ] = True,
    max_frames: Annotated[
        int | None, typer.Option("--max-frames", metavar="N", help="End after this many frames.")
    ] = None,
    no_data_timeout: Annotated[
        float | None,
        typer.Option("--no-data-timeout", metavar="SECONDS", help="End when nothing has arrived for this long."),
    ] = None,
    curve_key: Annotated[
        Path | None,
        typer.Option(
            "--curve-key",
            metavar="FILE",
            help="File of the secret key to answer with (CURVE); askers need its public key.",
        ),
    ] = None,
    drain: Annotated[
        float,
        typer.Option(
            "--drain",
            metavar="SECONDS",
            help="Hand out the frames that wait for so long after a signal, and at any other end until nobody has been "
            "connected for so long.",
        ),
    ] = 5.0,
) -> int:
    """Subscribe once, and give each frame to one of those who ask.

    Several programs, or the workers of a cluster, then share what is published, without duplicates:
    ``streamajig index --zmq-input=tcp://127.0.0.1:5003 --zmq-request=next ...``. Frames wait until they are asked for; those
    for which there is no room are dropped and counted. The last line says: received = sent + dropped. Exit status as for
    ``run``: 3 if not one frame was sent, 4 if none came.
    """
    wanted = _checked(
        address=tuple(zmq_input),
        subscribe=tuple(zmq_subscribe),
        bind=bind,
        request=request,
        when_full=when_full,
        max_queue_frames=max_queue_frames,
        max_queue_bytes=max_queue_bytes,
        max_message_bytes=max_message_bytes,
        tags=tags,
        max_frames=max_frames,
        no_data_timeout_s=no_data_timeout,
        drain_s=drain,
        server_key=zmq_server_key,
        secret_key=zmq_secret_key,
        curve_key=curve_key,
    )
    return _run(wanted)


def _checked(**parameters: Any) -> Relay:
    """Return the relay, or say of the options what is wrong with its parameters."""
    from pydantic import ValidationError

    from pipeline.errors import UserError, in_words
    from stages.wire.relaying import Relay

    try:
        return Relay(**parameters)
    except ValidationError as error:
        said = (f"{_option(str(p['loc'][0]))}={_typed(p['input'])}: {in_words(p)}" for p in error.errors())
        raise UserError("\n".join(said)) from None


def _typed(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and len(value) == 1 else value


def _option(name: str) -> str:
    return _OPTIONS.get(name, f"--{name.removesuffix('_s').replace('_', '-')}")


def _run(wanted: Relay) -> int:
    """Relay as long as signals do not end it, show how it goes, print the report and return the exit status."""
    from pipeline.command_line.execute import FAILED
    from pipeline.command_line.progress import ProgressLine
    from pipeline.running import signals

    with signals.Ending() as ending:
        with wanted.open() as running:
            log.info("answering %r at %s; Ctrl-C ends it", wanted.request, running.address)
            ending.last_words = lambda: _say(running.report())
            ending.opened()
            with ProgressLine() as line:
                shown = Shown(line, running.address)
                report = running.run(ending.stopping, ending.abandon, shown.show)
        ending.finish()
        ending.status = _status_of(report, ending.came_early)
        if not _say(report):
            ending.status = ending.status or FAILED
        return ending.status


def _say(report: RelayReport) -> bool:
    from pipeline.command_line.console import print_on_stdout

    why_not = print_on_stdout(report.text())
    if why_not:
        log.error("the report could not be written to stdout (%s): %s", why_not, report.law())
    return not why_not


def _status_of(report: RelayReport, came_early: bool) -> int:
    """The exit status, as that of ``run``, with what is sent in place of what is delivered."""
    from pipeline.command_line.execute import ABANDONED, NOTHING_DELIVERED, NOTHING_RECEIVED

    if report.abandoned or (came_early and not report.received):
        return ABANDONED
    if report.received == 0:
        log.warning("nothing was received (exit status %d)", NOTHING_RECEIVED)
        return NOTHING_RECEIVED
    if report.sent == 0:
        log.warning("not one frame was sent (exit status %d)", NOTHING_DELIVERED)
        return NOTHING_DELIVERED
    return 0


class Shown:
    """What the progress line shows of a relay."""

    def __init__(self, line: Callable[[Progress], None], address: str) -> None:
        self._line, self._address = line, address
        self._recent: deque[tuple[float, int]] = deque([(0.0, 0)], maxlen=_RATE_OVER)

    def show(self, report: RelayReport) -> None:
        """Show it."""
        from pipeline.amounts import size
        from pipeline.watching import Progress

        then_s, then = self._recent[0]
        self._recent.append((report.elapsed_s, report.sent))
        waiting = f"{report.waiting} waiting ({size(report.waiting_bytes)})"
        askers = f"{report.askers} askers with {report.unanswered} requests"
        self._line(
            Progress(
                received=report.received,
                in_flight=0,
                rejected=0,
                dropped=report.dropped,
                counts={},
                frames_per_s=(report.sent - then) / (report.elapsed_s - then_s),
                latency_ms=report.waited.quantile_ns(0.5) / 1e6,
                latency_99_ms=report.waited.quantile_ns(0.99) / 1e6,
                latency_to="receipt to answer",
                elapsed_s=report.elapsed_s,
                status=report.sender,
                live=f"{waiting}, {askers if report.askers else f'nobody asks at {self._address}'}",
            )
        )
