"""The command ``streamajig replay``: recorded messages are sent over a socket again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from stages.wire.recorded import expand, read_messages
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
BIND, TOPIC, REQUEST = "tcp://127.0.0.1:5002", "ondaframedata", "next"


def replay(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Recorded messages (*.msgpack, *.bin, also .gz), or folders of them, such as dead_letters/."
        ),
    ],
    bind: Bind = BIND,
    pub: Pub = False,
    push: Push = False,
    topic: Topic = TOPIC,
    request: Request = REQUEST,
    rate: Rate = None,
    repeat: Annotated[int, typer.Option("--repeat", min=1, metavar="N", help="Go through the files N times.")] = 1,
) -> None:
    """Send recorded messages over a socket, byte for byte.

    Takes captured messages, and the raw messages that a run keeps of rejected frames (``dead_letters/*.msgpack``). In another
    terminal: ``streamajig index --zmq-input=tcp://127.0.0.1:5002 --zmq-request=next ...``.
    """
    todo = expand(files) * repeat
    read: list[Path] = []
    with server_of(bind, kind_of(pub, push), topic, request, rate) as server:
        serve(server, _bodies(todo, read), f"messages of {len(todo)} files")
        typer.echo(f"sent {server.sent} messages, all of {len(read)} of {len(todo)} files", err=True)


def server_of(bind: str, kind: Kind, topic: str, request: str, rate: float | None) -> FrameServer:
    """Make the server that the options ask for."""
    return FrameServer(bind, socket=kind, topic=topic.encode() or None, request=request.encode(), rate_hz=rate)


def serve(server: FrameServer, bodies: Iterable[Body], what: str) -> None:
    """Say what is served where, and send all of it, or what is sent by Ctrl-C."""
    try:
        typer.echo(f"{what} from {server.address} {server.to_whom}; Ctrl-C ends", err=True)
        server.serve(bodies)
    except KeyboardInterrupt:
        server.close(linger_s=0.5)


def _bodies(files: list[Path], read: list[Path]) -> Iterator[memoryview]:
    """The messages of all files; those that are through are noted in `read`."""
    for file in files:
        yield from read_messages(file)
        read.append(file)
