"""``streamajig monitor``: the page that shows a run while it goes on."""

from __future__ import annotations

import json
import logging
import re
import threading
from typing import Annotated

import typer

log = logging.getLogger("streamajig.monitor")


def monitor(
    address: Annotated[
        str, typer.Argument(metavar="ADDR", help="Where the run publishes, which its log says.", show_default=False)
    ],
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="Port of the page; 0: one that is free.")
    ] = 0,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Serve the page there; 0.0.0.0 lets other machines see it.")
    ] = "127.0.0.1",
    frames: Annotated[int, typer.Option(metavar="N", min=1, help="Keep so many frames of each category.")] = 50,
    max_memory: Annotated[str, typer.Option(metavar="SIZE", help="Of the frames that are kept.")] = "512MiB",
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> int:
    """Show a run in a browser while it goes on.

    The run publishes what it knows (``streamajig index --monitor ...`` does, and the stage live/monitor in a graph), and this
    makes a page of it; its address, with a token in it, is the first line on stdout. Nothing that is done on the page reaches
    the run. When a run has ended, the page shows what it was like, and waits for the next one at the same address. Exit
    status: 0 when it was stopped; 2 wrong options, or an address that is taken.
    """
    from pipeline import UserError
    from pipeline.running import signals
    from stages.monitor.page_process import check_installed

    check_installed()
    if not re.fullmatch(r"(tcp|ipc)://\S+", address):
        raise UserError(f"{address!r} is no address; wanted is tcp://HOST:PORT, which the log of the run says")
    from stages.monitor.address import address_of, is_loopback, listening, new_token

    most_bytes = _bytes(max_memory)
    with signals.Ending("the page ends") as ending, listening(host, port) as listener:
        token = new_token()
        url = address_of(listener, host, token)
        if not is_loopback(host):
            log.warning(
                "the page is served at %s to other machines, unencrypted: whoever has its address, or sees it on the network, "
                "sees the run",
                host,
            )
        ending.opened()
        print(url if parent is None else json.dumps({"url": url}), flush=True)  # noqa: T201
        from stages.monitor.frames import KeptFrames  # takes a second, in which the address is known already
        from stages.monitor.serving import serve

        kept = KeptFrames(frames, most_bytes)
        over = None if parent is None else _over_when_told()
        serve(address, listener, host, token=token, frames=kept, parent=parent, over=over, stopping=ending.stopping)
        ending.finish()
    return 0


def _over_when_told() -> threading.Event:
    """What is set when whoever has started this process says on stdin that its run has ended."""
    import sys

    from stages.monitor.page_process import OVER

    over = threading.Event()

    def listen() -> None:
        for line in sys.stdin:
            if line.strip() == OVER:
                over.set()

    threading.Thread(target=listen, name="stdin", daemon=True).start()
    return over


def _bytes(text: str) -> int:
    from pydantic import ByteSize, TypeAdapter, ValidationError

    from pipeline import UserError

    try:
        return TypeAdapter(ByteSize).validate_python(text)
    except ValidationError:
        raise UserError(f"--max-memory={text}: wanted is a number of bytes, such as 512MiB or 2GB") from None
