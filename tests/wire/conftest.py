"""What tests of sources may use."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import zmq

from pipeline import Context
from stages.source._unasked import RunningUnasked
from stages.source.zmq_pull import ZmqPull
from stages.source.zmq_req import RunningZmqReq, ZmqReq
from stages.source.zmq_sub import ZmqSub


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    made = zmq.Context()
    sockets = []
    plain = made.socket
    made.socket = lambda kind: sockets.append(plain(kind)) or sockets[-1]  # held until they are closed
    yield made
    made.destroy(0)


@pytest.fixture
def opened() -> Iterator[Callable[[ZmqReq | ZmqSub | ZmqPull], RunningZmqReq | RunningUnasked]]:
    sources: list[RunningZmqReq | RunningUnasked] = []

    def open_one(stage: ZmqReq | ZmqSub | ZmqPull) -> RunningZmqReq | RunningUnasked:
        sources.append(stage.open(Context()))
        return sources[-1]

    yield open_one
    for source in sources:
        source.close()
