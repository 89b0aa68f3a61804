"""The command ``streamajig replay``: recorded messages are sent over a socket again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from pipeline import UserError
from pipeline.running.kept_letters import is_one_part
from stages.wire.recorded import expand, read_messages
from stages.wire.recording.layout import SUFFIX
from stages.wire.recording.pace import Pace, paced, speed_of
from stages.wire.recording.reading import Passed, read_records
from stages.wire.serving import Body, FrameServer, Kind, kind_of

Bind = Annotated[str, typer.Option("--bind", metavar="ADDR", help="Endpoint to serve at.")]
Pub = Annotated[
    bool, typer.Option("--pub/--rep", help="Publish to subscribers, or answer requests, as OM's two sockets do.")
]
Push = Annotated[bool, typer.Option("--push", help="Deal messages out to those who pull, as a PUSH socket does.")]
Topic = Annotated[str, typer.Option("--topic", metavar="TAG", help="Tag sent before each message (--pub).")]
Request = Annotated[str, typer.Option("--request", metavar="STR", help="Request to answer (--rep).")]
Rate = Annotated[
    float | None,
    typer.Option("--rate", metavar="HZ", help="Messages a second, at most; default: as fast as taken."),
]
CurveKey = Annotated[
    Path | None,
    typer.Option(
        "--curve-key", metavar="FILE", help="File of the secret key to serve with (CURVE); clients need its public key."
    ),
]
BIND, TOPIC, REQUEST = "tcp://127.0.0.1:5002", "ondaframedata", "next"


def replay(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Recordings, other recorded messages (*.msgpack, *.bin, also .gz), or folders of them, such as dead_letters/."
        ),
    ],
    bind: Bind = BIND,
    pub: Pub = False,
    push: Push = False,
    topic: Topic = TOPIC,
    request: Request = REQUEST,
    rate: Rate = None,
    curve_key: CurveKey = None,
    speed: Annotated[
        str,
        typer.Option(
            "--speed",
            metavar="SPEED",
            help="How fast, at most: recorded, as a recording came; full, as fast as taken; or so many messages a second.",
        ),
    ] = "full",
    repeat: Annotated[int, typer.Option("--repeat", min=1, metavar="N", help="Go through the files N times.")] = 1,
) -> None:
    """Send recorded messages over a socket, byte for byte.

    Takes recordings (``streamajig record``), whose messages are sent with all their parts, tags too; captured messages, and the
    raw messages that a run keeps of rejected frames (``dead_letters/*.msgpack``). In another terminal:
    ``streamajig index --zmq-input=tcp://127.0.0.1:5002 --zmq-request=next ...``.
    """
    todo = expand(files) * repeat
    if in_parts := [file for file in todo if is_one_part(file.name)]:
        raise UserError(
            f"{in_parts[0]} is one part of a message, and each file is sent as one: 'streamajig dead-letters replay' sends "
            "dead letters with all their parts"
        )
    rate, is_as_recorded = _how_fast(rate, speed, todo)
    read: list[Path] = []
    passed = Passed()
    bodies: Iterable[Body] = _bodies(todo, read)
    if any(file.suffix == SUFFIX for file in todo):
        bodies = _whole_messages(todo, read, passed, topic.encode() if pub else b"", is_as_recorded)
        topic = ""
    with server_of(bind, kind_of(pub, push), topic, request, rate, curve_key) as server:
        serve(server, bodies, f"messages of {len(todo)} files")
        typer.echo(f"sent {server.sent} messages, all of {len(read)} of {len(todo)} files", err=True)
    if passed.text():
        typer.echo(passed.text(), err=True)


def server_of(
    bind: str, kind: Kind, topic: str, request: str, rate: float | None, curve_key: Path | None = None
) -> FrameServer:
    """Make the server that the options ask for."""
    return FrameServer(
        bind,
        socket=kind,
        topic=topic.encode() or None,
        request=request.encode(),
        rate_hz=rate,
        curve_key=curve_key,
    )


def _how_fast(rate: float | None, speed: str, files: list[Path]) -> tuple[float | None, bool]:
    """Messages a second, None if that is not what limits them; and whether they go as they came."""
    try:
        wanted = speed_of(speed)
    except ValueError as error:
        raise UserError(f"--speed: {error}") from None
    if rate is not None and wanted != "full":
        raise UserError("--rate and --speed say the same thing: give one of them")
    if wanted == "recorded" and (others := [file for file in files if file.suffix != SUFFIX]):
        raise UserError(
            f"--speed=recorded: {others[0]} does not say when it was received; recordings alone (*{SUFFIX}) do"
        )
    return (wanted if isinstance(wanted, float) else rate), wanted == "recorded"


def serve(server: FrameServer, bodies: Iterable[Body], what: str) -> None:
    """Say what is served where, and send all of it, or what is sent by Ctrl-C."""
    try:
        typer.echo(f"{what} from {server.address} {server.to_whom}; Ctrl-C ends", err=True)
        server.serve(bodies)
    except KeyboardInterrupt:
        server.close(linger_s=0.5)


def _whole_messages(
    files: list[Path], read: list[Path], passed: Passed, topic: bytes, is_as_recorded: bool
) -> Iterator[Body]:
    """The messages of all files, those of recordings with all their parts; `topic` goes before those that have no tag."""
    pace = Pace("recorded" if is_as_recorded else "full")
    for file in files:
        if file.suffix == SUFFIX:
            for found in paced(read_records([file], passed), pace):
                parts = found.parts
                if found.about.socket == "REQ" and parts and not len(parts[0]):
                    parts = parts[1:]  # the envelope of a reply, which the server writes
                    parts = (memoryview(topic), *parts) if topic and len(parts) == 1 else parts
                yield parts
        else:
            for body in read_messages(file):
                yield (topic, body) if topic else body
        read.append(file)


def _bodies(files: list[Path], read: list[Path]) -> Iterator[memoryview]:
    """The messages of all files; those that are through are noted in `read`."""
    for file in files:
        yield from read_messages(file)
        read.append(file)
