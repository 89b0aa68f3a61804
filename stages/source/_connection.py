"""One connecting ZeroMQ socket and what becomes of its connection, told by the socket's monitor."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Mapping
from typing import Annotated, Any

import zmq
from pydantic import AfterValidator, Field
from zmq.utils.monitor import recv_monitor_message

from pipeline import UserError

_WATCHED = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_HANDSHAKE_FAILED = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_numbers = itertools.count()

RECONNECT_MS = 100
RECONNECT_MAX_MS = 1000
GRACE_S = 1.0
"""A connection may take so long before it is said that nobody listens."""


def _endpoint(address: str) -> str:
    """Check that an address is one that ZeroMQ can connect to."""
    wanted = "wanted is tcp://HOST:PORT, such as tcp://127.0.0.1:5002, or ipc://PATH"
    if re.fullmatch(r"ipc://.+", address):
        return address
    match = re.fullmatch(r"tcp://(?:[^/\s;]+;)?(\[[0-9A-Fa-f:.%\w]+\]|[^\s/:\[\]*]+):(\d+)", address)
    if match is None:
        raise ValueError(f"{address!r} is no address to connect to; {wanted}")
    if not 1 <= int(match[2]) <= 65535:
        raise ValueError(f"{address!r}: a port is a number from 1 to 65535; {wanted}")
    return address


Endpoint = Annotated[
    str,
    AfterValidator(_endpoint),
    Field(description="ZeroMQ endpoint of the sender, e.g. tcp://127.0.0.1:5002."),
]


class Connection:
    """A socket, connected to one endpoint and watched.

    Attributes
    ----------
    socket
        The socket; read and written by its owner.
    monitor
        Becomes readable when the connection changes; `look` says how.
    connected
        Whether somebody at the other end speaks ZeroMQ.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], kind: int, address: str, options: Mapping[zmq.SocketOption, Any]
    ) -> None:
        self.connected = False
        self.handshake_failed = False
        self._started_s = time.monotonic()
        self.socket = context.socket(kind)
        self.monitor = context.socket(zmq.PAIR)
        try:
            self.socket.setsockopt(zmq.LINGER, 0)
            self.socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
            self.socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
            # a host that vanished without a word is noticed by the kernel after about half a minute
            self.socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
            self.socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 15)
            self.socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 5)
            self.socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)
            if "[" in address:
                self.socket.setsockopt(zmq.IPV6, 1)
            for option, value in options.items():
                self.socket.setsockopt(option, value)
            endpoint = f"inproc://monitor-{next(_numbers)}"
            self.socket.monitor(endpoint, _WATCHED)
            self.monitor.connect(endpoint)
            self.socket.connect(address)
        except zmq.ZMQError as error:
            self.close()
            raise UserError(f"cannot connect to {address}: {error}") from None

    def look(self) -> bool:
        """Take in what the monitor has to say; return True if the connection was lost meanwhile, even if it is back."""
        lost = False
        while self.monitor.poll(0):
            event = recv_monitor_message(self.monitor)["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.connected, self.handshake_failed = True, False
            elif event == _HANDSHAKE_FAILED:
                self.handshake_failed = True
            elif event == zmq.EVENT_DISCONNECTED:
                lost = lost or self.connected
                self.connected = False
        return lost

    def nobody(self, address: str) -> str:
        """Say that there is no connection."""
        if self.handshake_failed:
            return f"what listens on {address} does not speak ZeroMQ; trying on"
        if time.monotonic() - self._started_s < GRACE_S:
            return f"connecting to {address}"
        return f"nobody listens on {address}; trying on"

    def close(self) -> None:
        """Let go of both sockets at once; may be called twice."""
        if not self.socket.closed:
            self.socket.monitor(None, 0)
            self.socket.close(0)
        self.monitor.close(0)
