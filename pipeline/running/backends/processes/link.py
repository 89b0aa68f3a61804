"""The pipe between the supervisor and one of its children: whole pickled values, either way, from any thread."""

from __future__ import annotations

import contextlib
import logging
import pickle
import socket
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from pipeline.running.backends.crossing import to_supervisor
from pipeline.running.backends.logs import portable_record


def pair() -> tuple[Connection, socket.socket]:
    """Return the supervisor's end, and the one to be handed to a child."""
    ours, theirs = socket.socketpair()
    return Connection(ours.detach()), theirs


class Link:
    """One end.

    A child that is gone shows as EOFError when something is received, and as OSError when something is sent.
    """

    def __init__(self, connection: Connection, pickled: Callable[[Any], bytes] = pickle.dumps) -> None:
        self._connection = connection
        self._pickled = pickled
        self._sending = threading.Lock()

    def send(self, *what: Any) -> None:
        """Send a tuple; what cannot be pickled raises, and nothing is sent."""
        self.send_pickled(self._pickled(what))

    def send_pickled(self, data: bytes) -> None:
        """Send what was pickled before."""
        with self._sending:
            self._connection.send_bytes(data)

    def receive(self) -> Any:
        """Wait for a tuple; EOFError if none will come."""
        try:
            data = self._connection.recv_bytes()
        except OSError as error:
            raise EOFError from error
        return pickle.loads(data)

    def poll(self, timeout_s: float) -> bool:
        """Whether something can be received within the time, the end included."""
        try:
            return self._connection.poll(timeout_s)
        except OSError:
            return True

    def close(self) -> None:
        """Close this end."""
        with contextlib.suppress(OSError):
            self._connection.close()


class LogOverLink(logging.Handler):
    """Hands what is logged in a child to the supervisor, which logs it as its own."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record."""
        with contextlib.suppress(OSError, TypeError):  # a supervisor that is gone hears nothing
            self._link.send("log", portable_record(record))


def link_of_child(connection: Connection, log_level: int) -> Link:
    """The child's end, over which everything goes that is logged from this level on."""
    link = Link(connection, to_supervisor)
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(LogOverLink(link))
    root.setLevel(log_level)
    # what a library of the parent has set for itself is not known here: the supervisor's own levels decide once more
    return link
