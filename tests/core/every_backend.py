"""The backends, in one place: what tests of all of them are parametrised over, and what each can do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgpack

from stages.source.zmq_req import ZmqReq
from stages.wire.serving import FrameServer, serve_in_thread


@dataclass(frozen=True)
class Backend:
    """One way to run replicas of a graph.

    Attributes
    ----------
    text
        What ``--backend`` is given.
    replicas
        How many replicas there are.
    elsewhere
        Whether replicas are in other processes.
    asks
        Whether each replica asks a sender for itself: frames come in no particular order then, and a subscription is refused.
    """

    text: str
    replicas: int = 1
    elsewhere: bool = False
    asks: bool = False

    def __str__(self) -> str:
        return self.text


BACKENDS = (
    Backend("serial"),
    Backend("serial:debug"),
    Backend("threads:1"),
    Backend("threads:4", 4),
    Backend("processes:2", 2, elsewhere=True),
    Backend("dask", 2, elsewhere=True, asks=True),
)


def body(number: int, **more: object) -> bytes:
    """A message that says a number, as `contract_stages.ReadNumber` reads it."""
    return msgpack.packb({"n": number, **more})


def of_several(numbers: Iterable[int]) -> bytes:
    """A message of several maps."""
    return msgpack.packb([{"n": number} for number in numbers])


@contextmanager
def sender(bodies: Iterable[bytes]) -> Iterator[ZmqReq]:
    """Answer requests with these bodies, in a thread of this process; gives the source that asks."""
    with FrameServer(socket="rep", parked=1000, linger_s=0.0) as server:
        serving = serve_in_thread(server, bodies)
        try:
            yield ZmqReq(address=server.address)
        finally:
            serving.stop()
