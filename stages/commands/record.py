"""``streamajig record``: what arrives goes to disk unchanged, to be replayed."""

from __future__ import annotations

import logging
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.watching import Progress
    from stages.wire.recording.receiving import Receiving, RecordReport, Until

log = logging.getLogger("streamajig.record")

_OPTIONS = {
    "address": "--zmq-input",
    "subscribe": "--zmq-subscribe",
    "request": "--zmq-request",
    "server_key": "--zmq-server-key",
    "secret_key": "--zmq-secret-key",
    "record": "--output",
    "record_geometry": "--geometry",
}
"""Options that are not spelt as the parameters of a source are."""

_RATE_OVER = 20
"""The rate on the progress line is that of so many intervals between lines."""


def record(  # noqa: PLR0913  # long: one parameter for each option of the command line
    zmq_input: Annotated[
        list[str],
        typer.Option(
            "--zmq-input",
            metavar="ADDR",
            help="Receive data over ZeroMQ from this address; can be given several times, for senders with several.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the recording.")],
    zmq_subscribe: Annotated[
        list[str] | None,
        typer.Option(
            "--zmq-subscribe",
            metavar="TAG",
            help="Receive what is published under this tag; can be given several times.",
        ),
    ] = None,
    zmq_request: Annotated[
        str | None, typer.Option("--zmq-request", metavar="STR", help="Ask for each message with this string.")
    ] = None,
    zmq_pull: Annotated[
        bool, typer.Option("--zmq-pull", help="Take what is pushed; a second program that pulls takes its share of it.")
    ] = False,
    zmq_server_key: Annotated[
        str | None,
        typer.Option("--zmq-server-key", metavar="KEY|FILE", help="Public key of the senders, or its file (CURVE)."),
    ] = None,
    zmq_secret_key: Annotated[
        str | None,
        typer.Option("--zmq-secret-key", metavar="FILE", help="Our secret key, for senders that ask for it."),
    ] = None,
    geometry: Annotated[
        Path | None,
        typer.Option("--geometry", "-g", metavar="FILE.geom", help="Geometry file that goes with the recording."),
    ] = None,
    data_format: Annotated[
        str, typer.Option("--data-format", metavar="FORMAT", help="Format of the data, for whoever replays them.")
    ] = "msgpack",
    file_size: Annotated[
        str, typer.Option("--file-size", metavar="SIZE", help="A file of the recording has so many bytes at most.")
    ] = "2GB",
    max_size: Annotated[
        str | None, typer.Option("--max-size", metavar="SIZE", help="End before there are more bytes than this (1TB).")
    ] = None,
    keep_free: Annotated[
        str, typer.Option("--keep-free", metavar="SIZE", help="End before less than this is free on the disk.")
    ] = "1GB",
    max_message_bytes: Annotated[
        int, typer.Option("--max-message-bytes", metavar="N", help="Drop messages larger than this.")
    ] = 1 << 30,
    max_frames: Annotated[
        int | None, typer.Option("--max-frames", min=1, metavar="N", help="End after this many messages.")
    ] = None,
    no_data_timeout: Annotated[
        float | None,
        typer.Option("--no-data-timeout", metavar="SECONDS", help="End when nothing has arrived for this long."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Delete the recording that is in the folder.")] = False,
) -> int:
    """Write what arrives to disk as it comes, to be replayed later.

    Messages are not looked into: all parts are written, with the time of their receipt, and the geometry file is put beside
    them. ``streamajig replay FOLDER`` sends them again, ``streamajig index -i FOLDER ...`` runs over them. What the disk is too
    slow for is dropped and counted. The last line says: received = written + dropped. Exit status as for ``run``: 3 if not one
    message was written, 4 if none came; 1 if the disk had no more room.
    """
    from pipeline import UserError
    from pipeline.paths import Named, ask_before_overwriting
    from stages.wire.recording.layout import files_of
    from stages.wire.recording.receiving import Until
    from stages.wire.recording.writing import clear

    how: dict[str, Any] = {"subscribe": tuple(zmq_subscribe or ()), "request": zmq_request, "pull": zmq_pull}
    given = {name: value for name, value in how.items() if value}
    if len(given) != 1:
        raise UserError(
            "give one of --zmq-subscribe=TAG, to take what is published, --zmq-request=STRING, to ask for it, and --zmq-pull, "
            "to take what is pushed"
        )
    source = _checked(
        given,
        address=tuple(zmq_input),
        server_key=zmq_server_key,
        secret_key=zmq_secret_key,
        data_format=data_format,
        max_message_bytes=max_message_bytes,
        record=output,
        record_geometry=geometry,
        record_file_size=file_size,
        record_max_size=max_size,
        record_keep_free=keep_free,
    )
    there = files_of(output)[:1]
    ask_before_overwriting([Named(file, "--output") for file in there], force)
    if there:
        clear(output)
    if geometry is None:
        log.info("no geometry file goes with the recording (-g FILE.geom): whoever replays it has to have one")
    return _run(source, Until(max_frames, no_data_timeout))


def _checked(how: dict[str, Any], **parameters: Any) -> Any:
    """Return the source, or say of the options what is wrong with its parameters."""
    from pydantic import ValidationError

    from pipeline.errors import UserError, in_words
    from stages.source.zmq_pull import ZmqPull
    from stages.source.zmq_req import ZmqReq
    from stages.source.zmq_sub import ZmqSub

    try:
        if how.pop("pull", False):
            return ZmqPull(**parameters)
        return (ZmqSub if "subscribe" in how else ZmqReq)(**how, **parameters)
    except ValidationError as error:
        said = (f"{_option(str(p['loc'][0]))}={p['input']}: {in_words(p)}" for p in error.errors())
        raise UserError("\n".join(said)) from None


def _option(name: str) -> str:
    return _OPTIONS.get(name, f"--{name.removeprefix('record_').replace('_', '-')}")


def _run(wanted: Any, until: Until) -> int:
    """Record as long as signals do not end it, show how it goes, print the report and return the exit status."""
    from pipeline import Context, Delivery
    from pipeline.command_line.execute import FAILED
    from pipeline.command_line.progress import ProgressLine
    from pipeline.running import signals
    from stages.wire.connection import addresses_of
    from stages.wire.recording.receiving import Receiving

    with signals.Ending() as ending:
        source = wanted.open(Context())
        running = Receiving(source, asks=wanted.delivery is Delivery.SHARED, until=until)
        log.info(
            "recording what comes from %s in %s; Ctrl-C ends it", ", ".join(addresses_of(wanted.address)), wanted.record
        )
        ending.last_words = lambda: _say(source, running)
        ending.opened()
        try:
            with ProgressLine() as line:
                report = running.run(ending.stopping, ending.abandon, Shown(line).show)
        finally:
            source.close()
        ending.finish()
        ending.status = _status_of(report, source.recorder.ended_as_wanted, ending.came_early)
        if not _say(source, running):
            ending.status = ending.status or FAILED
        return ending.status


def _say(source: Any, running: Receiving) -> bool:
    from pipeline.command_line.console import print_on_stdout

    report = running.report()
    why_not = print_on_stdout(report.text(source.findings().text))
    if why_not:
        log.error("the report could not be written to stdout (%s): %s", why_not, report.counts.law())
    return not why_not


def _status_of(report: RecordReport, ended_as_wanted: bool, came_early: bool) -> int:
    """The exit status, as that of ``run``, with what is written in place of what is delivered."""
    from pipeline.command_line.execute import ABANDONED, FAILED, NOTHING_DELIVERED, NOTHING_RECEIVED

    counts = report.counts
    if report.is_abandoned or (came_early and not counts.received):
        return ABANDONED
    if counts.why_ended and not ended_as_wanted:
        return FAILED
    if counts.received == 0:
        log.warning("nothing was received (exit status %d)", NOTHING_RECEIVED)
        return NOTHING_RECEIVED
    if counts.written == 0:
        log.warning("not one message was written (exit status %d)", NOTHING_DELIVERED)
        return NOTHING_DELIVERED
    return 0


class Shown:
    """What the progress line shows of a recording."""

    def __init__(self, line: Callable[[Progress], None]) -> None:
        self._line = line
        self._recent: deque[tuple[float, int]] = deque([(0.0, 0)], maxlen=_RATE_OVER)

    def show(self, report: RecordReport) -> None:
        """Show it."""
        from pipeline.amounts import size
        from pipeline.watching import Progress

        counts = report.counts
        then_s, then = self._recent[0]
        self._recent.append((report.elapsed_s, counts.written))
        self._line(
            Progress(
                received=counts.received,
                in_flight=counts.waiting,
                rejected=0,
                dropped=counts.dropped,
                counts={},
                frames_per_s=(counts.written - then) / max(report.elapsed_s - then_s, 1e-9),
                latency_ms=counts.to_disk.quantile_ns(0.5) / 1e6,
                latency_99_ms=counts.to_disk.quantile_ns(0.99) / 1e6,
                elapsed_s=report.elapsed_s,
                status=report.sender,
                live=f"{size(counts.num_bytes)} on disk",
            )
        )
