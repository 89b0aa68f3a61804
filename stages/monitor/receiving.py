"""Receive what a run publishes, in a thread of its own.

Frames come on a socket of their own, so that large messages which are let go as a browser looks elsewhere take no others with
them: ZeroMQ counts messages for each connection. Where nothing comes for long, new sockets are made; libzmq makes a lost
connection anew by itself, but not after a message that it would not take.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import Self

import zmq

from stages.monitor.kinds import FRAME, HANDED_ON
from stages.monitor.state import State

log = logging.getLogger("streamajig.monitor")

LARGEST_FRAME = 512 << 20
LARGEST_OTHER = 64 << 20
"""Bytes of a message; with larger ones the connection ends."""

_WAITING_FRAMES = 2
_WAITING_OTHERS = 100
_LOOK_MS = 200
_RENEW_S = 30.0
_END_S = 10.0
_RECONNECT_MS, _RECONNECT_MAX_MS = 100, 1000


class Receiver:
    """Takes what is published at an address into the state, while it is entered."""

    def __init__(self, state: State, address: str) -> None:
        self._state, self._address = state, address
        self._is_ending = threading.Event()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._thread = threading.Thread(target=self._work, name="monitor receiving", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_ending.set()
        self._thread.join(_END_S)
        if not self._thread.is_alive():  # else a message takes long, and the process ends anyway
            self._context.destroy(linger=0)

    def _work(self) -> None:
        while not self._is_ending.is_set():
            with contextlib.ExitStack() as stack:
                others = stack.enter_context(self._socket(HANDED_ON, _WAITING_OTHERS, LARGEST_OTHER))
                frames = stack.enter_context(self._socket((FRAME,), _WAITING_FRAMES, LARGEST_FRAME))
                self._receive([others, frames])

    def _socket(self, kinds: tuple[str, ...], most: int, largest: int) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, most)
        socket.setsockopt(zmq.MAXMSGSIZE, largest)
        socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT_MAX_MS)
        for kind in kinds:
            socket.setsockopt(zmq.SUBSCRIBE, kind.encode())
        socket.connect(self._address)
        return socket

    def _receive(self, sockets: list[zmq.Socket[bytes]]) -> None:
        """Receive until the end, or until nothing has come for long."""
        poller = zmq.Poller()
        for socket in sockets:
            poller.register(socket, zmq.POLLIN)
        last_s = time.monotonic()
        while not self._is_ending.is_set() and time.monotonic() - last_s < _RENEW_S:
            for socket, _ in poller.poll(_LOOK_MS):
                last_s = time.monotonic()
                self._take(socket)

    def _take(self, socket: zmq.Socket[bytes]) -> None:
        parts = socket.recv_multipart(copy=False)
        if len(parts) != 2:
            self._state.take(b"", b"")
            return
        try:
            self._state.take(parts[0].bytes, parts[1].buffer)
        except Exception:  # whatever a message may still do to us, the next one is received
            log.exception("a message could not be taken in")
