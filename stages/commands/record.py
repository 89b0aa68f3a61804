"""``streamajig record``: what arrives goes to disk unchanged, to be replayed."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stages.commands.passing_on import (
    SPELT,
    SUBSCRIBE,
    Addresses,
    MaxMessageBytes,
    NoDataTimeout,
    SecretKey,
    ServerKey,
    concluded,
    watched,
)

if TYPE_CHECKING:
    from pipeline.watching import Progress
    from stages.wire.recording.receiving import RecordReport, Until

log = logging.getLogger("streamajig.record")

_SPELT = SPELT | {
    "request": "--zmq-request",
    "record": "--output",
    "record_geometry": "--geometry",
    "record_file_size": "--file-size",
    "record_max_size": "--max-size",
    "record_keep_free": "--keep-free",
}
"""Options that are not spelt as the parameters of a source are."""


def record(  # noqa: PLR0913  # long: one parameter for each option of the command line
    zmq_input: Addresses,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the recording.")],
    zmq_subscribe: Annotated[list[str] | None, SUBSCRIBE] = None,
    zmq_request: Annotated[
        str | None, typer.Option("--zmq-request", metavar="STR", help="Ask for each message with this string.")
    ] = None,
    zmq_pull: Annotated[
        bool, typer.Option("--zmq-pull", help="Take what is pushed; a second program that pulls takes its share of it.")
    ] = False,
    zmq_server_key: ServerKey = None,
    zmq_secret_key: SecretKey = None,
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
    max_message_bytes: MaxMessageBytes = 1 << 30,
    max_frames: Annotated[
        int | None, typer.Option("--max-frames", min=1, metavar="N", help="End after this many messages.")
    ] = None,
    no_data_timeout: NoDataTimeout = None,
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
    from stages.commands.typed import made_of_options
    from stages.source.zmq_pull import ZmqPull
    from stages.source.zmq_req import ZmqReq
    from stages.source.zmq_sub import ZmqSub

    if "pull" in how:
        return made_of_options(ZmqPull, _SPELT, **parameters)
    source: Any = ZmqSub if "subscribe" in how else ZmqReq
    return made_of_options(source, _SPELT, **how, **parameters)


def _run(wanted: Any, until: Until) -> int:
    """Record as long as signals do not end it, and return the exit status."""
    from contextlib import closing

    from pipeline import Context, Delivery
    from pipeline.running import signals
    from stages.wire.connection import addresses_of
    from stages.wire.recording.receiving import Receiving

    with signals.Ending() as ending:
        with closing(wanted.open(Context())) as source:
            running = Receiving(source, asks=wanted.delivery is Delivery.SHARED, until=until)
            log.info(
                "recording what comes from %s in %s; Ctrl-C ends it",
                ", ".join(addresses_of(wanted.address)),
                wanted.record,
            )
            report = watched(ending, running, _completed)
        return concluded(ending, report, "message was written")


def _completed(progress: Progress, report: RecordReport) -> Progress:
    """Add what a recording alone shows."""
    from pipeline.amounts import size

    return replace(progress, in_flight=report.counts.waiting, live=f"{size(report.counts.num_bytes)} on disk")
