"""Those who ask for messages, and get one for each request: a ROUTER socket that remembers who waits.

A request is what a REQ socket sends, an empty part and a word (https://rfc.zeromq.org/spec/28/); a DEALER socket that sends the
same may have several on their way. Any other request is answered ``What?``, as OM does.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Sequence
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

Part = bytes | bytearray | memoryview | zmq.Frame
"""One part of a message. What cannot change any more, bytes and frames, is sent without being copied."""

_MOST_AT_ONCE = 1000
"""Requests that are taken in before somebody else gets a turn."""

_FIRST_PART, _MORE = int(zmq.NOBLOCK | zmq.SNDMORE), int(zmq.SNDMORE)

_REQUEST_BYTES = 65536
"""A part of a request that is longer costs its connection."""


class Askers:
    """Requests that wait, the oldest first.

    Parameters
    ----------
    socket
        A ROUTER socket, which is to be bound; its options are set here.
    request
        The word that asks for a message.
    remembered
        Requests that wait, at most; the oldest is forgotten when there are more.

    Attributes
    ----------
    requests, unknown, forgotten, gone
        Requests for a message; other requests; requests that were forgotten; requests whose asker had gone when it was its
        turn.
    """

    def __init__(self, socket: zmq.Socket[bytes], request: bytes, remembered: int) -> None:
        self._socket = socket
        self._request = request
        self._remembered = remembered
        self._waiting: deque[bytes] = deque()
        self.requests = self.unknown = self.forgotten = self.gone = 0
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.MAXMSGSIZE, _REQUEST_BYTES)

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> None:
        """Take in the requests that have come; never waits."""
        for _ in range(_MOST_AT_ONCE):
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._take(parts)

    def answer(self, parts: Sequence[Part]) -> bool:
        """Send a message to whoever has waited longest, of those who can take one now; False if nobody can. Never waits.

        Requests whose asker has gone are forgotten on the way.
        """
        full: set[bytes] = set()
        passed_over: list[bytes] = []
        try:
            while self._waiting:
                asker = self._waiting.popleft()
                try:
                    if asker not in full and self._send(asker, [b"", *parts]):
                        return True
                except _AskerGoneError:
                    self.gone += 1
                    continue
                full.add(asker)
                passed_over.append(asker)
            return False
        finally:
            self._waiting.extendleft(reversed(passed_over))

    def _take(self, parts: list[bytes]) -> None:
        if parts[1:] != [b"", self._request]:
            self.unknown += 1
            with contextlib.suppress(_AskerGoneError):
                self._send(parts[0], [*parts[1:-1], b"What?"])
            return
        self.requests += 1
        self._waiting.append(parts[0])
        if len(self._waiting) > self._remembered:
            self._waiting.popleft()
            self.forgotten += 1

    def _send(self, asker: bytes, parts: Sequence[Part]) -> bool:
        """Send all parts, or none: False where the asker's queue is full."""
        try:
            self._socket.send(asker, _FIRST_PART)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                raise _AskerGoneError from None
            raise
        for part in parts[:-1]:  # once the first is taken libzmq takes the others without a wait
            self._send_part(part, _MORE)
        self._send_part(parts[-1], 0)
        return True

    def _send_part(self, part: Any, flags: int) -> None:
        self._socket.send(part, flags, copy=isinstance(part, bytearray | memoryview))


class _AskerGoneError(Exception):
    """Whoever asked is no longer connected."""


class Connected:
    """How many are connected to a socket that serves, told by its monitor.

    Parameters
    ----------
    socket
        Not bound yet, and closed only after this.
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._open: set[int] = set()
        self._monitor = socket.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)

    def count(self) -> int:
        """Return how many there are now."""
        while self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)
            if event["event"] == zmq.EVENT_ACCEPTED:
                self._open.add(event["value"])
            else:
                self._open.discard(event["value"])
        return len(self._open)

    def close(self) -> None:
        """Watch no more."""
        self._socket.disable_monitor()
        self._monitor.close(0)
