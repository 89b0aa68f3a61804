"""What happens on a Dask cluster when its processes are killed, hang or grow: each run has a cluster of its own."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import psutil
import pytest
from toy_cluster import Asks, Sender
from toy_stages import Decode, Double, Keep, Number, Slow

from pipeline import stage
from pipeline.composing.graph import Graph
from pipeline.running.backends.dask import local_worker
from pipeline.running.job import run
from pipeline.running.report import Report

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent


def chain(source: Any, *stages: Any) -> Graph:
    return Graph.chain(source, Decode(), *stages, Double(), Keep())


def workers_of(pid: int) -> list[psutil.Process]:
    """The local workers that a run has started."""
    found = []
    for child in psutil.Process(pid).children():
        with contextlib.suppress(psutil.Error):
            if any("local_worker" in word for word in child.cmdline()):
                found.append(child)
    return found


def assert_conserved(report: Report) -> None:
    for tally in report.leaves.values():
        assert report.received == tally.delivered + tally.rejected + tally.dropped, report.text()


def body(n: int) -> bytes:
    pixels = np.random.default_rng(n).poisson(3.0, (64, 64)).astype(np.uint16)
    image = {"nd": True, "type": "<u2", "kind": "", "shape": [64, 64], "data": pixels.tobytes()}
    header = {"beam_energy": 9000.0, "detector_distance": 100.0, "event_id": f"run // {n}", "timestamp": 1.7e9 + n}
    return bytes(msgpack.packb({"detector_data": image, **header}))


GEOMETRY = """
photon_energy = beam_energy eV
adu_per_photon = 1
clen = detector_distance mm
res = 5814
p/data = detector_data
p/min_fs = 0
p/max_fs = 63
p/min_ss = 0
p/max_ss = 63
p/corner_x = -32
p/corner_y = -32
p/fs = x
p/ss = y
"""


@pytest.mark.timeout(200)
def test_workers_that_are_killed_for_a_minute_lose_nothing_that_is_not_counted(tmp_path: Path) -> None:
    """Three workers, one killed with -9 at random every five seconds; a server numbers the frames with which it answers."""
    from stages.decode.msgpack_map import MsgpackMap
    from stages.files.stream import read_stream
    from stages.geometry_map.map_panels import MapPanels
    from stages.peaks.zaef import Zaef
    from stages.sink.stream_file import StreamFile
    from stages.source.zmq_req import ZmqReq
    from stages.wire.serving import FrameServer, serve_in_thread

    (tmp_path / "small.geom").write_text(GEOMETRY)
    stopping = threading.Event()
    rng = random.Random(20261)
    kills = 0

    def bodies() -> Iterator[bytes]:
        n = 0
        while not stopping.is_set():
            yield body(n)
            n += 1

    def kill_now_and_then() -> None:
        nonlocal kills
        for _ in range(12):
            time.sleep(5.0)
            with contextlib.suppress(IndexError, psutil.Error):
                rng.choice(workers_of(os.getpid())).kill()
                kills += 1
        stopping.set()

    killer = threading.Thread(target=kill_now_and_then)
    with FrameServer(socket="rep", parked=1000, rate_hz=150.0) as server:
        serving = serve_in_thread(server, bodies())
        graph = Graph.chain(
            ZmqReq(address=server.address),
            MsgpackMap(),
            MapPanels(geometry=str(tmp_path / "small.geom")),
            Zaef(),
            StreamFile(path=tmp_path / "out.stream"),
        )
        report = run(
            graph.with_options(backend="dask:3"),
            stopping=stopping,
            on_progress=lambda _: None if killer.ident else killer.start(),
        )
        serving.join(timeout_s=10)
        served = server.sent
    figures = report.findings["source"].figures
    assert kills >= 10
    assert figures["lost_workers"] >= 3  # one that has not opened its replica yet has nothing to lose
    assert report.failure is None
    assert_conserved(report)
    assert report.received <= served <= report.received + figures["lost_requests"] + figures.get("unanswered", 0)
    chunks = read_stream(tmp_path / "out.stream").chunks
    events = [chunk.event for chunk in chunks]
    assert len(events) == len(set(events)) == report.leaves["sink"].delivered
    died = sum(tally.count for (_, reason), tally in report.rejections.items() if reason == "worker_died")
    assert died == report.leaves["sink"].rejected


def test_a_run_whose_scheduler_is_killed_ends_in_good_order(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "dask", "scheduler", "--host=127.0.0.1", "--port=0", "--no-dashboard"]
    scheduler = subprocess.Popen([*command, f"--scheduler-file={file}"], stderr=subprocess.DEVNULL)
    try:
        while not file.exists() or not file.read_text().strip():
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        workers = [local_worker.start(address) for _ in range(2)]

        def look(progress: Any) -> None:
            if progress.received > 100:
                scheduler.kill()

        with Sender(range(14, 10**9)) as sender:
            graph = chain(Asks(port=sender.port), Slow(seconds=0.002)).with_options(backend=f"dask:{file}")
            report = run(graph, on_progress=look)
            lost = report.findings["source"].figures["lost_requests"]
            assert report.received <= len(sender.served) <= report.received + lost
    finally:
        scheduler.kill()
        scheduler.wait()
        for worker in workers:
            worker.kill()
            worker.wait()
    assert_conserved(report)
    assert report.received > 100
    assert "was lost" in report.why_ended
    assert "Dask scheduler" in str(report.failure)


@stage("hang/toy_holds_lock")
class HoldsTheLock:
    """Holds the interpreter's lock for ever at one number."""

    number: int

    def __call__(self, number: Number) -> None:
        if number == self.number:
            ctypes.PyDLL(None).sleep(3600)


def test_a_worker_whose_interpreter_stands_still_is_ended_and_another_takes_its_place() -> None:
    with Sender(range(14, 400)) as sender:
        graph = chain(Asks(port=sender.port), HoldsTheLock(number=30)).with_options(
            backend="dask:1", stage_timeout_s=1.0
        )
        report = run(graph)
        lost = report.findings["source"].figures["lost_requests"]
        assert report.received <= len(sender.served) == 386 <= report.received + lost
    assert_conserved(report)
    (((_, reason), tally),) = report.rejections.items()
    assert reason == "stage_timeout"
    assert 1 <= tally.count <= 12  # with the one that hangs those go that the worker had received


@stage("grow/toy_cluster")
class Grows:
    """Keeps ever more memory from one number on."""

    number: int

    def __call__(self, number: Number) -> None:
        if number == self.number:
            kept.append(np.ones(500_000_000 // 8))
            time.sleep(5.0)


kept: list[Any] = []


def test_a_worker_that_grows_too_large_is_ended_and_another_takes_its_place() -> None:
    with Sender(range(14, 100)) as sender:
        graph = chain(Asks(port=sender.port), Grows(number=30))
        report = run(graph.with_options(backend="dask:1", max_worker_memory=450_000_000))
        lost = report.findings["source"].figures["lost_requests"]
        assert report.received <= len(sender.served) == 86 <= report.received + lost
    assert_conserved(report)
    assert {reason for _, reason in report.rejections} == {"worker_memory"}


SCRIPT = """
import sys, threading
from toy_cluster import *
from toy_stages import *
from pipeline.composing.graph import Graph
from pipeline import run

with Sender(range(14, 10**9)) as sender:
    graph = Graph.chain(Asks(port=sender.port), Decode(), Slow(seconds=0.01), Double(), Keep())
    def look(progress):
        if progress.received > 20:
            print("runs", flush=True)
    try:
        run(graph.with_options(backend="dask:2"), on_progress=look)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_a_run_whatever_ends_it(number: int) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    with process, process.stdout:
        assert process.stdout.readline() == "runs\n"
        workers = workers_of(process.pid)
        assert len(workers) == 2
        os.killpg(process.pid, number)  # as a terminal does, to all that are in its group
        process.wait(20)
        gone, alive = psutil.wait_procs(workers, timeout=120)
        assert (len(gone), alive) == (2, [])
        if number == signal.SIGINT:
            assert process.stdout.read().splitlines()[-1] == "interrupted"
