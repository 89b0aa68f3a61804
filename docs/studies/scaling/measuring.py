"""What the study of scaling measures: frames of its own, the whole chain that takes them, and the figures of a window."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import usage  # noqa: E402 - of this study
from programs import end, program, said_by  # noqa: E402
from results import LOOP, Sample, Socket  # noqa: E402

from pipeline import Graph  # noqa: E402
from pipeline.composing.backend_spec import KNOWN, describe_backend  # noqa: E402
from stages.commands.index.graph import graph_from_options  # noqa: E402
from stages.simulation.apparatus import parse_size  # noqa: E402
from stages.simulation.beamline import Beamline  # noqa: E402

TOPIC = "ondaframedata"
ZEROMQ_THREADS = "ZMQbg/IO"
"""How libzmq names the threads that read sockets."""


@dataclass(frozen=True)
class Load:
    """The frames of a study, in a folder, and how they are processed."""

    folder: Path
    message_bytes: int
    megapixels: float
    image: bool
    peaks: str
    cell: bool
    rate: float | None
    cores: tuple[int, ...]
    sender_cores: tuple[int, ...]

    @staticmethod
    def make(folder: Path, given: argparse.Namespace) -> Load:
        """Simulate the frames."""
        beamline = Beamline(
            size=given.size, dtype=given.dtype, hits=given.hits, seed=given.seed, style="om", image=given.image
        )
        apparatus = beamline.set_up()
        (folder / "study.geom").write_text(apparatus.geometry_text)
        (folder / "study.cell").write_text(apparatus.cell_text)
        size = 0
        for k, body in enumerate(apparatus.wire.bodies(apparatus.simulation.frames(given.frames))):
            (folder / f"{k:05d}.msgpack").write_bytes(body)
            size = max(size, len(body))
        width, height = parse_size(given.size)
        return Load(
            folder,
            size,
            width * height / 1e6,
            given.image,
            given.peaks,
            given.cell,
            given.rate,
            given.cores,
            given.sender_cores,
        )

    def graph(self, address: str, socket: Socket, backend: str) -> Graph:
        """The whole chain, as ``streamajig index`` makes it."""
        how = {"zmq_request": "next"} if socket == "rep" else {"zmq_subscribe": [TOPIC]}
        files = {"geometry": "study.geom", "output": "out.stream"} | ({"pdb": "study.cell"} if self.cell else {})
        paths = {option: str(self.folder / name) for option, name in files.items()}
        indexing = "pairs" if self.cell else "lattice"
        methods: dict[str, Any] = {"peaks": self.peaks, "indexing": indexing, "integration": "rings", "min_peaks": 15}
        if not self.image:
            methods |= {"no_image_data": True, "peaks": "msgpack", "integration": "none"}
        return graph_from_options({"zmq_input": address, **how, **paths, **methods}).with_options(backend=backend)


@dataclass(frozen=True)
class Moment:
    """Where everything stands just now."""

    finished: int
    at_s: float
    run_s: dict[int, float]
    transport_s: float
    ready_s: float
    sender_s: float
    busy_s: float

    @staticmethod
    def now(said: dict[str, Any], run: int, sender: int) -> Moment:
        """Take it all as near together as can be."""
        run_s = usage.cpu_s(run)
        transport_s = usage.thread_cpu_s(run_s, ZEROMQ_THREADS)
        sender_s = sum(usage.cpu_s(sender).values())
        ready_s = usage.ready_s(run_s)
        return Moment(said["finished"], time.monotonic(), run_s, transport_s, ready_s, sender_s, usage.busy_s())


def measure(load: Load, socket: Socket, backend: str, seconds: float) -> Sample:
    """Run one backend (or the loop) until it is in full swing, then so many seconds more."""
    rate = ("--rate", str(load.rate)) if load.rate and backend != LOOP else ()
    with program(HERE / "sender.py", socket, str(load.folder), *rate, cores=load.sender_cores) as sender:
        assert sender.stdout is not None
        address = sender.stdout.readline().strip()
        if backend == LOOP:
            arguments: tuple[str, ...] = ("loop", address, socket)
            warm = 50
        else:
            graph = load.graph(address, socket, backend)
            (load.folder / "study.yaml").write_text(graph.to_yaml())
            arguments = ("chain", str(load.folder / "study.yaml"))
            warm = 50 + 25 * describe_backend(backend).replicas
        with program(HERE / "receiver.py", *arguments, cores=load.cores) as run:
            lines = said_by(run)
            while (said := next(lines))["finished"] < warm:
                pass
            first = last = Moment.now(said, run.pid, sender.pid)
            while last.at_s - first.at_s < seconds:
                last = Moment.now(next(lines), run.pid, sender.pid)
            memory = usage.memory(run.pid)
            report = end(run).get("report")
        end(sender)
    return sample_of(socket, backend, first, last, memory, report)


def measure_undisturbed(load: Load, socket: Socket, backend: str, given: argparse.Namespace) -> Sample:
    """Measure until others have left the machine alone meanwhile; after some tries take the one with the least disturbance."""
    samples: list[Sample] = []
    while len(samples) < given.tries:
        samples.append(measure(load, socket, backend, given.seconds))
        if samples[-1].others_cores <= given.others:
            break
    return min(samples, key=lambda one: one.others_cores)


def sample_of(
    socket: Socket,
    backend: str,
    first: Moment,
    last: Moment,
    memory: Sequence[usage.Memory],
    report: dict[str, Any] | None,
) -> Sample:
    """The figures of a window."""
    frames, seconds = last.finished - first.finished, last.at_s - first.at_s
    by_process = [used - first.run_s.get(pid, 0.0) for pid, used in last.run_s.items()]
    run_s, sender_s = sum(by_process), last.sender_s - first.sender_s
    others_s = max(0.0, last.busy_s - first.busy_s - run_s - sender_s)
    latency = report["receipt_to_disk_ms"] if report else None
    return Sample(
        backend,
        socket,
        frames,
        round(seconds, 3),
        cpu_ms=round(1e3 * run_s / max(frames, 1), 3),
        sender_ms=round(1e3 * sender_s / max(frames, 1), 3),
        transport_ms=round(1e3 * (last.transport_s - first.transport_s) / max(frames, 1), 3),
        processes_ms=tuple(round(1e3 * used / max(frames, 1), 3) for used in by_process),
        cores=round(run_s / seconds, 2),
        sender_cores=round(sender_s / seconds, 2),
        others_cores=round(others_s / seconds, 2),
        ready_cores=round((last.ready_s - first.ready_s) / seconds, 2),
        latency_ms=(latency["0.5"], latency["0.99"]) if latency else None,
        private_mb=tuple(one.private for one in memory),
        messages_mb=tuple(one.messages for one in memory),
        nodes={name: node["mean_ms"] for name, node in report["nodes"].items()} if report else None,
    )


def usual_backends() -> list[str]:
    """Each backend that has replicas, with 1, 2, 4, ... of them, up to the number of cores."""
    cores = len(os.sched_getaffinity(0))
    numbers = sorted({*(2**k for k in range(cores.bit_length()) if 2**k <= cores), cores})
    return [f"{name}:{n}" for name in ("threads", "processes") if name in KNOWN for n in numbers]


def core_numbers(text: str) -> tuple[int, ...]:
    """Read ``0-3,8``."""
    spans = [(part.partition("-")[0], part.rpartition("-")[2]) for part in text.split(",") if part]
    return tuple(core for low, high in spans for core in range(int(low), int(high) + 1))


def parse(arguments: Sequence[str] | None, description: str = "") -> argparse.Namespace:
    """What is to be measured."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--backends", type=lambda text: text.split(","), default=usual_backends())
    parser.add_argument("--sockets", type=lambda text: text.split(","), default=["rep", "pub"])
    parser.add_argument("--size", default="2068x2162", help="of the detector, pixels")
    parser.add_argument("--dtype", default="u2", help="type of the pixels")
    parser.add_argument("--hits", type=float, default=0.7, help="fraction of the frames with a crystal")
    parser.add_argument("--peaks", default="likelihood", help="peak search")
    parser.add_argument(
        "--cell", action=argparse.BooleanOptionalAction, default=True, help="index with the cell, or without one"
    )
    parser.add_argument(
        "--image", action=argparse.BooleanOptionalAction, default=True, help="send pixels, or peaks alone"
    )
    parser.add_argument("--frames", type=int, default=24, help="frames made beforehand, sent over and over")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--rate", type=float, help="frames per second that are sent at most; else as fast as they are taken"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement, in full swing")
    parser.add_argument(
        "--others", type=float, default=0.1, help="cores that others may keep busy during a measurement"
    )
    parser.add_argument("--tries", type=int, default=1, help="measure anew so often where it was more")
    parser.add_argument("--cores", type=core_numbers, default=(), help="that the run may use, as 0-13")
    parser.add_argument("--sender-cores", type=core_numbers, default=(), help="that the sender may use")
    parser.add_argument("--figures", type=Path, help="where to keep everything that was measured (JSON)")
    parser.add_argument("--picture", type=Path, help="where to draw the curve")
    return parser.parse_args(arguments)
