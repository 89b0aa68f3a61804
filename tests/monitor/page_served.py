"""The page as it is served: a socket that publishes, a server in a thread of its own, and a browser that is none."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import zmq
from websockets.sync.client import ClientConnection, connect

from stages.monitor.address import listening
from stages.monitor.blob import decode, encode
from stages.monitor.frames import KeptFrames
from stages.monitor.serving import serve

PATIENCE_S = 120.0
"""Far longer than anything here takes on a machine that does nothing else."""
TOKEN = "a-token-that-tests-know"
SUBSCRIPTIONS = 6


class Publisher:
    """What a run is for the monitor: a PUB socket, of a kind that says when somebody has subscribed."""

    def __init__(self, address: str = "tcp://127.0.0.1:*") -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.LINGER, 1000)
        self._socket.bind(address)
        self.address = self._socket.getsockopt(zmq.LAST_ENDPOINT).decode().rstrip("\0")

    def wait_for_subscriptions(self) -> None:
        """Wait until a monitor has subscribed to all that there is."""
        for _ in range(SUBSCRIPTIONS):
            assert self._socket.poll(1000 * PATIENCE_S), "nobody subscribes"
            self._socket.recv()

    def send(self, content: Mapping[str, Any]) -> None:
        """Publish a message."""
        self.send_parts(str(content["kind"]).encode(), encode(content))

    def send_parts(self, *parts: bytes | bytearray) -> None:
        """Publish what may be none."""
        self._socket.send_multipart(parts)

    def close(self) -> None:
        self._socket.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def head(kind: str, run: str = "run1", number: int = 0) -> dict[str, Any]:
    """What each message has."""
    return {"kind": kind, "run": run, "number": number, "time_unix_s": 1.7e9 + number}


def about_run(run: str = "run1", number: int = 0, **more: Any) -> dict[str, Any]:
    """A small message `run`."""
    return {**head("run", run, number), "ended": "", "counts": {"received": 10 * number}, **more}


def frame(serial: int, category: str = "hit", run: str = "run1", **more: Any) -> dict[str, Any]:
    """A message of a frame of four by four pixels, all of which are `serial`."""
    panels = [np.full((4, 4), serial, "u2")]
    return {**head("frame", run, serial), "serial": serial, "category": category, "panels": panels, **more}


class Browser:
    """Talks to the page as a browser does, and says when it is ready."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    def say(self, **request: Any) -> None:
        """Send a request."""
        self.say_text(json.dumps(request))

    def say_text(self, text: str | bytes) -> None:
        self._socket.send(text)

    def receive(self, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """Receive the next message, without saying that we are ready for it."""
        message = self._socket.recv(timeout_s)
        assert isinstance(message, bytes)
        return decode(message)

    def hears_nothing_for(self, seconds: float) -> bool:
        """Whether nothing comes."""
        try:
            self._socket.recv(seconds)
        except TimeoutError:
            return True
        return False

    def next(self, kind: str, where: Callable[[dict[str, Any]], object] = lambda _: True) -> dict[str, Any]:
        """The next message of this kind of which that is true; no others are asked for."""
        self.say(kinds=[kind])
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            self.say(ready=True)
            found = self.receive()
            if found["kind"] == kind and where(found):
                return found
        raise AssertionError(f"no such message {kind}")

    def close_code(self) -> int | None:
        """Wait until the other side closes; with which code."""
        with contextlib.suppress(Exception):
            while True:
                self._socket.recv(PATIENCE_S)
        return self._socket.close_code

    def vanish(self) -> None:
        """Be killed: the connection is cut off without a word."""
        self._socket.socket.close()


@dataclass(frozen=True)
class Page:
    """A page that is served.

    Attributes
    ----------
    port
        Where.
    stopping
        Ends it when it is set.
    thread
        In which it is served.
    """

    port: int
    stopping: threading.Event
    thread: threading.Thread

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Ask for a path as it is, with these headers (``_`` for ``-``); the token comes as a cookie's does not: not at all."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in {"host": f"127.0.0.1:{self.port}", **headers}.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    @contextlib.contextmanager
    def browser(self, token: str = TOKEN, **headers: str) -> Iterator[Browser]:
        """Connect as a browser does."""
        address = f"ws://127.0.0.1:{self.port}/ws" + (f"?token={token}" if token else "")
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        with connect(
            address, additional_headers=more, max_size=None, open_timeout=PATIENCE_S, close_timeout=1
        ) as socket:
            yield Browser(socket)


@contextlib.contextmanager
def served(address: str, frames: KeptFrames | None = None, parent: int | None = None) -> Iterator[Page]:
    """Serve the page of what is published at `address`."""
    stopping = threading.Event()
    with listening("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]

        def work() -> None:
            serve(
                address,
                listener,
                "127.0.0.1",
                token=TOKEN,
                frames=frames or KeptFrames(),
                parent=parent,
                stopping=stopping,
            )

        thread = threading.Thread(target=work, name="page")
        thread.start()
        try:
            yield Page(port, stopping, thread)
        finally:
            stopping.set()
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "the server does not end"
