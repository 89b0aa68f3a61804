"""Those who ask for messages, and get one for each request: a ROUTER socket that remembers who waits.

A request is what a REQ socket sends, an empty part and a word (https://rfc.zeromq.org/spec/28/); a DEALER socket that sends the
same may have several on their way. Any other request is answered ``What?``, as OM does.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

Part = bytes | bytearray | memoryview | zmq.Frame
"""One part of a message. What cannot change any more, bytes and frames, is sent without being copied."""

_MOST_AT_ONCE = 1000
"""Requests that are taken in before somebody else gets a turn."""

_NO_FD = -1

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
    requests, unknown, forgotten
        Requests for a message; other requests; requests that were forgotten.
    left, unconfirmed
        Askers that have gone; answers that were sent to them and after which they have not asked again, at most: whoever goes
        before it has read them takes these along.
    """

    def __init__(self, socket: zmq.Socket[bytes], request: bytes, remembered: int) -> None:
        self._socket = socket
        self._request = request
        self._remembered = remembered
        self._waiting: deque[bytes] = deque()
        self._known: dict[bytes, _Asker] = {}
        self._by_fd: dict[int, bytes] = {}
        self.requests = self.unknown = self.forgotten = self.left = self.unconfirmed = 0
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.MAXMSGSIZE, _REQUEST_BYTES)

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> None:
        """Take in the requests that have come; never waits."""
        for _ in range(_MOST_AT_ONCE):
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
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
                        self._known[asker].answers += 1
                        return True
                except _AskerGoneError:
                    self._forget(asker)
                    continue
                full.add(asker)
                passed_over.append(asker)
            return False
        finally:
            self._waiting.extendleft(reversed(passed_over))

    def connection_ended(self, fd: int) -> None:
        """Take note that whoever asks over the connection with this file descriptor has gone."""
        if fd in self._by_fd:
            self._forget(self._by_fd[fd])

    def _take(self, frames: list[zmq.Frame]) -> None:
        asker, *parts = (frame.bytes for frame in frames)
        if parts != [b"", self._request]:
            self.unknown += 1
            with contextlib.suppress(_AskerGoneError):
                self._send(asker, [*parts[:-1], b"What?"])
            return
        self.requests += 1
        known = self._known.get(asker) or self._meet(asker, int(frames[-1].get(zmq.SRCFD)))
        known.requests += 1
        known.most_waiting = max(known.most_waiting, known.requests - known.answers)
        self._waiting.append(asker)
        if len(self._waiting) > self._remembered:
            self._known[self._waiting.popleft()].requests -= 1
            self.forgotten += 1

    def _meet(self, asker: bytes, fd: int) -> _Asker:
        """Begin to count for one that asks for the first time.

        Another one with its file descriptor has gone, or it has itself and this is what it left behind. Which, is not known: no
        request is forgotten for it.
        """
        if fd in self._by_fd:
            before = self._by_fd[fd]
            self._settle(self._known.pop(before))
            if before in self._waiting:
                self._known[before] = _Asker(_NO_FD)
        self._by_fd[fd] = asker
        self._known[asker] = _Asker(fd)
        return self._known[asker]

    def _forget(self, asker: bytes) -> None:
        """Say goodbye to one that has gone, and to its requests."""
        known = self._known.pop(asker)
        if known.fd != _NO_FD:
            del self._by_fd[known.fd]
            self._settle(known)
        self._waiting = deque(one for one in self._waiting if one != asker)

    def _settle(self, known: _Asker) -> None:
        self.left += 1
        self.unconfirmed += known.unconfirmed

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


@dataclass
class _Asker:
    """One that asks: its connection, its requests that were not forgotten, and the answers to them."""

    fd: int
    requests: int = 0
    answers: int = 0
    most_waiting: int = 0
    """Requests that it has let wait at once, which is how far it goes ahead: REQ sockets by one."""

    @property
    def unconfirmed(self) -> int:
        """Answers after which it has not asked again, at most."""
        return max(0, self.answers - (self.requests - self.most_waiting))


class _AskerGoneError(Exception):
    """Whoever asked is no longer connected."""


class Connected:
    """Who is connected to a socket that serves, told by its monitor.

    Parameters
    ----------
    socket
        Not bound yet, and closed only after this.
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._open: set[int] = set()
        self._monitor = socket.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)

    @property
    def count(self) -> int:
        """How many there were at the last look."""
        return len(self._open)

    def look(self) -> list[int]:
        """Return the file descriptors of connections that have ended since the last look, and whose number nobody has again.

        An end is told before its number is given to another connection, and that before anything comes over this one. So
        whoever has asked by now over a connection that is returned here is the one that has gone.
        """
        ended: list[int] = []
        while self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)
            if event["event"] == zmq.EVENT_ACCEPTED:
                self._open.add(event["value"])
            else:
                self._open.discard(event["value"])
                ended.append(event["value"])
        return [fd for fd in ended if fd not in self._open]

    def close(self) -> None:
        """Watch no more."""
        self._socket.disable_monitor()
        self._monitor.close(0)
