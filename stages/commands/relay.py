"""``streamajig relay``: a subscription for several programs."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    from stages.wire.relay_report import RelayReport
    from stages.wire.relaying import Relay

log = logging.getLogger("streamajig.relay")

_SPELT = SPELT | {"tags": "--no-tags", "drain_s": "--drain", "no_data_timeout_s": "--no-data-timeout"}
"""Options that are not spelt as the parameters of a relay are."""


def relay(  # noqa: PLR0913  # long: one parameter for each option of the command line
    zmq_input: Addresses,
    zmq_subscribe: Annotated[list[str], SUBSCRIBE],
    zmq_server_key: ServerKey = None,
    zmq_secret_key: SecretKey = None,
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
    max_message_bytes: MaxMessageBytes = 1 << 30,
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
    no_data_timeout: NoDataTimeout = None,
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
    from stages.commands.typed import made_of_options
    from stages.wire.relaying import Relay

    wanted = made_of_options(
        Relay,
        _SPELT,
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


def _run(wanted: Relay) -> int:
    """Relay as long as signals do not end it, and return the exit status."""
    from pipeline.running import signals

    with signals.Ending() as ending:
        with wanted.open() as running:
            log.info("answering %r at %s; Ctrl-C ends it", wanted.request, running.address)
            report = watched(ending, running, partial(completed, running.address))
        return concluded(ending, report, "frame was sent")


def completed(address: str, progress: Progress, report: RelayReport) -> Progress:
    """Add what a relay alone shows."""
    from pipeline.amounts import size

    waiting = f"{report.waiting} waiting ({size(report.waiting_bytes)})"
    askers = f"{report.askers} askers with {report.unanswered} requests"
    live = f"{waiting}, {askers if report.askers else f'nobody asks at {address}'}"
    return replace(progress, latency_to="receipt to answer", live=live)
