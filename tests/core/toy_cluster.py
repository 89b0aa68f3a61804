"""A Dask cluster on this machine; a sender that gives each number to one asker, and the source that asks it."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Client, Connection, Listener
from typing import ClassVar

from pipeline import Context, Delivery, EndOfStream, Findings, Message, stage

KEY = b"toy"


class Cluster:
    """A Dask scheduler, and two workers that can be killed and started; it outlives runs."""

    def __init__(self) -> None:
        import distributed  # not in workers, which import this module for its source

        self._cluster = distributed.LocalCluster(
            n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50
        )
        self.address: str = self._cluster.scheduler_address
        self.workers: list[subprocess.Popen[bytes]] = []
        self.start()
        self.start()

    def start(self) -> None:
        """Start one more worker."""
        from pipeline.running.backends.dask import local_worker

        self.workers.append(local_worker.start(self.address))

    def close(self) -> None:
        """End all."""
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self._cluster.close()


class Sender:
    """Answers each request with one number; when there is none left it says so, or nothing at all (`endless`)."""

    def __init__(self, numbers: Iterable[int], *, endless: bool = False) -> None:
        self._numbers = iter(numbers)
        self._endless = endless
        self._lock = threading.Lock()
        self._listener = Listener(("127.0.0.1", 0), backlog=16, authkey=KEY)
        self.port: int = self._listener.address[1]  # type: ignore[index]
        self.served: list[int] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept(),), daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        with contextlib.suppress(OSError, EOFError), connection:
            while True:
                connection.recv_bytes()
                with self._lock:
                    number = next(self._numbers, None)
                    if number is not None:
                        self.served.append(number)
                if number is not None:
                    connection.send_bytes(str(number).encode())
                elif self._endless:
                    time.sleep(3600)
                else:
                    connection.send_bytes(b"")


class RunningAsks:
    def __init__(self, port: int) -> None:
        self._connection = Client(("127.0.0.1", port), authkey=KEY)
        self._out = 0
        self._is_asking = True
        self._is_over = False
        self._received = 0

    def receive(self, timeout_s: float, credit: int) -> Sequence[Message]:
        if self._is_asking and not self._is_over:
            for _ in range(credit - self._out):
                self._connection.send_bytes(b"next")
                self._out += 1
        messages = []
        wait_s = timeout_s
        while not self._is_over and self._out and self._connection.poll(wait_s):
            body = self._connection.recv_bytes()
            self._out -= 1
            self._is_over = not body
            if body:
                messages.append(Message(b"", time.time_ns(), (body,)))
            wait_s = 0.0
        self._received += len(messages)
        if not messages and (self._is_over or (not self._is_asking and not self._out)):
            raise EndOfStream
        return messages

    def stop_asking(self) -> int:
        self._is_asking = False
        return 0 if self._is_over else self._out

    def status(self) -> str:
        return "toy sender"

    def close(self) -> None:
        self._connection.close()

    def findings(self) -> Findings:
        return Findings("asked", {"received": self._received})


@stage("source/toy_asks")
class Asks:
    """Asks a `Sender` for numbers."""

    port: int
    delivery: ClassVar[Delivery] = Delivery.SHARED

    def open(self, context: Context) -> RunningAsks:
        return RunningAsks(self.port)
