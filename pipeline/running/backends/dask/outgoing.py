"""What an outpost sends: one thread sends all there is to say since it sent last, so that small frames share a message.

Under load batches grow by themselves, because results come in while one is sent. While the supervisor does not read, because
its writer cannot follow, what is finished waits here up to a limit, and then the replicas wait.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection

from pipeline.running.backends.dask.spoken import Batch, Report

MOST_FRAMES = 256
"""Frames that are finished and not sent, at most."""

MOST_BYTES = 64 << 20
"""Their bytes, at most; one that is larger goes alone."""


class Outgoing:
    """The end of a connection at which an outpost talks; any thread may.

    `on_loss` is called once, when nobody listens any more; after that what is said is forgotten.
    """

    def __init__(self, connection: Connection, on_loss: Callable[[], None]) -> None:
        self._connection = connection
        self._on_loss = on_loss
        self._batch = Batch()
        self._bytes = 0
        self._changed = threading.Condition()
        self._is_closed = self.is_lost = False
        self._thread = threading.Thread(target=self._send, name="outgoing", daemon=True)
        self._thread.start()

    def received(self, messages: list[tuple[int, int]]) -> None:
        """Report messages the moment they are there."""
        with self._changed:
            self._batch.received += messages
            self._changed.notify_all()

    def finished(self, serial: int, arrived: bytes) -> None:
        """Hand in a frame; waits while too much waits."""
        with self._changed:
            self._changed.wait_for(lambda: self.is_lost or self._has_room(len(arrived)))
            self._batch.finished.append((serial, arrived))
            self._bytes += len(arrived)
            self._changed.notify_all()

    def say(self, report: Report) -> None:
        """Report something else."""
        with self._changed:
            self._batch.reports.append(report)
            self._changed.notify_all()

    def close(self, timeout_s: float) -> None:
        """Send what is left."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _has_room(self, size: int) -> bool:
        waiting = len(self._batch.finished)
        return not waiting or (waiting < MOST_FRAMES and self._bytes + size <= MOST_BYTES)

    def _send(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._batch or self._is_closed or self.is_lost)
                if self.is_lost or not self._batch:
                    return
                batch, self._batch, self._bytes = self._batch, Batch(), 0
                self._changed.notify_all()
            try:
                self._connection.send_bytes(pickle.dumps(batch, pickle.HIGHEST_PROTOCOL))
            except (OSError, ValueError):  # closed here or there
                self.lose()
                return

    def lose(self) -> None:
        """Nobody listens any more."""
        with self._changed:
            was_lost, self.is_lost = self.is_lost, True
            self._batch, self._bytes = Batch(), 0
            self._changed.notify_all()
        if not was_lost:
            self._on_loss()
