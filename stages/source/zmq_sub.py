"""Take frames that are published (SUB socket)."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Annotated, ClassVar, Literal

import zmq
from pydantic import Field

from pipeline import Context, Delivery, EndOfStream, Findings, Message, stage
from stages.wire.connection import Connection, Endpoint
from stages.wire.losses import Losses
from stages.wire.message import DEFAULT_MAX_MESSAGE_BYTES, is_well_formed
from stages.wire.multipart import HARD_CEILING, Reader, messages_of, refused, size_of
from stages.wire.peer import PUBLISHING

BATCH = 64
"""Messages that are taken at a time."""

TAKE_REST_S = 0.5
QUIET_MS = 20
"""Taking what has come ends after the first, or when nothing comes for the second: libzmq passes a message on in far less."""


@stage("source/zmq_sub")
class ZmqSub:
    """Receive what a sender publishes on a PUB socket, as OnDA's and OM's viewers do (``--zmq-subscribe``).

    Every subscriber receives everything, and a sender that is faster than its subscribers drops what they do not take.
    Whoever wants each frame once, and none lost, asks for them: `source/zmq_req`.

    A message may be a body alone or a tag and a body, with or without empty parts between them. A message that holds an array
    of maps becomes one frame per map.
    """

    delivery: ClassVar[Delivery] = Delivery.PUBLISHED

    address: Endpoint
    subscribe: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="Tags to receive: all messages that begin with one of them. An empty text receives everything."
    )
    when_full: Literal["block", "drop_newest", "drop_oldest"] = Field(
        default="block",
        description="What becomes of frames that come faster than they are processed. block: they wait, first here, then at "
        "the sender, which drops them uncounted when its own queue is full; drop_newest and drop_oldest: dropped and counted.",
    )
    rcvhwm: int = Field(default=100, ge=1, description="Messages that ZeroMQ itself may hold for us, at most.")
    max_queue_bytes: int = Field(
        default=1 << 29,
        ge=1,
        description="Bytes that ZeroMQ itself may hold for us: from the first message on, so many messages that the largest "
        "seen fits in as often, and always one. What does not fit waits at the sender.",
    )
    first_only: bool = Field(default=False, description="Of an array of maps take the first only, as CrystFEL does.")
    max_message_bytes: int = Field(default=DEFAULT_MAX_MESSAGE_BYTES, ge=1, description="Longer messages are rejected.")

    def open(self, context: Context) -> RunningZmqSub:
        """Connect and subscribe."""
        is_well_formed(memoryview(b"\x80"))  # compiles the kernel
        return RunningZmqSub(self)


class RunningZmqSub:
    """`ZmqSub` at work.

    Frames wait in ZeroMQ's own queue. When the run ends, they are taken out of it, to be processed or counted.
    """

    def __init__(self, parameters: ZmqSub) -> None:
        self._parameters = parameters
        self._seen = 0
        self._largest = 1
        self._taken_bytes = 0
        self._hwm = parameters.rcvhwm
        self._waiting: deque[Message] = deque()
        self._is_stopped = False
        self._losses = Losses(parameters.address)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._poller = zmq.Poller()
        try:
            self._connection = Connection(
                self._context, zmq.SUB, PUBLISHING, parameters.address, self._losses, self._configure, self._poller
            )
        except BaseException:
            self._context.term()
            raise
        self._reader = Reader(self._connection.socket)

    def receive(self, timeout_s: float, credit: int) -> list[Message]:
        """Wait for messages, and take those that are there, but no more than `credit`.

        Raises EndOfStream after `stop_asking` when all that had come is taken.
        """
        if credit <= 0:
            time.sleep(min(max(timeout_s, 0.0), 0.005))
            return []
        deadline = time.monotonic() + timeout_s
        while True:
            if not self._is_stopped:
                self._fill(min(credit, BATCH))
            if self._waiting:
                return [self._waiting.popleft() for _ in range(min(credit, len(self._waiting)))]
            if self._is_stopped:
                raise EndOfStream
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return []
            self._poller.poll(math.ceil(1000 * self._connection.wait_s(left_s)))

    def stop_asking(self) -> int:
        """Take what has come by now and hang up; return the number of messages that wait here to be received."""
        if not self._is_stopped:
            self._is_stopped = True
            self._losses.stop()
            self._take_the_rest()
            self._connection.close()
        return len(self._waiting)

    def status(self) -> str:
        """Say whether anybody publishes, and whether anything has come."""
        if self._is_stopped:
            return f"{len(self._waiting)} frames wait" if self._waiting else "closed"
        address = self._parameters.address
        self._connection.look()
        if not self._connection.connected:
            return self._connection.nobody()
        if not self._seen:
            tags = " or ".join(repr(tag) for tag in self._parameters.subscribe)
            return f"connected to {address}; nothing has come that begins with {tags}"
        return f"connected to {address}"

    def findings(self) -> Findings:
        """Say when the sender was lost."""
        return Findings(self._losses.text(), self._losses.figures())

    def close(self) -> None:
        """Disconnect, and forget what waits; may be called twice."""
        if not self._context.closed:
            self._is_stopped = True
            self._waiting.clear()
            self._connection.close()
            self._context.term()

    def _configure(self, socket: zmq.Socket[bytes]) -> None:
        socket.setsockopt(zmq.RCVHWM, self._hwm)
        socket.setsockopt(zmq.MAXMSGSIZE, HARD_CEILING * self._parameters.max_message_bytes)
        for tag in self._parameters.subscribe:
            socket.setsockopt(zmq.SUBSCRIBE, tag.encode())

    def _fill(self, wanted: int) -> None:
        """Let at least `wanted` messages wait here if there are so many; make the connection anew where that is due."""
        self._connection.look()
        while len(self._waiting) < wanted and self._take():
            pass
        if self._connection.is_to_be_renewed and len(self._waiting) < wanted:  # then all that had come is here
            self._note_refusal()
            self._connection.renew()
            self._reader = Reader(self._connection.socket)

    def _note_refusal(self) -> None:
        if self._connection.has_refused:
            self._seen += 1
            self._waiting.append(refused(self._parameters.max_message_bytes))

    def _take(self) -> bool:
        """Take one message off the socket; False if there is none."""
        parameters = self._parameters
        try:
            frames = self._reader.take()
        except zmq.Again:
            return False
        self._waiting += messages_of(frames, parameters.max_message_bytes, first_only=parameters.first_only)
        size = size_of(frames)
        self._seen += 1
        self._taken_bytes += size
        self._largest = max(self._largest, size)
        fitting = max(1, parameters.max_queue_bytes // self._largest)
        if fitting < self._hwm:
            # libzmq heeds this at once. More may never be allowed: a sender that waits is woken when a multiple of half the
            # limit has been read, and while the limit grows that may never be
            self._hwm = fitting
            self._connection.socket.setsockopt(zmq.RCVHWM, fitting)
        return True

    def _take_the_rest(self) -> None:
        """Take what ZeroMQ holds, until nothing comes for a moment.

        A sender that goes on is not waited for: no more is taken than can have waited.
        """
        until = time.monotonic() + TAKE_REST_S
        until_bytes = self._taken_bytes + self._parameters.max_queue_bytes
        self._connection.look()
        quiet_ms = 0  # where nothing waits, what comes now comes after the end
        while time.monotonic() < until and self._taken_bytes < until_bytes:
            is_there = self._connection.socket.poll(quiet_ms)
            self._connection.look()
            if is_there:
                self._take()
            elif self._connection.is_settled:
                break
            quiet_ms = QUIET_MS
        self._note_refusal()
