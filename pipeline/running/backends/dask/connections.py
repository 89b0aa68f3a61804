"""TCP between the supervisor and its outposts: who may connect, and how a machine that has vanished is noticed.

The supervisor listens, outposts connect to it: a Dask worker may be anywhere where it can reach out. Both sides prove with
``multiprocessing.connection``'s challenge that they know the run's key before anything is unpickled.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge

log = logging.getLogger("streamajig.dask")

CONNECT_S = 10.0
"""Who cannot connect within this time will not; a firewall that drops packets says nothing."""

_SILENT_S, _AGAIN_S, _TIMES = 10, 5, 4
"""The kernel asks the other side whether it is there after so long, again after so long, and so many times: 30 s in all."""


class Listener:
    """Accepts connections in a thread; each that has proved itself is handed to `on_connection`, in a thread of its own."""

    def __init__(self, host: str, port: int, key: bytes, on_connection: Callable[[Connection], None]) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=128)
        self.port: int = self._socket.getsockname()[1]
        self._key = key
        self._on_connection = on_connection
        self._thread = threading.Thread(target=self._accept, name="listen", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._socket.close()
        self._thread.join(1.0)

    def _accept(self) -> None:
        while True:
            try:
                accepted, who = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._admit, args=(accepted, who), name="link", daemon=True).start()

    def _admit(self, accepted: socket.socket, who: object) -> None:
        connection = _connection(accepted)
        try:
            with _patience(connection):
                deliver_challenge(connection, self._key)
                answer_challenge(connection, self._key)
        except (OSError, EOFError, AuthenticationError) as error:
            log.warning(
                "a connection from %s was refused: it does not know the run's key (%s)", who, type(error).__name__
            )
            connection.close()
            return
        self._on_connection(connection)


def connect(host: str, port: int, key: bytes) -> Connection:
    """Connect to a supervisor; OSError, EOFError or AuthenticationError if that cannot be done."""
    connection = _connection(socket.create_connection((host, port), timeout=CONNECT_S))
    try:
        with _patience(connection):
            answer_challenge(connection, key)
            deliver_challenge(connection, key)
    except BaseException:
        connection.close()
        raise
    return connection


def _connection(connected: socket.socket) -> Connection:
    connected.settimeout(None)
    for level, option, value in (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _SILENT_S),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _AGAIN_S),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _TIMES),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * (_SILENT_S + _AGAIN_S * _TIMES)),
    ):
        connected.setsockopt(level, option, value)
    return Connection(connected.detach())


@contextlib.contextmanager
def _patience(connection: Connection) -> Iterator[None]:
    """While it lasts, what is not received within `CONNECT_S` raises: a stranger must not hold up a thread for ever."""
    set_receive_timeout(connection, CONNECT_S)
    yield
    set_receive_timeout(connection, 0.0)


def set_receive_timeout(connection: Connection, seconds: float) -> None:
    """Let reading from a connection raise BlockingIOError when nothing comes for so long; 0 waits for ever."""
    _set_timeout(connection, socket.SO_RCVTIMEO, seconds)


def set_send_timeout(connection: Connection, seconds: float) -> None:
    """Let writing to a connection raise BlockingIOError when nothing is taken for so long."""
    _set_timeout(connection, socket.SO_SNDTIMEO, seconds)


def _set_timeout(connection: Connection, which: int, seconds: float) -> None:
    view = socket.socket(fileno=connection.fileno())
    try:
        view.setsockopt(socket.SOL_SOCKET, which, struct.pack("ll", int(seconds), int(seconds % 1 * 1e6)))
    finally:
        view.detach()


def break_off(connection: Connection) -> None:
    """End a connection while another thread may read from it, which then sees its end."""
    try:
        view = socket.socket(fileno=connection.fileno())
    except (OSError, ValueError):  # closed before
        return
    with contextlib.suppress(OSError):
        view.shutdown(socket.SHUT_RDWR)
    view.detach()
