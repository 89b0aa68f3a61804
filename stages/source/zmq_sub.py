"""Take frames that are published (SUB socket)."""

from __future__ import annotations

import math
import time
from typing import Annotated, Literal

import zmq
from pydantic import Field

from pipeline import Context, Message, stage
from stages.source._connection import Connection, Endpoint
from stages.source._messages import HARD_CEILING, messages_of
from stages.wire.message import DEFAULT_MAX_MESSAGE_BYTES, is_well_formed


@stage("source/zmq_sub")
class ZmqSub:
    """Receive what a sender publishes on a PUB socket, as OnDA's and OM's viewers do (``--zmq-subscribe``).

    Every subscriber receives everything, and a sender that is faster than its subscribers drops what they do not take.
    Whoever wants each frame once, and none lost, asks for them: `source/zmq_req`.

    A message may be a body alone or a tag and a body, with or without empty parts between them. A message that holds an array
    of maps becomes one frame per map.
    """

    address: Endpoint
    subscribe: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="Tags to receive: all messages that begin with one of them. An empty text receives everything."
    )
    when_full: Literal["block", "drop_newest", "drop_oldest"] = Field(
        default="block",
        description="What becomes of frames that come faster than they are processed. block: they wait, first here, then at "
        "the sender, which drops them uncounted when its own queue is full; drop_newest and drop_oldest: dropped and counted.",
    )
    rcvhwm: int = Field(default=100, ge=1, description="Messages that ZeroMQ itself may hold for us.")
    first_only: bool = Field(default=False, description="Of an array of maps take the first only, as CrystFEL does.")
    max_message_bytes: int = Field(default=DEFAULT_MAX_MESSAGE_BYTES, ge=1, description="Longer messages are rejected.")

    def open(self, context: Context) -> RunningZmqSub:
        """Connect and subscribe."""
        is_well_formed(memoryview(b"\x80"))  # compiles the kernel
        return RunningZmqSub(self)


class RunningZmqSub:
    """`ZmqSub` at work."""

    def __init__(self, parameters: ZmqSub) -> None:
        self._parameters = parameters
        self._batch = 64
        self._received = 0
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        options = {
            zmq.RCVHWM: parameters.rcvhwm,
            zmq.MAXMSGSIZE: HARD_CEILING * parameters.max_message_bytes,
        }
        try:
            self._connection = Connection(self._context, zmq.SUB, parameters.address, options)
        except BaseException:
            self._context.term()
            raise
        self._poller = zmq.Poller()
        self._poller.register(self._connection.socket, zmq.POLLIN)
        self._poller.register(self._connection.monitor, zmq.POLLIN)
        for tag in parameters.subscribe:
            self._connection.socket.setsockopt(zmq.SUBSCRIBE, tag.encode())

    def receive(self, timeout_s: float, credit: int) -> list[Message]:
        """Wait for messages, and take those that are there, but no more than `credit`."""
        parameters = self._parameters
        socket = self._connection.socket
        if credit <= 0:
            time.sleep(min(max(timeout_s, 0.0), 0.005))
            return []
        deadline = time.monotonic() + timeout_s
        while socket not in dict(self._poller.poll(math.ceil(1000 * max(0.0, deadline - time.monotonic())))):
            self._connection.look()
            if time.monotonic() >= deadline:
                return []
        messages: list[Message] = []
        while len(messages) < min(credit, self._batch):
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            messages += messages_of(frames, parameters.max_message_bytes, first_only=parameters.first_only)
        self._received += len(messages)
        return messages

    def stop_asking(self) -> int:
        """Nothing was ever asked for."""
        return 0

    def status(self) -> str:
        """Say whether anybody publishes, and whether anything has come."""
        if self._connection.socket.closed:
            return "closed"
        address = self._parameters.address
        if not self._connection.connected:
            return self._connection.nobody(address)
        if not self._received:
            tags = " or ".join(repr(tag) for tag in self._parameters.subscribe)
            return f"connected to {address}; nothing has come that begins with {tags}"
        return f"connected to {address}"

    def close(self) -> None:
        """Disconnect; may be called twice."""
        if not self._connection.socket.closed:
            self._poller.unregister(self._connection.socket)
            self._poller.unregister(self._connection.monitor)
            self._connection.close()
            self._context.term()
