"""What is served: the page's files, a WebSocket for each browser, ``/metrics`` and ``/healthz``. Nothing reaches the run."""

from __future__ import annotations

import asyncio
import logging

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from stages.monitor import prometheus
from stages.monitor.access import HEALTH, Access, Names
from stages.monitor.files import Files
from stages.monitor.session import NoRequest, Session
from stages.monitor.state import State

log = logging.getLogger("streamajig.monitor")

MOST_BROWSERS = 50

SOCKET = "/ws"
_GOING_AWAY, _NOT_ACCEPTED, _TRY_LATER = 1001, 1008, 1013


class Browsers:
    """The browsers that are connected: each has a session, which is woken when there is something new."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._awake: dict[Session, asyncio.Event] = {}
        self._is_over = False

    def __len__(self) -> int:
        return len(self._awake)

    def wake(self) -> None:
        """Let each browser be sent what is new; called in the thread of the loop."""
        for event in self._awake.values():
            event.set()

    def end(self) -> None:
        """Say goodbye to all."""
        self._is_over = True
        self.wake()

    @property
    def are_up_to_date(self) -> bool:
        """Whether all have taken what there is."""
        return all(session.is_up_to_date for session in self._awake)

    async def serve(self, socket: WebSocket) -> None:
        """Serve one browser, as long as it is there."""
        await socket.accept()
        if len(self) >= MOST_BROWSERS or self._is_over:
            await socket.close(_TRY_LATER, f"there are {len(self)} browsers already")
            return
        session, awake = Session(self._state), asyncio.Event()
        self._awake[session] = awake
        sending = asyncio.create_task(self._send(socket, session, awake))
        hearing = asyncio.create_task(self._hear(socket, session, awake))
        try:
            await asyncio.wait((sending, hearing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._awake[session]
            for task in (sending, hearing):
                task.cancel()
            await asyncio.gather(sending, hearing, return_exceptions=True)

    async def _send(self, socket: WebSocket, session: Session, awake: asyncio.Event) -> None:
        while not self._is_over:
            message = session.next()
            if message is None:
                await awake.wait()
                awake.clear()
            else:
                await socket.send_bytes(bytes(message))
        await socket.close(_GOING_AWAY, "the monitor has ended")

    async def _hear(self, socket: WebSocket, session: Session, awake: asyncio.Event) -> None:
        while True:
            said = await socket.receive()
            if said["type"] == "websocket.disconnect":
                return
            try:
                session.hear(said.get("text") or "")
            except NoRequest as error:
                log.warning("a browser has sent what is no request: %s", error)
                await socket.close(_NOT_ACCEPTED, f"what was sent is no request: {error}")
                return
            awake.set()


def application(state: State, browsers: Browsers, token: str, host: str) -> ASGIApp:
    """Make what is served at `host` to those who have the token."""
    files = Files()

    async def file(request: Request) -> Response:
        return files.answer(request)

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def metrics(_: Request) -> Response:
        return Response(prometheus.metrics(state), headers={"content-type": prometheus.CONTENT_TYPE})

    routes = [
        Route(HEALTH, health),
        Route("/metrics", metrics),
        WebSocketRoute(SOCKET, browsers.serve),
        Route("/{path:path}", file),
    ]
    return Access(Starlette(routes=routes), token, Names(host))
