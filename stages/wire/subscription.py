"""A SUB socket from which whole messages are taken, parts and all, as they were sent."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import zmq

from stages.wire.connection import Connection
from stages.wire.losses import Losses
from stages.wire.multipart import HARD_CEILING, HighWaterMark, Reader, size_of
from stages.wire.peer import PUBLISHING

TAKE_REST_S = 0.5
QUIET_MS = 20
"""Taking what has come ends after the first, or when nothing comes for the second: libzmq passes a message on in far less."""


class Subscription:
    """Subscribes at one address, and goes on after whatever ends the connection.

    Messages wait in ZeroMQ's own queue until they are taken.

    Parameters
    ----------
    context
        Makes the sockets; the owner ends it, after `close`.
    tags
        All messages that begin with one of them are received.
    poller
        Has the present socket and its monitor registered.
    rcvhwm, max_queue_bytes
        Messages and bytes that ZeroMQ itself may hold. From the first message on it is so many messages that the largest seen
        fits in as often, and always one.
    max_message_bytes
        A part that is `HARD_CEILING` times as long is refused by ZeroMQ, which ends the connection.
    io_threads
        The I/O threads of the context that may serve it, as a mask of bits; 0 for any.

    Attributes
    ----------
    losses
        When the sender was lost.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        tags: tuple[str, ...],
        poller: zmq.Poller,
        *,
        rcvhwm: int,
        max_queue_bytes: int,
        max_message_bytes: int,
        io_threads: int = 0,
    ) -> None:
        self._address, self._tags, self._poller = address, tags, poller
        self._max_queue_bytes, self._max_message_bytes = max_queue_bytes, max_message_bytes
        self._mark = HighWaterMark(zmq.RCVHWM, rcvhwm, max_queue_bytes)
        self._io_threads = io_threads
        self._seen = 0
        self._taken_bytes = 0
        self.losses = Losses(address)
        self._connection = Connection(context, zmq.SUB, PUBLISHING, address, self.losses, self._configure, poller)
        self._reader = Reader(self._connection.socket)

    def look(self) -> None:
        """Take in what has become of the connection."""
        self._connection.look()

    def take(self) -> list[zmq.Frame] | None:
        """Take one message, None if there is none; of one with more than `MAX_PARTS` parts, one part more than that."""
        try:
            frames = self._reader.take()
        except zmq.Again:
            return None
        size = size_of(frames)
        self._seen += 1
        self._taken_bytes += size
        self._mark.lower_for(size, self._connection.socket)
        return frames

    def renew_where_due(self) -> bool:
        """Make the connection anew if libzmq has given it up; return True if it has done so at a message that it refused.

        What waits is lost, so all is to be taken before.
        """
        if not self._connection.is_to_be_renewed:
            return False
        has_refused = self._connection.has_refused
        self._seen += has_refused
        self._connection.renew()
        self._reader = Reader(self._connection.socket)
        return has_refused

    def rest(self) -> Iterator[list[zmq.Frame]]:
        """Take what ZeroMQ holds, until nothing comes for a moment.

        A sender that goes on is not waited for: no more is taken than can have waited.
        """
        until = time.monotonic() + TAKE_REST_S
        until_bytes = self._taken_bytes + self._max_queue_bytes
        self._connection.look()
        quiet_ms = 0  # where nothing waits, what comes now comes after the end
        while time.monotonic() < until and self._taken_bytes < until_bytes:
            is_there = self._connection.socket.poll(quiet_ms)
            self._connection.look()
            if is_there:
                frames = self.take()
                if frames is not None:
                    yield frames
            elif self._connection.is_settled:
                break
            quiet_ms = QUIET_MS

    @property
    def has_refused(self) -> bool:
        """Whether libzmq has given the present connection up at a message that it would not take."""
        return self._connection.has_refused

    def wait(self, left_s: float) -> None:
        """Wait until a message or news of the connection come, or something else that is registered, no longer than this."""
        self._poller.poll(math.ceil(1000 * self._connection.wait_s(left_s)))

    def status(self) -> str:
        """Say whether anybody publishes, and whether anything has come."""
        self._connection.look()
        if not self._connection.connected:
            return self._connection.nobody()
        if not self._seen:
            tags = " or ".join(repr(tag) for tag in self._tags)
            return f"connected to {self._address}; nothing has come that begins with {tags}"
        return f"connected to {self._address}"

    def close(self) -> None:
        """Hang up; may be called twice."""
        self._connection.close()

    def _configure(self, socket: zmq.Socket[bytes]) -> None:
        socket.setsockopt(zmq.AFFINITY, self._io_threads)
        self._mark.set_on(socket)
        socket.setsockopt(zmq.MAXMSGSIZE, HARD_CEILING * self._max_message_bytes)
        for tag in self._tags:
            socket.setsockopt(zmq.SUBSCRIBE, tag.encode())
