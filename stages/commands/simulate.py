"""``streamajig simulate``: a beamline of one command."""

from __future__ import annotations

import inspect
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, get_type_hints

import typer
from typer import Option

from stages.simulation.beamline import Beamline

_SPELLINGS = {
    "jitter_px": ("--jitter", "--jitter-px"),
    "style": ("--format", "--style"),
    "image": ("--image/--no-image",),
    "geometry": ("--geometry", "-g"),
    "cell": ("--pdb", "-p", "--cell"),
    "energy_ev": ("--energy", "--energy-ev"),
    "distance_mm": ("--distance", "--distance-mm"),
}
"""How settings of the beamline are spelt as options, where not just like source/simulate spells them (which does as well)."""

_METAVARS = {"int": "N", "float": "X", "bool": "", "Path | None": "FILE"}


def _serve(  # noqa: PLR0913  # long: one parameter for each option of the command line
    beamline: Beamline,
    *,
    bind: Annotated[
        str, Option(metavar="ADDR", help="Endpoint to serve at; port * takes a free one.")
    ] = "tcp://127.0.0.1:5002",
    publish: Annotated[
        bool,
        Option(
            "--pub/--rep",
            metavar="",
            help="PUB sends to all who subscribe, as OnDA does; REP answers requests, as OM does.",
        ),
    ] = False,
    push: Annotated[
        bool,
        Option("--push", help="PUSH deals frames out to those who pull, as DECTRIS detectors and Jungfraujoch do."),
    ] = False,
    topic: Annotated[str, Option(metavar="TAG", help="Tag of published messages.")] = "ondaframedata",
    request: Annotated[str, Option(metavar="STR", help="The request that is answered with a frame.")] = "next",
    curve_key: Annotated[
        Path | None,
        Option(metavar="FILE", help="File of the secret key to serve with (CURVE); clients need its public key."),
    ] = None,
    frames: Annotated[int, Option(min=0, metavar="N", help="How many; 0 goes on until stopped.")] = 0,
    rate: Annotated[
        float, Option(min=0, metavar="HZ", help="Frames per second at most; 0 is as fast as they are taken.")
    ] = 0.0,
    truth: Annotated[
        Path | None, Option(metavar="FILE", help="Write what is true of each frame there, a JSON object a line.")
    ] = None,
    write_geometry: Annotated[
        Path | None, Option(metavar="FILE", help="Write the geometry file that goes with the frames.")
    ] = None,
    write_cell: Annotated[
        Path | None, Option(metavar="FILE", help="Write the cell file that goes with the frames.")
    ] = None,
    force: Annotated[bool, Option("--force", help="Write over files that are there.")] = False,
    serve: Annotated[
        bool, Option("--serve/--files-only", metavar="", help="Serve frames, or only write those two files.")
    ] = True,
) -> None:
    """Serve the frames of a beamline until there are no more, or Ctrl-C."""
    from pipeline.paths import ask_before_overwriting, by_option, keep_apart
    from stages.simulation.truth import TruthWriter
    from stages.wire.serving import FrameServer, kind_of

    written = by_option(truth=truth, write_geometry=write_geometry, write_cell=write_cell)
    keep_apart(by_option(geometry=beamline.geometry, pdb=beamline.cell, curve_key=curve_key), written)
    log = logging.getLogger("streamajig.simulate")
    apparatus = beamline.set_up()
    for note in apparatus.notes:
        log.warning("%s", note)
    texts = {write_geometry: apparatus.geometry_text, write_cell: apparatus.cell_text}
    ask_before_overwriting([named for named in written if not _holds(named.path, texts.get(named.path))], force)
    write_file(write_geometry, apparatus.geometry_text, "--write-geometry")
    write_file(write_cell, apparatus.cell_text, "--write-cell")
    if not serve:
        return
    first = apparatus.simulation.frame(
        0, pixels=beamline.image
    )  # compiles and makes the tables before anybody waits for a frame
    stopping = threading.Event()
    with ExitStack() as stack:
        stack.enter_context(_stopped_by_signals(stopping))
        record = stack.enter_context(TruthWriter(truth)) if truth else None
        server = stack.enter_context(
            FrameServer(
                bind,
                kind_of(publish, push),
                topic=topic.encode() or None,
                request=request.encode(),
                rate_hz=rate / apparatus.wire.frames_a_message or None,
                curve_key=curve_key,
            )
        )
        log.info("serving frames at %s %s; Ctrl-C ends it", server.address, server.to_whom)
        bodies = apparatus.wire.bodies(
            apparatus.simulation.frames(frames or None, pixels=beamline.image), apparatus.wire.truth_into(record)
        )
        server.serve(bodies, stopping)
        messages = max(0, server.sent - bool(apparatus.wire.said_once(first)))  # what is said once is no frame
        sent = min(messages * apparatus.wire.frames_a_message, frames or sys.maxsize)
    typer.echo(f"streamajig simulate: {sent} frames sent", err=True)


def simulate(**options: Any) -> None:
    """Send simulated diffraction frames over ZeroMQ.

    The frames are physically computed stills with known truth: Wilson intensities, Gaussian partiality, polarisation,
    Poisson noise, a smooth background, blanks between the hits and spurious peaks in the lists. Frame n of a seed is always
    the same, under the event id "sim // n".
    """
    from stages.commands.typed import made_of_options

    chosen = {field.name: options.pop(field.name) for field in fields(Beamline)}
    if chosen["style"] == "msgpack":  # as --data-format has it
        chosen["style"] = "om"
    beamline = made_of_options(Beamline, {name: spellings[0] for name, spellings in _SPELLINGS.items()}, **chosen)
    _serve(beamline, **options)


def _flags(name: str) -> tuple[str, ...]:
    return _SPELLINGS.get(name, (f"--{name.replace('_', '-')}",))


def _parameters() -> Iterator[inspect.Parameter]:
    """What :func:`simulate` takes: the options of :func:`_serve`, and one for each setting of the beamline."""
    _, *own = inspect.signature(_serve, eval_str=True).parameters.values()
    yield from own
    kinds = get_type_hints(Beamline)
    for field in fields(Beamline):
        info: Any = field.default
        kind = str if field.name == "style" else kinds[field.name]
        metavar = _METAVARS.get(str(field.type), "TEXT")
        option = Option(*_flags(field.name), metavar=metavar, help=info.description)
        yield inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=info.default, annotation=Annotated[kind, option]
        )


simulate.__signature__ = inspect.Signature(list(_parameters()))  # type: ignore[attr-defined]
simulate.__annotations__ = {parameter.name: parameter.annotation for parameter in _parameters()}


def _holds(path: Path, text: str | None) -> bool:
    """Whether a file is there with just this text."""
    try:
        return text is not None and path.read_bytes() == text.encode()
    except OSError:
        return False


def write_file(path: Path | None, text: str, option: str) -> None:
    """Write a text file that the user asked for with this option; nothing if it was not asked for."""
    from pipeline import UserError

    if path is None:
        return
    try:
        path.write_text(text)
    except OSError as error:
        raise UserError(f"{option}: cannot write {path}: {error.strerror}") from error


@contextmanager
def _stopped_by_signals(stopping: threading.Event) -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP set `stopping`; outside the main thread, where Python allows no handlers, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        stopping.set()

    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # nohup has said so
    numbers = (signal.SIGINT, signal.SIGTERM, *(() if ignored else (signal.SIGHUP,)))
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
