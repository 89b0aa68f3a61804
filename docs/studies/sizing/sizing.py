"""What would a detector take: network, cores, memory, machines, and where does it stop?

    python docs/studies/sizing/sizing.py --megapixels 18.1 --rate 133
    python docs/studies/sizing/sizing.py --megapixels 4.2 --rate 2000 --hits 0.05

works it out, line by line, from what was measured: ``costs.json`` (``costs.py``: what a frame costs each stage) and
``../scaling/figures.json`` (``../scaling/study.py``: what receiving, sending and gathering cost). Measure both on a machine
of your own for figures that hold there.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
COSTS = HERE / "costs.json"
SCALING = HERE.parent / "scaling" / "figures.json"

USED = 0.7
"""The share of cores and links that is planned for; what is left takes the hits that come in a row, see :func:`waiting`."""
SLOTS_EACH, SLOTS = 4, 12
"""Messages in memory in a run of processes, for each worker and besides (``pipeline/running/backends/processes``)."""
ZMQ_QUEUE_MB = 512.0
"""``max_queue_bytes`` of a subscription."""


@dataclass(frozen=True)
class Detector:
    """What comes.

    Attributes
    ----------
    hits
        The fraction of frames with a crystal.
    compression
        By how much messages would be smaller on the wire, if they were compressed.
    """

    megapixels: float
    rate_hz: float
    bytes_per_pixel: int = 2
    hits: float = 0.1
    compression: float = 1.0

    @property
    def frame_mb(self) -> float:
        """A frame's pixels in memory, MB."""
        return self.megapixels * self.bytes_per_pixel

    @property
    def gb_per_s(self) -> float:
        """All pixels, GB/s."""
        return self.frame_mb * self.rate_hz / 1e3

    @property
    def wire_gbit_per_s(self) -> float:
        """What the network has to carry, Gbit/s."""
        return 8 * self.gb_per_s / self.compression


@dataclass(frozen=True)
class Node:
    """One machine."""

    cores: int = 64
    link_gbit_per_s: float = 100.0


@dataclass(frozen=True)
class Measured:
    """What was measured: functions of the size of the detector for the two kinds of frames, and costs of a MB.

    Attributes
    ----------
    receive_ms_per_mb, send_ms_per_mb, copy_ms_per_mb
        Processor time of ZeroMQ's thread that receives, of a sender, and of a copy into shared memory.
    hand_over_ms
        Processor time of the process that gathers, for a frame, beyond what unpacking, counting and writing take.
    pass_on_ms
        Processor time of the process that receives, for a message, beyond ZeroMQ's thread and the copy.
    private_mb
        Private memory of a worker.
    """

    costs: tuple[dict[str, Any], ...]
    receive_ms_per_mb: float
    send_ms_per_mb: float
    hand_over_ms: float
    pass_on_ms: float
    private_mb: float

    @staticmethod
    def load(costs: Path = COSTS, scaling: Path = SCALING) -> Measured:
        """Read both files."""
        kept = json.loads(scaling.read_text())
        samples = [one for samples in kept["rounds"] for one in samples]
        loops = [one for one in samples if one["backend"] == "loop"]
        processes = [one for one in samples if one["backend"].startswith("processes:")]
        message_mb = kept["message_bytes"] / 1e6
        hits = float(kept["setting"]["hits"])

        def median(value: Callable[[dict[str, Any]], float], of: Sequence[dict[str, Any]]) -> float:
            return statistics.median(map(value, of))

        measured = Measured(
            tuple(json.loads(costs.read_text())),
            median(lambda one: one["transport_ms"], loops) / message_mb,
            median(lambda one: one["sender_ms"], loops) / message_mb,
            0.0,
            0.0,
            # the first two are the supervisor and the fork server, the last one receives
            max(private for one in processes for private in one["private_mb"][2:-1]),
        )
        gathered_ms = measured.mean(Detector(float(kept["megapixels"]), 1.0, hits=hits), gather_ms)
        supervisor_ms = median(lambda one: one["processes_ms"][0], processes)
        copied_ms = measured.copy_ms_per_mb * message_mb
        ingest_ms = median(lambda one: one["processes_ms"][-1] - one["transport_ms"], processes)
        return replace(
            measured,
            hand_over_ms=max(0.0, supervisor_ms - gathered_ms),
            pass_on_ms=max(0.0, ingest_ms - copied_ms),
        )

    @property
    def copy_ms_per_mb(self) -> float:
        """The median over sizes and kinds."""
        return statistics.median(one["copy_ms_per_mb"] for one in self.costs)

    def of(self, kind: str, megapixels: float, figure: Callable[[dict[str, Any]], float]) -> float:
        """A figure of blanks or hits at this size: on the lines between the sizes measured, and on the last one beyond."""
        points = sorted((one["megapixels"], figure(one)) for one in self.costs if one["kind"] == kind)
        upper = next((n for n, (size, _) in enumerate(points[1:-1], 1) if megapixels <= size), len(points) - 1)
        (x0, y0), (x1, y1) = points[upper - 1], points[upper]
        return y0 + (y1 - y0) * (megapixels - x0) / (x1 - x0)

    def mean(self, detector: Detector, figure: Callable[[dict[str, Any]], float]) -> float:
        """A figure of the mean frame."""
        blank, hit = (self.of(kind, detector.megapixels, figure) for kind in ("blank", "hit"))
        return (1 - detector.hits) * blank + detector.hits * hit


def stages_ms(one: dict[str, Any]) -> float:
    """Processor time of a frame in all stages of a replica."""
    return float(sum(one["nodes_ms"].values()))


def gather_ms(one: dict[str, Any]) -> float:
    """Processor time in which what became of a frame is unpacked, counted and written."""
    return float(one["gather_ms"])


def waiting(servers: int, used: float) -> float:
    """How long a frame waits for a free replica on average, in units of the time that one takes (M/M/c, Erlang's C).

    >>> [round(waiting(1, 0.7), 2), round(waiting(64, 0.7), 5), round(waiting(64, 0.95), 3)]
    [2.33, 0.00023, 0.184]

    A. K. Erlang, Post Office Electrical Engineers' Journal 10 (1918) 189.
    """
    blocked = 1.0  # Erlang's B, by its recursion
    for n in range(1, servers + 1):
        blocked = used * servers * blocked / (n + used * servers * blocked)
    must_wait = blocked / (1 - used * (1 - blocked))
    return must_wait / (servers * (1 - used))


@dataclass(frozen=True)
class Line:
    """One line of the calculation: what, how much of which unit, and where it comes from."""

    what: str
    value: float
    unit: str
    why: str


def work_out(detector: Detector, node: Node, measured: Measured) -> list[Line]:
    """The calculation, in its order."""
    frame_mb, rate = detector.frame_mb, detector.rate_hz
    blank, hit = (measured.of(kind, detector.megapixels, stages_ms) for kind in ("blank", "hit"))
    mean_ms = measured.mean(detector, stages_ms)
    receive_ms, copy_ms = measured.receive_ms_per_mb * frame_mb, measured.copy_ms_per_mb * frame_mb
    gathering_ms = measured.mean(detector, gather_ms) + measured.hand_over_ms
    copying_ms = copy_ms + measured.pass_on_ms
    total_ms = mean_ms + receive_ms + copying_ms + gathering_ms
    cores = rate * total_ms / 1e3 / USED
    by_cores, by_link = cores / node.cores, detector.wire_gbit_per_s / (USED * node.link_gbit_per_s)
    nodes = max(1, math.ceil(max(by_cores, by_link)))
    share = rate / nodes
    workers = math.ceil(share * mean_ms / 1e3 / USED)
    programs = math.ceil(share * max(gathering_ms, copying_ms) / 1e3 / USED)
    held = SLOTS * programs + SLOTS_EACH * workers
    result_kb = measured.mean(detector, lambda one: one["chunk_kb"])
    python_ms = measured.mean(detector, lambda one: stages_ms(one) - one["kernels_ms"])
    one_socket_gb = 1 / max(measured.receive_ms_per_mb, measured.send_ms_per_mb)
    return [
        Line("a frame", frame_mb, "MB", "pixels x bytes"),
        Line("pixels", detector.gb_per_s, "GB/s", "frame x rate"),
        Line("on the wire", detector.wire_gbit_per_s, "Gbit/s", f"compressed {detector.compression:g} times"),
        Line("links", by_link, "", f"of {node.link_gbit_per_s:g} Gbit/s, {USED:.0%} used"),
        Line("a blank in the stages", blank, "ms", "processor time, costs.py"),
        Line("a hit in the stages", hit, "ms", "processor time, costs.py"),
        Line("the mean frame", mean_ms, "ms", f"{detector.hits:.0%} hits"),
        Line("receiving it", receive_ms, "ms", "ZeroMQ's thread, scaling/study.py"),
        Line("copying it into shared memory", copying_ms, "ms", "the process that receives, costs.py and scaling/study.py"),
        Line("gathering and writing", gathering_ms, "ms", "the supervisor, costs.py and scaling/study.py"),
        Line("cores", cores, "", f"rate x all of these, {USED:.0%} used"),
        Line("nodes", nodes, "", f"of {node.cores} cores: for the cores {by_cores:.1f}, for the links {by_link:.1f}"),
        Line("frames/s of a node", share, "", "rate / nodes"),
        Line("workers of a node", workers, "", f"its rate x the mean frame, {USED:.0%} used"),
        Line("waiting for a worker", waiting(workers, USED) * mean_ms, "ms", "Erlang's C"),
        Line("programs of a node", programs, "", "of processes, each with one that copies and one that gathers"),
        Line("connections of a node", share * receive_ms / 1e3 / USED, "", "rate x receiving: one thread reads each"),
        Line("memory of a node", (held * frame_mb + programs * ZMQ_QUEUE_MB + workers * measured.private_mb) / 1e3, "GB",
             f"{held} messages, ZeroMQ's queue, {measured.private_mb:.0f} MB a worker"),
        Line("stream", rate * result_kb / 1e3, "MB/s", f"{result_kb:.1f} kB a frame"),
        Line("limit: a program of threads", 1e3 / python_ms, "frames/s", f"{python_ms:.1f} ms with Python's lock"),
        Line("limit: a supervisor", 1e3 / gathering_ms, "frames/s", "it gathers one frame after the other"),
        Line("limit: a process that receives", 1e3 / copying_ms, "frames/s", "it copies one message after the other"),
        Line("limit: a connection", 1e3 * one_socket_gb / frame_mb, "frames/s", f"{one_socket_gb:.1f} GB/s a socket"),
    ]  # fmt: skip


def table(lines: Sequence[Line]) -> str:
    """The calculation as Markdown."""
    rows = [f"| {one.what} | {written(one.value)} {one.unit}".rstrip() + f" | {one.why} |" for one in lines]
    return "\n".join(["| | | from |", "|---|---|---|", *rows])


def written(value: float) -> str:
    """Three digits that count; whole numbers as they are.

    >>> [written(x) for x in (0.01234, 1.234, 12.34, 123.4, 1234.6, 3)]
    ['0.0123', '1.23', '12.3', '123', '1235', '3']
    """
    if value == int(value) or value >= 100:
        return f"{value:.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def main(arguments: Sequence[str] | None = None) -> list[Line]:
    """Work out what the command line says."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--megapixels", type=float, required=True)
    parser.add_argument("--rate", type=float, required=True, help="frames per second")
    parser.add_argument("--bytes", type=int, default=2, help="of a pixel")
    parser.add_argument("--hits", type=float, default=0.1, help="fraction of frames with a crystal")
    parser.add_argument(
        "--compression", type=float, default=1.0, help="how many times smaller messages are on the wire"
    )
    parser.add_argument("--cores", type=int, default=64, help="of a node")
    parser.add_argument("--link", type=float, default=100.0, help="of a node, Gbit/s")
    parser.add_argument("--costs", type=Path, default=COSTS)
    parser.add_argument("--scaling", type=Path, default=SCALING)
    given = parser.parse_args(arguments)
    detector = Detector(given.megapixels, given.rate, given.bytes, given.hits, given.compression)
    lines = work_out(detector, Node(given.cores, given.link), Measured.load(given.costs, given.scaling))
    sys.stdout.write(table(lines) + "\n")
    return lines


if __name__ == "__main__":
    main()
