"""Sources that are opened on real sockets, and what they are tried with."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgpack
import pytest
import zmq

from pipeline import Message, RejectFrame, UserError
from pipeline.protocols import RunningSource
from stages.source.zmq_pull import ZmqPull
from stages.source.zmq_req import ZmqReq
from stages.source.zmq_sub import ZmqSub
from stages.wire.message import body_of, read_map
from stages.wire.serving import FrameServer

WAIT_S = 20.0
"""Far longer than anything here takes."""


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [msgpack.packb({"n": n}) for n in range(start, start + count)]


def numbers(messages: list[Message]) -> list[int]:
    return [msgpack.unpackb(message.parts[0])["n"] for message in messages]


def gather(source: RunningSource, count: int, credit: Callable[[int], int] = lambda left: left) -> list[Message]:
    """Receive until `count` messages have come."""
    found: list[Message] = []
    deadline = time.monotonic() + WAIT_S
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} messages came; {source.status()}"
        found += source.receive(0.2, credit(count - len(found)))
    return found


def until(condition: Callable[[], bool], source: RunningSource, credit: int = 1) -> list[Message]:
    """Receive until the condition holds."""
    found: list[Message] = []
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, source.status()
        found += source.receive(0.05, credit)
    return found


class Router:
    """A ROUTER socket in the test's own hands."""

    def __init__(self, context: zmq.Context, endpoint: str = "tcp://127.0.0.1:*") -> None:
        self.socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        deadline = time.monotonic() + WAIT_S
        while True:  # the port of a server that has just ended may need a moment
            try:
                self.socket.bind(endpoint)
                break
            except zmq.ZMQError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        self.address = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.waiting: list[list[bytes]] = []

    def take(self) -> list[list[bytes]]:
        """Take in the requests that are there."""
        while self.socket.poll(0):
            self.waiting.append(self.socket.recv_multipart())
        return self.waiting

    def answer(self, *body: bytes) -> None:
        self.socket.send_multipart([self.waiting.pop(0)[0], b"", *body])


# --- asking ---------------------------------------------------------------------------------------------------------


def server_at(address: str, kind: str) -> FrameServer:
    """Serve where somebody else has just hung up, which the system may take a moment to notice."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            return FrameServer(bind=address, socket=kind)
        except UserError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def rejection_of(message: Message) -> RejectFrame:
    with pytest.raises(RejectFrame) as caught:
        read_map(body_of(message))
    return caught.value


def published(
    context: zmq.Context, tags: tuple[str, ...], messages: list[list[bytes]], opened: Callable
) -> list[Message]:
    """Publish messages and a last one; return what a source subscribed to `tags` receives before the last."""
    publisher = context.socket(zmq.XPUB)
    port = publisher.bind_to_random_port("tcp://127.0.0.1")
    source = opened(ZmqSub(address=f"tcp://127.0.0.1:{port}", subscribe=(*tags, "last")))
    for _ in range(len(set(tags)) + 1):
        assert publisher.poll(1000 * WAIT_S)
        publisher.recv()
    for parts in [*messages, [b"last", *numbered(1, 99)]]:
        publisher.send_multipart(parts)
    found: list[Message] = []
    while not found or found[-1].topic != b"last":
        found += gather(source, 1, lambda left: 1)
    return found[:-1]


MAKES = {
    "rep": lambda address, **more: ZmqReq(address=address, **more),
    "pub": lambda address, **more: ZmqSub(address=address, subscribe=("",), **more),
    "push": lambda address, **more: ZmqPull(address=address, **more),
}
"""The source that goes with each socket of a sender."""
