"""What does a frame cost each stage, by the size of the detector, with a crystal and without?

    python docs/studies/sizing/costs.py

simulates lysozyme stills on flat detectors of three sizes and puts each through the whole chain, in one thread: peak search,
indexing with the cell, refinement, integration, a chunk of the stream, and the analyses that ``streamajig index`` adds. Then
what comes out is unpacked, counted and written, as the process does that gathers for others. Times are processor time, the
least of several passes and the mean over frames, so that a busy machine shows as little as can be. ``costs.json`` keeps them
for ``sizing.py``.
"""

from __future__ import annotations

import argparse
import copy
import cProfile
import json
import os
import pickle
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any
from unittest import mock

from pipeline import Message
from pipeline.frame import Frame
from pipeline.protocols import Writer
from pipeline.running import wiring
from pipeline.running.backends.crossing import to_supervisor
from pipeline.running.backends.processes.slots import make_memory, write
from pipeline.running.collect import Collector
from pipeline.running.leaves import Arrived
from pipeline.running.wiring import Replica, Setup
from stages.commands.index.graph import graph_from_options
from stages.simulation.beamline import Beamline

HERE = Path(__file__).parent
SIZES = ("1034x1081", "2068x2162", "4136x4324")
"""Of an Eiger 4M, and of a quarter and four times its pixels."""
MB = 1e6


@dataclass(frozen=True)
class Chain:
    """The chain in one thread, and the frames that go through it."""

    setup: Setup
    replica: Replica
    bodies: tuple[bytes, ...]

    @staticmethod
    def make(folder: Path, size: str, dtype: str, hits: float, number: int) -> Chain:
        """Simulate frames and open the stages."""
        apparatus = Beamline(size=size, dtype=dtype, hits=hits, seed=7, style="om").set_up()
        (folder / "a.geom").write_text(apparatus.geometry_text)
        (folder / "a.cell").write_text(apparatus.cell_text)
        files = {"geometry": str(folder / "a.geom"), "pdb": str(folder / "a.cell"), "output": str(folder / "a.stream")}
        methods = {"peaks": "likelihood", "indexing": "pairs", "integration": "rings", "min_peaks": 15}
        source = {"zmq_input": "tcp://127.0.0.1:5002", "zmq_request": "next"}
        setup = Setup(graph_from_options({**source, **files, **methods}).expanded())
        bodies = tuple(bytes(body) for body in apparatus.wire.bodies(apparatus.simulation.frames(number)))
        # the replica's own clock counts processor time here
        with mock.patch.object(wiring.time, "perf_counter_ns", time.thread_time_ns):
            return Chain(setup, Replica(setup), bodies)

    def frames(self) -> Iterator[Frame]:
        """All frames once."""
        for n, body in enumerate(self.bodies, 1):
            yield Frame(n, "", time.time_ns(), {Message: Message(b"", time.time_ns(), (memoryview(body),))})

    def process(self) -> tuple[dict[str, float], list[list[Arrived]]]:
        """Put all frames through; processor time of a frame by node, ms, and what arrived."""
        before = {name: copy.deepcopy(metrics.durations) for name, metrics in self.replica.metrics.items()}
        arrived = [self.replica.process(frame) for frame in self.frames()]
        nodes = {name: metrics.durations.since(before[name]) for name, metrics in self.replica.metrics.items()}
        return {name: durations.mean_ns / 1e6 for name, durations in nodes.items()}, arrived

    def kernels(self) -> dict[str, float]:
        """Processor time of a frame in kernels, ms: there Python's lock is not held."""
        profile = cProfile.Profile(time.thread_time)
        for frame in self.frames():
            profile.runcall(self.replica.process, frame)
        stats: dict[tuple[str, int, str], Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
        inside_s = sum(own_s for (file, *_), (_, _, own_s, *_) in stats.items() if "_kernels" in file)
        return {"kernels_ms": 1e3 * inside_s / len(self.bodies)}


def least(measure: Callable[[], dict[str, float]], passes: int) -> dict[str, float]:
    """The least of several measurements, figure by figure."""
    found = [measure() for _ in range(passes)]
    return {name: round(min(one[name] for one in found), 4) for name in found[0]}


def gathering(of: Chain, arrived: Sequence[Sequence[Arrived]], rounds: int) -> dict[str, float]:
    """What the process that gathers has to do for a frame, ms; and the bytes that come to it, kB."""
    packed = [[to_supervisor(one) for one in at_leaves] for at_leaves in arrived]
    chunk = [one.encoded for at_leaves in arrived for one in at_leaves if one.leaf == "sink"]
    with ExitStack() as closing:
        writers: dict[str, Writer] = {}
        for leaf in of.setup.graph.leaves:
            writers[leaf.name] = leaf.stage.open_writer(of.setup.context_of(leaf, 0))
            closing.callback(writers[leaf.name].close)
        collector = Collector(writers)
        times = []
        for n in range(rounds * len(packed)):
            started_s = time.thread_time()
            found = [pickle.loads(data) for data in packed[n % len(packed)]]
            collector.count_received()
            collector.collect([replace(one, serial=n + 1) for one in found])
            times.append(time.thread_time() - started_s)
    return {
        # the first frames are looked at more closely by the analyses
        "gather_ms": round(1e3 * statistics.fmean(times[len(times) // 2 :]), 4),
        "result_kb": round(sum(map(len, chain.from_iterable(packed))) / len(packed) / 1e3, 2),
        "chunk_kb": round(sum(map(len, chunk)) / len(chunk) / 1e3, 2),
    }


def copying(body: bytes, passes: int) -> float:
    """Processor time of a copy into shared memory, ms per MB; the least of several, its memory there already."""
    fd = make_memory(1)
    try:
        message, times = Message(b"", 0, (body,)), []
        for _ in range(passes):
            started_s = time.thread_time()
            write(fd, 0, message)
            times.append(time.thread_time() - started_s)
    finally:
        os.close(fd)
    return round(1e3 * min(times) / (len(body) / MB), 5)


def costs(size: str, dtype: str, kind: str, number: int, passes: int) -> dict[str, Any]:
    """All figures of one size and one kind of frame."""
    with tempfile.TemporaryDirectory() as folder:
        made = Chain.make(Path(folder), size, dtype, 1.0 if kind == "hit" else 0.0, number)
        _, arrived = made.process()  # tables are made, and the analyses learn the cell
        nodes = least(lambda: made.process()[0], passes)
        kernels = least(made.kernels, passes)
        gathered = gathering(made, arrived, rounds=max(2, 200 // number))
        copied = copying(made.bodies[0], passes + 2)
        message_mb = round(len(made.bodies[0]) / MB, 3)
    width, height = map(int, size.split("x"))
    return {
        "size": size,
        "megapixels": round(width * height / 1e6, 4),
        "dtype": dtype,
        "kind": kind,
        "frames": number,
        "message_mb": message_mb,
        "nodes_ms": nodes,
        **kernels,
        "copy_ms_per_mb": copied,
        **gathered,
    }


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Measure, and keep what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--dtype", default="u2", help="type of the pixels")
    parser.add_argument("--frames", type=int, default=12, help="of each size and kind")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--output", type=Path, default=HERE / "costs.json")
    given = parser.parse_args(arguments)
    found = [
        costs(size, given.dtype, kind, given.frames, given.passes)
        for size in given.sizes.split(",")
        for kind in ("blank", "hit")
    ]
    given.output.write_text(json.dumps(found, indent=1) + "\n")
    return found


if __name__ == "__main__":
    for one in main():
        print(one)  # noqa: T201 - what was measured
