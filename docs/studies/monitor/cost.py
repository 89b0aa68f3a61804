"""What does a monitor cost the run that it shows? Frames per second and processor time, with and without, in turns.

    python docs/studies/monitor/cost.py [--sizes 1024x1024,2068x2162,4096x4096] [--backends threads:2,processes:2] [--pairs 6]

The whole chain of the study of scaling takes frames as fast as it can, once without a monitor and once with one, whose page
runs as a process beside it and is asked for all it has twice a second, as a browser does. Each pair is measured one after the
other, in alternating order; the table has the medians over the pairs, and in parentheses what a quarter and three quarters of
them stay below. Processor time is that of all processes of the run; the page's has a column of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "scaling"))

import measuring as scaling  # noqa: E402 - of the study of scaling
import usage  # noqa: E402 - of the same
from programs import program, said_by  # noqa: E402

from pipeline import Graph  # noqa: E402
from stages.live.monitor import Monitor  # noqa: E402

LOOK_S = 0.5


@dataclass(frozen=True)
class Watched(scaling.Load):
    """A load whose graph has a monitor at an address."""

    address: str = ""

    def graph(self, address: str, socket: scaling.Socket, backend: str) -> Graph:
        """The whole chain, and a monitor after the last node that changes crystals."""
        graph = super().graph(address, socket, backend)
        return graph.add(Monitor(page=False, address=self.address), name="monitor", after="integrate")


@contextlib.contextmanager
def page(address: str) -> Iterator[int]:
    """The page's process, and somebody who looks at it; gives the number of the process."""
    from websockets.sync.client import connect

    looking = threading.Event()

    def look(said: dict[str, str]) -> None:
        where = said["url"].replace("http://", "ws://").replace("/?", "/ws?")
        with connect(where, max_size=None) as connection:
            while not looking.wait(LOOK_S):
                connection.send('{"ready": true}')
                with contextlib.suppress(TimeoutError):
                    connection.recv(LOOK_S)

    with program("-m", "streamajig", "monitor", address, "--parent", str(os.getpid())) as process:
        thread = threading.Thread(target=look, args=(next(said_by(process)),), daemon=True)
        thread.start()
        try:
            yield process.pid
            if not thread.is_alive():
                raise SystemExit("nobody has looked at the page")
        finally:
            looking.set()
            process.terminate()


@dataclass(frozen=True)
class Pair:
    """A run without a monitor and one with it, one after the other."""

    without: scaling.Sample
    watched: scaling.Sample
    page_cores: float

    @property
    def rate(self) -> float:
        """Frames per second with a monitor, in parts of those without."""
        return self.watched.rate / self.without.rate

    @property
    def cost(self) -> float:
        """Processor time of a frame that the monitor adds, in parts of what it is without."""
        return self.watched.cpu_ms / self.without.cpu_ms - 1


def measure(load: Watched, backend: str, seconds: float, watched_first: bool) -> Pair:
    """Measure one pair."""
    plain = scaling.Load(*(getattr(load, name) for name in scaling.Load.__dataclass_fields__))

    def without() -> scaling.Sample:
        return scaling.measure(plain, "rep", backend, seconds)

    first = None if watched_first else without()
    with page(load.address) as pid:
        before_s, began_s = sum(usage.cpu_s(pid).values()), time.monotonic()
        watched = scaling.measure(load, "rep", backend, seconds)
        page_s, ended_s = sum(usage.cpu_s(pid).values()) - before_s, time.monotonic()
    return Pair(first or without(), watched, page_s / (ended_s - began_s))


def spread(values: Sequence[float], form: str) -> str:
    """The median, and the quartiles in parentheses."""
    if len(values) < 2:
        return form.format(values[0])
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{form} ({form} to {form})".format(middle, low, high)


def row(size: str, backend: str, pairs: Sequence[Pair]) -> str:
    """A row of the table."""
    cells = [
        size,
        backend,
        f"{statistics.median(one.without.rate for one in pairs):.1f}",
        spread([one.rate for one in pairs], "{:.3f}"),
        f"{statistics.median(one.without.cpu_ms for one in pairs):.2f}",
        spread([100 * one.cost for one in pairs], "{:+.1f} %"),
        f"{100 * statistics.median(one.page_cores for one in pairs):.0f} %",
        f"{statistics.median((one.watched.nodes or {}).get('monitor', float('nan')) for one in pairs):.3f}",
    ]
    return f"| {' | '.join(cells)} |"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What is to be measured; the rest is what the study of scaling takes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=lambda text: text.split(","), default=["1024x1024", "2068x2162", "4096x4096"])
    parser.add_argument("--backends", type=lambda text: text.split(","), default=["threads:2", "processes:2"])
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=12.0, help="of each measurement, in full swing")
    parser.add_argument("--rate", type=float, help="frames per second that are sent at most; else as fast as they go")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> dict[tuple[str, str], list[Pair]]:
    """Measure, and print the table."""
    given = parse(arguments)
    heads = ["pixels", "backend", "frames/s without", "times with", "cpu ms without", "more with it"]
    heads += ["page's share of a core", "node's ms"]
    sys.stdout.write(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|\n")
    found: dict[tuple[str, str], list[Pair]] = {}
    for size in given.sizes:
        rate = ["--rate", str(given.rate)] if given.rate else []
        with tempfile.TemporaryDirectory() as folder:
            load: Any = scaling.Load.make(Path(folder), scaling.parse(["--size", size, *rate]))
            watched = Watched(**{**vars(load), "address": f"ipc://{folder}/monitor"})
            for backend in given.backends:
                pairs = [measure(watched, backend, given.seconds, bool(n % 2)) for n in range(given.pairs)]
                found[size, backend] = pairs
                sys.stdout.write(row(size, backend, pairs) + "\n")
                sys.stdout.flush()
    return found


if __name__ == "__main__":
    main()
