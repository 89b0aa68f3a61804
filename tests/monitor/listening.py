"""A run with simulated frames that is watched, and who listens to what it publishes."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zmq

from pipeline import Graph
from stages.contract_suite.place import BEAMLINE, MIN_PEAKS, messages
from stages.decode import HeadersOnly, MsgpackMap
from stages.geometry_map import MapPanels
from stages.index import Pairs
from stages.integrate import PredictOnly, Rings
from stages.live import Monitor
from stages.monitor.blob import decode
from stages.peaks import FromMessage, HitFinder
from stages.refine import Prediction
from stages.sink import Memory
from stages.source.zmq_req import ZmqReq
from stages.wire.serving import FrameServer, serve_in_thread

Blob = dict[str, Any]

PATIENCE_S = 120.0
"""For a machine that does other things too."""


class Listener:
    """Subscribes to all that is published at an address, in a thread of its own, and keeps it in the order of its coming."""

    def __init__(self, address: str, kinds: Iterable[str] = ("",)) -> None:
        self.blobs: list[Blob] = []
        self.topics: list[str] = []
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._address = address
        self._kinds = tuple(kinds)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with zmq.Context() as context, context.socket(zmq.SUB) as socket:
            socket.setsockopt(zmq.RECONNECT_IVL, 20)
            socket.setsockopt(zmq.LINGER, 0)
            for kind in self._kinds:
                socket.subscribe(kind)
            socket.connect(self._address)
            while True:
                if socket.poll(50):
                    topic, message = socket.recv_multipart()
                    with self._changed:
                        self.topics.append(topic.decode())
                        self.blobs.append(decode(message))
                        self._changed.notify_all()
                elif self._stopping.is_set():
                    return

    def of(self, kind: str) -> list[Blob]:
        """All that came of a kind."""
        with self._changed:
            return [blob for blob in self.blobs if blob["kind"] == kind]

    def wait_for(self, is_there: Callable[[], bool]) -> bool:
        """Wait until something is true of what came; look at it whenever something has come."""
        with self._changed:
            return self._changed.wait_for(is_there, PATIENCE_S)

    def close(self) -> None:
        """Take what is still on its way, and end."""
        self._stopping.set()
        self._thread.join(PATIENCE_S)


@contextmanager
def listening(address: str, *kinds: str) -> Iterator[Listener]:
    """Listen while this is entered."""
    listener = Listener(address, kinds or ("",))
    try:
        yield listener
    finally:
        listener.close()


@contextmanager
def sender(rate_hz: float = 100.0) -> Iterator[ZmqReq]:
    """Send the simulated frames again and again, from a thread of this process; gives the source that asks for them."""
    bodies = itertools.cycle([bytes(message.parts[0]) for message in messages("seed")])
    with FrameServer(socket="rep", parked=1000, linger_s=0.0, rate_hz=rate_hz) as server:
        serving = serve_in_thread(server, bodies)
        try:
            yield ZmqReq(address=server.address)
        finally:
            serving.stop()


def files(folder: Path) -> tuple[Path, Path]:
    """Write the geometry and the cell of the simulated frames; returns both paths."""
    apparatus = BEAMLINE.set_up()
    geometry, cell = folder / "simulated.geom", folder / "simulated.cell"
    geometry.write_text(apparatus.geometry_text)
    cell.write_text(apparatus.cell_text)
    return geometry, cell


def watched(source: Any, folder: Path, monitor: Monitor, *, pixels: bool = True, backend: str = "threads:2") -> Graph:
    """The usual graph, with a monitor beside its sink."""
    geometry, cell = files(folder)
    graph = Graph.chain(
        source,
        MsgpackMap() if pixels else HeadersOnly(),
        MapPanels(geometry=geometry),
        FromMessage(),
        HitFinder(min_peaks=MIN_PEAKS),
        Pairs(cell=cell),
        Prediction(),
        Rings() if pixels else PredictOnly(),
        Memory(),
    ).with_options(backend=backend)
    return graph.add(monitor, name="monitor", after="integrate")
