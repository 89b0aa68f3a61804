"""What is measured, in a process of its own: a graph that runs (``chain``), or a loop that only receives (``loop``).

    python receiver.py chain GRAPH.yaml [WARM]
    python receiver.py loop tcp://127.0.0.1:5002 rep

Both print how many frames they have finished, a few times per second, as a line of JSON, until their input is closed; the graph
prints its report last, and beside it the latency and the times of the nodes since the first such line with WARM frames or more.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from pipeline.running.memory import keep_what_is_freed

if __name__ == "__main__":
    keep_what_is_freed()  # as the command line does, before there are threads

import zmq

from pipeline import Graph
from pipeline.metrics import NodeMetrics
from pipeline.running.job import Job, run
from pipeline.running.report import Report
from pipeline.watching import Progress

EVERY_S = 0.2
OUTSTANDING = 10
"""Requests on their way, as `source/zmq_req` has them."""


def say(**what: Any) -> None:
    """Print a line of JSON."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def chain(graph_file: str, *warm: str, stopping: threading.Event) -> None:
    """Run the graph."""
    jobs: list[Job] = []
    before: list[Report] = []

    def show(progress: Progress) -> None:
        finished = progress.received - progress.in_flight
        if warm and not before and finished >= int(warm[0]):
            before.append(jobs[0].report_so_far())
        say(finished=finished, at_s=time.monotonic())

    graph = Graph.from_yaml(Path(graph_file).read_text(encoding="utf-8"))
    report = run(graph, on_progress=show, stopping=stopping, on_start=jobs.append)
    say(report=report.as_json(), window=since(before[0], report) if before else None)


def since(before: Report, report: Report) -> dict[str, Any]:
    """Latency (ms) and the nodes' mean times (ms) of what came to pass between two reports of a run."""
    latency = report.latency.since(before.latency)
    nodes = {
        name: one.durations.since(before.nodes.get(name, NodeMetrics()).durations) for name, one in report.nodes.items()
    }
    return {
        "receipt_to_disk_ms": [latency.quantile_ns(part) / 1e6 if latency.count else None for part in (0.5, 0.99)],
        "nodes_ms": {name: one.mean_ns / 1e6 for name, one in nodes.items() if one.count},
    }


def loop(address: str, socket: str, *, stopping: threading.Event) -> None:
    """Receive whole messages in one thread, and let go of each at once."""
    finished, said_s = 0, time.monotonic()
    with zmq.Context() as context, context.socket(zmq.DEALER if socket == "rep" else zmq.SUB) as taking:
        taking.setsockopt(zmq.LINGER, 0)
        if socket == "pub":
            taking.setsockopt(zmq.SUBSCRIBE, b"")
            taking.setsockopt(zmq.RCVHWM, OUTSTANDING)
        taking.connect(address)
        for _ in range(OUTSTANDING if socket == "rep" else 0):
            taking.send_multipart([b"", b"next"])
        while not stopping.is_set():
            if taking.poll(100):
                taking.recv_multipart(copy=False)
                finished += 1
                if socket == "rep":
                    taking.send_multipart([b"", b"next"])
            if time.monotonic() - said_s > EVERY_S:
                said_s = time.monotonic()
                say(finished=finished, at_s=said_s)


def main() -> None:
    """Measure what the command line says."""
    what, *rest = sys.argv[1:]
    stopping = threading.Event()
    threading.Thread(target=lambda: (os.read(0, 1), stopping.set()), daemon=True).start()
    {"chain": chain, "loop": loop}[what](*rest, stopping=stopping)


if __name__ == "__main__":
    main()
