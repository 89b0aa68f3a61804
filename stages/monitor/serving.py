"""The process of the page: a thread that receives, and a server, until somebody ends it or the run that started it is over."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn

from stages.monitor.address import is_loopback
from stages.monitor.app import Browsers, application
from stages.monitor.frames import KeptFrames
from stages.monitor.receiving import Receiver
from stages.monitor.session import LONGEST_REQUEST
from stages.monitor.state import State

log = logging.getLogger("streamajig.monitor")

_LOOK_S = 0.2
_TICK_S = 1.0
_LAST_MESSAGES_S = 0.5
"""What a run says at its end comes in several messages."""
_HANDED_ON_S = 3.0
"""Browsers have so long to take the last state."""

_MOST_CONNECTIONS = 200


class _Server(uvicorn.Server):
    """A server that leaves signals to whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def serve(
    address: str,
    listener: socket.socket,
    host: str,
    *,
    token: str,
    frames: KeptFrames,
    parent: int | None = None,
    over: threading.Event | None = None,
    stopping: threading.Event,
) -> None:
    """Serve the page of the run that publishes at `address`.

    Parameters
    ----------
    listener, host
        Where browsers connect to, and what that is called.
    token
        What they must know.
    frames
        Keeps frames, within its limits.
    parent
        Process of the run. When it is gone, and when the run has ended and browsers have its last state, this ends, too. None:
        it goes on, and waits for further runs.
    over
        Says that the run has ended, if it has not said so itself.
    stopping
        Ends it when it is set.
    """
    state = State(address, frames)
    browsers = Browsers(state)
    local = is_loopback(host)
    config = uvicorn.Config(
        application(state, browsers, token, host),
        loop="asyncio",
        http="h11",
        ws="websockets-sansio",
        ws_max_size=LONGEST_REQUEST,
        ws_per_message_deflate=not local,  # within a machine it costs more than it saves
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)

    async def work() -> None:
        loop = asyncio.get_running_loop()
        state.changed = lambda: _call(loop, browsers.wake)
        with Receiver(state, address):
            ending = asyncio.create_task(_until_over(state, browsers, parent, over, stopping))
            ending.add_done_callback(lambda _: setattr(server, "should_exit", True))
            try:
                await server.serve(sockets=[listener])
            finally:
                ending.cancel()
                state.changed = lambda: None

    asyncio.run(work())


def _call(loop: asyncio.AbstractEventLoop, do: Callable[[], object]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: it is over
        loop.call_soon_threadsafe(do)


async def _until_over(
    state: State, browsers: Browsers, parent: int | None, over: threading.Event | None, stopping: threading.Event
) -> None:
    """Return when it is time to end."""

    def is_over() -> bool:
        return parent is not None and (state.has_ended or _is_gone(parent) or (over is not None and over.is_set()))

    loop = asyncio.get_running_loop()
    ticked_s = loop.time()
    while not stopping.is_set() and not is_over():
        await asyncio.sleep(_LOOK_S)
        if loop.time() - ticked_s >= _TICK_S:
            ticked_s = loop.time()
            state.tick()
    if not stopping.is_set():
        await _hand_on(state, browsers)
    browsers.end()
    await asyncio.sleep(_LOOK_S)


async def _hand_on(state: State, browsers: Browsers) -> None:
    """Wait until browsers have what the run has said last, for a while at most."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + _HANDED_ON_S
    while loop.time() < until_s:
        age_s = state.age_s
        if (age_s is None or age_s > _LAST_MESSAGES_S) and browsers.are_up_to_date:
            return
        await asyncio.sleep(_LOOK_S / 4)


def _is_gone(parent: int) -> bool:
    return os.getppid() != parent
