"""A frame server: sends ready-made messages over a socket, as OnDA and OM do.

It is the other end of `source/zmq_sub`, `source/zmq_req` and `source/zmq_pull`, for the simulator, for ``streamajig replay``
and for tests.

``socket="pub"``
    sends ``[topic, body]`` to whoever subscribes. It waits for a first subscriber, and, unlike an ordinary PUB socket,
    holds back rather than drops when a subscriber cannot keep up (``nodrop=False`` drops, as OM does).
``socket="rep"``
    a ROUTER socket that answers each `request` (from a REQ or DEALER socket) with the next body, as OM does: requests
    are parked while there is nothing to send, 20 deep, and the oldest is forgotten when there are more; any other request
    is answered ``What?``. A body whose asker has gone is given to the next one (OM loses it).
``socket="push"``
    deals bodies out to those who pull, as DECTRIS detectors, Jungfraujoch and karabo bridges do, and waits when nobody takes
    them. A body may have been sent, and be lost, when whoever it was dealt to goes.

>>> import zmq
>>> with FrameServer(socket="rep") as server:
...     serving = serve_in_thread(server, [b"one", b"two"])
...     with zmq.Context() as context, context.socket(zmq.REQ) as client:
...         _ = client.connect(server.address)
...         for request in (b"next", b"nonsense", b"next"):
...             client.send(request)
...             print(client.recv())
...     serving.join(timeout_s=10)
b'one'
b'What?'
b'two'
2
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import zmq

from pipeline import UserError
from stages.wire.askers import Askers
from stages.wire.binding import bind as bind_to
from stages.wire.curve import secure_server

Body = bytes | bytearray | memoryview | Sequence[bytes | bytearray | memoryview]
"""What is sent as one message: a buffer, or several, which become the parts of one multi-part message."""

Kind = Literal["pub", "rep", "push"]

_TYPES = {"pub": zmq.XPUB, "rep": zmq.ROUTER, "push": zmq.PUSH}

_TICK_MS = 50
"""How long a stop request may go unnoticed."""

_CATCH_UP_S = 0.1
"""So much of what was not sent in time is made up for by sending faster: more than scheduling takes, and no second's worth."""


class FrameServer:
    """Bind a socket and send bodies over it; see the module's description.

    Parameters
    ----------
    bind
        Endpoint; ``tcp://127.0.0.1:*`` takes a free port, and `address` says which.
    socket
        ``pub``, ``rep`` or ``push``.
    topic
        Tag frame sent before each body (pub only); None sends bodies alone.
    request
        The request that is answered with a body (rep only).
    rate_hz
        At most so many messages a second, counted from when somebody is there to take them; None is as fast as they are taken.
        Who was late by less than a tenth of a second may catch up.
    wait_for_subscriber_s
        pub only: how long to wait for a first subscriber before sending to nobody; None waits until there is one.
    parked
        How many unanswered requests are kept.
    nodrop
        pub only: wait for slow subscribers instead of dropping messages for them.
    curve_key
        File of the secret key with which it serves; clients have its public key. None: without security.
    linger_s
        How long `close` waits for what has been sent to be delivered.

    Attributes
    ----------
    address
        The endpoint that clients connect to.
    sent
        Bodies sent.
    """

    def __init__(
        self,
        bind: str = "tcp://127.0.0.1:*",
        socket: Kind = "pub",
        topic: bytes | None = b"ondaframedata",
        request: bytes = b"next",
        rate_hz: float | None = None,
        wait_for_subscriber_s: float | None = None,
        parked: int = 20,
        nodrop: bool = True,
        linger_s: float = 5.0,
        curve_key: Path | None = None,
    ) -> None:
        if socket not in _TYPES:
            raise UserError(f"a frame server's socket is 'pub', 'rep' or 'push', not {socket!r}")
        if rate_hz is not None and not rate_hz > 0:
            raise UserError(f"the rate must be above 0 Hz, and is {rate_hz}")
        self.kind = socket
        self.topic = topic
        self.request = request
        self.rate_hz = rate_hz
        self.wait_for_subscriber_s = wait_for_subscriber_s
        self.linger_s = linger_s
        self.sent = 0
        self._subscriptions: list[bytes] = []
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(_TYPES[socket])
        if socket == "pub":
            self._socket.setsockopt(zmq.XPUB_NODROP, int(nodrop))
        self._askers = Askers(self._socket, request, parked) if socket == "rep" else None
        try:
            if curve_key is not None:
                secure_server(self._socket, curve_key)
            self.address = bind_to(self._socket, bind)
        except BaseException:
            self._socket.close(0)
            self._context.term()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(self.linger_s if kind is None else 0.0)

    @property
    def to_whom(self) -> str:
        """Who gets what is sent, in words."""
        if self.kind == "rep":
            return f"to whoever asks with {self.request.decode()!r}"
        return f"to subscribers of {(self.topic or b'').decode()!r}" if self.kind == "pub" else "to those who pull"

    @property
    def requests(self) -> int:
        """Requests for a body."""
        return 0 if self._askers is None else self._askers.requests

    @property
    def unknown_requests(self) -> int:
        """Other requests."""
        return 0 if self._askers is None else self._askers.unknown

    @property
    def forgotten_requests(self) -> int:
        """Requests that fell out of the queue."""
        return 0 if self._askers is None else self._askers.forgotten

    def close(self, linger_s: float | None = None) -> None:
        """Deliver what is under way, for at most `linger_s`, and let go of the port. May be called twice."""
        if not self._socket.closed:
            self._socket.close(int(1000 * (self.linger_s if linger_s is None else linger_s)))
            self._context.term()

    def serve(self, bodies: Iterable[Body], stopping: threading.Event | None = None) -> int:
        """Send the bodies in order, each once; return how many were sent, fewer if `stopping` was set meanwhile.

        The next body is taken from the iterable when there is somebody to send it to, so a generator may work frame by
        frame. Answers to requests parked by an earlier call are given first.
        """
        stopping = stopping or threading.Event()
        if self.kind == "pub" and not self._wait_for_subscriber(stopping):
            return 0
        due = 0.0
        count = 0
        for body in _until(stopping, bodies):
            while (wait_s := due - time.monotonic()) > 0 and not stopping.is_set():
                self._listen(wait_s)
            parts = [body] if isinstance(body, (bytes, bytearray, memoryview)) else list(body)
            if not self._send(parts, stopping):
                break
            count += 1
            self.sent += 1
            if self.rate_hz is not None:
                sent_s = time.monotonic()
                due = (max(due, sent_s - _CATCH_UP_S) if count > 1 else sent_s) + 1.0 / self.rate_hz
        return count

    def wait_for_requests(self, number: int, timeout_s: float) -> bool:
        """Listen until `number` requests are parked at once; tell whether that came about in time (rep only)."""
        deadline = time.monotonic() + timeout_s
        while self._askers is None or len(self._askers) < number:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            self._listen(left_s)
        return True

    def _listen(self, wait_s: float) -> None:
        """Take in subscriptions or requests for up to one tick."""
        if self.kind == "push":
            time.sleep(min(wait_s, _TICK_MS / 1000))  # nobody says anything to a PUSH socket
            return
        if not self._socket.poll(min(int(1000 * wait_s) + 1, _TICK_MS)):
            return
        if self._askers is not None:
            self._askers.take()
            return
        while True:
            try:
                event = self._socket.recv_multipart(zmq.NOBLOCK)[0]
            except zmq.Again:
                return
            if event[:1] == b"\x01":
                self._subscriptions.append(event[1:])
            elif event[1:] in self._subscriptions:
                self._subscriptions.remove(event[1:])

    def _wait_for_subscriber(self, stopping: threading.Event) -> bool:
        """Wait until somebody subscribes to the topic; False where the stop came first."""
        deadline = None if self.wait_for_subscriber_s is None else time.monotonic() + self.wait_for_subscriber_s
        while not any(
            (self.topic or b"").startswith(subscription) or not self.topic for subscription in self._subscriptions
        ):
            left_s = 1.0 if deadline is None else deadline - time.monotonic()
            if left_s <= 0:
                break
            if stopping.is_set():
                return False
            self._listen(left_s)
        return True

    def _send(self, parts: list[bytes | bytearray | memoryview], stopping: threading.Event) -> bool:
        if self.kind == "rep":
            return self._answer(parts, stopping)
        return self._publish(parts, stopping) if self.kind == "pub" else self._push(parts, stopping)

    def _push(self, parts: list[bytes | bytearray | memoryview], stopping: threading.Event) -> bool:
        while not stopping.is_set():
            if not self._socket.poll(_TICK_MS, zmq.POLLOUT):
                continue
            with contextlib.suppress(zmq.Again):  # whoever had room may just have gone
                self._send_now(parts)
                return True
        return False

    def _publish(self, parts: list[bytes | bytearray | memoryview], stopping: threading.Event) -> bool:
        if self.topic is not None:
            parts.insert(0, self.topic)
        while not stopping.is_set():
            self._listen(0)
            with contextlib.suppress(zmq.Again):
                self._send_now(parts)
                return True
            time.sleep(0.001)
        return False

    def _send_now(self, parts: list[bytes | bytearray | memoryview]) -> None:
        self._socket.send_multipart(parts, zmq.NOBLOCK, copy=not all(isinstance(part, bytes) for part in parts))

    def _answer(self, parts: list[bytes | bytearray | memoryview], stopping: threading.Event) -> bool:
        assert self._askers is not None
        while not stopping.is_set():
            self._listen(0.0 if len(self._askers) else 1.0)
            if self._askers.answer(parts):
                return True
            if len(self._askers):
                time.sleep(0.001)
        return False


def kind_of(publishes: bool, pushes: bool) -> Kind:
    """The socket that a command's options ask for."""
    if publishes and pushes:
        raise UserError("--pub and --push exclude each other: a PUB socket sends to all, a PUSH socket deals out")
    return "pub" if publishes else "push" if pushes else "rep"


def _until(stopping: threading.Event, bodies: Iterable[Body]) -> Iterable[Body]:
    """Yield the bodies as long as no stop is asked for."""
    for body in bodies:
        if stopping.is_set():
            return
        yield body


class Serving:
    """A frame server at work in a thread of its own; `serve_in_thread` starts one."""

    def __init__(self, server: FrameServer, bodies: Iterable[Body]) -> None:
        self.server = server
        self._stopping = threading.Event()
        self._sent = 0
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, args=(bodies,), name="frame server", daemon=True)
        self._thread.start()

    def _work(self, bodies: Iterable[Body]) -> None:
        try:
            self._sent = self.server.serve(bodies, self._stopping)
        except BaseException as error:  # handed to the thread that joins, which is the one that can act on it
            self._error = error

    @property
    def running(self) -> bool:
        """Whether there is still something to send."""
        return self._thread.is_alive()

    def stop(self, timeout_s: float = 10.0) -> int:
        """Ask for the end, wait for it and return how many bodies were sent."""
        self._stopping.set()
        return self.join(timeout_s)

    def join(self, timeout_s: float | None = None) -> int:
        """Wait until all is sent and return how many bodies that were; raises what the server or the iterable raised."""
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise TimeoutError(
                f"the frame server has sent {self.server.sent} messages and is not done in {timeout_s} s"
            )
        if self._error is not None:
            raise self._error
        return self._sent


def serve_in_thread(server: FrameServer, bodies: Iterable[Body]) -> Serving:
    """Let the server send the bodies in a thread of its own; leave the server to that thread until it is joined."""
    return Serving(server, bodies)
