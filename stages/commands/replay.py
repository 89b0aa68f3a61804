"""The command ``streamajig replay``: recorded messages are sent over a socket again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from stages.wire.recorded import expand, read_messages
from stages.wire.serving import FrameServer


def replay(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Recorded messages (*.msgpack, *.bin, also .gz), or folders of them, such as dead_letters/."
        ),
    ],
    bind: Annotated[str, typer.Option("--bind", metavar="ADDR", help="Endpoint to serve at.")] = "tcp://127.0.0.1:5002",
    pub: Annotated[
        bool, typer.Option("--pub/--rep", help="Publish to subscribers, or answer requests, as OM's two sockets do.")
    ] = False,
    topic: Annotated[
        str, typer.Option("--topic", metavar="TAG", help="Tag sent before each message (--pub).")
    ] = "ondaframedata",
    request: Annotated[str, typer.Option("--request", metavar="STR", help="Request to answer (--rep).")] = "next",
    rate: Annotated[
        float | None,
        typer.Option("--rate", metavar="HZ", help="Messages a second, at most; default: as fast as taken."),
    ] = None,
    repeat: Annotated[int, typer.Option("--repeat", min=1, metavar="N", help="Go through the files N times.")] = 1,
) -> None:
    """Send recorded messages over a socket, byte for byte.

    Takes captured messages, and the raw messages that a run keeps of rejected frames (``dead_letters/*.msgpack``). In another
    terminal: ``streamajig index --zmq-input=tcp://127.0.0.1:5002 --zmq-request=next ...``.
    """
    found = expand(files)
    server = FrameServer(
        bind, socket="pub" if pub else "rep", topic=topic.encode() or None, request=request.encode(), rate_hz=rate
    )
    with server:
        how = f"to subscribers of {topic!r}" if pub else f"to whoever asks with {request!r}"
        todo = found * repeat
        read: list[Path] = []
        try:
            typer.echo(f"messages of {len(todo)} files from {server.address} {how}; Ctrl-C ends", err=True)
            server.serve(_bodies(todo, read))
        except KeyboardInterrupt:
            server.close(linger_s=0.5)
        typer.echo(f"sent {server.sent} messages, all of {len(read)} of {len(todo)} files", err=True)


def _bodies(files: list[Path], read: list[Path]) -> Iterator[memoryview]:
    """The messages of all files; those that are through are noted in `read`."""
    for file in files:
        yield from read_messages(file)
        read.append(file)
