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


class HighWaterMark:
    """Keeps a queue of ZeroMQ, which is bounded in messages, within some bytes too, by the largest message seen.

    Parameters
    ----------
    option
        ``zmq.RCVHWM`` or ``zmq.SNDHWM``.
    messages, size
        What the queue may hold at most, in messages and in bytes; one message it always may.
    """

    def __init__(self, option: int, messages: int, size: int) -> None:
        self._option, self._mark, self._size = option, messages, size

    def set_on(self, socket: zmq.Socket[bytes]) -> None:
        """Set the mark of a new socket."""
        socket.setsockopt(self._option, self._mark)

    def lower_for(self, size: int, socket: zmq.Socket[bytes]) -> None:
        """Lower it if so many messages of this size do not fit in.

        libzmq heeds this at once. More may never be allowed: a sender that waits is woken when a multiple of half the limit has
        been read, and while the limit grows that may never be.
        """
        fitting = max(1, self._size // max(1, size))
        if fitting < self._mark:
            self._mark = fitting
            self.set_on(socket)


def size_of(frames: Sequence[zmq.Frame]) -> int:
    """The bytes of a message."""
    return sum(len(frame) for frame in frames)
