"""A socket to which messages come unasked, published or pushed, from which they are taken whole, parts and all."""

from __future__ import annotations

import time
from collections.abc import Iterator

import zmq

from stages.wire.connection import Connection
from stages.wire.losses import Losses
from stages.wire.multipart import HARD_CEILING, HighWaterMark, Reader, size_of
from stages.wire.peer import PUBLISHING, PUSHING

QUIET_MS = 20
"""Taking what has come ends when nothing comes for so long: libzmq passes a message on in far less."""


class Incoming:
    """Connects to one address, and goes on after whatever ends the connection.

    Messages wait in ZeroMQ's own queue until they are taken.

    Parameters
    ----------
    context
        Makes the sockets; the owner ends it, after `close`.
    tags
        A subscription: all that is published and begins with one of them is received. None pulls what a sender pushes.
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
    is_cut_off
        Whether messages still came when `rest` ended.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        tags: tuple[str, ...] | None,
        poller: zmq.Poller,
        *,
        rcvhwm: int,
        max_queue_bytes: int,
        max_message_bytes: int,
        io_threads: int = 0,
    ) -> None:
        self._address, self._tags = address, tags
        self._max_queue_bytes, self._max_message_bytes = max_queue_bytes, max_message_bytes
        self._mark = HighWaterMark(zmq.RCVHWM, rcvhwm, max_queue_bytes)
        self._io_threads = io_threads
        self._seen = 0
        self._taken_bytes = 0
        self.is_cut_off = False
        self.losses = Losses(address)
        kind, takes = (zmq.PULL, PUSHING) if tags is None else (zmq.SUB, PUBLISHING)
        self._connection = Connection(context, kind, takes, address, self.losses, self._configure, poller)
        self._reader = Reader(self._connection.socket)

    @property
    def connected(self) -> bool:
        """Whether there was a sender at the last look."""
        return self._connection.connected

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

    def rest(self, most_s: float) -> Iterator[list[zmq.Frame]]:
        """Take what ZeroMQ holds, until nothing comes for a moment, or for so many seconds.

        A sender that goes on is not waited for: no more is taken than can have waited.
        """
        until = time.monotonic() + most_s
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
        else:
            self.is_cut_off = True

    @property
    def has_refused(self) -> bool:
        """Whether libzmq has given the present connection up at a message that it would not take."""
        return self._connection.has_refused

    def wait_s(self, left_s: float) -> float:
        """How long to wait at most until the next look, if there are `left_s` left."""
        return self._connection.wait_s(left_s)

    def status(self) -> str:
        """Say whether there is a sender, and whether anything has come."""
        self._connection.look()
        if not self._connection.connected:
            return self._connection.nobody()
        if self._seen:
            return f"connected to {self._address}"
        tags = " or ".join(repr(tag) for tag in self._tags or ())
        return f"connected to {self._address}; nothing has come" + (f" that begins with {tags}" if tags else "")

    def close(self) -> None:
        """Hang up; may be called twice."""
        self._connection.close()

    def _configure(self, socket: zmq.Socket[bytes]) -> None:
        socket.setsockopt(zmq.AFFINITY, self._io_threads)
        self._mark.set_on(socket)
        socket.setsockopt(zmq.MAXMSGSIZE, HARD_CEILING * self._max_message_bytes)
        for tag in self._tags or ():
            socket.setsockopt(zmq.SUBSCRIBE, tag.encode())
