"""The socket on which a run publishes: it never waits for anybody, and knows what somebody listens to."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import zmq

from pipeline import UserError
from stages.monitor.blob import encode
from stages.monitor.kinds import PUBLISHED
from stages.wire.binding import bind

LINGER_S = 0.8
"""How long the last messages may take to be delivered."""

PATIENCE_S = 1.0
"""How long those who listen may be behind before they are let go of."""

_OF_THIS_MACHINE = ("tcp://127.", "tcp://[::1]:", "ipc://")

_SUBSCRIPTIONS = 100
"""So many are taken in at once."""


class Publisher:
    """Publishes messages of all kinds, and never waits but with the last ones.

    Parameters
    ----------
    endpoint
        Where to publish; UserError if that is not possible.
    patience_s
        How long messages are let go of because somebody is behind with those before.

    Attributes
    ----------
    address
        Where it is published, with a port in place of ``*``.
    """

    def __init__(self, endpoint: str, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._behind_since_s = math.inf
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.SNDHWM, len(PUBLISHED))
        self._socket.setsockopt(zmq.XPUB_VERBOSER, 1)
        # libzmq forgets whom it has once dropped a message for, until he reads: after that it cannot be waited for him
        self._socket.setsockopt(zmq.XPUB_NODROP, 1)
        self._subscriptions: Counter[bytes] = Counter()
        try:
            self.address = bind(self._socket, endpoint)
        except BaseException as error:
            self.close(0.0)
            if isinstance(error, UserError):
                raise UserError(f"the monitor's messages: {error}") from None
            raise

    @property
    def address_here(self) -> str:
        """The endpoint by which it is found on this machine."""
        return self.address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")

    @property
    def is_for_others(self) -> bool:
        """Whether other machines may reach it."""
        return not self.address.startswith(_OF_THIS_MACHINE)

    def new_listeners(self) -> bool:
        """Take in who has come and gone; tell whether somebody has come."""
        is_new = False
        for _ in range(_SUBSCRIPTIONS):
            try:
                said = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            topic = said[1:]
            if not any(kind.encode().startswith(topic) for kind in PUBLISHED):
                continue  # nobody publishes that
            if said[:1] == b"\x01":
                self._subscriptions[topic] += 1
                is_new = True
            elif said[:1] == b"\x00":
                self._subscriptions[topic] -= 1
                self._subscriptions += Counter()  # lets go of those that are none
        return is_new

    def listened_to(self) -> frozenset[str]:
        """Return the kinds that somebody listens to."""
        return frozenset(
            kind for kind in PUBLISHED if any(kind.encode().startswith(topic) for topic in self._subscriptions)
        )

    def send(self, kind: str, message: Mapping[str, Any]) -> None:
        """Publish one message, or let it go: while somebody is behind nobody gets any, so that nobody misses the last.

        Who is behind for longer than `patience_s` is let go of, and gets messages again when he has taken those that wait.
        """
        parts: list[Any] = [kind.encode(), encode(message)]
        self._socket.get(zmq.EVENTS)  # libzmq takes in who has read what; to send, it does so once in a while only
        try:
            self._socket.send_multipart(parts, zmq.NOBLOCK, copy=False)
            self._behind_since_s = math.inf
        except zmq.Again:
            now_s = time.monotonic()
            self._behind_since_s = min(self._behind_since_s, now_s)
            if now_s - self._behind_since_s >= self._patience_s:
                self._send_to_those_who_keep_up(parts)

    def send_last(self, kind: str, message: Mapping[str, Any], until_s: float) -> None:
        """Publish one message that nobody is to miss: wait for whoever is behind until then, by ``time.monotonic``."""
        parts: list[Any] = [kind.encode(), encode(message)]
        self._socket.setsockopt(zmq.SNDTIMEO, max(0, int(1000 * (until_s - time.monotonic()))))
        try:
            self._socket.send_multipart(parts, copy=False)
        except zmq.Again:
            self._send_to_those_who_keep_up(parts)

    def _send_to_those_who_keep_up(self, parts: list[Any]) -> None:
        """Send a message to all who have room for it; whoever has none is not waited for until he has."""
        self._socket.setsockopt(zmq.XPUB_NODROP, 0)
        with contextlib.suppress(zmq.Again):
            self._socket.send_multipart(parts, zmq.NOBLOCK, copy=False)
        self._socket.setsockopt(zmq.XPUB_NODROP, 1)
        self._behind_since_s = math.inf

    def close(self, linger_s: float = LINGER_S) -> None:
        """Let the last messages be delivered, for a short time. May be called twice."""
        if not self._socket.closed:
            self._socket.close(int(1000 * linger_s))
            self._context.term()
