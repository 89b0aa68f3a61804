"""Messages of ZeroMQ as they come: their parts, their size, and its limits."""

from __future__ import annotations

import time
from collections.abc import Sequence

import zmq

DEFAULT_MAX_MESSAGE_BYTES = 1 << 30
"""Larger messages are rejected; a 16 Mpixel frame of float64 has an eighth of this."""

HARD_CEILING = 8
"""How many times `max_message_bytes` a part may have before libzmq refuses it, which costs the connection."""

MAX_PARTS = 1024
"""Parts of one message. OM sends two, three with a delimiter; each costs Python a kilobyte, however little it holds."""

_SKIP_S = 0.05
"""How long parts of a message that has too many are skipped before others get their turn."""


class Reader:
    """Takes whole messages off a socket, of each no more parts than `MAX_PARTS`; the others are thrown away one by one."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._is_amid = False

    def take(self) -> list[zmq.Frame]:
        """Return the parts of the next message, of one that has more than `MAX_PARTS` one more than that; never waits.

        Raises zmq.Again where there is none, or none yet.
        """
        until = time.monotonic() + _SKIP_S
        while self._is_amid:
            self._is_amid = self._socket.recv(zmq.NOBLOCK, copy=False).more
            if time.monotonic() > until:
                raise zmq.Again
        parts = [self._socket.recv(zmq.NOBLOCK, copy=False)]
        while parts[-1].more and len(parts) <= MAX_PARTS:
            parts.append(self._socket.recv(zmq.NOBLOCK, copy=False))
        self._is_amid = parts[-1].more
        return parts


def size_of(frames: Sequence[zmq.Frame]) -> int:
    """The bytes of a message."""
    return sum(len(frame) for frame in frames)
